//! The task that owns the member.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_core::consensus::{Batch, Committed, Effects, Group, Input, Leadership, Member, Settings};
use orch_core::objects::ClusterSpec;
use orch_core::objects::cluster::RaftSettings;
use orch_core::store::{Change, Entropy, State};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::log::Log;
use super::reads::Reads;
use super::transport::Transport;
use super::{ProposeError, RaftError, Request, record};

/// Requests that may wait before who makes them must.
pub(super) const QUEUE: usize = 256;

type Done = oneshot::Sender<Result<State, ProposeError>>;

/// Owns the member, its log and the applied state.
pub(super) struct Driver<T> {
    member: Member<Log>,
    log: Log,
    transport: T,
    state: State,
    published: watch::Sender<State>,
    leadership: watch::Sender<Leadership>,
    group: watch::Sender<Group>,
    /// Proposals whose entry is not committed yet, by tag.
    pending: BTreeMap<u64, Done>,
    reads: Reads,
    next_tag: u64,
    applied: u64,
    snapshot_at: u64,
}

/// What others follow of a member.
pub(super) struct Published {
    pub state: watch::Receiver<State>,
    pub leadership: watch::Receiver<Leadership>,
    pub group: watch::Receiver<Group>,
}

impl<T: Transport> Driver<T> {
    /// Restores the state from the newest snapshot; entries after it are applied as raft commits
    /// them again.
    pub(super) fn open(log: Log, transport: T) -> Result<(Self, Published), RaftError> {
        let snapshot = log.newest_snapshot()?;
        let applied = snapshot.get_metadata().index;
        let state: State = record::decode(&snapshot.data)?;
        let raft = raft_settings(&state);
        let settings = Settings {
            id: log.member()?,
            applied,
            election_tick: raft.election_tick,
            heartbeat_tick: raft.heartbeat_tick,
        };
        let mut member = Member::start(log.clone(), settings, Entropy::from_seed(rand::random()))?;
        // A sole member need not wait for a leader that cannot exist; raft refuses this step
        // where there are others to ask first.
        if snapshot.get_metadata().get_conf_state().voters == [settings.id] {
            member.input(Input::Campaign);
        }
        let (published, state_rx) = watch::channel(state.clone());
        let (leadership, leadership_rx) = watch::channel(member.leadership());
        let (group, group_rx) = watch::channel(member.group());
        let driver = Self {
            member,
            log,
            transport,
            state,
            published,
            leadership,
            group,
            pending: BTreeMap::new(),
            reads: Reads::default(),
            // Entries of earlier runs carry tags too: they must not be taken for ours.
            next_tag: rand::random(),
            applied,
            snapshot_at: applied,
        };
        let published = Published {
            state: state_rx,
            leadership: leadership_rx,
            group: group_rx,
        };
        Ok((driver, published))
    }

