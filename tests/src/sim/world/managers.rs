//! The managers' processes: their lives, their messages, their disks.

use std::time::Duration;

use orch_core::consensus::{Batch, Input, Message, MessageType};
use orch_core::ids::NodeId;
use orch_core::store::State;

use super::{Event, ForManager, TELL_DELAY, World};
use crate::sim::Violation;
use crate::sim::disk::Disk;
use crate::sim::intent::{Intent, Outcome};
use crate::sim::manager::Manager;
use crate::sim::process::{Effect, Process, TICK, carried};

impl World<'_> {
    /// The first member of the group.
    pub(super) fn found_manager(&mut self, id: u64) -> Result<(), Violation> {
        let disk = Disk::founded(id, empty_state()?);
        self.add_manager(id, 0, 0, disk)
    }

    /// A member that is to join, on a host.
    pub(super) fn join_manager(
        &mut self,
        id: u64,
        since: u64,
        host: usize,
    ) -> Result<(), Violation> {
        let disk = Disk::blank(empty_state()?);
        self.add_manager(id, since, host, disk)
    }

    fn add_manager(
        &mut self,
        id: u64,
        since: u64,
        host: usize,
        disk: Disk,
    ) -> Result<(), Violation> {
        let drift = self.dice.number(95..=105) as u32;
        self.managers.push(Manager {
            id,
            since,
            host,
            disk,
            process: None,
            life: 0,
            unsynced: None,
            paused_until: None,
            slow: false,
            gone: false,
            tick: TICK * drift / 100,
            late: self.dice.millis(0..=500),
            telling: false,
        });
        self.start_manager(self.managers.len() - 1)
    }

    pub(super) fn start_manager(&mut self, index: usize) -> Result<(), Violation> {
        let seed = self.dice.number(0..=u64::MAX);
        let manager = &mut self.managers[index];
        if manager.gone || manager.process.is_some() {
            return Ok(());
        }
        manager.life += 1;
        self.trace
            .note(self.now, &format!("manager {index} starts"));
        manager.process = Some(Process::start(manager.id, manager.disk.clone(), seed)?);
        manager.telling = false;
        let life = manager.life;
        self.for_manager(index, life, Duration::ZERO, ForManager::Tick);
        Ok(())
    }

    /// Its process is gone with all that was in memory. What was on its way to the disk may have
    /// got there.
    pub(super) fn kill_manager(&mut self, index: usize) -> Result<(), Violation> {
        let written = self.dice.percent(50);
        self.trace.note(self.now, &format!("manager {index} ends"));
        let manager = &mut self.managers[index];
        let Some(process) = manager.process.take() else {
            return Ok(());
        };
        if let Some(batch) = manager.unsynced.take().filter(|_| written) {
            manager.disk.write(&batch);
        }
        manager.paused_until = None;
        let life = manager.life;
        self.end_sessions(index, life);
        for intent in process.end() {
            self.done(index, life, intent, Outcome::Unknown)?;
        }
        Ok(())
    }

    /// It was demoted: its log is of no use to anybody.
    pub(super) fn retire_manager(&mut self, index: usize) -> Result<(), Violation> {
        self.managers[index].gone = true;
        self.kill_manager(index)
    }

    /// The manager that lives on a host.
    pub(super) fn manager_on(&self, host: usize) -> Option<usize> {
        self.managers.iter().position(|m| m.host == host && !m.gone)
    }

    pub(super) fn for_manager(
        &mut self,
        index: usize,
        life: u64,
        delay: Duration,
        what: ForManager,
    ) {
        let event = Event::Manager(index, life, what);
        self.queue.at(self.now + delay, event);
    }

    pub(super) fn manager_event(
        &mut self,
        index: usize,
        life: u64,
        what: ForManager,
    ) -> Result<(), Violation> {
        let manager = &mut self.managers[index];
        if !manager.lives(life) {
            if let ForManager::Write(intent) = what {
                self.done(index, life, intent, Outcome::NotLeader)?;
            }
            return Ok(());
        }
        // What waited for a process that was stopped; users have given it up.
        if self.quiet && matches!(what, ForManager::Write(Intent::User)) {
            return Ok(());
        }
        if let Some(until) = manager.paused_until {
            if until > self.now {
                self.queue.at(until, Event::Manager(index, life, what));
                return Ok(());
            }
            manager.paused_until = None;
        }
        let (now, tick) = (manager.moment(self.now), manager.tick);
        let Some(process) = &mut manager.process else {
            return Ok(());
        };
        let mut out = Vec::new();
        match what {
            ForManager::Tick => {
                process.tick();
                self.for_manager(index, life, tick, ForManager::Tick);
            }
            ForManager::Message(message) => process.input(Input::Receive(message)),
            ForManager::Unreachable(id) => process.input(Input::Unreachable(id)),
            ForManager::SnapshotSent { to, arrived } => {
                process.input(Input::SnapshotSent { to, arrived });
            }
            ForManager::Persisted(batch) => {
                manager.unsynced = None;
                manager.disk.write(&batch);
                process.persisted(&mut out)?;
            }
            ForManager::Write(intent) => process.submit(intent),
            ForManager::Tell => self.tell(index),
            ForManager::Broken(node, session) => process.broken(&node, session, now),
            ForManager::Asked(node, answered) => process.asked(node, answered, now),
        }
        self.work(index, out)
    }

    /// Lets a process do what it can, and carries its effects out.
    pub(super) fn work(&mut self, index: usize, mut out: Vec<Effect>) -> Result<(), Violation> {
        let manager = &mut self.managers[index];
        let now = manager.moment(self.now);
        if let Some(process) = &mut manager.process {
            process.work(now, &mut self.dice, &mut out)?;
        }
        let life = manager.life;
        for effect in out {
            if !self.managers[index].lives(life) {
                break;
            }
            self.carry_out(index, life, effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, index: usize, life: u64, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::Send(message) => self.send(index, life, &message)?,
            Effect::Persist(batch) => self.persist(index, life, batch)?,
            Effect::Applied {
                index: at,
                term,
                data,
            } => {
                self.ledger.applied(self.now, at, term, &data)?;
                self.tell_soon(index, life);
                self.running_addresses_are_unique()?;
            }
            Effect::Restored(at) => {
                if let Some(process) = &self.managers[index].process {
                    self.ledger.restored(at, &process.state)?;
                }
            }
            Effect::Ask(nodes) => {
                let asker = self.managers[index].host;
                for (node, address) in nodes {
                    self.ask(index, life, asker, node, address.is_some());
                }
            }
            Effect::Done(intent, outcome, data) => {
                if let Some(data) = data {
                    self.ledger.acknowledge(&data)?;
                }
                self.done(index, life, intent, outcome)?;
            }
            Effect::Leads(term) => {
                let id = self.managers[index].id;
                self.trace
                    .note(self.now, &format!("manager {index} leads term {term}"));
                self.ledger.leads(term, id)?;
            }
            Effect::Follows => self.end_sessions(index, life),
            Effect::Read(tag) => self.answer(index, tag)?,
        }
        Ok(())
    }

    /// Messages are late, overtake each other, get lost, and come twice.
    fn send(&mut self, index: usize, life: u64, message: &Message) -> Result<(), Violation> {
        let message = carried(message)?;
        let to = message.to;
        let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
        let sender = self.managers[index].host;
        let receiver = self.managers.iter().position(|m| m.id == to && !m.gone);
        let connected = receiver.filter(|r| {
            let manager = &self.managers[*r];
            manager.process.is_some() && self.talk(sender, manager.host)
        });
        let lost = !self.quiet && self.dice.percent(1);
        let Some(receiver) = connected.filter(|_| !lost) else {
            let soon = self.dice.millis(1..=50);
            if is_snapshot {
                let failed = ForManager::SnapshotSent { to, arrived: false };
                self.for_manager(index, life, soon, failed);
            }
            if connected.is_none() {
                self.for_manager(index, life, soon, ForManager::Unreachable(to));
            }
            return Ok(());
        };
        let receiver_life = self.managers[receiver].life;
        let copies = if !self.quiet && self.dice.percent(1) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let delay = match !self.quiet && self.dice.percent(3) {
                true => self.dice.millis(5..=400),
                false => self.dice.millis(1..=5),
            };
            let arrived = ForManager::Message(Box::new(message.clone()));
            self.for_manager(receiver, receiver_life, delay, arrived);
            if is_snapshot {
                let sent = ForManager::SnapshotSent { to, arrived: true };
                self.for_manager(index, life, delay, sent);
            }
        }
        Ok(())
    }

    /// A disk takes its time, and may fail: then the process ends, as it must.
    fn persist(&mut self, index: usize, life: u64, batch: Batch) -> Result<(), Violation> {
        self.managers[index].unsynced = Some(batch.clone());
        if !self.quiet && self.dice.number(0..=999) == 0 {
            self.kill_manager(index)?;
            let back = self.dice.millis(500..=5000);
            self.queue
                .at(self.now + back, Event::Start(self.managers[index].host));
            return Ok(());
        }
        let delay = match self.managers[index].slow && !self.quiet {
            true => self.dice.millis(100..=1500),
            false => self.dice.millis(1..=8),
        };
        self.for_manager(index, life, delay, ForManager::Persisted(batch));
        Ok(())
    }

    fn ask(&mut self, index: usize, life: u64, asker: usize, node: NodeId, known: bool) {
        let host = self.host_of(&node);
        let answers = host.is_some_and(|host| self.hosts[host].answers() && self.talk(asker, host));
        let manager = &self.managers[index];
        let patience = manager.process.as_ref().map_or(TICK, Process::answer_time);
        let delay = match answers {
            true => self.dice.millis(1..=100),
            false => patience,
        };
        // Who cannot be asked is not given up for that.
        let asked = ForManager::Asked(node, answers || !known);
        self.for_manager(index, life, delay, asked);
    }

    fn tell_soon(&mut self, index: usize, life: u64) {
        let manager = &mut self.managers[index];
        let leads = manager.process.as_ref().is_some_and(Process::leads);
        if leads && !manager.telling {
            manager.telling = true;
            self.for_manager(index, life, TELL_DELAY, ForManager::Tell);
        }
    }

    fn tell(&mut self, index: usize) {
        self.managers[index].telling = false;
        let host = self.managers[index].host;
        let Some(process) = &mut self.managers[index].process else {
            return;
        };
        for (node, session, assignment) in process.news() {
            let Some(to) = self.host_of(&node).filter(|to| self.talk(host, *to)) else {
                continue;
            };
            let delay = self.dice.millis(1..=150);
            let event = Event::Assign(to, session, Box::new(assignment));
            self.queue.at(self.now + delay, event);
        }
    }

    /// A node that registered is told everything.
    pub(super) fn feed(&mut self, index: usize, life: u64, node: &NodeId, session: u64) {
        if let Some(process) = &mut self.managers[index].process {
            process.feed(node, session);
        }
        self.tell_soon(index, life);
    }
}

fn empty_state() -> Result<Vec<u8>, Violation> {
    rmp_serde::to_vec_named(&State::default()).map_err(|e| Violation(format!("encode: {e}")))
}
