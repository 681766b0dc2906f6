//! The engine's network and IPAM driver `orchd`: how containers get onto cluster networks.
//!
//! The engine calls over a unix socket when it makes networks and starts or stops containers.
//! The socket is served as long as the daemon runs, so that the engine is never left waiting;
//! only while the agent is plugged in ([`Driver::plug`]) can containers be attached. The module
//! owns the protocol and the records it needs; which addresses tasks have is the managers' to
//! say, and what an attachment is in the kernel is the data plane's.

mod error;
mod ipam;
mod ledger;
mod leftovers;
mod loans;
mod names;
mod network;
mod protocol;
mod server;

use std::sync::Arc;
use std::time::Duration;

use orch_core::dispatch::Assignment;
use orch_core::ids::NetworkId;
use orch_core::objects::Network;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub use error::PluginError;
pub use ledger::{Ledger, LedgerError};
pub use leftovers::remove_leftovers;
pub use loans::keep_loans;
pub use names::keep_names;
pub use server::serve;

use crate::netplane::NetPlane;
use crate::rpc::client::ManagerClient;
use protocol::Call;

/// How long calls wait for the agent after the daemon's start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Connects the served socket with the agent that comes and goes. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    node: watch::Sender<Option<Arc<Node>>>,
    patience_ends: Instant,
}

/// What the driver needs of a member.
pub struct Node {
    /// The newest assignment.
    assignment: watch::Receiver<Option<Arc<Assignment>>>,
    plane: NetPlane,
    manager: ManagerClient,
    ledger: Ledger,
    /// Whether the managers know which loans this node still has.
    loans_known: watch::Sender<bool>,
    /// Told when a loan is released.
    loan_released: Notify,
}

impl Driver {
    /// A driver that is not plugged in yet.
    pub fn new() -> Self {
        Self {
            node: watch::Sender::new(None),
            patience_ends: Instant::now() + START_PATIENCE,
        }
    }

    /// From now on, containers can be attached.
    pub fn plug(&self, node: Arc<Node>) {
        self.node.send_replace(Some(node));
    }

    /// From now on, containers can only be detached, and nobody waits.
    pub fn unplug(&self) {
        self.node.send_replace(None);
    }

    /// The agent's side; waits for it while the daemon starts.
    async fn node(&self) -> Option<Arc<Node>> {
        let mut node = self.node.subscribe();
        let plugged = node.wait_for(Option::is_some);
        match tokio::time::timeout_at(self.patience_ends, plugged).await {
            Ok(Ok(node)) => node.clone(),
            Ok(Err(_)) | Err(_) => self.node.borrow().clone(),
        }
    }

    /// Carries out a call and returns the answer's JSON.
    async fn carry_out(&self, call: Call) -> Result<Value, PluginError> {
        match &call {
            Call::Activate => return Ok(json!({"Implements": ["NetworkDriver", "IpamDriver"]})),
            // Each engine has its own copy of a network, and they reach one another.
            Call::NetworkCapabilities => {
                return Ok(json!({"Scope": "local", "ConnectivityScope": "global"}));
            }
            Call::IpamCapabilities => {
                return Ok(json!({"RequiresMACAddress": false, "RequiresRequestReplay": false}));
            }
            Call::AddressSpaces => {
                return Ok(json!({
                    "LocalDefaultAddressSpace": "orchd-local",
                    "GlobalDefaultAddressSpace": "orchd-global",
                }));
            }
            Call::ExternalConnectivity | Call::Discovery | Call::ReleasePool => {
                return Ok(json!({}));
            }
            Call::EndpointInfo(_) => return Ok(json!({"Value": {}})),
            Call::CreateNetwork(_)
            | Call::DeleteNetwork(_)
            | Call::CreateEndpoint(_)
            | Call::DeleteEndpoint(_)
            | Call::Join(_)
            | Call::Leave(_)
            | Call::RequestPool(_)
            | Call::RequestAddress(_)
            | Call::ReleaseAddress(_) => {}
        }
        match self.node().await {
            Some(node) => node.carry_out(call).await,
            None => without_node(&call),
        }
    }
}

/// What a host that is no member answers: what it had of the cluster is gone already.
fn without_node(call: &Call) -> Result<Value, PluginError> {
    let only_removes = matches!(
        call,
        Call::DeleteNetwork(_) | Call::DeleteEndpoint(_) | Call::Leave(_) | Call::ReleaseAddress(_)
    );
    if only_removes {
        Ok(json!({}))
    } else {
        Err(PluginError::NotMember)
    }
}

impl Node {
    /// Plugs a member's parts together.
    pub fn new(
        assignment: watch::Receiver<Option<Arc<Assignment>>>,
        plane: NetPlane,
        manager: ManagerClient,
        ledger: Ledger,
    ) -> Self {
        Self {
            assignment,
            plane,
            manager,
            ledger,
            loans_known: watch::Sender::new(false),
            loan_released: Notify::new(),
        }
    }

    async fn carry_out(&self, call: Call) -> Result<Value, PluginError> {
        match call {
            Call::CreateNetwork(request) => self.create_network(request).await,
            Call::DeleteNetwork(request) => self.delete_network(request).await,
            Call::CreateEndpoint(request) => answer(self.create_endpoint(request).await?),
            Call::DeleteEndpoint(request) => self.delete_endpoint(request).await,
            Call::Join(request) => answer(self.join(request).await?),
            Call::Leave(request) => self.leave(request).await,
            Call::RequestPool(request) => answer(self.request_pool(&request)?),
            Call::RequestAddress(request) => answer(self.request_address(request).await?),
            Call::ReleaseAddress(request) => self.release_address(request).await,
            Call::Activate
            | Call::NetworkCapabilities
            | Call::EndpointInfo(_)
            | Call::ExternalConnectivity
            | Call::Discovery
            | Call::IpamCapabilities
            | Call::AddressSpaces
            | Call::ReleasePool => Ok(json!({})),
        }
    }

    /// A cluster network that this node was told of.
    fn network(&self, id: &NetworkId) -> Result<Network, PluginError> {
        let assignment = self.assignment.borrow();
        let networks = assignment
            .iter()
            .flat_map(|assignment| &assignment.networks);
        let found = networks.into_iter().find(|network| network.id == *id);
        found
            .cloned()
            .ok_or_else(|| PluginError::UnknownNetwork(id.to_string()))
    }
}

fn answer(value: impl serde::Serialize) -> Result<Value, PluginError> {
    serde_json::to_value(value).map_err(PluginError::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_no_member_only_lets_go() {
        let parse = |path: &str, body: Value| {
            Call::parse(path, body.to_string().as_bytes())
                .unwrap()
                .unwrap()
        };
        let endpoint = json!({"NetworkID": "n", "EndpointID": "e", "SandboxKey": "/s"});
        let leave = parse("/NetworkDriver.Leave", endpoint.clone());
        assert_eq!(without_node(&leave).unwrap(), json!({}));
        let join = parse("/NetworkDriver.Join", endpoint);
        assert!(matches!(without_node(&join), Err(PluginError::NotMember)));
    }
}
