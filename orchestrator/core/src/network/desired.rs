//! Computes what one node's data plane must hold from the store.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, DesiredNetwork, Family, Frontend, OverlayNetwork, Pool, Protocol, Vni};
use crate::ids::{NetworkId, NodeId, ServiceId};
use crate::objects::service::{EndpointMode, PublishMode};
use crate::objects::task::TaskOwner;
use crate::objects::{EndpointOptions, Service, ServiceSpec, Task};
use crate::planted::{self, Fault};
use crate::store::State;
use crate::task_state::TaskState;

/// How many tasks stand in for one that left.
const SIBLINGS: usize = 8;

/// Everything that the data plane of `node` must hold.
pub fn desired(state: &State, node: &NodeId) -> DesiredNetwork {
    let mut view = View::of(state, node);
    view.add_topology();
    view.add_endpoints();
    let serving = serving_tasks(state);
    for service in state.services() {
        let tasks = serving.get(&service.id).map_or(&[][..], Vec::as_slice);
        let options = service.spec.endpoint_options();
        view.add_vips(service, &options, tasks);
        view.add_published(service, &options, tasks);
        view.add_names(service, tasks);
    }
    view.add_retired(&serving);
    view.add_container_names();
    view.add_draining();
    view.add_reverse_names();
    view.out
}

/// The name that a resolver looks up to learn the name of an address (RFC 1035 section 3.5, RFC
/// 3596 section 2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address
                .octets()
                .into_iter()
                .rev()
                .flat_map(|o| [o & 15, o >> 4]);
            let labels: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            format!("{labels}ip6.arpa")
        }
    }
}

/// The tasks that serve clients, per service: running, wanted, on a node that is not down.
fn serving_tasks(state: &State) -> BTreeMap<&ServiceId, Vec<&Arc<Task>>> {
    let mut serving = BTreeMap::<_, Vec<_>>::new();
    for task in state.tasks().filter(|t| t.is_serving()) {
        let alive = task
            .node
            .as_ref()
            .and_then(|n| state.node(n))
            .is_some_and(|n| n.may_serve() || planted::is(Fault::KeepBackends));
        if let (true, Some(service)) = (alive, task.service()) {
            serving.entry(service).or_default().push(task);
        }
    }
    serving
}

struct View<'a> {
    state: &'a State,
    node: &'a NodeId,
    vnis: BTreeMap<&'a NetworkId, Vni>,
    out: DesiredNetwork,
}

impl<'a> View<'a> {
    fn of(state: &'a State, node: &'a NodeId) -> Self {
        let vnis = state.networks().map(|n| (&n.id, n.vni)).collect();
        let out = DesiredNetwork {
            version: state.version(),
            ..DesiredNetwork::default()
        };
        Self {
            state,
            node,
            vnis,
            out,
        }
    }

    fn add_topology(&mut self) {
        let others = self.state.nodes().filter(|n| n.id != *self.node);
        self.out.peers = others.filter_map(|n| n.underlay()).collect();
        for network in self.state.networks() {
            let overlay = OverlayNetwork {
                id: network.id.clone(),
                subnets: network.subnets.clone(),
                internal: network.spec.internal,
            };
            self.out.networks.insert(network.vni, overlay);
        }
    }

    /// A task stays reachable until it ended, also while it is being stopped.
    fn add_endpoints(&mut self) {
        let placed = TaskState::Preparing..=TaskState::Running;
        for task in self
            .state
            .tasks()
            .filter(|t| placed.contains(&t.status.state))
        {
            let host = task.node.as_ref().and_then(|id| self.state.node(id));
            let Some(underlay) = host.and_then(|n| n.underlay()) else {
                continue;
            };
            for (vni, address) in self.addresses(task) {
                self.out.endpoints.insert((vni, address), underlay);
            }
        }
    }

    fn add_vips(&mut self, service: &Service, options: &EndpointOptions, serving: &[&Arc<Task>]) {
        for vip in &service.endpoint.vips {
            let Some(&vni) = self.vnis.get(&vip.network) else {
                continue;
            };
            let backends = serving
                .iter()
                .flat_map(|t| t.addresses_in(&vip.network))
                .filter(|address| Family::of(*address) == Family::of(vip.address.addr()))
                .map(|address| Backend {
                    vni,
                    address,
                    port: None,
                })
                .collect();
            let frontend = Frontend::Vip {
                vni,
                address: vip.address.addr(),
            };
            self.out
                .frontends
                .insert(frontend, pool(service, options, backends));
        }
    }

