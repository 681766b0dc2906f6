//! Why the engine is refused. The words reach the user of `docker run` or a task's status.

use std::time::Duration;

use super::LedgerError;
use crate::netplane::NetPlaneError;
use crate::rpc::RpcError;

/// Why the engine is refused.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The host is in no cluster.
    #[error(
        "this host is not part of a swarm: networks of driver orchd work after \
         `orchctl swarm init` or `orchctl swarm join`"
    )]
    NotMember,
    /// Somebody made a network of this driver by hand.
    #[error(
        "networks of driver orchd are made by the cluster: \
         use `docker network create --driver overlay` on a manager's orchd socket"
    )]
    HandMade,
    /// The cluster has no such network, or this node was not told of it.
    #[error("network {0} is not known on this node")]
    UnknownNetwork(String),
    /// The range is not one of the network's.
    #[error("{pool} is not a subnet of network {network}")]
    UnknownPool {
        /// The range.
        pool: String,
        /// The network's name.
        network: String,
    },
    /// The engine gave an address that is none.
    #[error("\"{0}\" is not an address")]
    BadAddress(String),
    /// Only services may use the network.
    #[error(
        "Could not attach to network {0}: network {0} not manually attachable: \
         create it with --attachable"
    )]
    NotAttachable(String),
    /// A container has the address.
    #[error("Address already in use: {0}")]
    AddressInUse(String),
    /// The managers said no.
    #[error("Could not attach to network {network}: {source}")]
    Refused {
        /// The network's name.
        network: String,
        /// Their words.
        source: RpcError,
    },
    /// The managers did not answer.
    #[error(
        "Could not attach to network {network}: no manager answered within {} s",
        .limit.as_secs()
    )]
    NoManager {
        /// The network's name.
        network: String,
        /// How long they were waited for.
        limit: Duration,
    },
    /// The managers lent an address of the wrong family.
    #[error("network {0} has no IPv4 address to lend")]
    NoAddress(String),
    /// The endpoint was never made, or is gone.
    #[error("endpoint {0} is not known")]
    UnknownEndpoint(String),
    /// The engine gave an endpoint no IPv4 address.
    #[error("endpoint {0} has no IPv4 address")]
    NoEndpointAddress(String),
    /// The kernel refused.
    #[error(transparent)]
    Plane(#[from] NetPlaneError),
    /// The records could not be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An answer could not be written.
    #[error("cannot write the answer: {0}")]
    Answer(serde_json::Error),
}
