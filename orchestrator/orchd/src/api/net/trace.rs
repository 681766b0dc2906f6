//! `/orch/net/trace`: what would happen to a packet, from what people call its ends.
//!
//! A manager knows every host and answers from the store; another node answers from its own
//! assignment, which says the same of all that lies on the way of its tasks' packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use orch_core::control::{find_network, find_node, find_task};
use orch_core::network::{self, DesiredNetwork, Vni};
use orch_core::store::State as Store;
use orch_dataplane::trace::{self, Cluster, Hop, Host, Packet, Sender};
use serde_json::{Value, json};

use super::target::Target;
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::daemon::Membership;

/// `GET /orch/net/trace?from=SRC&to=DST[:PORT][/PROTO]&network=NETWORK`.
pub async fn trace(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let local = api.plane()?.look(|plane| Ok(plane.traced())).await?;
    let store = match api.daemon.membership() {
        Membership::Member(member) => member.manager.map(|manager| manager.state()),
        Membership::Inactive | Membership::Pending | Membership::Error(_) => None,
    };
    let known = Known::new(local, store);
    let target = Target::parse(params.text("to"))?;
    let question = known.question(params.text("from"), &target, params.text("network"))?;
    let hops = trace::trace(
        &known.cluster,
        question.node,
        question.sender,
        question.packet,
    );
    Ok(Json(json!({
        "packet": question.packet.to_string(),
        "notes": question.notes,
        "hops": hops.iter().map(|hop| show(&known.cluster, hop)).collect::<Vec<_>>(),
    })))
}

fn show(cluster: &Cluster, hop: &Hop) -> Value {
    let outcomes = hop.outcomes.iter();
    let outcomes: Vec<_> = outcomes
        .map(|outcome| json!({ "verdict": outcome.verdict(), "text": cluster.words(outcome) }))
        .collect();
    json!({
        "host": cluster.host_name(hop.node),
        "program": hop.program,
        "packet": hop.packet.to_string(),
        "steps": hop.steps,
        "outcomes": outcomes,
    })
}

/// A packet, and where it is first seen.
struct Question {
    node: IpAddr,
    sender: Sender,
    packet: Packet,
    /// What was taken for granted.
    notes: Vec<String>,
}

/// What this host knows of the cluster.
struct Known {
    cluster: Cluster,
    /// This host's copy, for names and endpoints: those are the same on all hosts.
    desired: DesiredNetwork,
    store: Option<Store>,
    notes: Vec<String>,
}

impl Known {
    fn new((node, local): (IpAddr, Host), store: Option<Store>) -> Self {
        let desired = local.desired.clone();
        let mut cluster = Cluster::default();
        let mut notes = Vec::new();
        match &store {
            Some(state) => add_cluster(&mut cluster, state),
            None => {
                notes.push("other hosts as this one knows them; a manager knows more".to_owned());
                let own = BTreeSet::from([node]);
                for peer in &desired.peers {
                    let others = desired.peers.union(&own).filter(|other| *other != peer);
                    let host = Host {
                        desired: DesiredNetwork {
                            peers: others.copied().collect(),
                            ..desired.clone()
                        },
                        addresses: BTreeSet::from([*peer]),
                        attached: None,
                    };
                    cluster.hosts.insert(*peer, host);
                }
            }
        }
        cluster.hosts.insert(node, local);
        Self {
            cluster,
            desired,
            store,
            notes,
        }
    }

    fn question(&self, from: &str, to: &Target, network: &str) -> Result<Question, ApiError> {
        let network = match network {
            "" => None,
            text => Some(self.network(text)?),
        };
        let mut notes = self.notes.clone();
        notes.push("the packet is the first one of a new conversation".to_owned());
        let sources = self.task(from, network)?;
        if sources.is_empty() {
            return self.of_host_or_outside(from, to, notes);
        }
        let reaches = |(vni, source): &(Vni, IpAddr)| {
            let found = self.in_network(*vni, &to.name);
            let found = found.into_iter().find(|a| a.is_ipv4() == source.is_ipv4());
            found.map(|destination| (*vni, *source, destination))
        };
        let any = |(vni, source): &(Vni, IpAddr)| {
            let found = self.any_address(&to.name)?;
            (found.is_ipv4() == source.is_ipv4()).then_some((*vni, *source, found))
        };
        let found = sources.iter().find_map(reaches);
        let Some((vni, source, destination)) = found.or_else(|| sources.iter().find_map(any))
        else {
            return Err(not_found(&format!(
                "\"{}\" means nothing in the networks of {from}, with an address of its family",
                to.name
            )));
        };
        let attached = self.cluster.hosts.iter().find(|(_, host)| {
            let attached = host.attached.as_ref();
            attached.is_some_and(|attached| attached.contains(&(vni, source)))
        });
        let node = attached.map(|(node, _)| *node);
        let node = node.or_else(|| self.desired.endpoints.get(&(vni, source)).copied());
        let packet = Packet {
            source,
            destination,
            transport: to.transport,
        };
        Ok(Question {
            node: node.ok_or_else(|| not_found(&format!("{from} has no host yet")))?,
            sender: Sender::Task(vni),
            packet,
            notes,
        })
    }