    /// Published ports lead to a task's address in its first network that has the client's
    /// family, or one that the data plane can translate to. In host mode only the node's own tasks
    /// answer, and where there is none the port is not taken at all. A port at one address of a
    /// host is of that address's family.
    fn add_published(
        &mut self,
        service: &Service,
        options: &EndpointOptions,
        serving: &[&Arc<Task>],
    ) {
        let families = self.families(service);
        for port in &service.endpoint.ports {
            let Some(published) = port.published else {
                continue;
            };
            let here = |t: &&&Arc<Task>| t.node.as_ref() == Some(self.node);
            let tasks: Vec<_> = serving
                .iter()
                .filter(|t| port.mode == PublishMode::Ingress || here(t))
                .collect();
            let of_port = options.of_port(port);
            for family in Family::ALL {
                let address = of_port.address.unwrap_or(family.unspecified());
                let Some(served) = served_by(&families, family, port.protocol) else {
                    continue;
                };
                if Family::of(address) != family {
                    continue;
                }
                let backends: BTreeSet<Backend> = tasks
                    .iter()
                    .filter_map(|t| self.first_address(t, served))
                    .map(|(vni, address)| Backend {
                        vni,
                        address,
                        port: Some(port.target),
                    })
                    .collect();
                if port.mode == PublishMode::Host && backends.is_empty() {
                    continue;
                }
                let frontend = Frontend::Published {
                    protocol: port.protocol,
                    port: published,
                    address,
                };
                let pool = Pool {
                    sources: of_port.sources.clone(),
                    ..pool(service, options, backends)
                };
                self.out.frontends.entry(frontend).or_insert(pool);
            }
        }
    }

    /// The families of which a service's tasks have addresses.
    fn families(&self, service: &Service) -> BTreeSet<Family> {
        let networks = networks_of(self.state, &service.spec).into_iter();
        let known = networks.filter_map(|(id, _)| self.state.network(id));
        known.flat_map(|network| network.families()).collect()
    }

    /// A task's address of a family in the first of its networks that has one.
    fn first_address(&self, task: &Task, family: Family) -> Option<(Vni, IpAddr)> {
        let mut addresses = self.addresses(task).into_iter();
        addresses.find(|(_, address)| Family::of(*address) == family)
    }

    /// In DNS round robin, the address of a task that left leads to its siblings, from the moment
    /// that it serves no more, unless somebody has got it since.
    fn add_retired(&mut self, serving: &BTreeMap<&ServiceId, Vec<&Arc<Task>>>) {
        let mut leaving = BTreeMap::<_, Vec<_>>::new();
        let mut held = BTreeSet::new();
        for task in self.state.tasks().filter(|t| t.holds_addresses()) {
            match task.service() {
                Some(service) if task.is_leaving() => {
                    let addresses = leaving.entry(service).or_default();
                    addresses.extend(self.addresses(task));
                }
                _ if task.is_wanted() => held.extend(self.addresses(task)),
                _ => {}
            }
        }
        let round_robin = |s: &&Arc<Service>| s.endpoint.spec.mode == EndpointMode::DnsRoundRobin;
        for service in self.state.services().filter(round_robin) {
            let vni_of = |network| self.vnis.get(network).copied();
            let retired = service.endpoint.retired.iter();
            let retired = retired.filter_map(|r| Some((vni_of(&r.network)?, r.address)));
            let mut gone = leaving.remove(&service.id).unwrap_or_default();
            gone.extend(retired);
            let tasks = serving.get(&service.id).map_or(&[][..], Vec::as_slice);
            let living: Vec<_> = tasks.iter().flat_map(|t| self.addresses(t)).collect();
            for (vni, address) in gone.into_iter().filter(|gone| !held.contains(gone)) {
                let pool = Pool {
                    service: service.spec.name.clone(),
                    backends: siblings(&living, vni, address),
                    retired: true,
                    ..Pool::default()
                };
                let frontend = Frontend::Vip { vni, address };
                self.out.frontends.entry(frontend).or_insert(pool);
            }
        }
    }

    fn add_names(&mut self, service: &Service, serving: &[&Arc<Task>]) {
        let name = &service.spec.name;
        for (network, aliases) in networks_of(self.state, &service.spec) {
            let Some(&vni) = self.vnis.get(network) else {
                continue;
            };
            let of_tasks: BTreeSet<IpAddr> = serving
                .iter()
                .flat_map(|t| t.addresses_in(network))
                .collect();
            let of_service = match service.endpoint.spec.mode {
                EndpointMode::DnsRoundRobin => of_tasks.clone(),
                EndpointMode::Vip => service
                    .endpoint
                    .vips
                    .iter()
                    .filter(|v| v.network == *network)
                    .map(|v| v.address.addr())
                    .collect(),
            };
            for name in std::iter::once(name).chain(aliases) {
                self.add_name(vni, name, &of_service);
                self.add_name(vni, &format!("tasks.{name}"), &of_tasks);
            }
        }
        for task in serving {
            let TaskOwner::Service { name, slot, .. } = &task.owner else {
                continue;
            };
            for (vni, address) in self.addresses(task) {
                let own = BTreeSet::from([address]);
                self.add_name(vni, &format!("{name}.{slot}"), &own);
                self.add_name(vni, &format!("{name}.{slot}.{}", task.id), &own);
            }
        }
    }

