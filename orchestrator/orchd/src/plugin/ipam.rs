//! The driver's half that gives addresses.
//!
//! A gateway is the network's. A task's address was given by the managers and is asked for by
//! name. Any other container is lent one by the managers, who take it back when it is released.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use orch_core::dispatch::Assignment;
use orch_core::ids::NetworkId;
use orch_core::network::Family;
use orch_core::objects::{Network, Task};
use serde_json::{Value, json};

use super::ledger::{Lease, LeaseState, Records};
use super::protocol::{Address, Pool, ReleaseAddress, RequestAddress, RequestPool};
use super::{Node, PluginError};
use crate::engine::NETWORK_ID_OPTION;

/// How long the managers may take to lend an address.
const LOAN_TIMEOUT: Duration = Duration::from_secs(10);

/// What is done about a request for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It is given.
    Given(IpNet),
    /// The managers are asked for one, or for this one.
    Lend(Option<IpAddr>),
}

impl Node {
    pub(super) fn request_pool(&self, request: &RequestPool) -> Result<Pool, PluginError> {
        let option = request
            .options
            .as_ref()
            .and_then(|options| options.get(NETWORK_ID_OPTION));
        let id = option.ok_or(PluginError::HandMade)?;
        let id = NetworkId::parse(id).map_err(|_| PluginError::UnknownNetwork(id.clone()))?;
        let network = self.network(&id)?;
        let family = if request.v6 { Family::V6 } else { Family::V4 };
        let mut ranges = network.subnets.iter().map(|subnet| subnet.range);
        let range = ranges
            .find(|range| match request.pool.as_str() {
                "" => Family::of(range.addr()) == family,
                wanted => range.to_string() == wanted,
            })
            .ok_or_else(|| PluginError::UnknownPool {
                pool: request.pool.clone(),
                network: network.spec.name.clone(),
            })?;
        Ok(Pool {
            id: pool_id(&network.id, range),
            pool: range.to_string(),
            data: BTreeMap::new(),
        })
    }

    pub(super) async fn request_address(
        &self,
        request: RequestAddress,
    ) -> Result<Address, PluginError> {
        let (id, family) = parse_pool_id(&request.pool)
            .ok_or_else(|| PluginError::UnknownNetwork(request.pool.clone()))?;
        let network = self.network(&id)?;
        let records = self.ledger.read(Records::clone).await?;
        let assignment = self.assignment.borrow().clone();
        let tasks = assignment
            .as_deref()
            .map_or(&[][..], |assignment: &Assignment| &assignment.tasks);
        let address = match verdict(&network, family, tasks, &records, &request)? {
            Verdict::Given(address) => address,
            Verdict::Lend(wanted) => self.borrow_address(&network, wanted, family).await?,
        };
        Ok(Address {
            address: address.to_string(),
            data: BTreeMap::new(),
        })
    }

    pub(super) async fn release_address(
        &self,
        request: ReleaseAddress,
    ) -> Result<Value, PluginError> {
        // What is not on loan (gateways, tasks' addresses) is not ours to take back.
        let address = request.address.parse::<IpAddr>();
        if let (Some((network, _)), Ok(address)) = (parse_pool_id(&request.pool), address) {
            self.ledger
                .change(move |records| {
                    if let Some(lease) = records.held(&network, address) {
                        lease.state = LeaseState::Released;
                    }
                })
                .await?;
            self.loan_released.notify_one();
        }
        Ok(json!({}))
    }

    /// Borrows an address. The loan is written down before the managers are asked, so that one
    /// that they gave and nobody took is given back.
    async fn borrow_address(
        &self,
        network: &Network,
        wanted: Option<IpAddr>,
        family: Family,
    ) -> Result<IpNet, PluginError> {
        let name = format!("{:032x}", rand::random::<u128>());
        let lease = Lease {
            network: network.id.clone(),
            state: LeaseState::Asked,
        };
        let key = name.clone();
        self.ledger
            .change(move |records| records.leases.insert(key, lease))
            .await?;
        let lent = self.ask_managers(&name, network, wanted, family).await;
        let state = match &lent {
            Ok(address) => LeaseState::Held(address.addr()),
            Err(_) => LeaseState::Released,
        };
        self.ledger
            .change(move |records| {
                if let Some(lease) = records.leases.get_mut(&name) {
                    lease.state = state;
                }
            })
            .await?;
        if lent.is_err() {
            self.loan_released.notify_one();
        }
        lent
    }

