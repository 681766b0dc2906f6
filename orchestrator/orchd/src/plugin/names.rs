//! Tells the managers what containers with a lent address are called, so that the cluster finds
//! them by name.
//!
//! The engine does not tell its network driver whose endpoint it asks for, so its events are
//! followed: a container that joined a network is looked at. Its names go when its address is
//! given back.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;

use super::Node;
use super::ledger::{Lease, LeaseState, LedgerError, Records};
use crate::engine::{Engine, EngineError, UsedEndpoint};
use crate::rpc::RpcError;

/// Pause before an engine or managers that did not answer are asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Why following stopped.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Manager(#[from] RpcError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Never ends by itself.
pub async fn keep_names(node: Arc<Node>, engine: Engine) {
    loop {
        if let Err(error) = follow(&node, &engine).await {
            tracing::debug!(%error, "names of attached containers are not known for now");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Tells the names of all containers, then of those that something happened to.
async fn follow(node: &Node, engine: &Engine) -> Result<(), Stop> {
    // Events from before the list are told again rather than missed.
    let mut events = engine.naming_events(SystemTime::now())?;
    for container in engine.running_containers().await? {
        node.tell_names(engine, &container).await?;
    }
    while let Some(container) = events.next().await {
        node.tell_names(engine, &container?).await?;
    }
    Ok(())
}

impl Node {
    async fn tell_names(&self, engine: &Engine, container: &str) -> Result<(), Stop> {
        let Some(named) = engine.container_names(container).await? else {
            return Ok(());
        };
        for (endpoint, aliases) in named.endpoints {
            let loans = self
                .ledger
                .read(move |records| loans_of(records, &endpoint))
                .await?;
            let names: Vec<String> = named.names.iter().cloned().chain(aliases).collect();
            for loan in loans {
                self.manager.name_attachment(loan, names.clone()).await?;
            }
        }
        Ok(())
    }
}

/// The names of the loans that an endpoint has its addresses from; none for those of tasks and on
/// other networks.
fn loans_of(records: &Records, endpoint: &UsedEndpoint) -> Vec<String> {
    let network = records.networks.get(&endpoint.network);
    let held = |lease: &Lease| match lease.state {
        LeaseState::Held(address) => {
            Some(&lease.network) == network && endpoint.addresses.contains(&address)
        }
        LeaseState::Asked | LeaseState::Released => false,
    };
    let loans = records.leases.iter().filter(|(_, lease)| held(lease));
    loans.map(|(name, _)| name.clone()).collect()
}