    fn add_draining(&mut self) {
        for task in self.state.tasks().filter(|t| t.is_leaving()) {
            if !drain_time(self.state, task).is_zero() {
                self.out.draining.extend(self.addresses(task));
            }
        }
    }

    /// What containers that somebody attached by hand are called on their engines. A name of a
    /// service stays that service's.
    fn add_container_names(&mut self) {
        let mut names = BTreeMap::<_, BTreeSet<IpAddr>>::new();
        for task in self.state.tasks().filter(|t| t.service().is_none()) {
            for attachment in &task.attachments {
                let Some(&vni) = self.vnis.get(&attachment.network) else {
                    continue;
                };
                let addresses = attachment.addresses.iter().map(|a| a.addr());
                for name in &attachment.aliases {
                    let known = names.entry((vni, name.to_lowercase())).or_default();
                    known.extend(addresses.clone());
                }
            }
        }
        for (name, addresses) in names {
            self.out.names.entry(name).or_insert(addresses);
        }
    }

    /// A name of the cluster without addresses stays known, so that nobody outside is asked for
    /// it while its service has no task.
    fn add_name(&mut self, vni: Vni, name: &str, addresses: &BTreeSet<IpAddr>) {
        let entry = self
            .out
            .names
            .entry((vni, name.to_lowercase()))
            .or_default();
        entry.extend(addresses);
    }

    /// Nobody outside can tell the name of a cluster address, so nobody is asked: `ping` looks
    /// one up per reply, and a slow resolver would slow it down.
    fn add_reverse_names(&mut self) {
        let endpoints = self.out.endpoints.keys().copied();
        let vips = self.out.frontends.keys().filter_map(|f| match f {
            Frontend::Vip { vni, address } => Some((*vni, *address)),
            Frontend::Published { .. } => None,
        });
        let gateways = self.out.networks.iter().flat_map(|(vni, network)| {
            let gateways = network.subnets.iter().map(|subnet| subnet.gateway);
            gateways.map(|gateway| (*vni, gateway))
        });
        let known: BTreeSet<_> = endpoints.chain(vips).chain(gateways).collect();
        for (vni, address) in known {
            self.add_name(vni, &reverse_name(address), &BTreeSet::new());
        }
    }

    /// A task's addresses, in the order of its networks.
    fn addresses(&self, task: &Task) -> Vec<(Vni, IpAddr)> {
        let mut addresses = Vec::new();
        for attachment in &task.attachments {
            let Some(&vni) = self.vnis.get(&attachment.network) else {
                continue;
            };
            addresses.extend(attachment.addresses.iter().map(|a| (vni, a.addr())));
        }
        addresses
    }
}

/// The family in which tasks that have `families` serve clients of one family. An association of
/// SCTP names addresses in its messages, so it stays in its family.
fn served_by(families: &BTreeSet<Family>, client: Family, protocol: Protocol) -> Option<Family> {
    if families.contains(&client) {
        return Some(client);
    }
    let other = families.first().copied();
    other.filter(|_| protocol != Protocol::Sctp)
}

/// The tasks that stand in for the one which had `address`: not all of a large service for each
/// address, and not the same for every address.
fn siblings(living: &[(Vni, IpAddr)], vni: Vni, address: IpAddr) -> BTreeSet<Backend> {
    let near = living
        .iter()
        .filter(|(at, other)| *at == vni && Family::of(*other) == Family::of(address));
    let (before, behind): (Vec<_>, Vec<_>) = near.partition(|(_, other)| *other < address);
    let backend = |(vni, address): &(Vni, IpAddr)| Backend {
        vni: *vni,
        address: *address,
        port: None,
    };
    let around = behind.into_iter().chain(before);
    around.take(SIBLINGS).map(backend).collect()
}

fn pool(service: &Service, options: &EndpointOptions, backends: BTreeSet<Backend>) -> Pool {
    Pool {
        service: service.spec.name.clone(),
        backends,
        affinity: options.affinity,
        direct_return: options.direct_return,
        ..Pool::default()
    }
}

/// How long a task that is to stop goes on for the conversations it has. None, once its service is
/// gone: nothing leads to the task any more.
pub(crate) fn drain_time(state: &State, task: &Task) -> Duration {
    let service = task.service().and_then(|id| state.service(id));
    service.map_or(Duration::ZERO, |s| s.spec.endpoint_options().drain)
}

/// The networks that a service's tasks are attached to, with its aliases there: those it names,
/// or the ingress network.
pub(crate) fn networks_of<'a>(
    state: &'a State,
    spec: &'a ServiceSpec,
) -> Vec<(&'a NetworkId, &'a [String])> {
    let named = spec.networks();
    if named.is_empty() {
        return state
            .networks()
            .filter(|n| n.spec.ingress)
            .map(|n| (&n.id, &[][..]))
            .collect();
    }
    named
        .iter()
        .map(|n| (&n.target, n.aliases.as_slice()))
        .collect()
}
