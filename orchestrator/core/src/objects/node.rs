//! A host that joined the cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Labels, Meta};
use crate::ids::NodeId;
use crate::network::Protocol;

/// A host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, the common name of its certificate.
    pub id: NodeId,
    /// Versions and times.
    pub meta: Meta,
    /// What the user may change.
    pub spec: NodeSpec,
    /// What the host said of itself; `None` until it reported for the first time.
    pub description: Option<NodeDescription>,
    /// What the managers know of its health.
    pub status: NodeStatus,
    /// Present on managers.
    pub manager: Option<ManagerStatus>,
    /// Published ports that processes of the host listen on too.
    #[serde(default)]
    pub taken_ports: BTreeSet<TakenPort>,
}

/// A published port of the cluster that a process of the host listens on, which no client from
/// outside reaches any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TakenPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Who listens, such as `nginx (pid 123)`.
    pub holder: String,
}

impl Node {
    /// Where its tunnel packets come from and go to; `None` until it registered.
    pub fn underlay(&self) -> Option<IpAddr> {
        self.description
            .as_ref()
            .and_then(|d| d.data_path_address)
            .or(self.status.address)
    }

    /// What the user calls it.
    pub fn name(&self) -> &str {
        let hostname = self.description.as_ref().map(|d| d.hostname.as_str());
        hostname.unwrap_or(self.id.as_str())
    }

    /// What it is trusted with now: a manager that is to be none stays one until the raft group
    /// goes on without it.
    pub fn serves_as(&self) -> Role {
        match self.manager {
            Some(_) => Role::Manager,
            None => self.spec.role,
        }
    }

    /// Whether clients may be led to what runs there.
    pub fn may_serve(&self) -> bool {
        !matches!(self.status.state, NodeState::Down | NodeState::Unreachable)
    }
}

/// What the user may change of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// A name given by the user; usually none.
    pub name: Option<String>,
    /// Labels for placement.
    pub labels: Labels,
    /// The role it should have.
    pub role: Role,
    /// Whether tasks may be placed on it.
    pub availability: Availability,
}

/// What a node is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Runs tasks.
    Worker,
    /// Also keeps the cluster's state.
    Manager,
}

/// Whether tasks may be placed on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Availability {
    /// Takes new tasks.
    Active,
    /// Keeps its tasks, takes no new ones.
    Pause,
    /// Its tasks move elsewhere.
    Drain,
}

/// Health of a node as seen by the managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Not heard of since the leader changed.
    Unknown,
    /// Missed its heartbeats.
    Down,
    /// Reports in time.
    Ready,
    /// Said good-bye.
    Disconnected,
    /// Neither its daemon nor its host is heard of: nothing is led there, and its tasks are not
    /// replaced yet.
    Unreachable,
}

/// What the managers know of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its health.
    pub state: NodeState,
    /// Why, in words for the user; empty when ready.
    pub message: String,
    /// Underlay address: where other nodes send its tunnel packets.
    pub address: Option<IpAddr>,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeDescription {
    /// Its hostname.
    pub hostname: String,
    /// `x86_64`, `aarch64`, ... as the engine says it.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// Billionths of a CPU.
    pub nano_cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Version of the host's container engine.
    pub engine_version: String,
    /// Labels of the engine, for placement.
    pub engine_labels: Labels,
    /// Plugins of the engine as (type, name).
    pub plugins: Vec<(String, String)>,
    /// Address the node wants its tunnel packets at.
    pub data_path_address: Option<IpAddr>,
}

/// A manager's place among the managers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerStatus {
    /// Its raft member id; never reused.
    pub raft_id: u64,
    /// Where it serves node-to-node calls.
    pub address: SocketAddr,
}
