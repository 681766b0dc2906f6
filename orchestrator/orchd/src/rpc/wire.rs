//! Objects and errors as they travel between nodes.

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

/// A refused write as a node sees it.
pub(super) fn write_refused(error: WriteError) -> Status {
    match error {
        WriteError::Unavailable(reason) => Status::unavailable(reason),
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
