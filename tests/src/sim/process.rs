//! A manager's process: the real member of the raft group, the real leader, and what carries
//! their effects out, on a simulated disk.
//!
//! It does what `raft::driver` and `manager::leader` of the daemon do, with events in place of
//! waiting.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use orch_core::consensus::{
    self, Batch, Committed, Effects, Group, Input, Leadership, Member, Message, Settings, Step,
};
use orch_core::dispatch::{self, Assignment};
use orch_core::ids::NodeId;
use orch_core::lead::{Act, Lead, Moment};
use orch_core::planted::{self, Fault};
use orch_core::store::{Change, Entropy, State, Tx};

use super::Violation;
use super::dice::Dice;
use super::disk::Disk;
use super::intent::{Intent, Outcome};

/// The unit of time of elections, and in which hosts are missed.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Writes that are committed as one entry at most.
const GROUP: usize = 8;
/// Steps that a process may take at one moment.
const MAX_STEPS: u32 = 10_000;
/// Ticks after which a read is asked for anew.
const READ_TICKS: u64 = 5;

/// What the world has to do for a process.
#[derive(Debug)]
pub(super) enum Effect {
    Send(Box<Message>),
    /// Call [`Process::persisted`] once it is written.
    Persist(Batch),
    /// An entry was applied.
    Applied {
        index: u64,
        term: u64,
        data: Vec<u8>,
    },
    /// The state was replaced by a leader's snapshot.
    Restored(u64),
    Ask(BTreeMap<NodeId, Option<IpAddr>>),
    /// What became of a write; with the data of the entry that it went into, if it was committed.
    Done(Intent, Outcome, Option<Vec<u8>>),
    /// Leads from now on.
    Leads(u64),
    /// Does not lead any more: sessions are over.
    Follows,
    /// A read is answered with the state as it is.
    Read(u64),
}

/// An entry on its way.
#[derive(Debug)]
struct Flight {
    tag: u64,
    /// Writes that were decided; empty for what the leader decides by itself.
    intents: Vec<(Intent, Outcome)>,
}

/// A node that is told what it must do.
#[derive(Debug)]
struct Feed {
    session: u64,
    told: Option<Assignment>,
}

pub(super) struct Process {
    pub id: u64,
    member: Member<Disk>,
    disk: Disk,
    pub state: State,
    pub applied: u64,
    snapshot_at: u64,
    entropy: Entropy,
    leadership: Leadership,
    lead: Option<Lead>,
    queue: VecDeque<Intent>,
    flight: Option<Flight>,
    feeds: BTreeMap<NodeId, Feed>,
    next_tag: u64,
    ticks: u64,
    /// It does not lead before this tick.
    leads_from: u64,
    /// Reads that no leader has answered, and when they were asked for last.
    reads: BTreeMap<u64, u64>,
    /// Reads that wait for an entry.
    confirmed: Vec<(u64, u64)>,
}

fn broken(what: &str, error: impl std::fmt::Display) -> Violation {
    Violation(format!("{what}: {error}"))
}

impl Process {
    /// Starts on a disk: what was in memory is gone.
    pub(super) fn start(id: u64, disk: Disk, seed: u64) -> Result<Self, Violation> {
        let snapshot = disk.newest();
        let applied = snapshot.get_metadata().index;
        let state: State = rmp_serde::from_slice(&snapshot.data)
            .map_err(|e| broken("a snapshot cannot be read", e))?;
        let settings = Settings {
            id,
            applied,
            election_tick: 10,
            heartbeat_tick: 1,
        };
        let mut member = Member::start(disk.clone(), settings, Entropy::from_seed(seed))
            .map_err(|e| broken("a manager does not start", e))?;
        if snapshot.get_metadata().get_conf_state().voters == [id] {
            member.input(Input::Campaign);
        }
        Ok(Self {
            id,
            member,
            disk,
            state,
            applied,
            snapshot_at: applied,
            entropy: Entropy::from_seed(seed ^ 1),
            leadership: Leadership::default(),
            lead: None,
            queue: VecDeque::new(),
            flight: None,
            feeds: BTreeMap::new(),
            next_tag: seed,
            ticks: 0,
            leads_from: 0,
            reads: BTreeMap::new(),
            confirmed: Vec::new(),
        })
    }

