//! Objects and errors as they travel between nodes.

use std::net::SocketAddr;

use orch_core::control::ControlError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use super::RpcError;
use crate::manager::WriteError;

/// Bytes that a message may have.
pub(super) const MAX_MESSAGE: usize = 64 << 20;

/// Encodes an object as MessagePack with field names.
pub(super) fn encode(object: &impl Serialize) -> Result<Vec<u8>, Status> {
    rmp_serde::to_vec_named(object).map_err(|e| Status::internal(format!("cannot encode: {e}")))
}

/// Decodes an object that a node sent.
pub(super) fn decode_request<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Status> {
    rmp_serde::from_slice(bytes)
        .map_err(|e| Status::invalid_argument(format!("the {what} cannot be read: {e}")))
}

/// Decodes an object that a manager sent.
pub(super) fn decode_answer<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RpcError> {
    rmp_serde::from_slice(bytes).map_err(|e| RpcError::BadAnswer(e.to_string()))
}

/// Where the leader is, in the metadata of a refusal of another manager; empty when it knows none.
const LEADER: &str = "orch-leader";

/// The refusal of a manager that does not lead.
pub(super) fn not_leader(leader: Option<SocketAddr>) -> Status {
    let mut status = Status::unavailable("this manager does not lead the swarm");
    let leader = leader
        .map(|address| address.to_string())
        .unwrap_or_default();
    if let Ok(leader) = leader.parse() {
        status.metadata_mut().insert(LEADER, leader);
    }
    status
}

/// What [`not_leader`] says; `None` when a status is another one.
pub(super) fn leader_elsewhere(status: &Status) -> Option<Option<SocketAddr>> {
    let leader = status.metadata().get(LEADER)?;
    Some(leader.to_str().ok().and_then(|text| text.parse().ok()))
}

/// A refused write as a node sees it.
pub(super) fn write_refused(error: WriteError) -> Status {
    match error {
        WriteError::Unavailable(reason) => Status::unavailable(reason),
        WriteError::NotLeader => not_leader(None),
        WriteError::Control(error) => control_refused(&error),
    }
}

fn control_refused(error: &ControlError) -> Status {
    let message = error.to_string();
    match error {
        ControlError::InvalidArgument(_) | ControlError::Ambiguous { .. } => {
            Status::invalid_argument(message)
        }
        ControlError::NotFound { .. } => Status::not_found(message),
        ControlError::AlreadyExists { .. } => Status::already_exists(message),
        ControlError::OutOfSequence => Status::aborted(message),
        ControlError::FailedPrecondition(_) => Status::failed_precondition(message),
        ControlError::PermissionDenied(_) => Status::permission_denied(message),
        ControlError::ResourceExhausted(_) => Status::resource_exhausted(message),
        ControlError::Unimplemented(_) => Status::unimplemented(message),
    }
}
