//! What goes wrong, and how it is mended.

use std::time::Duration;

use orch_core::objects::node::Role;

use super::{Event, World};
use crate::sim::Violation;
use crate::sim::intent::Intent;

/// Virtual time in which what is on its way arrives.
const CALMING: Duration = Duration::from_secs(2);

impl World<'_> {
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        if self.quiet {
            return Ok(());
        }
        let next = self.now + self.dice.millis(1000..=15_000);
        self.queue.at(next, Event::Fault);
        let index = self.any_host();
        let back = self.now + self.dice.millis(100..=60_000);
        match self.dice.number(0..=14) {
            0..=3 if self.hosts[index].linked => {
                self.hosts[index].linked = false;
                self.miss_cut_sessions();
                self.queue.at(back, Event::Heal(index));
            }
            4..=5 if self.hosts[index].alive => {
                self.kill_daemon(index)?;
                self.queue.at(back, Event::Start(index));
            }
            6 if self.hosts[index].alive => {
                self.crash(index)?;
                self.queue.at(back, Event::Start(index));
            }
            7 => self.replace_host(index),
            8..=9 => self.cut_one_way(index, back),
            10..=11 => self.kill_leader()?,
            12 => self.pause_manager(),
            13 => self.slow_disk(),
            _ => {}
        }
        Ok(())
    }

    fn kill_daemon(&mut self, index: usize) -> Result<(), Violation> {
        let noticed = Duration::ZERO;
        self.hosts[index].alive = false;
        self.miss(index, noticed);
        self.hosts[index].kill_daemon();
        match self.manager_on(index) {
            Some(manager) => self.kill_manager(manager),
            None => Ok(()),
        }
    }

    fn crash(&mut self, index: usize) -> Result<(), Violation> {
        let noticed = self.dice.millis(500..=1100);
        self.hosts[index].alive = false;
        self.miss(index, noticed);
        self.hosts[index].crash();
        match self.manager_on(index) {
            Some(manager) => self.kill_manager(manager),
            None => Ok(()),
        }
    }

    /// Nothing passes from one host to another, while the other way is fine.
    fn cut_one_way(&mut self, from: usize, back: orch_core::time::Timestamp) {
        let to = self.any_host();
        if from != to && self.cuts.insert((from, to)) {
            self.miss_cut_sessions();
            self.queue.at(back, Event::Reconnect(from, to));
        }
    }

    fn kill_leader(&mut self) -> Result<(), Violation> {
        let leader = self.managers.iter().position(|manager| {
            let process = manager.process.as_ref();
            process.is_some_and(|process| process.leads())
        });
        if let Some(leader) = leader {
            let host = self.managers[leader].host;
            let back = self.now + self.dice.millis(100..=20_000);
            self.kill_daemon(host)?;
            self.queue.at(back, Event::Start(host));
        }
        Ok(())
    }

    fn pause_manager(&mut self) {
        let index = self.dice.number(0..=self.managers.len() as u64 - 1) as usize;
        let until = self.now + self.dice.millis(500..=20_000);
        self.managers[index].paused_until = Some(until);
    }

    fn slow_disk(&mut self) {
        let index = self.dice.number(0..=self.managers.len() as u64 - 1) as usize;
        self.managers[index].slow = !self.managers[index].slow;
    }

    pub(super) fn heal(&mut self, index: usize) {
        if !self.hosts[index].linked {
            self.hosts[index].linked = true;
            self.register_soon(index);
        }
    }

    /// A host's daemon starts again, with what runs in it.
    pub(super) fn start(&mut self, index: usize) -> Result<(), Violation> {
        if self.hosts[index].gone {
            return Ok(());
        }
        if !self.hosts[index].alive {
            self.hosts[index].alive = true;
            self.hosts[index].powered = true;
            self.register_soon(index);
        }
        match self.manager_on(index) {
            Some(manager) => self.start_manager(manager),
            None => Ok(()),
        }
    }

    /// A worker leaves for good, its containers with it, and another host joins in its place.
    fn replace_host(&mut self, index: usize) {
        let host = &self.hosts[index];
        let node = self.ledger.state.node(&host.id);
        let is_worker = node
            .is_some_and(|node| node.spec.role == Role::Worker && node.serves_as() == Role::Worker);
        if index == 0 || host.gone || !is_worker {
            return;
        }
        let remove = Intent::RemoveNode {
            node: host.id.clone(),
            host: index,
        };
        self.submit(remove, index);
    }

    /// The unrest is over: what is broken is mended, and stays so. One worker may stay cut off
    /// for now; the others must do without it.
    pub(super) fn calm(&mut self) -> Result<Option<usize>, Violation> {
        self.quiet = true;
        self.cuts.clear();
        for index in 0..self.hosts.len() {
            self.heal(index);
            self.start(index)?;
        }
        for manager in &mut self.managers {
            manager.paused_until = None;
        }
        let workers: Vec<usize> = (1..self.hosts.len())
            .filter(|index| {
                let node = self.ledger.state.node(&self.hosts[*index].id);
                let worker = node.is_some_and(|node| node.spec.role == Role::Worker);
                worker && !self.hosts[*index].gone && self.manager_on(*index).is_none()
            })
            .collect();
        let cut_off = self.dice.pick(&workers).filter(|_| self.dice.percent(30));
        if let Some(index) = cut_off {
            self.hosts[index].linked = false;
            self.miss_cut_sessions();
        }
        // After what users asked for last.
        let soon = self.now + CALMING;
        self.queue
            .at(soon, Event::Submit(Intent::ActivateAll, 0, soon));
        Ok(cut_off)
    }

    pub(super) fn remove_everything(&mut self) {
        for host in &mut self.hosts {
            host.endpoints.clear();
        }
        self.submit(Intent::RemoveEverything, 0);
    }
}
