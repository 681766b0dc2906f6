//! Whether what a user asks for makes sense, regardless of the state; in Docker's words where
//! Docker has them. What this version cannot honour is refused here, never dropped.

mod cluster;
mod container;
mod network;
mod service;
#[cfg(test)]
mod tests;

pub use cluster::{address_pools, cluster_spec, cluster_update, data_path_port, node_spec};
pub use network::network_spec;
pub(crate) use service::is_dns_name;
pub use service::{service_spec, service_update};

use crate::control::ControlError;

/// A verdict on user input.
type Verdict = Result<(), ControlError>;

fn invalid<T>(message: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::invalid(message))
}

fn unimplemented<T>(message: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::Unimplemented(message.into()))
}
