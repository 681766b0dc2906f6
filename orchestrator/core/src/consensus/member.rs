//! One member of the raft group.

use std::collections::VecDeque;

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeV2, ConfState, Entry, EntryType, Message, Snapshot, SnapshotMetadata,
};
use raft::{Config, LightReady, ProgressState, RawNode, Ready, SnapshotStatus, StateRole};

use super::ConsensusError;
use super::exchange::{Committed, Effects, Input};
use super::group::{Group, Heard};
use super::store::{Adapter, Batch, LogStore};
use crate::planted::{self, Fault};
use crate::store::Entropy;

/// Bytes of entries per message to a follower.
const MAX_MESSAGE_BYTES: u64 = 1 << 20;
/// Messages on the way to a follower that waits for none of them.
const MAX_INFLIGHT_MESSAGES: usize = 256;
/// Entries that a learner may lack and still count as caught up: the leader goes on meanwhile.
const NEARLY_ALL: u64 = 64;

/// What a member is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Its id; never 0, never reused.
    pub id: u64,
    /// Index of the last entry that the state in hand already holds.
    pub applied: u64,
    /// Ticks without a leader before an election, at least; up to twice as many by chance.
    pub election_tick: u32,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_tick: u32,
}

/// Who leads, as this member knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// Its leader.
    pub leader: Option<u64>,
    /// Whether this member leads and has applied everything committed before its term: only
    /// then may it decide.
    pub established: bool,
}

/// One member of the raft group.
pub struct Member<L: LogStore> {
    raw: RawNode<Adapter<L>>,
    election_tick: u32,
    entropy: Entropy,
    /// Inputs that came while a batch was on its way to the disk.
    waiting: VecDeque<Input>,
    /// The batch that is on its way to the disk, and messages that wait for it.
    in_flight: Option<(Ready, Vec<Message>)>,
    refused: Vec<u64>,
    members: ConfState,
    heard: Heard,
    /// A change of the members is in force, and the disk does not say yet that it is committed:
    /// a member that starts again would vote, and lead, by the members of before.
    unsaved: bool,
    /// It leads a group that it is no member of any more: an earlier leader had proposed that. Raft
    /// would let it go on, and refuse everything.
    outside: bool,
    applied: (u64, u64),
    /// Term and role that the election time-out was drawn for.
    drawn_for: Option<(u64, StateRole)>,
}

impl<L: LogStore> Member<L> {
    /// Starts a member from its durable log. `entropy` draws its election time-outs.
    pub fn start(log: L, settings: Settings, entropy: Entropy) -> Result<Self, ConsensusError> {
        let election_tick = settings.election_tick as usize;
        let config = Config {
            id: settings.id,
            applied: settings.applied,
            election_tick,
            heartbeat_tick: settings.heartbeat_tick as usize,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let members = log.restored().map_err(raft::Error::from)?.members;
        let applied = (
            settings.applied,
            log.term(settings.applied).map_err(raft::Error::from)?,
        );
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, Adapter::new(log), &silent)?;
        let mut member = Self {
            raw,
            election_tick: settings.election_tick,
            entropy,
            waiting: VecDeque::new(),
            in_flight: None,
            refused: Vec::new(),
            members,
            heard: Heard::new(settings.election_tick),
            unsaved: false,
            outside: false,
            applied,
            drawn_for: None,
        };
        member.draw_election_timeout();
        Ok(member)
    }

    /// Takes an input. It waits while a batch is on its way to the disk.
    pub fn input(&mut self, input: Input) {
        self.waiting.push_back(input);
    }

