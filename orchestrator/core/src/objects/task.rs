//! A task: one run of one container on one node. It never moves and never restarts; what follows
//! it in its slot is a new task.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Labels, Meta};
use crate::ids::{NetworkId, NodeId, ServiceId, TaskId};
use crate::task_state::{DesiredState, TaskState};
use crate::time::Timestamp;

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Versions and times.
    pub meta: Meta,
    /// What it belongs to.
    pub owner: TaskOwner,
    /// What it runs; fixed at creation.
    pub spec: TaskSpec,
    /// The service's `spec_version` that it was made from.
    pub spec_version: u64,
    /// The node it runs on; set by the scheduler, or from birth for attachments.
    pub node: Option<NodeId>,
    /// Observed state; only grows.
    pub status: TaskStatus,
    /// What the managers want of it; never lowered.
    pub desired: DesiredState,
    /// A replacement is started at this moment at the earliest (restart delay).
    pub not_before: Option<Timestamp>,
    /// When it was first seen running; `None` if it never was. Managers' clock.
    #[serde(default)]
    pub running_since: Option<Timestamp>,
    /// Its addresses.
    pub attachments: Vec<NetworkAttachment>,
}

impl Task {
    /// The service it belongs to; `None` for attachments.
    pub fn service(&self) -> Option<&ServiceId> {
        match &self.owner {
            TaskOwner::Service { id, .. } => Some(id),
            TaskOwner::Attachment { .. } => None,
        }
    }

    /// The replica's number; `None` for attachments.
    pub fn slot(&self) -> Option<u64> {
        match &self.owner {
            TaskOwner::Service { slot, .. } => Some(*slot),
            TaskOwner::Attachment { .. } => None,
        }
    }

    /// Whether the managers want it to run, now or soon.
    pub fn is_wanted(&self) -> bool {
        self.desired <= DesiredState::Running
    }

    /// Whether it serves clients: it runs and nobody told it to stop.
    pub fn is_serving(&self) -> bool {
        self.is_wanted() && self.status.state == TaskState::Running
    }

    /// Whether it served clients until it was told to stop, and has not stopped yet.
    pub fn is_leaving(&self) -> bool {
        !self.is_wanted() && self.status.state == TaskState::Running
    }

    /// Whether its addresses are taken: it has some and has not ended.
    pub fn holds_addresses(&self) -> bool {
        !self.status.state.is_terminal()
    }

    /// Its addresses in that network.
    pub fn addresses_in(&self, network: &NetworkId) -> impl Iterator<Item = IpAddr> {
        self.attachments
            .iter()
            .filter(move |a| a.network == *network)
            .flat_map(|a| a.addresses.iter().map(IpNet::addr))
    }
}

/// What a task belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskOwner {
    /// A replica of a service.
    Service {
        /// The service.
        id: ServiceId,
        /// Its name when the task was made: part of the container's name.
        name: String,
        /// The replica's number, from 1.
        slot: u64,
    },
    /// A container that somebody attached to a cluster network on a host's own engine
    /// (`docker run --network`). The engine runs it; the cluster only lends it an address.
    Attachment {
        /// The engine's endpoint id.
        endpoint: String,
    },
}

/// Observed state of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// How far it came.
    pub state: TaskState,
    /// When it came there, by the managers' clock: they stamp it when they take the report.
    pub since: Timestamp,
    /// What happened last, in words.
    pub message: String,
    /// Why it waits or failed; empty when all is well.
    pub error: String,
    /// Its container, once there is one.
    pub container: Option<ContainerStatus>,
}

/// What the engine knows of a task's container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// The engine's container id.
    pub id: String,
    /// Its process id on the host; 0 when it does not run.
    pub pid: i64,
    /// How its process ended; `None` while it runs.
    pub exit_code: Option<i64>,
}

/// A task's addresses in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// The network.
    pub network: NetworkId,
    /// Addresses with the prefix length of their subnet (host bits set).
    pub addresses: Vec<IpNet>,
    /// Further names of the service in this network.
    pub aliases: Vec<String>,
}

/// What a task runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The container.
    pub container: ContainerSpec,
    /// Limits and reservations.
    pub resources: Resources,
    /// What happens when it ends; `None` is Docker's default.
    pub restart: Option<RestartPolicy>,
    /// Where it may run.
    pub placement: Placement,
    /// Networks it is attached to; none means the ingress network.
    pub networks: Vec<NetworkAttachmentConfig>,
    /// Log driver; `None` is the engine's own.
    pub log_driver: Option<LogDriver>,
    /// Counts `--force`.
    pub force_update: u64,
}

