//! Which nodes keep the cluster's state, and how they become managers and stop being some.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{ControlError, node};
use crate::consensus::Group;
use crate::ids::NodeId;
use crate::objects::Node;
use crate::objects::node::{ManagerStatus, NodeState, Role};
use crate::store::{Object, State, Tx};

/// A manager has an empty log and asks to be sent what it needs, at this address: it is a member
/// of the raft group from now on, by a new id. One that it had is never used again.
pub fn enroll(
    tx: &mut Tx<'_>,
    id: &NodeId,
    raft_id: u64,
    address: SocketAddr,
) -> Result<(), ControlError> {
    let mut node = node::get(tx, id)?;
    if node.spec.role != Role::Manager {
        return Err(ControlError::PermissionDenied(format!(
            "node {id} is not to be a manager of this swarm"
        )));
    }
    node.manager = Some(ManagerStatus { raft_id, address });
    tx.put(Object::Node(node));
    Ok(())
}

/// The raft ids of those who are to be members of the group.
pub fn wanted_members(state: &State) -> BTreeSet<u64> {
    let managers = state.nodes().filter(|node| node.spec.role == Role::Manager);
    managers
        .filter_map(|node| Some(node.manager.as_ref()?.raft_id))
        .collect()
}

/// Those that were managers and are out of the group are workers now.
pub fn dismiss(tx: &mut Tx<'_>, group: &Group) {
    let outside = |node: &Node| {
        node.manager.as_ref().is_some_and(|manager| {
            let id = manager.raft_id;
            !group.voters.contains(&id) && !group.learners.contains(&id)
        })
    };
    let leaving: Vec<Node> = tx
        .nodes()
        .filter(|node| node.spec.role == Role::Worker && outside(node))
        .map(|node| Node::clone(node))
        .collect();
    for mut node in leaving {
        node.manager = None;
        tx.put(Object::Node(node));
    }
}

/// This node is the only manager from now on, by a new id in a raft group of its own. Others that
/// were managers are workers, should they return.
pub fn refound(
    tx: &mut Tx<'_>,
    id: &NodeId,
    raft_id: u64,
    address: SocketAddr,
) -> Result<(), ControlError> {
    let mut this = node::get(tx, id)?;
    let others: Vec<Node> = tx
        .nodes()
        .filter(|node| node.id != *id)
        .filter(|node| node.spec.role == Role::Manager || node.manager.is_some())
        .map(|node| Node::clone(node))
        .collect();
    for mut node in others {
        node.spec.role = Role::Worker;
        node.manager = None;
        tx.put(Object::Node(node));
    }
    this.spec.role = Role::Manager;
    this.manager = Some(ManagerStatus { raft_id, address });
    tx.put(Object::Node(this));
    Ok(())
}

/// Whether the managers can do without this node's vote.
pub(super) fn check_demotion(
    tx: &Tx<'_>,
    node: &Node,
    managers: &Group,
) -> Result<(), ControlError> {
    let refused = |why: &str| Err(ControlError::FailedPrecondition(why.to_owned()));
    let others = tx
        .nodes()
        .filter(|n| n.spec.role == Role::Manager && n.id != node.id);
    if others.count() == 0 {
        return refused("attempting to demote the last manager of the swarm");
    }
    match &node.manager {
        Some(manager) if !managers.can_spare(manager.raft_id) => {
            refused("can't remove member from the raft: this would result in a loss of quorum")
        }
        Some(_) | None => Ok(()),
    }
}

/// A node says good-bye. A manager that the others can do without is demoted.
pub fn leave(tx: &mut Tx<'_>, id: &NodeId, managers: &Group) -> Result<(), ControlError> {
    let mut node = node::get(tx, id)?;
    if node.spec.role == Role::Manager {
        check_demotion(tx, &node, managers)?;
        node.spec.role = Role::Worker;
    }
    node.status.state = NodeState::Down;
    node.status.message = "the node left the swarm".to_owned();
    tx.put(Object::Node(node));
    Ok(())
}
