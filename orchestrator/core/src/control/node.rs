//! Nodes: admission, sessions, the user's settings, removal.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::ControlError;
use super::manager::check_demotion;
use crate::consensus::Group;
use crate::dispatch::Finding;
use crate::ids::NodeId;
use crate::objects::node::{Availability, NodeDescription, NodeState, NodeStatus, Role, TakenPort};
use crate::objects::task::TaskOwner;
use crate::objects::{Cluster, Labels, Meta, Node, NodeSpec, Task};
use crate::store::{Object, ObjectKey, Tx};
use crate::task_state::{Actor, TaskState, may_move};
use crate::validate;

/// The node of that id.
pub(super) fn get(tx: &Tx<'_>, id: &NodeId) -> Result<Node, ControlError> {
    tx.node(id)
        .map(|n| Node::clone(n))
        .ok_or_else(|| ControlError::not_found("node", id))
}

/// Records a host whose certificate request came with a good token. Asking again changes nothing.
pub fn admit_node(
    tx: &mut Tx<'_>,
    id: &NodeId,
    role: Role,
    availability: Availability,
) -> Result<(), ControlError> {
    if tx.cluster().is_none() {
        return Err(ControlError::FailedPrecondition(
            "there is no cluster to join".to_owned(),
        ));
    }
    if tx.node(id).is_some() {
        return Ok(());
    }
    tx.put(Object::Node(Node {
        id: id.clone(),
        meta: Meta::default(),
        spec: NodeSpec {
            name: None,
            labels: Labels::new(),
            role,
            availability,
        },
        description: None,
        status: NodeStatus {
            state: NodeState::Unknown,
            message: "Node has not reported yet".to_owned(),
            address: None,
        },
        manager: None,
        taken_ports: BTreeSet::new(),
    }));
    Ok(())
}

/// A node registered with the dispatcher: it is ready, at this underlay address.
pub fn open_session(
    tx: &mut Tx<'_>,
    id: &NodeId,
    description: NodeDescription,
    address: IpAddr,
) -> Result<(), ControlError> {
    let old = get(tx, id)?;
    let mut node = old.clone();
    node.description = Some(description);
    node.status = NodeStatus {
        state: NodeState::Ready,
        message: String::new(),
        address: Some(address),
    };
    if node != old {
        tx.put(Object::Node(node));
    }
    Ok(())
}

/// Records what was found out about a node. One that is gone is not missed.
pub fn record_finding(tx: &mut Tx<'_>, id: &NodeId, finding: Finding) {
    let (state, message) = match finding {
        Finding::Unreachable => (NodeState::Unreachable, "host does not answer"),
        Finding::HostGone => (NodeState::Down, "host does not answer"),
        Finding::MissedBeats => (NodeState::Down, "heartbeat failure"),
        // Its daemon may be heard of again later.
        Finding::Reachable => (NodeState::Ready, ""),
    };
    let Some(node) = tx.node(id) else { return };
    if node.status.state != state || node.status.message != message {
        let mut node = Node::clone(node);
        node.status.state = state;
        message.clone_into(&mut node.status.message);
        tx.put(Object::Node(node));
    }
}

/// Takes down which published ports processes of the node's host listen on.
pub fn report_ports(
    tx: &mut Tx<'_>,
    id: &NodeId,
    taken: BTreeSet<TakenPort>,
) -> Result<(), ControlError> {
    let mut node = get(tx, id)?;
    if node.taken_ports != taken {
        node.taken_ports = taken;
        tx.put(Object::Node(node));
    }
    Ok(())
}

/// Changes what the user may change of a node. Its role follows in time: a manager stays one until
/// the raft group, which is `managers`, goes on without it.
pub fn update_node(
    tx: &mut Tx<'_>,
    id: &NodeId,
    version: u64,
    spec: NodeSpec,
    managers: &Group,
) -> Result<(), ControlError> {
    let mut node = get(tx, id)?;
    if node.meta.version != version {
        return Err(ControlError::OutOfSequence);
    }
    validate::node_spec(&spec)?;
    if spec.role == Role::Worker && node.spec.role == Role::Manager {
        check_demotion(tx, &node, managers)?;
    }
    node.spec = spec;
    tx.put(Object::Node(node));
    Ok(())
}

/// Forgets a node. What ran there is written off at once.
pub fn remove_node(tx: &mut Tx<'_>, id: &NodeId, force: bool) -> Result<(), ControlError> {
    let node = get(tx, id)?;
    if node.serves_as() == Role::Manager {
        return Err(ControlError::FailedPrecondition(format!(
            "node {id} is a cluster manager and is a member of the raft cluster. \
             It must be demoted to worker before removal"
        )));
    }
    if node.status.state == NodeState::Ready && !force {
        return Err(ControlError::FailedPrecondition(format!(
            "node {id} is not down and can't be removed"
        )));
    }
    let lost: Vec<_> = tx
        .tasks()
        .filter(|t| t.node.as_ref() == Some(id))
        .map(|t| Task::clone(t))
        .collect();
    for task in lost {
        write_off(tx, task);
    }
    tx.remove(ObjectKey::Node(id.clone()));
    remember_removed(tx, id);
    Ok(())
}

/// Its certificate may be good for as long as one that was issued now: nobody takes it any more,
/// not even who has not heard of later nodes either.
fn remember_removed(tx: &mut Tx<'_>, id: &NodeId) {
    let Some(cluster) = tx.cluster() else { return };
    let mut cluster = Cluster::clone(cluster);
    let now = tx.now();
    cluster.removed_nodes.retain(|_, until| *until > now);
    let until = now + cluster.spec.node_cert_expiry;
    cluster.removed_nodes.insert(id.clone(), until);
    tx.put(Object::Cluster(cluster));
}

/// The node is gone for good: its attachments vanish, its tasks are orphaned.
fn write_off(tx: &mut Tx<'_>, mut task: Task) {
    if matches!(task.owner, TaskOwner::Attachment { .. }) {
        tx.remove(ObjectKey::Task(task.id));
    } else if may_move(Actor::Manager, task.status.state, TaskState::Orphaned) {
        task.status.state = TaskState::Orphaned;
        task.status.since = tx.now();
        task.status.message = "node removed".to_owned();
        tx.put(Object::Task(task));
    }
}
