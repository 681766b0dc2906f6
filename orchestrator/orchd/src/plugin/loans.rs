//! Keeps the managers' record of lent addresses true.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::ledger::{LeaseState, Records};

/// Pause before managers who did not answer are asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Tells the managers which loans this node has, once, and from then on gives back each that is
/// released. Never ends by itself.
pub async fn keep_loans(node: Arc<Node>) {
    while !tell_live_loans(&node).await {
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    node.loans_known.send_replace(true);
    loop {
        if give_back_released(&node).await {
            node.loan_released.notified().await;
        } else {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Whether the managers know now.
async fn tell_live_loans(node: &Node) -> bool {
    let Ok(live) = node.ledger.read(|records| names(records, false)).await else {
        return false;
    };
    match node.manager.sync_attachments(live).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "the managers do not know this node's attachments yet");
            false
        }
    }
}

/// Whether nothing is left to be given back.
async fn give_back_released(node: &Node) -> bool {
    let Ok(released) = node.ledger.read(|records| names(records, true)).await else {
        return false;
    };
    for name in released {
        if let Err(error) = node.manager.detach(name.clone()).await {
            tracing::debug!(%error, "an address cannot be given back yet");
            return false;
        }
        if let Err(error) = node
            .ledger
            .change(move |records| records.leases.remove(&name))
            .await
        {
            tracing::error!(%error, "an address that was given back is still on record");
            return false;
        }
    }
    true
}

/// Names of the loans that are released, or of those that are not.
fn names(records: &Records, released: bool) -> BTreeSet<String> {
    records
        .leases
        .iter()
        .filter(|(_, lease)| (lease.state == LeaseState::Released) == released)
        .map(|(name, _)| name.clone())
        .collect()
}
