//! What goes wrong, and how it is mended.

use std::collections::BTreeSet;

use orch_core::consensus::Group;
use orch_core::control;
use orch_core::objects::node::Availability;

use super::{Event, World};
use crate::sim::Violation;

impl World {
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        if self.quiet {
            return Ok(());
        }
        let next = self.now + self.dice.millis(1000..=25_000);
        self.queue.at(next, Event::Fault);
        let index = self.dice.number(0..=self.hosts.len() as u64 - 1) as usize;
        let back = self.now + self.dice.millis(100..=60_000);
        match self.dice.number(0..=9) {
            0..=3 if self.hosts[index].linked => {
                self.cut(index);
                self.queue.at(back, Event::Heal(index));
            }
            4..=5 if self.hosts[index].alive => {
                self.hosts[index].kill_daemon();
                self.break_session(index, self.hosts[index].session);
                self.queue.at(back, Event::Start(index));
            }
            6 if self.hosts[index].alive => {
                self.hosts[index].crash();
                self.miss(index);
                self.queue.at(back, Event::Start(index));
            }
            7 => self.restart_manager()?,
            8 if index != 0 && !self.hosts[index].gone => self.replace_host(index)?,
            _ => {}
        }
        Ok(())
    }

    fn cut(&mut self, index: usize) {
        self.hosts[index].linked = false;
        self.miss(index);
    }

    /// A connection without its other end is noticed a little later.
    fn miss(&mut self, index: usize) {
        let noticed = self.now + self.dice.millis(500..=1100);
        let session = self.hosts[index].session;
        self.queue.at(noticed, Event::Break(index, session));
    }

    pub(super) fn heal(&mut self, index: usize) -> Result<(), Violation> {
        if !self.hosts[index].linked {
            self.hosts[index].linked = true;
            self.register_soon(index);
        }
        Ok(())
    }

    pub(super) fn start(&mut self, index: usize) -> Result<(), Violation> {
        if !self.hosts[index].alive && !self.hosts[index].gone {
            self.hosts[index].alive = true;
            self.hosts[index].powered = true;
            self.register_soon(index);
        }
        Ok(())
    }

    pub(super) fn restart_manager(&mut self) -> Result<(), Violation> {
        self.manager.restart(self.now)?;
        for index in 0..self.hosts.len() {
            if self.hosts[index].alive {
                self.register_soon(index);
            }
        }
        Ok(())
    }

    /// A host leaves for good, its containers with it, and another one joins in its place.
    pub(super) fn replace_host(&mut self, index: usize) -> Result<(), Violation> {
        let host = &mut self.hosts[index];
        host.crash();
        host.gone = true;
        let id = host.id.clone();
        self.manager.sessions.closed(&id);
        self.must("remove a node", |tx| control::remove_node(tx, &id, true))?;
        self.admit()
    }

    /// The unrest is over: what is broken is mended, and stays so. One host may stay cut off
    /// for now; the others must do without it.
    pub(super) fn calm(&mut self) -> Result<Option<usize>, Violation> {
        self.quiet = true;
        for index in 0..self.hosts.len() {
            self.heal(index)?;
            self.start(index)?;
        }
        let present: Vec<usize> = (1..self.hosts.len())
            .filter(|index| !self.hosts[*index].gone)
            .collect();
        let cut_off = self.dice.pick(&present).filter(|_| self.dice.percent(30));
        if let Some(index) = cut_off {
            self.cut(index);
        }
        let nodes: Vec<_> = self.manager.state.nodes().map(|n| n.id.clone()).collect();
        for id in nodes {
            self.must("activate a node", |tx| {
                let Some(node) = tx.node(&id) else {
                    return Ok(());
                };
                let (version, mut spec) = (node.meta.version, node.spec.clone());
                spec.availability = Availability::Active;
                control::update_node(tx, &id, version, spec, &Group::default())
            })?;
        }
        Ok(cut_off)
    }

    pub(super) fn remove_everything(&mut self) -> Result<(), Violation> {
        let services: Vec<_> = self
            .manager
            .state
            .services()
            .map(|s| s.id.clone())
            .collect();
        for id in services {
            self.must("remove a service", |tx| control::remove_service(tx, &id))?;
        }
        for index in 0..self.hosts.len() {
            self.hosts[index].endpoints.clear();
            let node = self.hosts[index].id.clone();
            self.must("detach all", |tx| {
                control::sync_attachments(tx, &node, &BTreeSet::new());
                Ok(())
            })?;
        }
        Ok(())
    }
}
