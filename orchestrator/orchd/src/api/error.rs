//! Every error of the API with its status code, in one place, and its form on the wire.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use orch_core::control::ControlError;
use serde_json::json;

use super::convert::ConvertError;
use super::upstream::UpstreamError;
use crate::daemon::LifecycleError;
use crate::manager::WriteError;
use crate::netplane::NetPlaneError;
use crate::rpc::RpcError;

/// An answer that is not the one asked for: `{"message": ...}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    /// An answer with this status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// This version cannot do it.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// Asked of a host that is in no cluster.
    pub fn not_in_swarm() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" \
             to connect this node to swarm and try again.",
        )
    }

    /// Asked of a worker.
    pub fn not_a_manager() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not a swarm manager. Worker nodes can't be used to view or modify \
             cluster state. Please run this command on a manager node or promote the current node \
             to a manager.",
        )
    }

    /// The status code.
    #[cfg(test)]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// As a whole HTTP/1.1 answer, for connections that are not handled as HTTP.
    pub fn to_http1(&self) -> String {
        let body = json!({ "message": self.message }).to_string();
        format!(
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.status,
            body.len()
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            let (status, reason) = (self.status.as_u16(), &self.message);
            tracing::info!(status, %reason, "request failed");
        }
        let mut response = Response::new(Body::from(
            json!({ "message": self.message }).to_string() + "\n",
        ));
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        response
    }
}

impl From<ConvertError> for ApiError {
    fn from(error: ConvertError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::InvalidArgument(_)
            | ControlError::FailedPrecondition(_)
            | ControlError::Ambiguous { .. } => StatusCode::BAD_REQUEST,
            ControlError::NotFound { .. } => StatusCode::NOT_FOUND,
            // Docker answers 500 to a stale version; a conflict is what it is.
            ControlError::AlreadyExists { .. } | ControlError::OutOfSequence => {
                StatusCode::CONFLICT
            }
            ControlError::PermissionDenied(_) => StatusCode::FORBIDDEN,
            ControlError::ResourceExhausted(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ControlError::Unimplemented(_) => StatusCode::NOT_IMPLEMENTED,
        };
        Self::new(status, error.to_string())
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Control(error) => error.into(),
            WriteError::Unavailable(reason) => Self::new(StatusCode::SERVICE_UNAVAILABLE, reason),
            WriteError::NotLeader => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<LifecycleError> for ApiError {
    fn from(error: LifecycleError) -> Self {
        let status = match error {
            LifecycleError::Refused(error) => return error.into(),
            LifecycleError::BadAddress(_) | LifecycleError::BadToken(_) => StatusCode::BAD_REQUEST,
            LifecycleError::AlreadyMember
            | LifecycleError::NotMember
            | LifecycleError::NotManager
            | LifecycleError::IsManager(_)
            | LifecycleError::Unfit { .. } => StatusCode::SERVICE_UNAVAILABLE,
            LifecycleError::Rpc(ref error) => rpc_status(error),
            LifecycleError::Pki(_) | LifecycleError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// What a manager's refusal is in HTTP, as Docker maps the codes of gRPC.
fn rpc_status(error: &RpcError) -> StatusCode {
    use tonic::Code;
    match error {
        RpcError::Refused { code, .. } => match code {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                StatusCode::BAD_REQUEST
            }
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable | Code::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::Internal
            | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        },
        RpcError::Unreachable { .. }
        | RpcError::NoManager
        | RpcError::NotLeader { .. }
        | RpcError::TimedOut(_) => StatusCode::SERVICE_UNAVAILABLE,
        RpcError::Untrusted { .. } | RpcError::BadAnswer(_) | RpcError::Pki(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl From<NetPlaneError> for ApiError {
    fn from(error: NetPlaneError) -> Self {
        let status = match &error {
            NetPlaneError::Refused(_) | NetPlaneError::Link(_) => StatusCode::INTERNAL_SERVER_ERROR,
            NetPlaneError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<UpstreamError> for ApiError {
    fn from(error: UpstreamError) -> Self {
        let status = match &error {
            UpstreamError::Unreachable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            UpstreamError::Refused { status, .. } => *status,
            UpstreamError::Broken { .. } | UpstreamError::Nonsense { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string())
    }
}