/// A network that a task is attached to, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachmentConfig {
    /// The network: the API resolves names to ids before it stores a spec.
    pub target: NetworkId,
    /// Further names of the service in this network.
    pub aliases: Vec<String>,
    /// Driver options, kept for the round trip.
    pub driver_options: BTreeMap<String, String>,
}

/// What a container runs and how. `None` and empty mean the image's or the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Image reference, with a digest where one was resolved.
    pub image: String,
    /// Labels of the container.
    pub labels: Labels,
    /// Entry point.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Host name inside.
    pub hostname: Option<String>,
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// Working directory.
    pub dir: Option<String>,
    /// User, also `uid:gid`.
    pub user: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
    /// Whether a terminal is allocated.
    pub tty: bool,
    /// Whether standard input stays open.
    pub open_stdin: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Whether an init runs as process 1; `None` is the engine's default.
    pub init: Option<bool>,
    /// Signal that stops it.
    pub stop_signal: Option<String>,
    /// Time between that signal and SIGKILL; `None` is 10 s.
    pub stop_grace_period: Option<Duration>,
    /// Health check; `None` is the image's.
    pub healthcheck: Option<Healthcheck>,
    /// Lines for `/etc/hosts` in the API's form `ADDRESS NAME...`.
    pub hosts: Vec<String>,
    /// Resolver settings.
    pub dns: DnsConfig,
    /// Mounted volumes, folders and memory.
    pub mounts: Vec<Mount>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Capabilities added.
    pub capability_add: Vec<String>,
    /// Capabilities dropped.
    pub capability_drop: Vec<String>,
    /// Resource limits of its processes.
    pub ulimits: Vec<Ulimit>,
}

/// How a container's health is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// Docker's form: `NONE`, or `CMD`/`CMD-SHELL` and words; empty inherits the image's.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: Option<Duration>,
    /// Time a check may take.
    pub timeout: Option<Duration>,
    /// Failures in a row until it is unhealthy; 0 inherits.
    pub retries: u64,
    /// Grace after the start.
    pub start_period: Option<Duration>,
    /// Time between checks during that grace.
    pub start_interval: Option<Duration>,
}

/// Resolver settings of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Servers asked for names that the cluster does not know.
    pub nameservers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path inside.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A folder or file of the host.
    Bind {
        /// Its path.
        path: String,
        /// Propagation mode, Docker's words.
        propagation: Option<String>,
    },
    /// A volume of the host's engine; an anonymous one without a name.
    Volume {
        /// Its name.
        name: Option<String>,
        /// Labels it is created with.
        labels: Labels,
        /// Driver it is created with.
        driver: Option<String>,
        /// That driver's options.
        options: BTreeMap<String, String>,
        /// Whether the image's content is not copied into a new volume.
        no_copy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; `None` is unlimited.
        size_bytes: Option<u64>,
        /// File mode.
        mode: Option<u32>,
    },
}

/// A resource limit of a container's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, ...
    pub name: String,
    /// Soft limit; -1 is none.
    pub soft: i64,
    /// Hard limit; -1 is none.
    pub hard: i64,
}

/// Limits and reservations of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// What it may not exceed.
    pub limits: ResourceAmounts,
    /// What a node must have free for it.
    pub reservations: ResourceAmounts,
}

/// Amounts of resources; 0 is "not given".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceAmounts {
    /// Billionths of a CPU.
    pub nano_cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes; limits only.
    pub pids: u64,
}

/// What happens when a task ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// After which ends a new task takes its place.
    pub condition: RestartCondition,
    /// Pause before the new task starts; `None` is 5 s.
    pub delay: Option<Duration>,
    /// Restarts at most; 0 is without end.
    pub max_attempts: u64,
    /// Only restarts within this time count; `None` counts all.
    pub window: Option<Duration>,
}

impl RestartPolicy {
    /// Docker's default pause before a restart.
    pub const DEFAULT_DELAY: Duration = Duration::from_secs(5);
}

/// After which ends a new task takes a task's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartCondition {
    /// Never.
    None,
    /// When it failed.
    OnFailure,
    /// Always.
    Any,
}

/// Where a task may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Expressions such as `node.labels.zone==a`; all must hold.
    pub constraints: Vec<String>,
    /// Spread over the values of these labels first.
    pub preferences: Vec<String>,
    /// Tasks of one service per node at most; 0 is no limit.
    pub max_replicas: u64,
    /// Platforms of the image as (os, architecture); empty is any.
    pub platforms: Vec<(String, String)>,
}

/// A log driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDriver {
    /// Its name.
    pub name: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}