    pub(super) fn leads(&self) -> bool {
        self.lead.is_some()
    }

    /// The raft id of the one that leads, as this one knows it.
    pub(super) fn leader(&self) -> Option<u64> {
        self.leadership.leader
    }

    pub(super) fn group(&self) -> Group {
        self.member.group()
    }

    /// How long a host has to answer.
    pub(super) fn answer_time(&self) -> Duration {
        self.lead.as_ref().map_or(TICK, |l| l.patience().answer())
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.member.input(Input::Tick);
        for (tag, asked) in &mut self.reads {
            if self.ticks - *asked >= READ_TICKS {
                *asked = self.ticks;
                self.member.input(Input::Read { tag: *tag });
            }
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.member.input(input);
    }

    /// Asks for the state as it is committed anywhere by now.
    pub(super) fn read(&mut self, tag: u64) {
        if planted::is(Fault::ReadUnconfirmed) {
            self.confirmed.push((tag, 0));
            return;
        }
        self.reads.insert(tag, self.ticks);
        self.member.input(Input::Read { tag });
    }

    /// A write for the leader.
    pub(super) fn submit(&mut self, intent: Intent) {
        self.queue.push_back(intent);
    }

    /// Does all that can be done now.
    pub(super) fn work(
        &mut self,
        now: Moment,
        dice: &mut Dice,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        for _ in 0..MAX_STEPS {
            let polled = self.member.poll().map_err(|e| broken("raft", e))?;
            let idle = polled.is_none();
            if let Some(effects) = polled {
                self.carry_out(effects, out)?;
            }
            self.follow_leadership(now, out);
            self.answer_reads(out);
            self.snapshot_when_due()?;
            if idle && !self.decide(now, dice, out)? {
                return Ok(());
            }
        }
        let last: Vec<&Effect> = out.iter().rev().take(3).collect();
        Err(Violation(format!(
            "a manager does not come to rest: {last:?}"
        )))
    }

    /// A batch is on the disk.
    pub(super) fn persisted(&mut self, out: &mut Vec<Effect>) -> Result<(), Violation> {
        let effects = self.member.persisted().map_err(|e| broken("raft", e))?;
        self.carry_out(effects, out)
    }

    fn carry_out(&mut self, effects: Effects, out: &mut Vec<Effect>) -> Result<(), Violation> {
        let messages = effects.send.into_iter();
        out.extend(messages.map(|message| Effect::Send(Box::new(message))));
        for committed in effects.apply {
            self.apply(committed, out)?;
        }
        out.extend(effects.persist.map(Effect::Persist));
        for tag in effects.refused {
            if self.flight.as_ref().is_some_and(|flight| flight.tag == tag) {
                self.land(Outcome::NotLeader, None, out);
                // Leadership is being handed over, say: it begins anew, should it stay.
                self.leads_from = self.ticks + 1;
                self.end_lead(out);
            }
        }
        for (tag, index) in effects.readable {
            if self.reads.remove(&tag).is_some() {
                self.confirmed.push((tag, index));
            }
        }
        Ok(())
    }

    fn apply(&mut self, committed: Committed, out: &mut Vec<Effect>) -> Result<(), Violation> {
        match committed {
            Committed::Snapshot { index, data } => {
                self.state = rmp_serde::from_slice(&data)
                    .map_err(|e| broken("a leader's snapshot cannot be read", e))?;
                self.applied = index;
                self.snapshot_at = index;
                out.push(Effect::Restored(index));
            }
            Committed::Entry {
                index,
                term,
                tag,
                data,
            } => {
                self.applied = index;
                if !data.is_empty() {
                    let changes: Vec<Change> = rmp_serde::from_slice(&data)
                        .map_err(|e| broken("an entry cannot be read", e))?;
                    self.state
                        .apply(index, &changes)
                        .map_err(|e| broken("an entry cannot be applied", e))?;
                }
                let ours = self.flight.as_ref().is_some_and(|f| Some(f.tag) == tag);
                out.push(Effect::Applied {
                    index,
                    term,
                    data: data.clone(),
                });
                if ours {
                    self.land(Outcome::Committed, Some(data), out);
                    if let Some(lead) = &mut self.lead {
                        lead.committed(self.state.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// The outcome of the entry on its way is known, or will never be.
    fn land(&mut self, outcome: Outcome, data: Option<Vec<u8>>, out: &mut Vec<Effect>) {
        let Some(flight) = self.flight.take() else {
            return;
        };
        for (intent, decided) in flight.intents {
            let told = match outcome {
                Outcome::Committed => decided,
                Outcome::Refused | Outcome::NotLeader | Outcome::Unknown => outcome,
            };
            out.push(Effect::Done(intent, told, data.clone()));
        }
    }

    fn follow_leadership(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.leadership, self.member.leadership());
        let current = self.leadership;
        let other_term = before.term != current.term;
        if before.established && (!current.established || other_term) {
            self.land(Outcome::Unknown, None, out);
            self.end_lead(out);
        }
        if current.established && self.lead.is_none() && self.ticks >= self.leads_from {
            self.lead = Some(Lead::begin(self.id, self.state.clone(), TICK, now));
            out.push(Effect::Leads(current.term));
        }
        if !current.established {
            let refused = self.queue.drain(..);
            out.extend(refused.map(|intent| Effect::Done(intent, Outcome::NotLeader, None)));
        }
    }

    fn end_lead(&mut self, out: &mut Vec<Effect>) {
        self.lead = None;
        self.feeds.clear();
        out.push(Effect::Follows);
    }

    /// Its process ends: the writes of which nobody hears any more.
    pub(super) fn end(self) -> Vec<Intent> {
        let flight = self.flight.into_iter().flat_map(|flight| flight.intents);
        let decided = flight.map(|(intent, _)| intent);
        decided.chain(self.queue).collect()
    }

    /// Decides what is next, one entry at a time. `false` when there is nothing.
    fn decide(
        &mut self,
        now: Moment,
        dice: &mut Dice,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Violation> {
        if self.flight.is_some() {
            return Ok(false);
        }
        let group = self.member.group();
        let Some(lead) = &mut self.lead else {
            return Ok(false);
        };
        match lead.next(now, &group, &mut self.entropy) {
            Some(Act::Ask(nodes)) => out.push(Effect::Ask(nodes)),
            Some(Act::Commit(changes)) => self.propose(&changes, Vec::new())?,
            Some(Act::Reshape(Step::Change(change))) => self.member.input(Input::Change(change)),
            Some(Act::Reshape(Step::TransferTo(id))) => self.member.input(Input::TransferTo(id)),
            None if lead.is_unsettled() => {
                return Err(Violation("reconciliation does not settle".to_owned()));
            }
            None if self.queue.is_empty() => return Ok(false),
            None => self.write(now, &group, dice, out)?,
        }
        Ok(true)
    }

    fn write(
        &mut self,
        now: Moment,
        group: &Group,
        dice: &mut Dice,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let mut working = self.state.clone();
        let mut changes: Vec<Change> = Vec::new();
        let mut intents = Vec::new();
        while intents.len() < GROUP
            && let Some(intent) = self.queue.pop_front()
        {
            let mut tx = Tx::new(&working, now.wall, &mut self.entropy);
            let decided = intent.decide(&mut tx, group, dice)?;
            if decided == Outcome::Committed {
                let made = tx.into_changes();
                working
                    .apply(working.version() + 1, &made)
                    .map_err(|e| broken("a write cannot be applied", e))?;
                changes.extend(made);
                intents.push((intent, decided));
            } else {
                out.push(Effect::Done(intent, decided, None));
            }
        }
        if changes.is_empty() {
            let done = intents.into_iter();
            out.extend(done.map(|(intent, decided)| Effect::Done(intent, decided, None)));
            return Ok(());
        }
        self.propose(&changes, intents)
    }

    fn propose(
        &mut self,
        changes: &[Change],
        intents: Vec<(Intent, Outcome)>,
    ) -> Result<(), Violation> {
        let data =
            rmp_serde::to_vec_named(changes).map_err(|e| broken("an entry has no encoding", e))?;
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        self.member.input(Input::Propose { tag, data });
        self.flight = Some(Flight { tag, intents });
        Ok(())
    }

    fn answer_reads(&mut self, out: &mut Vec<Effect>) {
        let applied = self.applied;
        let ready = self
            .confirmed
            .extract_if(.., |(_, index)| *index <= applied);
        out.extend(ready.map(|(tag, _)| Effect::Read(tag)));
    }

    fn snapshot_when_due(&mut self) -> Result<(), Violation> {
        let Some(cluster) = self.state.cluster() else {
            return Ok(());
        };
        let settings = cluster.spec.raft;
        let due = self.applied >= self.snapshot_at + settings.snapshot_interval;
        if !due && !self.member.wants_snapshot() {
            return Ok(());
        }
        let data = rmp_serde::to_vec_named(&self.state)
            .map_err(|e| broken("a snapshot has no encoding", e))?;
        let snapshot = self.member.snapshot(data);
        self.disk
            .compact(snapshot, settings.log_entries_for_slow_followers);
        self.snapshot_at = self.applied;
        Ok(())
    }

    /// A node registered.
    pub(super) fn opened(&mut self, node: &NodeId, session: u64, now: Moment) {
        if let Some(lead) = &mut self.lead {
            lead.opened(node.clone(), session.to_string(), now);
            self.feeds.remove(node);
        }
    }

    /// The node's session is written down: it is told what it must do from now on.
    pub(super) fn feed(&mut self, node: &NodeId, session: u64) {
        let feed = Feed {
            session,
            told: None,
        };
        if self.lead.is_some() {
            self.feeds.insert(node.clone(), feed);
        }
    }

    pub(super) fn beat(&mut self, node: &NodeId, session: u64, now: Moment) -> bool {
        let lead = self.lead.as_mut();
        lead.is_some_and(|lead| lead.beat(node, &session.to_string(), now))
    }

    pub(super) fn broken(&mut self, node: &NodeId, session: u64, now: Moment) {
        if let Some(lead) = &mut self.lead {
            lead.broken(node, &session.to_string(), now);
        }
        self.feeds
            .retain(|id, feed| id != node || feed.session != session);
    }

    pub(super) fn asked(&mut self, node: NodeId, answered: bool, now: Moment) {
        if let Some(lead) = &mut self.lead {
            lead.asked(node, answered, now);
        }
    }

    /// The assignments that differ from what their nodes were told last, and their sessions.
    pub(super) fn news(&mut self) -> Vec<(NodeId, u64, Assignment)> {
        let mut news = Vec::new();
        for (node, feed) in &mut self.feeds {
            let Some(assignment) = dispatch::assignment(&self.state, node) else {
                continue;
            };
            let known = feed.told.as_ref();
            if known.is_some_and(|told| told.same_content(&assignment)) {
                continue;
            }
            feed.told = Some(assignment.clone());
            news.push((node.clone(), feed.session, assignment));
        }
        news
    }
}

/// A message as it travels.
pub(super) fn carried(message: &Message) -> Result<Message, Violation> {
    let bytes = consensus::encode(message).map_err(|e| broken("a message has no encoding", e))?;
    consensus::decode(&bytes).map_err(|e| broken("a message cannot be read", e))
}