    async fn ask_managers(
        &self,
        name: &str,
        network: &Network,
        wanted: Option<IpAddr>,
        family: Family,
    ) -> Result<IpNet, PluginError> {
        let asked = async {
            // Before the managers know which loans there are, they would take a new one for one
            // that is gone.
            let mut known = self.loans_known.subscribe();
            if known.wait_for(|known| *known).await.is_err() {
                return Err(PluginError::NotMember);
            }
            let lent = self
                .manager
                .attach(name.to_owned(), network.id.clone(), wanted, family)
                .await;
            let task = lent.map_err(|source| PluginError::Refused {
                network: network.spec.name.clone(),
                source,
            })?;
            addresses_in(&task, &network.id)
                .next()
                .ok_or_else(|| PluginError::NoAddress(network.spec.name.clone()))
        };
        match tokio::time::timeout(LOAN_TIMEOUT, asked).await {
            Ok(lent) => lent,
            Err(_) => Err(PluginError::NoManager {
                network: network.spec.name.clone(),
                limit: LOAN_TIMEOUT,
            }),
        }
    }
}

/// What the engine names a range by.
fn pool_id(network: &NetworkId, range: IpNet) -> String {
    format!("{network}/{range}")
}

/// The network of such a name, and the range's family. Engine networks that earlier daemons made
/// have IPv4 only, and name the cluster's network alone.
fn parse_pool_id(id: &str) -> Option<(NetworkId, Family)> {
    let (network, family) = match id.split_once('/') {
        Some((network, range)) => (network, Family::of(range.parse::<IpNet>().ok()?.addr())),
        None => (id, Family::V4),
    };
    Some((NetworkId::parse(network).ok()?, family))
}

/// Decides about a request for an address of a family in `network`.
fn verdict(
    network: &Network,
    family: Family,
    tasks: &[Task],
    records: &Records,
    request: &RequestAddress,
) -> Result<Verdict, PluginError> {
    let wanted = match request.address.as_str() {
        "" => None,
        text => {
            let address = text.parse::<IpAddr>();
            Some(address.map_err(|_| PluginError::BadAddress(text.to_owned()))?)
        }
    };
    if request.is_gateway() {
        return gateway(network, family, wanted).map(Verdict::Given);
    }
    let of_task = wanted.and_then(|wanted| {
        let addresses = tasks
            .iter()
            .flat_map(|task| addresses_in(task, &network.id));
        addresses
            .into_iter()
            .find(|address| address.addr() == wanted)
    });
    if let Some(address) = of_task {
        // Not even with `docker run --ip` may a container take the place of a running task.
        return if records.is_used(&network.id, address.addr()) {
            Err(PluginError::AddressInUse(address.addr().to_string()))
        } else {
            Ok(Verdict::Given(address))
        };
    }
    if network.spec.attachable {
        Ok(Verdict::Lend(wanted))
    } else {
        Err(PluginError::NotAttachable(network.spec.name.clone()))
    }
}

/// The gateway of the network's subnet that `wanted` is in, or of its first of the family.
fn gateway(
    network: &Network,
    family: Family,
    wanted: Option<IpAddr>,
) -> Result<IpNet, PluginError> {
    let unknown = || PluginError::UnknownPool {
        pool: wanted.map_or_else(String::new, |wanted| wanted.to_string()),
        network: network.spec.name.clone(),
    };
    let subnet = network
        .subnets
        .iter()
        .find(|subnet| match wanted {
            Some(wanted) => subnet.range.contains(&wanted),
            None => Family::of(subnet.gateway) == family,
        })
        .ok_or_else(unknown)?;
    IpNet::new(wanted.unwrap_or(subnet.gateway), subnet.range.prefix_len()).map_err(|_| unknown())
}

fn addresses_in<'a>(task: &'a Task, network: &'a NetworkId) -> impl Iterator<Item = IpNet> + 'a {
    let attachments = task
        .attachments
        .iter()
        .filter(move |a| a.network == *network);
    attachments.flat_map(|attachment| attachment.addresses.iter().copied())
}

#[cfg(test)]
mod tests {
    use orch_core::ids::{NodeId, ServiceId, TaskId};
    use orch_core::network::{Subnet, Vni};
    use orch_core::objects::Meta;
    use orch_core::objects::network::NetworkSpec;
    use orch_core::objects::task::{NetworkAttachment, TaskOwner, TaskSpec, TaskStatus};
    use orch_core::task_state::{DesiredState, TaskState};
    use orch_core::time::Timestamp;

    use super::super::ledger::Endpoint;
    use super::*;