    /// Runs until `stop`.
    pub(super) async fn run(
        mut self,
        tick: Duration,
        mut queue: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) -> Result<(), RaftError> {
        let mut ticker = tokio::time::interval(tick);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.work().await?;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticker.tick() => self.tick(),
                input = self.transport.receive() => self.member.input(input),
                request = queue.recv() => {
                    let Some(request) = request else { return Ok(()) };
                    self.take(request);
                    while let Ok(request) = queue.try_recv() {
                        self.take(request);
                    }
                }
            }
        }
    }

    fn tick(&mut self) {
        self.member.input(Input::Tick);
        for tag in self.reads.overdue() {
            self.member.input(Input::Read { tag });
        }
    }

    fn take(&mut self, request: Request) {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        self.member.input(match request {
            Request::Propose { data, done } => {
                self.pending.insert(tag, done);
                Input::Propose { tag, data }
            }
            Request::Read { done } => {
                self.reads.begin(tag, done);
                Input::Read { tag }
            }
            Request::Change(change) => Input::Change(change),
            Request::TransferTo(id) => Input::TransferTo(id),
        });
    }

    /// Carries effects out until there are none.
    async fn work(&mut self) -> Result<(), RaftError> {
        while let Some(effects) = self.member.poll()? {
            if let Some(batch) = self.carry_out(effects)? {
                persist(self.log.clone(), batch).await?;
                let effects = self.member.persisted()?;
                self.carry_out(effects)?;
            }
            self.reads.finish(self.applied, &self.state);
            self.publish_leadership();
            self.snapshot_when_due().await?;
        }
        Ok(())
    }

    fn carry_out(&mut self, effects: Effects) -> Result<Option<Batch>, RaftError> {
        for message in effects.send {
            self.transport.send(message);
        }
        for committed in effects.apply {
            self.apply(committed)?;
        }
        for tag in effects.refused {
            self.finish(tag, Err(ProposeError::NotLeader));
        }
        for (tag, index) in effects.readable {
            self.reads.confirm(tag, index);
        }
        Ok(effects.persist)
    }

    fn apply(&mut self, committed: Committed) -> Result<(), RaftError> {
        match committed {
            Committed::Snapshot { index, data } => {
                self.state = record::decode(&data)?;
                self.applied = index;
                self.snapshot_at = index;
                self.published.send_replace(self.state.clone());
            }
            Committed::Entry {
                index, tag, data, ..
            } => {
                self.applied = index;
                // Entries of raft itself (a new leader's first one) have no content.
                if !data.is_empty() {
                    let changes: Vec<Change> =
                        rmp_serde::from_slice(&data).map_err(|e| RaftError::BadEntry {
                            index,
                            reason: e.to_string(),
                        })?;
                    self.state.apply(index, &changes)?;
                    self.published.send_replace(self.state.clone());
                }
                if let Some(tag) = tag {
                    let state = self.state.clone();
                    self.finish(tag, Ok(state));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, tag: u64, outcome: Result<State, ProposeError>) {
        if let Some(done) = self.pending.remove(&tag)
            && done.send(outcome).is_err()
        {
            tracing::debug!(tag, "the proposer did not wait for the outcome");
        }
    }

    fn publish_leadership(&mut self) {
        let group = self.member.group();
        self.group.send_if_modified(|known| {
            let changed = *known != group;
            *known = group;
            changed
        });
        let current = self.member.leadership();
        let before = *self.leadership.borrow();
        if current == before {
            return;
        }
        if before.established && !current.established {
            for (_, done) in std::mem::take(&mut self.pending) {
                if done.send(Err(ProposeError::Unknown)).is_err() {
                    tracing::debug!("the proposer did not wait for the outcome");
                }
            }
        }
        if before.established != current.established || before.leader != current.leader {
            let Leadership {
                term,
                leader,
                established,
            } = current;
            tracing::info!(term, leader, leads = established, "raft leadership");
        }
        self.leadership.send_replace(current);
    }

    async fn snapshot_when_due(&mut self) -> Result<(), RaftError> {
        let settings = raft_settings(&self.state);
        let interval = settings.snapshot_interval.max(1);
        let due = self.applied >= self.snapshot_at.saturating_add(interval);
        if !due && !self.member.wants_snapshot() {
            return Ok(());
        }
        let state = self.state.clone();
        let data = tokio::task::spawn_blocking(move || record::encode(&state)).await??;
        let snapshot = self.member.snapshot(data);
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || {
            let trailing = settings.log_entries_for_slow_followers;
            log.compact(&snapshot, settings.keep_old_snapshots, trailing)
        })
        .await??;
        self.snapshot_at = self.applied;
        tracing::info!(index = self.applied, "snapshot written, log compacted");
        Ok(())
    }
}

async fn persist(log: Log, batch: Batch) -> Result<(), RaftError> {
    tokio::task::spawn_blocking(move || log.persist(&batch)).await??;
    Ok(())
}

/// The cluster's raft settings, Docker's defaults before there is a cluster.
fn raft_settings(state: &State) -> RaftSettings {
    state
        .cluster()
        .map_or_else(|| ClusterSpec::default().raft, |cluster| cluster.spec.raft)
}
