//! Everything that one node must know and do, as one value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{NetworkId, NodeId, TaskId};
use crate::network::{self, DesiredNetwork, Protocol};
use crate::objects::node::Role;
use crate::objects::{Network, Task};
use crate::planted::{self, Fault};
use crate::store::State;
use crate::task_state::TaskState;

/// Everything that one node must know and do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Store version it was computed from.
    pub version: u64,
    /// The node's tasks that have not ended, those to be stopped included, and the ended ones that
    /// are kept as history: their containers stay for `docker logs`. What the node runs or keeps
    /// beside them has no business there.
    pub tasks: Vec<Task>,
    /// The networks of the tasks that have not ended and all attachable ones.
    pub networks: Vec<Network>,
    /// What its data plane must hold.
    pub network: DesiredNetwork,
    /// The ports that each of these tasks takes on this host alone.
    #[serde(default)]
    pub host_ports: BTreeMap<TaskId, BTreeSet<(Protocol, u16)>>,
    /// How often the node must report that it lives.
    pub heartbeat_period: Duration,
    /// What the node is trusted with.
    #[serde(default = "worker")]
    pub role: Role,
    /// The member of the raft group that the managers know it as.
    #[serde(default)]
    pub member: Option<u64>,
}

/// Managers that do not say it yet have none beside them.
fn worker() -> Role {
    Role::Worker
}

impl Assignment {
    /// Whether the managers do not know the node as this member of the raft group any more: it was
    /// demoted and promoted again before it was told, and needs another place. What it was told
    /// before `since`, the entry that gave it its place, does not count.
    pub fn disowns(&self, member: u64, since: u64) -> bool {
        self.role == Role::Manager && self.version >= since && self.member != Some(member)
    }

    /// Whether both tell a node the same. Versions do not count: they change with every entry.
    pub fn same_content(&self, other: &Self) -> bool {
        let desired = |a: &Self| DesiredNetwork {
            version: 0,
            ..a.network.clone()
        };
        let networks_equal = self.networks.len() == other.networks.len()
            && self
                .networks
                .iter()
                .zip(&other.networks)
                .all(|(a, b)| same_network(a, b));
        let same_tasks = match planted::is(Fault::LoseChange) {
            true => self.tasks.len() == other.tasks.len(),
            false => self.tasks == other.tasks,
        };
        same_tasks
            && networks_equal
            && self.host_ports == other.host_ports
            && self.heartbeat_period == other.heartbeat_period
            && self.role == other.role
            && self.member == other.member
            && desired(self) == desired(other)
    }
}

/// A network's address cursor moves with every task of the cluster and is no business of a node.
fn same_network(a: &Network, b: &Network) -> bool {
    a.id == b.id && a.spec == b.spec && a.vni == b.vni && a.subnets == b.subnets
}

/// The assignment of `node`; `None` when there is no such node or no cluster.
pub fn assignment(state: &State, node: &NodeId) -> Option<Assignment> {
    let cluster = state.cluster()?;
    let this = state.node(node)?;
    let member = this.manager.as_ref().map(|manager| manager.raft_id);
    let tasks: Vec<Task> = state
        .tasks()
        .filter(|t| t.node.as_ref() == Some(node) && t.service().is_some())
        .filter(|t| t.status.state >= TaskState::Assigned)
        .map(|t| Task::clone(t))
        .collect();
    let used: BTreeSet<&NetworkId> = tasks
        .iter()
        .filter(|t| !t.status.state.is_terminal())
        .flat_map(|t| t.attachments.iter().map(|a| &a.network))
        .collect();
    let networks = state
        .networks()
        .filter(|n| n.spec.attachable || used.contains(&n.id))
        .map(|n| Network::clone(n))
        .collect();
    let host_ports = tasks
        .iter()
        .filter(|t| !t.status.state.is_terminal())
        .filter_map(|t| Some((t.id.clone(), state.service(t.service()?)?.host_ports())))
        .filter(|(_, ports)| !ports.is_empty())
        .collect();
    Some(Assignment {
        host_ports,
        version: state.version(),
        networks,
        network: network::desired(state, node),
        heartbeat_period: cluster.spec.heartbeat_period,
        role: this.serves_as(),
        member,
        tasks,
    })
}
