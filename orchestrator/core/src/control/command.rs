//! What users ask of the managers, as values that travel: any manager takes them, the leader runs
//! them.

use serde::{Deserialize, Serialize};

use super::{
    ControlError, create_network, create_service, remove_network, remove_node, remove_service,
    rollback_service, update_cluster, update_node, update_service,
};
use crate::consensus::Group;
use crate::ids::{NetworkId, NodeId, ServiceId};
use crate::objects::cluster::JoinTokens;
use crate::objects::{ClusterSpec, NetworkSpec, NodeSpec, ServiceSpec};
use crate::store::Tx;

/// A change that a user asks for. Where there is a `version`, it is that of the object which the
/// user has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of the functions of the same names"
)]
pub enum Command {
    /// [`create_service`]
    CreateService(Box<ServiceSpec>),
    /// [`update_service`]
    UpdateService {
        id: ServiceId,
        version: u64,
        spec: Box<ServiceSpec>,
    },
    /// [`rollback_service`]
    RollbackService { id: ServiceId, version: u64 },
    /// [`remove_service`]
    RemoveService(ServiceId),
    /// [`create_network`]
    CreateNetwork(Box<NetworkSpec>),
    /// [`remove_network`]
    RemoveNetwork(NetworkId),
    /// [`update_node`]
    UpdateNode {
        id: NodeId,
        version: u64,
        spec: NodeSpec,
    },
    /// [`remove_node`]
    RemoveNode { id: NodeId, force: bool },
    /// [`update_cluster`]
    UpdateCluster {
        version: u64,
        spec: Box<ClusterSpec>,
        tokens: Option<JoinTokens>,
    },
}

/// Runs a command; returns the id of what it made, if it made something. `managers` is the raft
/// group as its leader knows it.
pub fn run(
    tx: &mut Tx<'_>,
    command: Command,
    managers: &Group,
) -> Result<Option<String>, ControlError> {
    match command {
        Command::CreateService(spec) => {
            return create_service(tx, *spec).map(|id| Some(id.to_string()));
        }
        Command::CreateNetwork(spec) => {
            return create_network(tx, *spec).map(|id| Some(id.to_string()));
        }
        Command::UpdateService { id, version, spec } => update_service(tx, &id, version, *spec),
        Command::RollbackService { id, version } => rollback_service(tx, &id, version),
        Command::RemoveService(id) => remove_service(tx, &id),
        Command::RemoveNetwork(id) => remove_network(tx, &id),
        Command::UpdateNode { id, version, spec } => update_node(tx, &id, version, spec, managers),
        Command::RemoveNode { id, force } => remove_node(tx, &id, force),
        Command::UpdateCluster {
            version,
            spec,
            tokens,
        } => update_cluster(tx, version, *spec, tokens),
    }
    .map(|()| None)
}
