//! The leader's loop: one task that decides.
//!
//! Queued writes run one after the other against a working copy and are committed as one entry;
//! then reconciliation runs until it has nothing to change. Only an established leader decides;
//! others refuse writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_core::consensus::{Group, Leadership, Step};
use orch_core::control::{self, ControlError};
use orch_core::dispatch::{Finding, Patience, Sessions};
use orch_core::ids::NodeId;
use orch_core::objects::node::NodeState;
use orch_core::objects::{ClusterSpec, Node};
use orch_core::reconcile;
use orch_core::store::{Change, Entropy, State, Tx};
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
/// Reconciliation passes in a row after which something is wrong with the deciders.
const MAX_PASSES: u32 = 200;
/// Pause before such a reconciliation is tried again.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(1);
/// Pause before it is tried again when there was no room on the disk.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a step towards another raft group is taken again.
const STEP_PAUSE: Duration = Duration::from_millis(500);
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
}

/// What a leader remembers for as long as it leads.
struct Term {
    began: Instant,
    tick: Duration,
    state: State,
    /// Keeps [`Term::elapsed`] time.
    sessions: Sessions,
    /// The session that each node has.
    live: BTreeMap<NodeId, String>,
    /// When time alone calls for another reconciliation.
    wake_at: Option<Timestamp>,
    /// The step towards the wanted raft group that was taken last, and when.
    step: Option<(Step, Instant)>,
    /// The version of the state for which, and for the group as it is, no step is left to take.
    shaped: Option<u64>,
    /// Whether the state may need reconciliation.
    dirty: bool,
    passes: u32,
}

impl Term {
    fn begin(state: State, tick: Duration) -> Self {
        let mut term = Self {
            began: Instant::now(),
            tick,
            sessions: Sessions::new(patience(&state, tick), Timestamp::default()),
            state,
            live: BTreeMap::new(),
            wake_at: None,
            step: None,
            shaped: None,
            dirty: true,
            passes: 0,
        };
        let now = term.elapsed();
        let alive = |n: &&Arc<Node>| n.status.state != NodeState::Down;
        for node in term.state.nodes().filter(alive) {
            term.sessions.expect(node.id.clone(), now);
        }
        term
    }

    /// Time since the term began. Heartbeats are judged by it and not by the host's clock: when
    /// that is set, no node has missed any.
    fn elapsed(&self) -> Timestamp {
        Timestamp::default() + self.began.elapsed()
    }

    fn replace(&mut self, state: State) {
        self.sessions.set_patience(patience(&state, self.tick));
        self.state = state;
        self.dirty = true;
    }

    /// Leaves off reconciling for a while.
    fn pause(&mut self, pause: Duration) {
        self.dirty = false;
        self.passes = 0;
        self.wake_at = Some(now() + pause);
    }

    /// How long nothing can happen by itself.
    fn idle_for(&self) -> Duration {
        let wake_in = self.wake_at.map(|at| at.since(now()));
        let deadline = self.sessions.next_deadline();
        let expiry_in = deadline.map(|at| at.since(self.elapsed()));
        let next = [wake_in, expiry_in].into_iter().flatten().min();
        next.unwrap_or(Duration::MAX)
    }
}

fn patience(state: &State, tick: Duration) -> Patience {
    let default = ClusterSpec::default();
    let spec = state.cluster().map_or(&default, |cluster| &cluster.spec);
    Patience {
        heartbeat: spec.heartbeat_period,
        tick,
        host_loss_delay: spec.options().host_loss_delay,
    }
}

