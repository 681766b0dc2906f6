//! Tells the managers which data plane is in force on this host, and how many conversations it
//! still leads to tasks that drain.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use orch_core::dispatch::Acknowledgement;
use orch_core::network::Vni;

use crate::netplane::{Applied, NetPlane, NetPlaneError};
use crate::rpc::client::ManagerClient;

/// Pause before something is counted again, or said again that did not get through.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the newest state at once and each until it got through. Ends with the data plane's owner.
pub async fn acknowledge(plane: NetPlane, client: ManagerClient) {
    let mut applied = plane.applied();
    let mut told = None;
    loop {
        let now = applied.borrow_and_update().clone();
        let mut again = false;
        if let Some(now) = now {
            let said = look(&plane, &now).await;
            again = !now.draining.is_empty();
            if told.as_ref() != Some(&said) {
                match client.acknowledge(&said).await {
                    Ok(()) => told = Some(said),
                    Err(error) => {
                        tracing::debug!(version = now.version, %error, "not acknowledged yet");
                        again = true;
                    }
                }
            }
        }
        tokio::select! {
            changed = applied.changed() => match changed {
                // The managers may be others than before, who know nothing.
                Ok(()) => told = None,
                Err(_) => return,
            },
            () = tokio::time::sleep(PAUSE), if again => {}
        }
    }
}

async fn look(plane: &NetPlane, applied: &Applied) -> Acknowledgement {
    let live = if applied.draining.is_empty() {
        Some(BTreeMap::new())
    } else {
        match count(plane).await {
            Ok(mut live) => {
                live.retain(|endpoint, _| applied.draining.contains(endpoint));
                Some(live)
            }
            Err(error) => {
                tracing::warn!(%error, "conversations with tasks that drain cannot be counted");
                None
            }
        }
    };
    Acknowledgement {
        version: applied.version,
        live,
    }
}

/// How many conversations this host leads to each endpoint.
type Live = BTreeMap<(Vni, IpAddr), u64>;

/// Reading the tables may take a second when they are full, and blocks.
async fn count(plane: &NetPlane) -> Result<Live, NetPlaneError> {
    let tables = plane.look(|plane| plane.flow_tables()).await?;
    let counted = tokio::task::spawn_blocking(move || tables.live_per_backend()).await;
    Ok(counted.map_err(|_| NetPlaneError::Closed)??)
}
