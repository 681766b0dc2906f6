//! A small cluster for unit tests: the store, a clock that stands still, and nodes that do what
//! the test says.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::consensus::Group;
use crate::control::{self, ControlError, InitCluster};
use crate::dispatch::TaskReport;
use crate::ids::{ClusterId, NetworkId, NodeId, ServiceId, TaskId};
use crate::objects::cluster::{JoinTokens, RootCa};
use crate::objects::network::IpamConfig;
use crate::objects::node::{Availability, NodeDescription, NodeState, Role};
use crate::objects::service::{EndpointSpec, ServiceMode};
use crate::objects::task::{ContainerSpec, NetworkAttachmentConfig, TaskSpec, TaskStatus};
use crate::objects::{ClusterSpec, NetworkSpec, NodeSpec, Service, ServiceSpec, Task};
use crate::reconcile;
use crate::store::{Change, Entropy, State, Tx};
use crate::task_state::{DesiredState, TaskState};
use crate::time::Timestamp;

/// The cluster under test.
pub(crate) struct Bench {
    pub state: State,
    pub now: Timestamp,
    pub entropy: Entropy,
    pub wake_at: Option<Timestamp>,
    nodes: Vec<NodeId>,
}

impl Bench {
    /// A cluster of so many ready nodes; the first is the manager.
    pub(crate) fn with_nodes(count: u8) -> Self {
        Self::with_pool(count, "10.0.0.0/8")
    }

    /// The same, cutting its networks from that range.
    pub(crate) fn with_pool(count: u8, pool: &str) -> Self {
        Self::with_pools(count, &[pool])
    }

    /// The same, cutting its networks from those ranges.
    pub(crate) fn with_pools(count: u8, pools: &[&str]) -> Self {
        let mut bench = Self {
            state: State::default(),
            now: Timestamp::default() + Duration::from_secs(1_000),
            entropy: Entropy::from_seed(7),
            wake_at: None,
            nodes: (1..=count)
                .map(|n| NodeId::from_random(u128::from(n)))
                .collect(),
        };
        let init = init(bench.node(0), pools);
        bench.write(|tx| control::init_cluster(tx, init)).unwrap();
        for index in 0..count {
            let node = bench.node(index.into());
            let admit = |tx: &mut Tx<'_>| {
                control::admit_node(tx, &node, Role::Worker, Availability::Active)?;
                control::open_session(tx, &node, description(index), underlay(index))
            };
            bench.write(admit).unwrap();
        }
        bench
    }

    pub(crate) fn node(&self, index: usize) -> NodeId {
        self.nodes[index].clone()
    }

    /// Runs an operation and applies what it decided, without reconciling.
    pub(crate) fn write<T>(
        &mut self,
        decide: impl FnOnce(&mut Tx<'_>) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut tx = Tx::new(&self.state, self.now, &mut self.entropy);
        let result = decide(&mut tx)?;
        let changes = tx.into_changes();
        self.apply(&changes);
        Ok(result)
    }

    fn apply(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            self.state.apply(self.state.version() + 1, changes).unwrap();
        }
    }

    /// One pass, applied.
    pub(crate) fn step(&mut self) -> Vec<Change> {
        let outcome = reconcile::step(&self.state, self.now, &mut self.entropy);
        self.apply(&outcome.changes);
        self.wake_at = outcome.wake_at;
        outcome.changes
    }

    /// Lets time pass, then one pass.
    pub(crate) fn advance(&mut self, span: Duration) {
        self.now = self.now + span;
        self.step();
    }

    pub(crate) fn create(&mut self, spec: ServiceSpec) -> ServiceId {
        let id = self.write(|tx| control::create_service(tx, spec)).unwrap();
        self.step();
        id
    }

    /// Changes a service's spec, then one pass.
    pub(crate) fn update(
        &mut self,
        id: &ServiceId,
        change: impl FnOnce(&mut ServiceSpec),
    ) -> Result<(), ControlError> {
        let service = self.service(id);
        let mut spec = service.spec.clone();
        change(&mut spec);
        self.write(|tx| control::update_service(tx, id, service.meta.version, spec))?;
        self.step();
        Ok(())
    }

    pub(crate) fn scale(&mut self, id: &ServiceId, replicas: u64) {
        self.update(id, |spec| spec.mode = ServiceMode::Replicated { replicas })
            .unwrap();
    }

    pub(crate) fn network(&mut self, name: &str, subnet: Option<&str>) -> NetworkId {
        let spec = network_spec(name, subnet);
        self.write(|tx| control::create_network(tx, spec)).unwrap()
    }

    /// A node reports, then one pass.
    pub(crate) fn report(&mut self, task: &Task, state: TaskState) {
        let node = task.node.clone().unwrap();
        let status = TaskStatus {
            state,
            ..task.status.clone()
        };
        let report = TaskReport {
            id: task.id.clone(),
            status,
        };
        self.write(|tx| {
            control::report_tasks(tx, &node, &[report]);
            Ok(())
        })
        .unwrap();
        self.step();
    }

    /// Every node that is not down does what it was told, until nothing changes.
    pub(crate) fn obey(&mut self) {
        loop {
            let next = self.state.tasks().find_map(|task| {
                let target = match task.desired {
                    DesiredState::Ready => TaskState::Ready,
                    DesiredState::Running => TaskState::Running,
                    DesiredState::Shutdown | DesiredState::Remove => TaskState::Shutdown,
                };
                let state = task.status.state;
                let node = task.node.as_ref().and_then(|id| self.state.node(id));
                let due = node.is_some_and(|n| n.may_serve())
                    && state >= TaskState::Assigned
                    && !state.is_terminal()
                    && state < target;
                due.then(|| (Task::clone(task), target))
            });
            match next {
                Some((task, target)) => self.report(&task, target),
                None => return,
            }
        }
    }

    pub(crate) fn set_node(&mut self, index: usize, state: NodeState) {
        let id = self.node(index);
        let mut node = crate::objects::Node::clone(self.state.node(&id).unwrap());
        node.status.state = state;
        self.write(|tx| {
            tx.put(crate::store::Object::Node(node));
            Ok(())
        })
        .unwrap();
        self.step();
    }

    pub(crate) fn update_node(&mut self, index: usize, change: impl FnOnce(&mut NodeSpec)) {
        let node = self.node(index);
        let stored = self.state.node(&node).unwrap();
        let (version, mut spec) = (stored.meta.version, stored.spec.clone());
        change(&mut spec);
        self.write(|tx| control::update_node(tx, &node, version, spec, &Group::default()))
            .unwrap();
        self.step();
    }

    pub(crate) fn service(&self, id: &ServiceId) -> Service {
        Service::clone(self.state.service(id).unwrap())
    }

    /// The tasks of a service that are wanted, by slot.
    pub(crate) fn wanted(&self, id: &ServiceId) -> Vec<Arc<Task>> {
        let mut tasks = self.tasks(id);
        tasks.retain(|t| t.is_wanted());
        tasks
    }

    /// All tasks of a service, by slot.
    pub(crate) fn tasks(&self, id: &ServiceId) -> Vec<Arc<Task>> {
        let mut tasks: Vec<_> = self
            .state
            .tasks()
            .filter(|t| t.service() == Some(id))
            .cloned()
            .collect();
        tasks.sort_by_key(|t| (t.slot(), t.meta.created_at));
        tasks
    }

    pub(crate) fn task(&self, id: &TaskId) -> Task {
        Task::clone(self.state.task(id).unwrap())
    }

    /// The slots of the wanted tasks.
    pub(crate) fn slots(&self, id: &ServiceId) -> Vec<u64> {
        self.wanted(id).iter().filter_map(|t| t.slot()).collect()
    }
}