impl Leader {
    async fn run(mut self) {
        while let Some(led) = self.follow().await {
            let state = self.raft.state().borrow().clone();
            match self.lead(led, Term::begin(state, self.raft.tick())).await {
                Ok(()) => tracing::info!(term = led, "leadership is over"),
                Err(error) => {
                    tracing::warn!(term = led, %error, "leading failed");
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
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

    /// Decides until this member no longer leads term `led`.
    async fn lead(&mut self, led: u64, mut term: Term) -> Result<(), ProposeError> {
        loop {
            let leadership = *self.leadership.borrow_and_update();
            if !leadership.established || leadership.term != led {
                return Ok(());
            }
            if term.dirty {
                self.reconcile(&mut term).await?;
            }
            let reshaping = self.reshape(&mut term).await?;
            // While there is something left to reconcile only what is queued gets its turn.
            let idle = match term.dirty {
                true => Duration::ZERO,
                false => reshaping.unwrap_or(Duration::MAX).min(term.idle_for()),
            };
            tokio::select! {
                biased;
                changed = self.leadership.changed() => {
                    if changed.is_err() {
                        return Err(ProposeError::Stopping);
                    }
                }
                Ok(()) = self.group.changed() => term.shaped = None,
                // Cheap, and a heartbeat that waits for writes may come too late.
                Some(event) = self.events.recv() => self.on_session(&mut term, event).await?,
                Some(write) = self.writes.recv() => self.write(&mut term, write).await?,
                () = sleep(idle) => self.on_time(&mut term).await?,
            }
        }
    }

    /// One pass over the state.
    async fn reconcile(&mut self, term: &mut Term) -> Result<(), ProposeError> {
        let outcome = reconcile::step(&term.state, now(), &mut self.entropy);
        term.wake_at = outcome.wake_at;
        if outcome.changes.is_empty() {
            term.dirty = false;
            term.passes = 0;
            return Ok(());
        }
        if let Some(error) = self.commit(term, &outcome.changes).await? {
            tracing::warn!(%error, "reconciliation waits");
            term.pause(NO_ROOM_PAUSE);
            return Ok(());
        }
        term.passes += 1;
        if term.passes >= MAX_PASSES {
            let passes = term.passes;
            tracing::error!(passes, "reconciliation does not settle; pausing it");
            term.pause(UNSETTLED_PAUSE);
        }
        Ok(())
    }

    /// Takes the next step towards the raft group that the state wants. Returns when to look again.
    async fn reshape(&mut self, term: &mut Term) -> Result<Option<Duration>, ProposeError> {
        // Heartbeats come by the thousand, and change neither the state nor the group.
        if term.shaped == Some(term.state.version()) {
            return Ok(None);
        }
        let group = self.group.borrow_and_update().clone();
        let state = term.state.clone();
        let mut tx = Tx::new(&state, now(), &mut self.entropy);
        control::dismiss(&mut tx, &group);
        let changes = tx.into_changes();
        if let Some(error) = self.commit(term, &changes).await? {
            tracing::warn!(%error, "a manager that was demoted waits to be a worker");
        }
        let wanted = control::wanted_members(&term.state);
        let Some(step) = group.next(&wanted, self.raft.id()) else {
            term.step = None;
            term.shaped = Some(term.state.version());
            return Ok(None);
        };
        // A step that got lost is taken again.
        if let Some((taken, at)) = term.step
            && taken == step
            && at.elapsed() < STEP_PAUSE
        {
            return Ok(Some(STEP_PAUSE));
        }
        term.step = Some((step, Instant::now()));
        tracing::info!(?step, "changing the raft group");
        match step {
            Step::Change(change) => self.raft.change(change).await?,
            Step::TransferTo(id) => self.raft.transfer_to(id).await?,
        }
        Ok(Some(STEP_PAUSE))
    }

    /// Runs `first` and whatever else is queued, as one entry.
    async fn write(&mut self, term: &mut Term, first: Write) -> Result<(), ProposeError> {
        let mut working = term.state.clone();
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
        let outcome = self.commit(term, &changes).await;
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
        term: &mut Term,
        changes: &[Change],
    ) -> Result<Option<ProposeError>, ProposeError> {
        if changes.is_empty() {
            return Ok(None);
        }
        match self.raft.propose(changes).await {
            Ok(state) => {
                term.replace(state);
                Ok(None)
            }
            Err(error @ ProposeError::NoRoom { .. }) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// A moment that was waited for has come: expire sessions, reconcile what time brings.
    async fn on_time(&mut self, term: &mut Term) -> Result<(), ProposeError> {
        let now = now();
        if term.wake_at.is_some_and(|at| at <= now) {
            term.wake_at = None;
            term.dirty = true;
        }
        let due = term.sessions.due(term.elapsed());
        if !due.ask.is_empty() {
            self.ask(term, &due.ask);
        }
        for (node, _) in &due.down {
            term.live.remove(node);
        }
        self.take_down(term, &due.down).await
    }

    /// Records what was found out about nodes.
    async fn take_down(
        &mut self,
        term: &mut Term,
        found: &[(NodeId, Finding)],
    ) -> Result<(), ProposeError> {
        let state = term.state.clone();
        let mut tx = Tx::new(&state, now(), &mut self.entropy);
        for (node, finding) in found {
            tracing::warn!(%node, ?finding, "the health of a node changes");
            control::record_finding(&mut tx, node, *finding);
        }
        let changes = tx.into_changes();
        if let Some(error) = self.commit(term, &changes).await? {
            tracing::warn!(%error, "the health of nodes is not written down yet");
            let now = term.elapsed();
            for (node, _) in found {
                term.sessions.expect(node.clone(), now);
            }
        }
        Ok(())
    }

    /// Asks the hosts of nodes; their answers come as events.
    fn ask(&self, term: &Term, nodes: &[NodeId]) {
        let addresses = nodes.iter().map(|id| {
            let address = term.state.node(id).and_then(|node| node.underlay());
            (id.clone(), address)
        });
        let asking = hosts::ask(
            Arc::clone(&self.ask),
            addresses.collect(),
            term.sessions.patience().answer(),
            self.answers.clone(),
        );
        tokio::spawn(asking);
    }

    async fn on_session(
        &mut self,
        term: &mut Term,
        event: SessionEvent,
    ) -> Result<(), ProposeError> {
        let now = term.elapsed();
        match event {
            SessionEvent::Opened { node, session } => {
                term.sessions.opened(node.clone(), now);
                term.live.insert(node, session);
            }
            SessionEvent::Beat {
                node,
                session,
                alive,
            } => {
                let known = term.live.get(&node) == Some(&session);
                answer(alive, known && term.sessions.beat(&node, now));
            }
            SessionEvent::Broken { node, session } => {
                if term.live.get(&node) == Some(&session) {
                    term.live.remove(&node);
                    term.sessions.broken(&node, now);
                }
            }
            SessionEvent::Asked { node, answered } => {
                if let Some(news) = term.sessions.asked(&node, answered, now) {
                    self.take_down(term, &[(node, news)]).await?;
                }
            }
            SessionEvent::Closed { node } => {
                term.live.remove(&node);
                term.sessions.closed(&node);
            }
        }
        Ok(())
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
