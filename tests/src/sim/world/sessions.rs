//! Sessions of hosts with the leader: they register, beat, and are missed.

use std::time::Duration;

use super::{Event, ForManager, World};
use crate::sim::intent::Intent;

impl World<'_> {
    pub(super) fn register_soon(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        // A registration ends whatever an earlier session still had under way.
        host.session += 1;
        host.connected = None;
        let event = Event::Register(index, host.session);
        let delay = self.dice.millis(10..=1000);
        self.queue.at(self.now + delay, event);
    }

    pub(super) fn register(&mut self, index: usize, session: u64) {
        let host = &self.hosts[index];
        if host.session != session || !host.reachable() {
            return;
        }
        let Some(leader) = self.leader_for(index) else {
            let again = self.now + self.dice.millis(100..=1000);
            self.queue.at(again, Event::Register(index, session));
            return;
        };
        let host = &self.hosts[index];
        let (node, address) = (host.id.clone(), host.address);
        let endpoints = host.endpoints.clone();
        let manager = &mut self.managers[leader];
        let (life, now) = (manager.life, manager.moment(self.now));
        if let Some(process) = &mut manager.process {
            process.opened(&node, session, now);
        }
        self.hosts[index].connected = Some((leader, life));
        let open = Intent::Open {
            node,
            host: index,
            session,
            address,
            endpoints,
        };
        let delay = self.dice.millis(1..=20);
        self.for_manager(leader, life, delay, ForManager::Write(open));
    }

    /// The session is written down.
    pub(super) fn session_opened(&mut self, leader: usize, life: u64, index: usize, session: u64) {
        let host = &mut self.hosts[index];
        if host.session != session || host.connected != Some((leader, life)) {
            return;
        }
        let (node, reports) = (host.id.clone(), host.register());
        self.feed(leader, life, &node, session);
        self.send_reports(index, reports);
        self.beat_later(index, session);
    }

    fn beat_later(&mut self, index: usize, session: u64) {
        let beat = self.now + self.dice.millis(4000..=5000);
        self.queue.at(beat, Event::Heartbeat(index, session));
    }

    pub(super) fn heartbeat(&mut self, index: usize, session: u64) {
        let host = &self.hosts[index];
        let Some((leader, life)) = host.connected else {
            return;
        };
        if host.session != session || !host.reachable() {
            return;
        }
        let manager = &mut self.managers[leader];
        let now = manager.moment(self.now);
        let alive = manager.lives(life)
            && manager
                .process
                .as_mut()
                .is_some_and(|process| process.beat(&host.id, session, now));
        let there = self.managers[leader].host;
        if alive && self.talk(index, there) {
            self.beat_later(index, session);
        } else {
            self.register_soon(index);
        }
    }

    /// Both ends of a session miss it after a while, if it is still the same one.
    pub(super) fn miss(&mut self, index: usize, after: Duration) {
        let host = &self.hosts[index];
        let Some((leader, life)) = host.connected else {
            return;
        };
        let broken = ForManager::Broken(host.id.clone(), host.session);
        self.for_manager(leader, life, after, broken);
        if self.hosts[index].alive {
            self.register_soon(index);
        } else {
            self.hosts[index].connected = None;
        }
    }

    /// Sessions that cannot go on over the links as they are.
    pub(super) fn miss_cut_sessions(&mut self) {
        for index in 0..self.hosts.len() {
            let Some((leader, _)) = self.hosts[index].connected else {
                continue;
            };
            if !self.talk(index, self.managers[leader].host) {
                let after = self.dice.millis(500..=1100);
                self.miss(index, after);
            }
        }
    }

    /// A manager does not lead any more, or is gone: whoever had a session with it looks for
    /// another one.
    pub(super) fn end_sessions(&mut self, leader: usize, life: u64) {
        for index in 0..self.hosts.len() {
            if self.hosts[index].connected == Some((leader, life)) {
                self.register_soon(index);
            }
        }
    }
}
