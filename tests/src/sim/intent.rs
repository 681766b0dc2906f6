//! What users, nodes and the world ask the leader to write.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use orch_core::consensus::Group;
use orch_core::control::{self, AttachRequest, ControlError, InitCluster};
use orch_core::dispatch::TaskReport;
use orch_core::ids::NodeId;
use orch_core::objects::node::{Availability, NodeDescription, Role};
use orch_core::store::Tx;

use super::dice::Dice;
use super::{Violation, ensure, user};

/// A write.
#[derive(Debug, Clone)]
pub(super) enum Intent {
    /// There is no cluster yet.
    Found(Box<InitCluster>),
    /// A user does something.
    User,
    /// A host has a token.
    Admit(NodeId),
    /// A node registers, with the endpoints that its engine has.
    Open {
        node: NodeId,
        host: usize,
        session: u64,
        address: IpAddr,
        endpoints: BTreeSet<String>,
    },
    Report(NodeId, Vec<TaskReport>),
    Attach {
        node: NodeId,
        host: usize,
        request: AttachRequest,
    },
    Detach(NodeId, String),
    /// A manager has an empty log.
    Enroll {
        node: NodeId,
        host: usize,
        raft_id: u64,
        address: SocketAddr,
    },
    /// A user wants another manager.
    Promote(NodeId),
    /// A host is gone for good.
    RemoveNode {
        node: NodeId,
        host: usize,
    },
    /// All nodes take tasks.
    ActivateAll,
    /// All services go, and all that containers hold.
    RemoveEverything,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    /// It makes no sense; nothing changed.
    Refused,
    /// Nobody took it; nothing changed.
    NotLeader,
    /// It may have been committed, or may yet be.
    Unknown,
}

impl Intent {
    /// Whether users would try again, and the world does: a refusal is an answer.
    pub(super) fn is_tried_again(&self, outcome: Outcome) -> bool {
        let lasting = matches!(
            self,
            Self::Found(_)
                | Self::Admit(_)
                | Self::Promote(_)
                | Self::RemoveNode { .. }
                | Self::ActivateAll
                | Self::RemoveEverything
        );
        lasting && matches!(outcome, Outcome::NotLeader | Outcome::Unknown)
    }

    /// Decides it against the state as it is.
    pub(super) fn decide(
        &self,
        tx: &mut Tx<'_>,
        group: &Group,
        dice: &mut Dice,
    ) -> Result<Outcome, Violation> {
        let decided = match self {
            Self::Found(init) => control::init_cluster(tx, InitCluster::clone(init)),
            Self::User => user::act(tx, group, dice),
            Self::Admit(node) => control::admit_node(tx, node, Role::Worker, Availability::Active),
            Self::Open {
                node,
                address,
                endpoints,
                ..
            } => control::open_session(tx, node, description(*address), *address).map(|()| {
                control::sync_attachments(tx, node, endpoints);
            }),
            Self::Report(node, reports) => {
                control::report_tasks(tx, node, reports);
                Ok(())
            }
            Self::Attach { node, request, .. } => return attach(tx, node, request),
            Self::Detach(node, endpoint) => {
                control::detach(tx, node, endpoint);
                Ok(())
            }
            Self::Enroll {
                node,
                raft_id,
                address,
                ..
            } => control::enroll(tx, node, *raft_id, *address),
            Self::Promote(node) => promote(tx, node, group),
            Self::RemoveNode { node, .. } => control::remove_node(tx, node, true),
            Self::ActivateAll => activate_all(tx, group),
            Self::RemoveEverything => remove_everything(tx),
        };
        Ok(match decided {
            Ok(()) => Outcome::Committed,
            Err(_) => Outcome::Refused,
        })
    }
}

/// Attaching twice is attaching once.
fn attach(tx: &mut Tx<'_>, node: &NodeId, request: &AttachRequest) -> Result<Outcome, Violation> {
    let Ok(first) = control::attach(tx, node, request.clone()) else {
        return Ok(Outcome::Refused);
    };
    let second = control::attach(tx, node, request.clone());
    ensure!(
        second.is_ok_and(|task| task.id == first.id),
        "attaching twice gives two tasks"
    );
    Ok(Outcome::Committed)
}

fn promote(tx: &mut Tx<'_>, id: &NodeId, group: &Group) -> Result<(), ControlError> {
    let Some(node) = tx.node(id) else {
        return Ok(());
    };
    let (version, mut spec) = (node.meta.version, node.spec.clone());
    spec.role = Role::Manager;
    control::update_node(tx, id, version, spec, group)
}

fn activate_all(tx: &mut Tx<'_>, group: &Group) -> Result<(), ControlError> {
    let nodes: Vec<_> = tx
        .nodes()
        .map(|node| (node.id.clone(), node.meta.version, node.spec.clone()))
        .collect();
    for (id, version, mut spec) in nodes {
        spec.availability = Availability::Active;
        control::update_node(tx, &id, version, spec, group)?;
    }
    Ok(())
}

fn remove_everything(tx: &mut Tx<'_>) -> Result<(), ControlError> {
    let services: Vec<_> = tx.services().map(|s| s.id.clone()).collect();
    for id in services {
        control::remove_service(tx, &id)?;
    }
    let nodes: Vec<_> = tx.nodes().map(|n| n.id.clone()).collect();
    for id in nodes {
        control::sync_attachments(tx, &id, &BTreeSet::new());
    }
    Ok(())
}

/// What a host says of itself.
pub(super) fn description(address: IpAddr) -> NodeDescription {
    NodeDescription {
        hostname: format!("host-{address}"),
        architecture: "x86_64".to_owned(),
        os: "linux".to_owned(),
        nano_cpus: 4_000_000_000,
        memory_bytes: 8 << 30,
        ..NodeDescription::default()
    }
}