    /// What is to be done now; `None` when nothing is, or while a batch is on its way.
    pub fn poll(&mut self) -> Result<Option<Effects>, ConsensusError> {
        if self.in_flight.is_some() {
            return Ok(None);
        }
        if std::mem::take(&mut self.outside) {
            let raft = &mut self.raw.raft;
            raft.become_follower(raft.term, raft::INVALID_ID);
            self.draw_election_timeout();
        }
        while let Some(input) = self.waiting.pop_front() {
            self.step(input);
            self.draw_election_timeout();
        }
        let mut effects = Effects {
            refused: std::mem::take(&mut self.refused),
            ..Effects::default()
        };
        if self.raw.has_ready() || self.unsaved {
            let mut ready = self.raw.ready();
            effects.send = ready.take_messages();
            let read = ready.take_read_states();
            effects.readable = read.iter().filter_map(readable).collect();
            let mut batch = Batch {
                snapshot: Some(ready.snapshot().clone()).filter(|s| !s.is_empty()),
                entries: ready.take_entries(),
                hard_state: ready.hs().cloned(),
            };
            if let Some(snapshot) = &batch.snapshot {
                effects.apply.push(self.restore(snapshot));
            }
            self.commit(ready.take_committed_entries(), &mut effects)?;
            if std::mem::take(&mut self.unsaved) {
                let current = || self.raw.raft.hard_state();
                batch.hard_state = Some(batch.hard_state.unwrap_or_else(current));
            }
            let mut after = ready.take_persisted_messages();
            if planted::is(Fault::AnswerBeforeSync) {
                effects.send.append(&mut after);
            }
            if batch.is_empty() {
                self.advance(ready, after, &mut effects)?;
            } else {
                effects.persist = Some(batch);
                self.in_flight = Some((ready, after));
            }
        }
        Ok(Some(effects).filter(|e| !e.is_empty()))
    }

    /// The batch is durable: what may be done now that it is.
    pub fn persisted(&mut self) -> Result<Effects, ConsensusError> {
        let mut effects = Effects::default();
        if let Some((ready, after)) = self.in_flight.take() {
            self.advance(ready, after, &mut effects)?;
        }
        Ok(effects)
    }

    /// Who leads.
    pub fn leadership(&self) -> Leadership {
        let raft = &self.raw.raft;
        Leadership {
            term: raft.term,
            leader: Some(raft.leader_id).filter(|id| *id != raft::INVALID_ID),
            established: raft.state == StateRole::Leader
                && (self.applied.1 == raft.term || planted::is(Fault::DecideTooEarly)),
        }
    }

    /// Whether a member lacks entries that are gone here, and no snapshot that there is helps: it
    /// is older than that member.
    pub fn wants_snapshot(&self) -> bool {
        self.raw.store().wants_snapshot()
    }

    /// Who the members are, and how they do as far as this one can tell.
    pub fn group(&self) -> Group {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        let last = raft.raft_log.last_index();
        // One that waits for a snapshot has nothing, however short the log is.
        let nearly = |id: &u64| {
            leads
                && raft.prs().get(*id).is_some_and(|progress| {
                    progress.state == ProgressState::Replicate
                        && progress.matched.saturating_add(NEARLY_ALL) >= last
                })
        };
        Group {
            voters: self.members.voters.iter().copied().collect(),
            learners: self.members.learners.iter().copied().collect(),
            caught_up: self
                .members
                .learners
                .iter()
                .copied()
                .filter(nearly)
                .collect(),
            active: self.heard.lately(raft.id),
            changing: raft.has_pending_conf(),
        }
    }

    /// A snapshot of `data`, which must be the state after the last applied entry.
    pub fn snapshot(&self, data: Vec<u8>) -> Snapshot {
        let (index, term) = self.applied;
        let mut metadata = SnapshotMetadata {
            index,
            term,
            ..SnapshotMetadata::default()
        };
        metadata.set_conf_state(self.members.clone());
        let mut snapshot = Snapshot {
            data: data.into(),
            ..Snapshot::default()
        };
        snapshot.set_metadata(metadata);
        snapshot
    }