    fn of_host_or_outside(
        &self,
        from: &str,
        to: &Target,
        mut notes: Vec<String>,
    ) -> Result<Question, ApiError> {
        let destination = self.any_address(&to.name).ok_or_else(|| {
            not_found(&format!(
                "\"{}\" is no address and no host: only tasks know the names of services",
                to.name
            ))
        })?;
        let sender_host = self.host(from);
        let (node, sender, source) = match (sender_host, from.parse::<IpAddr>()) {
            (Some(node), _) => (node, Sender::Process, node),
            (None, Ok(source)) => {
                let Some(node) = self.cluster.host_of(destination) else {
                    return Err(ApiError::bad_request(format!(
                        "{source} is outside the cluster and {destination} is no host of it: \
                         their packets pass no program"
                    )));
                };
                (node, Sender::Outside, source)
            }
            (None, Err(_)) => {
                return Err(not_found(&format!(
                    "\"{from}\" is no task, no host and no address"
                )));
            }
        };
        if sender == Sender::Outside {
            notes.push(format!(
                "{source} is taken for an address outside the cluster"
            ));
        }
        let packet = Packet {
            source,
            destination,
            transport: to.transport,
        };
        Ok(Question {
            node,
            sender,
            packet,
            notes,
        })
    }

    /// Networks and addresses of the task that people call `text`.
    fn task(&self, text: &str, only: Option<Vni>) -> Result<Vec<(Vni, IpAddr)>, ApiError> {
        let endpoints = self.endpoints();
        let fits = |(vni, _): &(Vni, IpAddr)| only.is_none_or(|only| *vni == only);
        let found: Vec<(Vni, IpAddr)> = if let Ok(address) = text.parse::<IpAddr>() {
            let of_address = endpoints.iter().filter(|(_, known)| *known == address);
            of_address.copied().filter(fits).collect()
        } else {
            let lower = text.to_lowercase();
            let names = self.desired.names.iter();
            let named = names.filter(|((_, name), _)| *name == lower);
            let named = named.flat_map(|((vni, _), set)| set.iter().map(|a| (*vni, *a)));
            let named = named.filter(|known| endpoints.contains(known));
            let by_id = self
                .store
                .iter()
                .flat_map(|state| task_addresses(state, text));
            named.chain(by_id).filter(fits).collect()
        };
        let networks: BTreeSet<Vni> = found.iter().map(|(vni, _)| *vni).collect();
        let is_address = text.parse::<IpAddr>().is_ok();
        if is_address && networks.len() > 1 {
            let names = networks.iter().map(|vni| self.cluster.network_name(*vni));
            let names: Vec<_> = names.collect();
            return Err(ApiError::bad_request(format!(
                "{text} is a task's address in {}: say which with --network",
                names.join(" and in ")
            )));
        }
        Ok(found)
    }

    fn endpoints(&self) -> BTreeSet<(Vni, IpAddr)> {
        let attached = self.cluster.hosts.values();
        let attached = attached.filter_map(|host| host.attached.as_ref()).flatten();
        let endpoints = self.desired.endpoints.keys();
        endpoints.chain(attached).copied().collect()
    }

    /// What `text` means in a network: a name's addresses, or an address of its ranges.
    fn in_network(&self, vni: Vni, text: &str) -> Vec<IpAddr> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let network = self.desired.networks.get(&vni);
            let mut subnets = network.iter().flat_map(|network| &network.subnets);
            let inside = subnets.any(|subnet| subnet.range.contains(&address));
            return Vec::from_iter(inside.then_some(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_lowercase();
        let named = self.desired.names.get(&(vni, name));
        let mut found: Vec<IpAddr> = named.into_iter().flatten().copied().collect();
        let by_id = self
            .store
            .iter()
            .flat_map(|state| task_addresses(state, text));
        found.extend(
            by_id
                .filter(|(of, _)| *of == vni)
                .map(|(_, address)| address),
        );
        found
    }

    /// An address wherever it is, or that of a host.
    fn any_address(&self, text: &str) -> Option<IpAddr> {
        text.parse().ok().or_else(|| self.host(text))
    }

    /// The host that people call `text`, by its address for tunnels.
    fn host(&self, text: &str) -> Option<IpAddr> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return self.cluster.host_of(address);
        }
        let node = find_node(self.store.as_ref()?, text).ok()?;
        node.underlay()
    }

    fn network(&self, text: &str) -> Result<Vni, ApiError> {
        if let Some(state) = &self.store {
            return Ok(find_network(state, text)?.vni);
        }
        let number = text.parse().ok().map(Vni);
        let known = number.filter(|vni| self.desired.networks.contains_key(vni));
        known.ok_or_else(|| {
            ApiError::bad_request(format!(
                "\"{text}\" is no network number: names of networks are known to managers only"
            ))
        })
    }
}

