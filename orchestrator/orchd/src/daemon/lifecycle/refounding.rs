//! One manager goes on alone: `swarm init --force-new-cluster`.

use std::path::PathBuf;

use orch_core::control;
use orch_core::ids::NodeId;
use orch_core::store::{Entropy, Tx};

use super::super::state_dir::StoredMembership;
use super::super::{LifecycleError, Membership};
use super::{JOIN_PATIENCE, Owner, failed};
use crate::{manager, raft};

impl Owner {
    /// Makes a raft group of this manager alone. Its node stops meanwhile; containers and the data
    /// plane stay as they are.
    pub(super) async fn refound(&mut self, advertise: &str) -> Result<NodeId, LifecycleError> {
        let stored = self.dir.membership().map_err(failed)?;
        let stored = stored.ok_or(LifecycleError::NotManager)?;
        if !stored.manager {
            return Err(LifecycleError::NotManager);
        }
        let known = [
            stored.advertise.to_string(),
            stored.advertise.ip().to_string(),
        ];
        if !advertise.is_empty() && !known.iter().any(|known| known == advertise) {
            return Err(LifecycleError::BadAddress(format!(
                "this manager's address is {} and cannot be changed with --force-new-cluster",
                stored.advertise
            )));
        }
        self.publish(Membership::Pending);
        if let Some((running, _)) = self.running.take() {
            running.stop().await;
        }
        let node = stored.node_id.clone();
        let outcome = self.go_on_alone(stored).await;
        // With the new log, or with the old one if that could not be rewritten.
        self.resume().await;
        outcome?;
        if let Some((running, _)) = &self.running
            && !running.joined(JOIN_PATIENCE).await
        {
            tracing::warn!("the swarm's own node is not ready yet");
        }
        Ok(node)
    }

    async fn go_on_alone(&self, mut stored: StoredMembership) -> Result<(), LifecycleError> {
        let (log, of) = (self.dir.raft(), stored.clone());
        let rewriting = tokio::task::spawn_blocking(move || rewrite(log, &of));
        rewriting
            .await
            .map_err(|e| LifecycleError::Failed(e.to_string()))?
            .map_err(|e| {
                LifecycleError::Failed(format!("cannot make the manager the only one: {e}"))
            })?;
        stored.managers = vec![(stored.node_id.clone(), stored.advertise)];
        stored.joined_at = None;
        self.dir.save(&stored).map_err(failed)?;
        tracing::warn!(node = %stored.node_id, "this manager is the only one of its swarm now");
        Ok(())
    }
}

fn rewrite(log: PathBuf, stored: &StoredMembership) -> Result<(), raft::RaftError> {
    let member = rand::random_range(1..=u64::MAX);
    raft::refound(&log, member, |state| {
        let mut entropy = Entropy::from_seed(rand::random());
        let mut tx = Tx::new(state, manager::now(), &mut entropy);
        control::refound(&mut tx, &stored.node_id, member, stored.advertise)?;
        Ok(tx.into_changes())
    })
}
