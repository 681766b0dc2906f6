//! The leader's loop: one task that decides.
//!
//! Queued writes run one after the other against a working copy and are committed as one entry;
//! what a leader does besides is [`Lead`]'s to say. Only an established leader decides; others
//! refuse writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_core::consensus::{Group, Leadership, Step};
use orch_core::control::ControlError;
use orch_core::lead::{Act, Lead, Moment};
use orch_core::store::{Change, Entropy, Tx};
use orch_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::hosts::{self, AskHosts};
use super::{ManagerHandle, SessionEvent, WriteError, now};
use crate::raft::{ProposeError, Raft};

/// Writes that may wait before a writer must.
const QUEUE: usize = 256;
/// Writes committed as one entry at most.
const GROUP: usize = 64;
/// Pause after a commit failed, before leading on.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

/// Decides, or hears why nothing can be decided.
type Decide = Box<dyn FnOnce(Result<&mut Tx<'_>, WriteError>) -> Option<Completion> + Send>;
type Completion = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// A queued write.
pub(super) struct Write(Decide);

impl Write {
    /// `decide` runs once; its outcome goes to `reply`, on success only after the commit.
    pub(super) fn new<T: Send + 'static>(
        decide: impl FnOnce(&mut Tx<'_>) -> Result<T, ControlError> + Send + 'static,
        reply: oneshot::Sender<Result<T, WriteError>>,
    ) -> Self {
        Self(Box::new(move |tx| {
            match tx.and_then(|tx| Ok(decide(tx)?)) {
                Ok(value) => Some(Box::new(move |committed: Result<(), WriteError>| {
                    answer(reply, committed.map(|()| value));
                })),
                Err(error) => {
                    answer(reply, Err(error));
                    None
                }
            }
        }))
    }

    fn refuse(self) {
        (self.0)(Err(WriteError::NotLeader));
    }
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Write")
    }
}

fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("the caller did not wait for the answer");
    }
}

/// Starts the manager on top of `raft`, whose tick is the unit of time; hosts are asked by `ask`.
/// The task ends with `stop`.
pub fn spawn(
    raft: Raft,
    ask: AskHosts,
    stop: CancellationToken,
) -> (ManagerHandle, JoinHandle<()>) {
    let (writes, write_queue) = mpsc::channel(QUEUE);
    let (sessions, session_queue) = mpsc::channel(QUEUE);
    let handle = ManagerHandle {
        raft: raft.clone(),
        state: raft.state(),
        writes,
        sessions: sessions.clone(),
    };
    let leader = Leader {
        leadership: raft.leadership(),
        group: raft.group(),
        raft,
        writes: write_queue,
        events: session_queue,
        answers: sessions,
        ask,
        entropy: Entropy::from_seed(rand::random()),
        started: Instant::now(),
    };
    let task = tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = leader.run() => {}
        }
    });
    (handle, task)
}

struct Leader {
    raft: Raft,
    leadership: watch::Receiver<Leadership>,
    group: watch::Receiver<Group>,
    writes: mpsc::Receiver<Write>,
    events: mpsc::Receiver<SessionEvent>,
    /// Where hosts' answers go in.
    answers: mpsc::Sender<SessionEvent>,
    ask: AskHosts,
    entropy: Entropy,
    started: Instant,
}