fn not_found(message: &str) -> ApiError {
    ApiError::new(http::StatusCode::NOT_FOUND, message)
}

/// Every host and every name, as a manager knows them.
fn add_cluster(cluster: &mut Cluster, state: &Store) {
    for node in state.nodes() {
        let Some(underlay) = node.underlay() else {
            continue;
        };
        let host = Host {
            desired: network::desired(state, &node.id),
            addresses: node.status.address.into_iter().chain([underlay]).collect(),
            attached: None,
        };
        cluster.hosts.insert(underlay, host);
        let hostname = node.description.as_ref().map(|it| it.hostname.clone());
        let name = node.spec.name.clone().or(hostname);
        cluster.host_names.extend(name.map(|name| (underlay, name)));
    }
    let networks = state.networks();
    cluster.network_names = networks
        .map(|network| (network.vni, network.spec.name.clone()))
        .collect::<BTreeMap<_, _>>();
}

/// Networks and addresses of the task with this id, or the only one whose id begins so.
fn task_addresses(state: &Store, text: &str) -> Vec<(Vni, IpAddr)> {
    let Ok(task) = find_task(state, text) else {
        return Vec::new();
    };
    let attachments = task.attachments.iter();
    let known = attachments.filter_map(|attached| {
        let vni = state.network(&attached.network)?.vni;
        Some((vni, attached))
    });
    known
        .flat_map(|(vni, attached)| attached.addresses.iter().map(move |a| (vni, a.addr())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let node = |last| IpAddr::from([192, 0, 2, last]);
        let address = |last| IpAddr::from([10, 0, 10, last]);
        let vni = Vni(4096);
        let subnet = network::Subnet {
            range: "10.0.10.0/24".parse().unwrap(),
            gateway: address(1),
        };
        let overlay = network::OverlayNetwork {
            id: orch_core::ids::NetworkId::from_random(1),
            subnets: vec![subnet],
            internal: false,
        };
        let desired = DesiredNetwork {
            peers: BTreeSet::from([node(2)]),
            networks: BTreeMap::from([(vni, overlay)]),
            endpoints: BTreeMap::from([((vni, address(7)), node(1)), ((vni, address(8)), node(2))]),
            names: BTreeMap::from([
                ((vni, "web".to_owned()), BTreeSet::from([address(2)])),
                ((vni, "web.1".to_owned()), BTreeSet::from([address(7)])),
                ((vni, "web.2".to_owned()), BTreeSet::from([address(8)])),
            ]),
            ..DesiredNetwork::default()
        };
        let local = Host {
            desired,
            addresses: BTreeSet::from([node(1)]),
            attached: Some(BTreeSet::from([(vni, address(7))])),
        };
        Known::new((node(1), local), None)
    }

    fn asked(from: &str, to: &str) -> Result<(String, Sender, String), ApiError> {
        let question = known().question(from, &Target::parse(to)?, "")?;
        let packet = question.packet.to_string();
        Ok((question.node.to_string(), question.sender, packet))
    }

    #[test]
    fn ends_are_found_by_what_people_call_them() {
        let task = Sender::Task(Vni(4096));
        for (from, to, node, sender, packet) in [
            (
                "web.1",
                "WEB:80",
                "192.0.2.1",
                task,
                "tcp 10.0.10.7 -> 10.0.10.2:80",
            ),
            (
                "10.0.10.8",
                "web.1",
                "192.0.2.2",
                task,
                "ping 10.0.10.8 -> 10.0.10.7",
            ),
            (
                "web.2",
                "1.1.1.1",
                "192.0.2.2",
                task,
                "ping 10.0.10.8 -> 1.1.1.1",
            ),
            (
                "192.0.2.1",
                "192.0.2.2:80",
                "192.0.2.1",
                Sender::Process,
                "tcp 192.0.2.1 -> 192.0.2.2:80",
            ),
            (
                "198.51.100.5",
                "192.0.2.2:80",
                "192.0.2.2",
                Sender::Outside,
                "tcp 198.51.100.5 -> 192.0.2.2:80",
            ),
        ] {
            let expected = (node.to_owned(), sender, packet.to_owned());
            assert_eq!(asked(from, to).unwrap(), expected, "{from} {to}");
        }
    }

    #[test]
    fn ends_that_nobody_knows_are_named_in_the_refusal() {
        for (from, to, word) in [
            ("nobody", "web:80", "web"),
            ("nobody", "10.0.10.2", "nobody"),
            ("web.1", "nothing", "nothing"),
            ("198.51.100.5", "203.0.113.1:80", "203.0.113.1"),
            ("192.0.2.1", "web:80", "names of services"),
        ] {
            let error = format!("{:?}", asked(from, to).unwrap_err());
            assert!(error.contains(word), "{from} {to}: {error}");
        }
    }
}
