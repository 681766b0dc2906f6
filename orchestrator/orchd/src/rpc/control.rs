//! What users ask of the managers: any manager takes it, the leader does it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orch_core::control::{self, Command, ControlError};
use orch_core::store::State;
use orch_proto::ControlRequest;
use orch_proto::managers_client::ManagersClient;
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::Patience;
use super::{RpcError, connection, wire};
use crate::manager::{ManagerHandle, WriteError};
use crate::pki::credentials::Credentials;
use crate::pki::tls;

/// Time that a command waits for a leader.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time that the leader has to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Pause before a leader is looked for again.
const PAUSE: Duration = Duration::from_millis(50);
/// Time that a reader waits to be told what is current.
const READ_PATIENCE: Duration = Duration::from_secs(1);
const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few managers \
                         are online. Make sure more than half of the managers are online.";

/// How old a state may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It holds everything that was committed when it was asked for.
    Current,
    /// Nobody can tell at the moment: this is what this manager knows.
    MayBeOld,
}

/// The cluster's state and control, on any manager.
#[derive(Clone)]
pub struct Control {
    manager: ManagerHandle,
    credentials: watch::Receiver<Arc<Credentials>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl Control {
    /// Behind this manager, which proves itself with the latest of `credentials`.
    pub fn new(manager: ManagerHandle, credentials: watch::Receiver<Arc<Credentials>>) -> Self {
        Self {
            manager,
            credentials,
        }
    }

    /// This host's manager.
    pub fn manager(&self) -> &ManagerHandle {
        &self.manager
    }

    /// What this manager knows. What is current is asked for with [`catch_up`](Self::catch_up).
    pub fn state(&self) -> State {
        self.manager.state()
    }

    /// Waits until [`state`](Self::state) holds everything that is committed by now, but not for
    /// long: what is known is worth having while there is no leader.
    pub async fn catch_up(&self) -> Freshness {
        match tokio::time::timeout(READ_PATIENCE, self.manager.current()).await {
            Ok(Ok(_)) => Freshness::Current,
            Ok(Err(_)) | Err(_) => Freshness::MayBeOld,
        }
    }

    /// Has a command run by the leader; returns the id of what it made, if it made something.
    /// Waits for a leader for a while.
    pub async fn run(&self, command: Command) -> Result<Option<String>, WriteError> {
        let deadline = Instant::now() + PATIENCE;
        let mut leadership = self.manager.leadership();
        loop {
            match self.attempt(&command).await {
                Err(WriteError::NotLeader) if Instant::now() < deadline => {}
                Err(WriteError::NotLeader) => {
                    return Err(WriteError::Unavailable(NO_LEADER.to_owned()));
                }
                outcome => return outcome,
            }
            // Either the leader changes, or it was away for a moment.
            let changed = tokio::time::timeout(PAUSE, leadership.changed());
            if let Ok(Err(_)) = changed.await {
                return Err(WriteError::Unavailable(
                    "the manager is stopping".to_owned(),
                ));
            }
        }
    }

    /// [`WriteError::NotLeader`]: nothing has changed, and another attempt may succeed.
    async fn attempt(&self, command: &Command) -> Result<Option<String>, WriteError> {
        if self.manager.leads() {
            return run_here(&self.manager, command.clone()).await;
        }
        match self.manager.leader() {
            Some(leader) => self.forward(leader, command).await,
            None => Err(WriteError::NotLeader),
        }
    }

    async fn forward(
        &self,
        leader: SocketAddr,
        command: &Command,
    ) -> Result<Option<String>, WriteError> {
        let failed = |error: String| WriteError::Unavailable(error);
        let credentials = Arc::clone(&self.credentials.borrow());
        let tls = tls::client(&credentials).map_err(|e| failed(e.to_string()))?;
        // One that is gone must not use up the time in which another one may lead.
        let patience = Patience::of_link(self.manager.tick());
        let connected = connection::connect_within(&leader.to_string(), tls, patience).await;
        let (channel, _) = connected.map_err(|error| {
            tracing::debug!(%leader, %error, "the leader cannot be reached");
            WriteError::NotLeader
        })?;
        let request = ControlRequest {
            command: wire::encode(command).map_err(|e| failed(e.to_string()))?,
        };
        let mut client = ManagersClient::new(channel).max_encoding_message_size(wire::MAX_MESSAGE);
        let answer = tokio::time::timeout(ANSWER, client.control(request)).await;
        let answer = match answer.map(|answer| answer.map_err(RpcError::from)) {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(RpcError::NotLeader { .. })) => return Err(WriteError::NotLeader),
            Ok(Err(error)) => {
                return Err(failed(format!(
                    "whether the leader at {leader} made the change is not known: {error}; look, \
                     then try again"
                )));
            }
            Err(_) => {
                return Err(failed(format!(
                    "the leader at {leader} did not answer within {} s; look, then try again",
                    ANSWER.as_secs()
                )));
            }
        };
        let outcome: Result<Option<String>, ControlError> =
            wire::decode_answer(&answer.outcome).map_err(|e| failed(e.to_string()))?;
        Ok(outcome?)
    }
}

/// Runs a command on the manager that leads.
pub(super) async fn run_here(
    manager: &ManagerHandle,
    command: Command,
) -> Result<Option<String>, WriteError> {
    let group = manager.group();
    manager
        .write(move |tx| control::run(tx, command, &group))
        .await
}