impl Leader {
    async fn run(mut self) {
        while let Some(term) = self.follow().await {
            let state = self.raft.state().borrow().clone();
            let lead = Lead::begin(self.raft.id(), state, self.raft.tick(), self.now());
            match self.lead(term, lead).await {
                Ok(()) => tracing::info!(term, "leadership is over"),
                Err(error) => {
                    tracing::warn!(term, %error, "leading failed");
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
        }
    }

    fn now(&self) -> Moment {
        Moment {
            wall: now(),
            steady: Timestamp::default() + self.started.elapsed(),
        }
    }

    /// Refuses what only a leader does, until this member leads; returns the term.
    async fn follow(&mut self) -> Option<u64> {
        loop {
            let leadership = *self.leadership.borrow_and_update();
            if leadership.established {
                return Some(leadership.term);
            }
            tokio::select! {
                biased;
                changed = self.leadership.changed() => changed.ok()?,
                Some(write) = self.writes.recv() => write.refuse(),
                // Who waits for the answer to a beat hears that there is none.
                Some(event) = self.events.recv() => drop(event),
            }
        }
    }

    /// Decides until this member no longer leads the term.
    async fn lead(&mut self, term: u64, mut lead: Lead) -> Result<(), ProposeError> {
        loop {
            let leadership = *self.leadership.borrow_and_update();
            if !leadership.established || leadership.term != term {
                return Ok(());
            }
            let group = self.group.borrow_and_update().clone();
            let act = lead.next(self.now(), &group, &mut self.entropy);
            // While there is something left to do only what is queued gets its turn.
            let idle = match act {
                Some(act) => {
                    self.carry_out(&mut lead, act).await?;
                    Duration::ZERO
                }
                None => lead.idle(self.now()),
            };
            tokio::select! {
                biased;
                changed = self.leadership.changed() => {
                    if changed.is_err() {
                        return Err(ProposeError::Stopping);
                    }
                }
                // It is looked at above.
                Ok(()) = self.group.changed() => {}
                // Cheap, and a heartbeat that waits for writes may come too late.
                Some(event) = self.events.recv() => self.on_session(&mut lead, event),
                Some(write) = self.writes.recv() => self.write(&mut lead, write).await?,
                () = sleep(idle) => {}
            }
        }
    }

    async fn carry_out(&self, lead: &mut Lead, act: Act) -> Result<(), ProposeError> {
        match act {
            Act::Ask(nodes) => {
                let (ask, answers) = (Arc::clone(&self.ask), self.answers.clone());
                let patience = lead.patience().answer();
                tokio::spawn(hosts::ask(ask, nodes, patience, answers));
            }
            Act::Commit(changes) => {
                for (node, finding) in lead.findings() {
                    tracing::warn!(%node, ?finding, "the health of a node changes");
                }
                if lead.is_unsettled() {
                    tracing::error!("reconciliation does not settle; it makes a pause");
                }
                if let Some(error) = self.commit(lead, &changes).await? {
                    tracing::warn!(%error, "what the swarm decides by itself waits");
                    lead.refused(self.now());
                }
            }
            Act::Reshape(step) => {
                tracing::info!(?step, "changing the raft group");
                match step {
                    Step::Change(change) => self.raft.change(change).await?,
                    Step::TransferTo(id) => self.raft.transfer_to(id).await?,
                }
            }
        }
        Ok(())
    }

    /// Runs `first` and whatever else is queued, as one entry.
    async fn write(&mut self, lead: &mut Lead, first: Write) -> Result<(), ProposeError> {
        let mut working = lead.state().clone();
        let mut changes: Vec<Change> = Vec::new();
        let mut completions: Vec<Completion> = Vec::new();
        let mut next = Some(first);
        while let Some(Write(decide)) = next {
            let mut tx = Tx::new(&working, now(), &mut self.entropy);
            if let Some(complete) = decide(Ok(&mut tx)) {
                let decided = tx.into_changes();
                // A version of its own per write: a second update of the same object in this
                // group is out of sequence, as it would be had it come a moment later.
                let applied = working.apply(working.version() + 1, &decided);
                match applied {
                    Ok(()) => {
                        changes.extend(decided);
                        completions.push(complete);
                    }
                    Err(error) => complete(Err(WriteError::Unavailable(error.to_string()))),
                }
            }
            next = if completions.len() < GROUP {
                self.writes.try_recv().ok()
            } else {
                None
            };
        }
        let outcome = self.commit(lead, &changes).await;
        let told = match &outcome {
            Ok(None) => Ok(()),
            // Raft did not take it: it may be tried again, here or elsewhere.
            Err(ProposeError::NotLeader) => Err(WriteError::NotLeader),
            Ok(Some(error)) | Err(error) => Err(WriteError::Unavailable(error.to_string())),
        };
        for complete in completions {
            complete(told.clone());
        }
        outcome.map(drop)
    }

    /// Commits changes; returns why not if that says nothing about who leads: there is no room.
    async fn commit(
        &self,
        lead: &mut Lead,
        changes: &[Change],
    ) -> Result<Option<ProposeError>, ProposeError> {
        if changes.is_empty() {
            return Ok(None);
        }
        match self.raft.propose(changes).await {
            Ok(state) => {
                lead.committed(state);
                Ok(None)
            }
            Err(error @ ProposeError::NoRoom { .. }) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    fn on_session(&self, lead: &mut Lead, event: SessionEvent) {
        let now = self.now();
        match event {
            SessionEvent::Opened { node, session } => lead.opened(node, session, now),
            SessionEvent::Beat {
                node,
                session,
                alive,
            } => answer(alive, lead.beat(&node, &session, now)),
            SessionEvent::Broken { node, session } => lead.broken(&node, &session, now),
            SessionEvent::Asked { node, answered } => lead.asked(node, answered, now),
            SessionEvent::Closed { node } => lead.closed(&node),
        }
    }
}

/// Sleeps; zero does not yield to the timer's resolution, `Duration::MAX` is for ever.
async fn sleep(span: Duration) {
    match span {
        Duration::ZERO => {}
        Duration::MAX => std::future::pending().await,
        span => tokio::time::sleep(span).await,
    }
}
