//! The manager: carries API operations and reconciliation through raft into the cluster's state.
//!
//! [`ManagerHandle`] is what everybody else holds. Decisions are pure functions of `orch_core`;
//! the loop in [`leader`] runs them one after the other against the latest state and has raft
//! commit what they decided.

mod leader;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use orch_core::control::ControlError;
use orch_core::store::{State, Tx};
use orch_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

pub use leader::spawn;
pub use session::SessionEvent;

/// Why a write had no effect that the caller may rely on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The operation was refused; nothing changed.
    #[error(transparent)]
    Control(#[from] ControlError),
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
