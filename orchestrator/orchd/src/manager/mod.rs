//! The manager: carries API operations and reconciliation through raft into the cluster's state.
//!
//! [`ManagerHandle`] is what everybody else holds. Decisions are pure functions of `orch_core`;
//! the loop in [`leader`] runs them one after the other against the latest state and has raft
//! commit what they decided.

pub mod hosts;
mod leader;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orch_core::consensus::{Group, Leadership};
use orch_core::control::ControlError;
use orch_core::store::{State, Tx};
use orch_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

pub use leader::spawn;
pub use session::SessionEvent;

use crate::raft::Raft;

/// Why a write had no effect that the caller may rely on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The operation was refused; nothing changed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// This manager does not lead; nothing changed.
    #[error("this manager does not lead the swarm at the moment; try again")]
    NotLeader,
    /// The cluster cannot commit now; whether the write took effect is unknown.
    #[error("{0}")]
    Unavailable(String),
}

/// The clock of decisions.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

/// Handle to the cluster's state and control.
#[derive(Debug, Clone)]
pub struct ManagerHandle {
    raft: Raft,
    state: watch::Receiver<State>,
    writes: mpsc::Sender<leader::Write>,
    sessions: mpsc::Sender<SessionEvent>,
}

impl ManagerHandle {
    /// The latest committed state.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Follows the committed state.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The state with everything in it that was committed anywhere when this was called. Takes as
    /// long as the swarm has no leader.
    pub async fn current(&self) -> Result<State, WriteError> {
        let read = self.raft.read().await;
        read.map_err(|error| WriteError::Unavailable(error.to_string()))
    }

    /// The unit of time in which managers and hosts are missed.
    pub fn tick(&self) -> Duration {
        self.raft.tick()
    }

    /// Who leads, as this manager knows it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.raft.leadership()
    }

    /// Whether this manager leads.
    pub fn leads(&self) -> bool {
        self.raft.leadership().borrow().established
    }

    /// Waits until this manager leads.
    pub async fn led(&self) {
        let mut leadership = self.raft.leadership();
        if leadership.wait_for(|l| l.established).await.is_err() {
            tracing::debug!("the manager stopped before it led");
        }
    }

    /// Where the manager that leads serves node-to-node calls.
    pub fn leader(&self) -> Option<SocketAddr> {
        let leader = self.raft.leadership().borrow().leader?;
        let state = self.state.borrow();
        let mut managers = state.nodes().filter_map(|node| node.manager.as_ref());
        managers
            .find(|manager| manager.raft_id == leader)
            .map(|manager| manager.address)
    }

    /// The raft group, as this manager knows it.
    pub fn group(&self) -> Group {
        self.raft.group().borrow().clone()
    }

    /// Runs `decide` against the latest state and returns once what it decided is durably
    /// committed and applied. On an error of `decide` nothing changes.
    pub async fn write<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Tx<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let stopped = || WriteError::Unavailable("the manager is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        let write = leader::Write::new(decide, reply);
        self.writes.send(write).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Tells the manager that a node's session began, lives or ended.
    pub async fn session(&self, event: SessionEvent) {
        // A manager that stops forgets its sessions anyway.
        if self.sessions.send(event).await.is_err() {
            tracing::debug!("session event after the manager stopped");
        }
    }
}