    fn step(&mut self, input: Input) {
        let leads = self.raw.raft.state == StateRole::Leader;
        let taken = match input {
            Input::Tick => {
                self.heard.tick();
                self.raw.tick();
                Ok(())
            }
            Input::Campaign => self.raw.campaign(),
            Input::Receive(message) => {
                self.heard.from(message.from);
                self.raw.step(*message)
            }
            Input::Propose { tag, data } => {
                // A follower would forward it; its answer belongs to the leader's own callers.
                let taken = if leads {
                    self.raw.propose(tag.to_be_bytes().to_vec(), data)
                } else {
                    Err(raft::Error::ProposalDropped)
                };
                if taken.is_err() {
                    self.refused.push(tag);
                }
                Ok(())
            }
            Input::Read { tag } => {
                // The leader tells reads of all members apart by their contexts alone.
                let context = [self.raw.raft.id.to_be_bytes(), tag.to_be_bytes()].concat();
                self.raw.read_index(context);
                Ok(())
            }
            Input::Change(change) if leads => {
                self.raw.propose_conf_change(Vec::new(), change.encoded())
            }
            Input::Change(_) => Err(raft::Error::ProposalDropped),
            Input::TransferTo(id) => {
                self.raw.transfer_leader(id);
                Ok(())
            }
            Input::Unreachable(id) => {
                self.raw.report_unreachable(id);
                Ok(())
            }
            Input::SnapshotSent { to, arrived } => {
                let status = match arrived {
                    true => SnapshotStatus::Finish,
                    false => SnapshotStatus::Failure,
                };
                self.raw.report_snapshot(to, status);
                Ok(())
            }
        };
        // Stray messages and untimely campaigns are part of life: raft ignores them.
        drop(taken);
    }

    /// The batch of `ready` is durable (or was empty): raft goes on from there.
    fn advance(
        &mut self,
        ready: Ready,
        after: Vec<Message>,
        effects: &mut Effects,
    ) -> Result<(), ConsensusError> {
        let mut light: LightReady = self.raw.advance_append(ready);
        effects.send.extend(after);
        effects.send.extend(light.take_messages());
        self.commit(light.take_committed_entries(), effects)?;
        self.raw.advance_apply_to(self.applied.0);
        self.draw_election_timeout();
        Ok(())
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Committed {
        let metadata = snapshot.get_metadata();
        self.members = metadata.get_conf_state().clone();
        self.applied = (metadata.index, metadata.term);
        Committed::Snapshot {
            index: metadata.index,
            data: snapshot.data.to_vec(),
        }
    }

    fn commit(&mut self, entries: Vec<Entry>, effects: &mut Effects) -> Result<(), ConsensusError> {
        for entry in entries {
            let (index, term) = (entry.index, entry.term);
            self.applied = (index, term);
            let (tag, data) = match entry.get_entry_type() {
                EntryType::EntryNormal => {
                    let tag = entry
                        .context
                        .as_ref()
                        .try_into()
                        .ok()
                        .map(u64::from_be_bytes);
                    (tag, entry.data.to_vec())
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.change_members(&entry)?;
                    (None, Vec::new())
                }
            };
            effects.apply.push(Committed::Entry {
                index,
                term,
                tag,
                data,
            });
        }
        Ok(())
    }

    fn change_members(&mut self, entry: &Entry) -> Result<(), ConsensusError> {
        let bad = |e: protobuf::ProtobufError| ConsensusError::BadMembershipChange {
            index: entry.index,
            reason: e.to_string(),
        };
        self.members = if entry.get_entry_type() == EntryType::EntryConfChange {
            let change = ConfChange::parse_from_bytes(&entry.data).map_err(bad)?;
            self.raw.apply_conf_change(&change)?
        } else {
            let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(bad)?;
            self.raw.apply_conf_change(&change)?
        };
        let raft = &self.raw.raft;
        self.outside = raft.state == StateRole::Leader && !self.members.voters.contains(&raft.id);
        self.unsaved = true;
        Ok(())
    }

    /// Raft draws its time-out from the process-wide random source whenever term or role change;
    /// that draw is replaced by one of ours.
    fn draw_election_timeout(&mut self) {
        let current = (self.raw.raft.term, self.raw.raft.state);
        if self.drawn_for != Some(current) {
            self.drawn_for = Some(current);
            let spread = self.entropy.bits() % u128::from(self.election_tick.max(1));
            let spread = u32::try_from(spread).unwrap_or_default();
            let ticks = self.election_tick.saturating_add(spread);
            self.raw
                .raft
                .set_randomized_election_timeout(ticks as usize);
        }
    }
}

/// The tag of a read of this member, and the index that it waits for.
fn readable(read: &raft::ReadState) -> Option<(u64, u64)> {
    let (_, tag) = read.request_ctx.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(tag.try_into().ok()?), read.index))
}
