//! What reaches the manager: users, reports, sessions, its own alarms.

use std::time::Duration;

use orch_core::control::{self, AttachRequest};
use orch_core::dispatch::{Finding, TaskReport};
use orch_core::ids::{NetworkId, NodeId};
use orch_core::network::Family;

use super::{Event, World, description};
use crate::sim::manager::PATIENCE;
use crate::sim::{Violation, ensure, user};

/// How often the manager looks who is overdue.
const LOOK: Duration = Duration::from_millis(100);

impl World {
    pub(super) fn user(&mut self) -> Result<(), Violation> {
        if self.quiet {
            return Ok(());
        }
        if self.dice.percent(15) {
            self.attach_or_detach()?;
        } else {
            let dice = &mut self.dice;
            // Refusals are part of the game: they must leave no trace, which `write` sees to.
            let refused = self
                .manager
                .write(self.now, |tx| user::act(tx, dice))?
                .is_err();
            let pause = if refused { 10..=500 } else { 10..=8000 };
            let next = self.now + self.dice.millis(pause);
            self.queue.at(next, Event::User);
            return self.settle();
        }
        let next = self.now + self.dice.millis(10..=2000);
        self.queue.at(next, Event::User);
        self.settle()
    }

    pub(super) fn attach_or_detach(&mut self) -> Result<(), Violation> {
        let index = self.dice.number(0..=self.hosts.len() as u64 - 1) as usize;
        let node = self.hosts[index].id.clone();
        let endpoints: Vec<String> = self.hosts[index].endpoints.iter().cloned().collect();
        if !self.hosts[index].reachable() {
            return Ok(());
        }
        if self.dice.percent(50)
            && let Some(endpoint) = self.dice.pick(&endpoints)
        {
            self.hosts[index].endpoints.remove(&endpoint);
            let done = self.manager.write(self.now, |tx| {
                control::detach(tx, &node, &endpoint);
                Ok(())
            })?;
            ensure!(done.is_ok(), "detach failed");
            return Ok(());
        }
        let networks: Vec<NetworkId> = self
            .manager
            .state
            .networks()
            .map(|n| n.id.clone())
            .collect();
        let Some(network) = self.dice.pick(&networks) else {
            return Ok(());
        };
        let endpoint = format!("endpoint{}", self.next_endpoint);
        self.next_endpoint += 1;
        let request = AttachRequest {
            endpoint: endpoint.clone(),
            network,
            address: None,
            family: self.dice.pick(&Family::ALL).unwrap_or_default(),
        };
        let again = request.clone();
        let first = self
            .manager
            .write(self.now, |tx| control::attach(tx, &node, request))?;
        if let Ok(task) = first {
            let second = self
                .manager
                .write(self.now, |tx| control::attach(tx, &node, again))?;
            ensure!(
                second.is_ok_and(|t| t.id == task.id),
                "attaching twice gives two tasks"
            );
            self.hosts[index].endpoints.insert(endpoint);
        }
        Ok(())
    }

    /// The manager has missed the host's session for long enough, if it is still the same one.
    pub(super) fn break_session(&mut self, index: usize, session: u64) {
        let host = &self.hosts[index];
        if host.session == session && !host.reachable() {
            self.manager.broken(self.now, &host.id);
        }
    }

    pub(super) fn look(&mut self) -> Result<(), Violation> {
        self.queue.at(self.now + LOOK, Event::Look);
        let due = self.manager.due(self.now);
        for node in due.ask {
            let answers = self.hosts.iter().any(|h| h.id == node && h.answers());
            let delay = match answers {
                true => self.dice.millis(1..=100),
                false => PATIENCE.answer(),
            };
            self.queue.at(self.now + delay, Event::Asked(node, answers));
        }
        for (node, finding) in due.down {
            self.record(&node, finding)?;
        }
        Ok(())
    }

    pub(super) fn asked(&mut self, node: &NodeId, answered: bool) -> Result<(), Violation> {
        match self.manager.sessions.asked(node, answered, self.now) {
            Some(finding) => self.record(node, finding),
            None => Ok(()),
        }
    }

    fn record(&mut self, node: &NodeId, finding: Finding) -> Result<(), Violation> {
        self.must("record the health of a node", |tx| {
            control::record_finding(tx, node, finding);
            Ok(())
        })
    }

    pub(super) fn wake(&mut self) -> Result<(), Violation> {
        if self.manager.wake_at.is_some_and(|at| at <= self.now) {
            self.manager.reconcile(self.now)?;
            self.settle()?;
        }
        Ok(())
    }

    pub(super) fn report(&mut self, host: usize, reports: &[TaskReport]) -> Result<(), Violation> {
        if !self.hosts[host].linked {
            return Ok(());
        }
        let node = self.hosts[host].id.clone();
        self.must("take reports", |tx| {
            control::report_tasks(tx, &node, reports);
            Ok(())
        })
    }

    pub(super) fn register(&mut self, index: usize, session: u64) -> Result<(), Violation> {
        let host = &mut self.hosts[index];
        if host.session != session
            || !host.reachable()
            || self.manager.state.node(&host.id).is_none()
        {
            return Ok(());
        }
        let (id, address) = (host.id.clone(), host.address);
        let (endpoints, reports) = (host.endpoints.clone(), host.register());
        self.manager.opened(self.now, &id);
        self.must("open a session", |tx| {
            control::open_session(tx, &id, description(address), address)?;
            control::sync_attachments(tx, &id, &endpoints);
            Ok(())
        })?;
        self.send_reports(index, reports);
        let beat = self.now + self.dice.millis(4000..=5000);
        self.queue.at(beat, Event::Heartbeat(index, session));
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, index: usize, session: u64) -> Result<(), Violation> {
        let host = &self.hosts[index];
        if host.session != session || !host.reachable() {
            return Ok(());
        }
        if self.manager.sessions.beat(&host.id, self.now) {
            let beat = self.now + self.dice.millis(4000..=5000);
            self.queue.at(beat, Event::Heartbeat(index, session));
        } else {
            self.register_soon(index);
        }
        Ok(())
    }
}
