//! `swarm leave`: what it means for the others.

use std::time::Duration;

use super::member::Running;
use super::state_dir::StoredMembership;
use crate::rpc::control::Control;

/// Time that a manager that leaves gives the others to go on without it.
const DISMISSAL_PATIENCE: Duration = Duration::from_secs(10);
const RESTORE: &str = "The only way to restore a swarm that has lost consensus is to reinitialize \
                       it with `--force-new-cluster`. Use `--force` to suppress this message.";

/// What may become of the swarm when this manager leaves, in Docker's words.
pub(super) fn consequence(running: Option<&Running>) -> String {
    match running.and_then(Running::control) {
        None => format!("Doing so may lose the consensus of your cluster. {RESTORE}"),
        Some(control) if is_last(control) => "Removing the last manager erases all current state \
                                              of the swarm. Use `--force` to ignore this message."
            .to_owned(),
        Some(_) => RESTORE.to_owned(),
    }
}

fn is_last(control: &Control) -> bool {
    control.manager().group().voters.len() <= 1
}

/// Tells the managers that this node leaves. A manager stays until the others go on without it, if
/// there are others that can.
pub(super) async fn say_goodbye(running: &Running, stored: &StoredMembership) {
    let last = running.control().is_some_and(is_last);
    let Some(client) = running.client().filter(|_| !last) else {
        return;
    };
    let mut said = client.leave().await;
    if stored.manager && said.is_ok() {
        if !running.dismissed(DISMISSAL_PATIENCE).await {
            tracing::warn!("the other managers do not go on without this one yet");
        }
        // It was a node like any other meanwhile, perhaps with another leader.
        said = client.leave().await;
    }
    if let Err(error) = said {
        tracing::warn!(%error, "no manager was told that this node leaves");
    }
}
