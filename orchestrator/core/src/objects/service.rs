//! A service: how many tasks of what kind, and how clients find them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::task::{NetworkAttachmentConfig, TaskSpec};
use super::{EndpointOptions, Labels, Meta};
use crate::ids::{NetworkId, ServiceId};
use crate::network::Protocol;
use crate::time::Timestamp;

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Versions and times.
    pub meta: Meta,
    /// What the user asks for now.
    pub spec: ServiceSpec,
    /// Counts changes of the spec; tasks carry the value that they were made from.
    pub spec_version: u64,
    /// What the user asked for before, for a rollback.
    pub previous_spec: Option<Box<ServiceSpec>>,
    /// How clients find it: allocated addresses and ports.
    pub endpoint: Endpoint,
    /// How the current update goes.
    pub update_status: Option<UpdateStatus>,
}

impl Service {
    /// The ports that a task of it takes on its host alone.
    pub fn host_ports(&self) -> BTreeSet<(Protocol, u16)> {
        let ports = self.endpoint.ports.iter();
        ports
            .filter(|p| p.mode == PublishMode::Host)
            .filter_map(|p| Some((p.protocol, p.published?)))
            .collect()
    }
}

/// What the user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Unique name, a DNS label.
    pub name: String,
    /// User labels of the service.
    pub labels: Labels,
    /// What each task runs.
    pub task: TaskSpec,
    /// How many tasks, and where.
    pub mode: ServiceMode,
    /// Networks given at the top level of the spec, as API versions before 1.44 do.
    #[serde(default)]
    pub networks: Vec<NetworkAttachmentConfig>,
    /// How an update rolls; `None` is Docker's default.
    pub update: Option<UpdateConfig>,
    /// How a rollback rolls; `None` is Docker's default.
    pub rollback: Option<UpdateConfig>,
    /// How clients find it.
    pub endpoint: EndpointSpec,
}

impl ServiceSpec {
    /// The networks its tasks are attached to; none means the ingress network. Networks of the
    /// task spec win over those at the top level.
    pub fn networks(&self) -> &[NetworkAttachmentConfig] {
        if self.task.networks.is_empty() {
            &self.networks
        } else {
            &self.task.networks
        }
    }

    /// The options of its endpoint. The labels were checked when the spec came in.
    pub fn endpoint_options(&self) -> EndpointOptions {
        EndpointOptions::from_labels(&self.labels).unwrap_or_default()
    }

    /// How many tasks it asks for.
    pub fn replicas(&self) -> u64 {
        match self.mode {
            ServiceMode::Replicated { replicas } => replicas,
        }
    }
}

/// How many tasks, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceMode {
    /// So many tasks, wherever they fit.
    Replicated {
        /// How many.
        replicas: u64,
    },
}

/// How an update or rollback rolls over the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateConfig {
    /// Tasks replaced at a time; 0 is all at once.
    pub parallelism: u64,
    /// Pause between replacements.
    pub delay: Duration,
    /// What to do when new tasks fail.
    pub failure_action: FailureAction,
    /// How long a new task is watched for failure.
    pub monitor: Option<Duration>,
    /// Share of failed tasks, in millionths, that an update bears.
    pub max_failure_millionths: u32,
    /// Which of the old and the new task goes first.
    pub order: UpdateOrder,
}

impl UpdateConfig {
    /// Docker's time to watch a new task for failure.
    pub const DEFAULT_MONITOR: Duration = Duration::from_secs(5);
}

impl Default for UpdateConfig {
    /// Docker's defaults: one task at a time, without pauses, stopping at the first failure.
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: None,
            max_failure_millionths: 0,
            order: UpdateOrder::StopFirst,
        }
    }
}

/// What to do when new tasks fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureAction {
    /// Stop where it is.
    Pause,
    /// Never mind.
    Continue,
    /// Go back to the previous spec.
    Rollback,
}

/// Which of the old and the new task goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateOrder {
    /// The old task stops before the new one starts.
    StopFirst,
    /// The new task runs before the old one stops.
    StartFirst,
}

/// How clients find a service, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Virtual address or task addresses.
    pub mode: EndpointMode,
    /// Ports published outside the cluster.
    pub ports: Vec<PortConfig>,
}

/// What a service's name stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointMode {
    /// One virtual address.
    #[default]
    Vip,
    /// The addresses of its tasks.
    DnsRoundRobin,
}

/// A port published outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortConfig {
    /// A name given by the user; usually empty.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port inside the task.
    pub target: u16,
    /// Port on the hosts; `None` in a spec leaves the choice to the cluster.
    pub published: Option<u16>,
    /// On every host, or only where a task runs.
    pub mode: PublishMode,
}

/// Where a published port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PublishMode {
    /// On every host.
    Ingress,
    /// Only where a task runs.
    Host,
}

/// How clients find a service, as allocated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The spec that was allocated for.
    pub spec: EndpointSpec,
    /// Ports with every published port chosen.
    pub ports: Vec<PortConfig>,
    /// Virtual addresses, one per network; none in DNS round robin.
    pub vips: Vec<VirtualIp>,
    /// Addresses that its tasks had until lately, in DNS round robin.
    #[serde(default)]
    pub retired: Vec<RetiredAddress>,
}

/// An address that clients may still know as that of a task, which has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredAddress {
    /// The network.
    pub network: NetworkId,
    /// The address.
    pub address: IpAddr,
    /// When it is forgotten.
    pub until: Timestamp,
}

/// A service's virtual address in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualIp {
    /// The network.
    pub network: NetworkId,
    /// The address with the prefix length of its subnet (host bits set).
    pub address: IpNet,
}

/// How an update goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// Where it stands.
    pub state: UpdateState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// In words for the user.
    pub message: String,
}

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateState {
    /// Tasks are being replaced.
    Updating,
    /// Stopped because of failures.
    Paused,
    /// Done.
    Completed,
    /// Going back.
    RollbackStarted,
    /// Stopped while going back.
    RollbackPaused,
    /// Back.
    RollbackCompleted,
}
