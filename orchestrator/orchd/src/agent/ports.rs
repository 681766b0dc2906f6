//! Tells the managers which published ports processes of this host listen on too: clients reach
//! the cluster there, not the process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orch_core::dispatch::Assignment;
use orch_core::network::Frontend;
use orch_core::objects::node::TakenPort;
use tokio::sync::watch;

use super::listeners::{self, WantedPort};
use crate::rpc::client::ManagerClient;

/// A process that begins to listen is noticed within this time.
const PERIOD: Duration = Duration::from_secs(10);

/// Looks whenever the published ports change, and from time to time. Never ends by itself.
pub async fn watch(
    mut assignment: watch::Receiver<Option<Arc<Assignment>>>,
    client: ManagerClient,
) {
    // What the managers know from an earlier life of this daemon is not known here.
    let mut told: Option<BTreeSet<TakenPort>> = None;
    loop {
        let wanted = published(assignment.borrow_and_update().as_deref());
        if let Some(taken) = look(wanted).await
            && told.as_ref() != Some(&taken)
        {
            match client.report_ports(&taken).await {
                Ok(()) => told = Some(taken),
                Err(error) => tracing::debug!(%error, "taken ports are not reported yet"),
            }
        }
        tokio::select! {
            changed = assignment.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

fn published(assignment: Option<&Assignment>) -> BTreeSet<WantedPort> {
    let frontends = assignment
        .into_iter()
        .flat_map(|a| a.network.frontends.keys());
    frontends
        .filter_map(|frontend| match *frontend {
            Frontend::Published {
                protocol,
                port,
                address,
            } => Some((protocol, port, address)),
            Frontend::Vip { .. } => None,
        })
        .collect()
}

async fn look(wanted: BTreeSet<WantedPort>) -> Option<BTreeSet<TakenPort>> {
    let looked = tokio::task::spawn_blocking(move || listeners::taken(&wanted)).await;
    match looked {
        Ok(Ok(taken)) => Some(taken),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot tell which ports processes of this host listen on");
            None
        }
        Err(error) => {
            tracing::error!(%error, "looking for listening processes failed");
            None
        }
    }
}