    fn network(attachable: bool) -> Network {
        Network {
            id: NetworkId::from_random(1),
            meta: Meta::default(),
            spec: NetworkSpec {
                name: "sandbox".to_owned(),
                labels: BTreeMap::new(),
                attachable,
                internal: false,
                ingress: false,
                ipv6: false,
                ipam: Vec::new(),
                driver_options: BTreeMap::new(),
            },
            vni: Vni::MIN,
            subnets: [
                ("10.0.10.0/24", "10.0.10.1"),
                ("fd00:10::/64", "fd00:10::1"),
            ]
            .map(|(range, gateway)| Subnet {
                range: range.parse().unwrap(),
                gateway: gateway.parse().unwrap(),
            })
            .to_vec(),
            last_address: None,
            last_address_v6: None,
        }
    }

    fn task() -> Task {
        Task {
            id: TaskId::from_random(7),
            meta: Meta::default(),
            owner: TaskOwner::Service {
                id: ServiceId::from_random(1),
                name: "web".to_owned(),
                slot: 1,
            },
            spec: TaskSpec::default(),
            spec_version: 1,
            node: Some(NodeId::from_random(2)),
            status: TaskStatus {
                state: TaskState::Ready,
                since: Timestamp::default(),
                message: String::new(),
                error: String::new(),
                container: None,
            },
            desired: DesiredState::Running,
            not_before: None,
            attachments: vec![NetworkAttachment {
                network: NetworkId::from_random(1),
                addresses: ["10.0.10.5/24", "fd00:10::5/64"]
                    .map(|address| address.parse().unwrap())
                    .to_vec(),
                aliases: Vec::new(),
            }],
            running_since: None,
        }
    }

    fn ask(address: &str, gateway: bool) -> RequestAddress {
        let kind = (
            "RequestAddressType".to_owned(),
            "com.docker.network.gateway".to_owned(),
        );
        RequestAddress {
            pool: String::new(),
            address: address.to_owned(),
            options: gateway.then(|| BTreeMap::from([kind])),
        }
    }

    fn decide(attachable: bool, request: &RequestAddress) -> Result<Verdict, PluginError> {
        verdict(
            &network(attachable),
            Family::V4,
            &[task()],
            &Records::default(),
            request,
        )
    }

    fn given(address: &str) -> Verdict {
        Verdict::Given(address.parse().unwrap())
    }

    #[test]
    fn ranges_are_named_by_network_and_family() {
        let network = NetworkId::from_random(1);
        for (range, family) in [("10.0.10.0/24", Family::V4), ("fd00:10::/64", Family::V6)] {
            let id = pool_id(&network, range.parse().unwrap());
            assert_eq!(parse_pool_id(&id), Some((network.clone(), family)));
        }
        // As earlier daemons named them.
        let bare = parse_pool_id(network.as_str());
        assert_eq!(bare, Some((network, Family::V4)));
        assert_eq!(parse_pool_id("x"), None);
    }

    #[test]
    fn gateways_are_the_networks() {
        assert_eq!(
            decide(false, &ask("10.0.10.1", true)).unwrap(),
            given("10.0.10.1/24")
        );
        assert_eq!(
            decide(false, &ask("", true)).unwrap(),
            given("10.0.10.1/24")
        );
        let any_v6 = ask("", true);
        let of_v6 = verdict(
            &network(false),
            Family::V6,
            &[],
            &Records::default(),
            &any_v6,
        );
        assert_eq!(of_v6.unwrap(), given("fd00:10::1/64"));
        let elsewhere = decide(false, &ask("10.9.9.1", true));
        assert!(matches!(elsewhere, Err(PluginError::UnknownPool { .. })));
    }

    #[test]
    fn a_tasks_address_is_given_to_its_container_only() {
        let request = ask("10.0.10.5", false);
        assert_eq!(decide(false, &request).unwrap(), given("10.0.10.5/24"));
        let v6 = decide(false, &ask("fd00:10::5", false));
        assert_eq!(v6.unwrap(), given("fd00:10::5/64"));
        let mut records = Records::default();
        let endpoint = Endpoint {
            network: NetworkId::from_random(1),
            address: "10.0.10.5/24".parse().unwrap(),
            address_v6: None,
            mac: [0; 6],
        };
        records.endpoints.insert("other".to_owned(), endpoint);
        let again = verdict(&network(true), Family::V4, &[task()], &records, &request);
        assert!(matches!(again, Err(PluginError::AddressInUse(_))));
    }

    #[test]
    fn other_containers_borrow_on_attachable_networks() {
        assert_eq!(decide(true, &ask("", false)).unwrap(), Verdict::Lend(None));
        let wanted = "10.0.10.9".parse().unwrap();
        assert_eq!(
            decide(true, &ask("10.0.10.9", false)).unwrap(),
            Verdict::Lend(Some(wanted))
        );
        let refused = decide(false, &ask("", false)).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("network sandbox not manually attachable")
        );
        let nonsense = decide(true, &ask("ten", false));
        assert!(matches!(nonsense, Err(PluginError::BadAddress(_))));
    }
}
