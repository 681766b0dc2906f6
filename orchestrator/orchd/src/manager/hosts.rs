//! Whether the hosts of nodes are there, whatever has become of their daemons.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use orch_core::ids::NodeId;
use tokio::sync::mpsc;

use super::SessionEvent;

/// Asks hosts by their addresses for tunnels, and tells those that did not answer in time. A host
/// that cannot be asked is not among them: it must not be given up for that.
pub type AskHosts = Arc<dyn Fn(BTreeSet<IpAddr>, Duration) -> Silent + Send + Sync>;

/// The answer of [`AskHosts`], in time.
pub type Silent = Pin<Box<dyn Future<Output = BTreeSet<IpAddr>> + Send>>;

/// Asks the hosts of nodes and tells which answered. A node without an address cannot be asked.
pub(super) async fn ask(
    ask: AskHosts,
    nodes: BTreeMap<NodeId, Option<IpAddr>>,
    patience: Duration,
    answers: mpsc::Sender<SessionEvent>,
) {
    let addresses = nodes.values().flatten().copied().collect();
    let silent = ask(addresses, patience).await;
    for (node, address) in nodes {
        let answered = address.is_none_or(|address| !silent.contains(&address));
        let asked = SessionEvent::Asked { node, answered };
        if answers.send(asked).await.is_err() {
            return;
        }
    }
}