pub(crate) fn init(node: NodeId, pools: &[&str]) -> InitCluster {
    InitCluster {
        id: ClusterId::from_random(1),
        spec: ClusterSpec::default(),
        address_pools: pools.iter().map(|p| p.parse().unwrap()).collect(),
        subnet_size: 24,
        data_path_port: 4789,
        root_ca: RootCa {
            certificate_pem: String::new(),
            key_pem: String::new(),
        },
        join_tokens: JoinTokens {
            worker: String::new(),
            manager: String::new(),
        },
        node,
        availability: Availability::Active,
        raft_id: 1,
        manager_address: SocketAddr::new(underlay(0), 2377),
        address: underlay(0),
        description: description(0),
    }
}

/// The underlay address of the node of that index.
pub(crate) fn underlay(index: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, index + 1))
}

fn description(index: u8) -> NodeDescription {
    NodeDescription {
        hostname: format!("n{}", index + 1),
        architecture: "x86_64".to_owned(),
        os: "linux".to_owned(),
        nano_cpus: 2_000_000_000,
        memory_bytes: 4 << 30,
        ..NodeDescription::default()
    }
}

/// A service of so many tasks on the ingress network.
pub(crate) fn service_spec(name: &str, replicas: u64) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        task: TaskSpec {
            container: ContainerSpec {
                image: "image:1".to_owned(),
                ..ContainerSpec::default()
            },
            ..TaskSpec::default()
        },
        mode: ServiceMode::Replicated { replicas },
        networks: Vec::new(),
        update: None,
        rollback: None,
        endpoint: EndpointSpec::default(),
    }
}

pub(crate) fn on_network(mut spec: ServiceSpec, network: &NetworkId) -> ServiceSpec {
    spec.task.networks.push(NetworkAttachmentConfig {
        target: network.clone(),
        aliases: Vec::new(),
        driver_options: BTreeMap::new(),
    });
    spec
}

/// A network of both families, with the ranges asked for.
pub(crate) fn dual_stack_spec(name: &str, subnets: &[&str]) -> NetworkSpec {
    let mut spec = network_spec(name, None);
    spec.ipv6 = true;
    for subnet in subnets {
        spec.ipam.extend(network_spec(name, Some(subnet)).ipam);
    }
    spec
}

pub(crate) fn network_spec(name: &str, subnet: Option<&str>) -> NetworkSpec {
    let config = |subnet: &str| IpamConfig {
        subnet: subnet.parse().unwrap(),
        gateway: None,
        range: None,
    };
    NetworkSpec {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        attachable: true,
        internal: false,
        ingress: false,
        ipv6: false,
        ipam: subnet.map(config).into_iter().collect(),
        driver_options: BTreeMap::new(),
    }
}
