//! Calls between nodes: gRPC over TLS with client certificates.
//!
//! | Module | Subject |
//! |---|---|
//! | `access` | who may make which call: one table, enforced in one place |
//! | `connection` | TLS on accepted and opened connections |
//! | `server`, `ca`, `dispatcher`, `managers` | a manager's side |
//! | `control`, `carrier` | a manager's side towards the other managers |
//! | `client`, `link`, `clock` | a node's side |
//! | `wire` | objects and errors on the wire |
//!
//! Nothing here decides about the cluster: calls become transactions on the manager's handle.

mod access;
mod ca;
pub mod carrier;
pub mod client;
mod clock;
mod connection;
pub mod control;
mod dispatcher;
pub mod link;
mod managers;
pub mod renewal;
pub mod server;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;

use crate::pki::PkiError;

pub use client::ManagerClient;
pub use clock::ClockOffset;

/// TCP port of node-to-node calls, Docker's.
pub const PORT: u16 = 2377;

/// Why a call to a manager failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// No connection.
    #[error("cannot reach the manager at {manager}: {reason}")]
    Unreachable {
        /// Its address.
        manager: String,
        /// What happened.
        reason: String,
    },
    /// What answers is not a manager of the swarm.
    #[error("the manager at {manager} cannot be trusted: {reason}")]
    Untrusted {
        /// Its address.
        manager: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no connection to any manager at the moment.
    #[error("no manager of the swarm can be reached from this node at the moment")]
    NoManager,
    /// The manager does not lead.
    #[error("the manager that was asked does not lead the swarm")]
    NotLeader {
        /// Where the one is that does, as far as it knows.
        leader: Option<SocketAddr>,
    },
    /// The manager refused, or failed; its words.
    #[error("{message}")]
    Refused {
        /// The kind of refusal.
        code: tonic::Code,
        /// In words.
        message: String,
    },
    /// The manager did not answer in time.
    #[error("the manager did not answer within {0} s")]
    TimedOut(u64),
    /// The answer makes no sense.
    #[error("the manager's answer cannot be read: {0}")]
    BadAnswer(String),
    /// Keys or certificates are at fault.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl RpcError {
    /// Whether the same may succeed a moment later: the connection is lost, or who was asked does
    /// not lead any more.
    fn may_pass(&self) -> bool {
        match self {
            Self::NotLeader { .. } => true,
            Self::Refused { code, .. } => *code == tonic::Code::Unavailable,
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::NoManager
            | Self::TimedOut(_)
            | Self::BadAnswer(_)
            | Self::Pki(_) => false,
        }
    }
}

impl From<tonic::Status> for RpcError {
    fn from(status: tonic::Status) -> Self {
        if let Some(leader) = wire::leader_elsewhere(&status) {
            return Self::NotLeader { leader };
        }
        // Below gRPC (a TLS alert, a lost connection) the last cause says most.
        let mut cause = std::error::Error::source(&status);
        let mut message = status.message().to_owned();
        while let Some(error) = cause {
            message = error.to_string();
            cause = error.source();
        }
        Self::Refused {
            code: status.code(),
            message,
        }
    }
}
