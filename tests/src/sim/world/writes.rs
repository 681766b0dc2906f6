//! Writes and reads: how they find a manager, and what becomes of them.

use std::net::SocketAddr;
use std::time::Duration;

use orch_core::control::AttachRequest;
use orch_core::dispatch::TaskReport;
use orch_core::ids::NetworkId;
use orch_core::network::Family;
use orch_core::objects::node::Role;
use orch_core::time::Timestamp;

use super::{Event, ForManager, World};
use crate::sim::intent::{Intent, Outcome};
use crate::sim::process::Process;
use crate::sim::{Violation, ensure};

/// How long a write looks for a leader.
const PATIENCE: Duration = Duration::from_secs(10);

impl World<'_> {
    pub(super) fn user(&mut self) {
        if self.quiet {
            return;
        }
        let host = self.any_host();
        if self.dice.percent(15) {
            self.attach_or_detach(host);
        } else {
            self.submit(Intent::User, host);
        }
        let next = self.now + self.dice.millis(10..=6000);
        self.queue.at(next, Event::User);
    }

    pub(super) fn any_host(&mut self) -> usize {
        self.dice.number(0..=self.hosts.len() as u64 - 1) as usize
    }

    fn attach_or_detach(&mut self, index: usize) {
        let host = &self.hosts[index];
        if !host.reachable() {
            return;
        }
        let node = host.id.clone();
        let endpoints: Vec<String> = host.endpoints.iter().cloned().collect();
        if self.dice.percent(50)
            && let Some(endpoint) = self.dice.pick(&endpoints)
        {
            self.hosts[index].endpoints.remove(&endpoint);
            return self.submit(Intent::Detach(node, endpoint), index);
        }
        let networks: Vec<NetworkId> = self.ledger.state.networks().map(|n| n.id.clone()).collect();
        let Some(network) = self.dice.pick(&networks) else {
            return;
        };
        let endpoint = format!("endpoint{}", self.next_endpoint);
        self.next_endpoint += 1;
        let request = AttachRequest {
            endpoint,
            network,
            address: None,
            family: self.dice.pick(&Family::ALL).unwrap_or_default(),
        };
        let attach = Intent::Attach {
            node,
            host: index,
            request,
        };
        self.submit(attach, index);
    }

    /// Reports overtake each other; those under way when a link breaks are lost, and sent again
    /// by the next registration.
    pub(super) fn send_reports(&mut self, index: usize, reports: Vec<TaskReport>) {
        let host = &self.hosts[index];
        let Some((leader, life)) = host.connected.filter(|_| !reports.is_empty()) else {
            return;
        };
        if host.reachable() && self.talk(index, self.managers[leader].host) {
            let report = Intent::Report(host.id.clone(), reports);
            let delay = self.dice.millis(1..=300);
            self.for_manager(leader, life, delay, ForManager::Write(report));
        }
    }

    /// A host that is to be a manager has an empty log, and asks to be a member.
    pub(super) fn enroll(&mut self, index: usize) {
        let host = &self.hosts[index];
        let wanted = host.role() == Some(Role::Manager) && host.alive && !host.gone;
        if !wanted || self.manager_on(index).is_some() {
            self.hosts[index].enrolling = false;
            return;
        }
        let (node, address) = (host.id.clone(), SocketAddr::new(host.address, 2377));
        let raft_id = self.fresh_id();
        let enroll = Intent::Enroll {
            node,
            host: index,
            raft_id,
            address,
        };
        self.submit(enroll, index);
    }

    /// Sends a write from a host to whoever leads.
    pub(super) fn submit(&mut self, intent: Intent, host: usize) {
        let event = Event::Submit(intent, host, self.now + PATIENCE);
        self.queue.at(self.now, event);
    }

    /// The manager that leads, as a host finds it: it asks some manager.
    pub(super) fn leader_for(&mut self, host: usize) -> Option<usize> {
        let asked: Vec<usize> = (0..self.managers.len())
            .filter(|index| {
                let manager = &self.managers[*index];
                manager.process.is_some() && self.talk(host, manager.host)
            })
            .collect();
        let asked = self.dice.pick(&asked)?;
        let known = self.managers[asked].process.as_ref()?.leader()?;
        let leader = self
            .managers
            .iter()
            .position(|m| m.id == known && !m.gone)?;
        let manager = &self.managers[leader];
        let leads = manager.process.as_ref().is_some_and(Process::leads);
        (leads && self.talk(host, manager.host)).then_some(leader)
    }

    pub(super) fn look_for_leader(&mut self, intent: Intent, host: usize, deadline: Timestamp) {
        if self.quiet && matches!(intent, Intent::User) {
            return;
        }
        let host = if self.hosts[host].reachable() {
            host
        } else {
            0
        };
        let delay = self.dice.millis(1..=20);
        if let Some(leader) = self.leader_for(host) {
            let life = self.managers[leader].life;
            self.for_manager(leader, life, delay, ForManager::Write(intent));
        } else if self.now < deadline || intent.is_tried_again(Outcome::NotLeader) {
            let again = self.now + self.dice.millis(50..=500);
            self.queue.at(again, Event::Submit(intent, host, deadline));
        } else if let Intent::Enroll { host, .. } = intent {
            self.queue.at(self.now, Event::Enroll(host));
        }
    }

    /// The outcome of a write is known to whoever wanted it.
    pub(super) fn done(
        &mut self,
        leader: usize,
        life: u64,
        intent: Intent,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        if intent.is_tried_again(outcome) {
            let again = self.now + self.dice.millis(100..=1000);
            self.queue.at(again, Event::Submit(intent, 0, again));
            return Ok(());
        }
        let committed = outcome == Outcome::Committed;
        match intent {
            // It may have been founded by a write of which nobody heard.
            Intent::Found(_) => ensure!(
                self.ledger.state.cluster().is_some(),
                "the cluster is not founded: {outcome:?}"
            ),
            Intent::Admit(node) => {
                ensure!(committed, "a host is not admitted: {outcome:?}");
                if self.host_of(&node).is_none() {
                    self.add_host(node);
                }
            }
            Intent::Open { host, session, .. } if committed => {
                self.session_opened(leader, life, host, session);
            }
            Intent::Open { host, session, .. } => {
                if self.hosts[host].session == session && !self.hosts[host].gone {
                    self.register_soon(host);
                }
            }
            Intent::Attach { host, request, .. } if committed => {
                if self.hosts[host].alive {
                    self.hosts[host].endpoints.insert(request.endpoint);
                }
            }
            Intent::Enroll { host, raft_id, .. } if committed => {
                self.hosts[host].enrolling = false;
                if self.hosts[host].alive && self.manager_on(host).is_none() {
                    let version = self.ledger.state.version();
                    self.join_manager(raft_id, version, host)?;
                }
            }
            Intent::Enroll { host, .. } => {
                let again = self.now + self.dice.millis(100..=2000);
                self.queue.at(again, Event::Enroll(host));
            }
            Intent::RemoveNode { node, host } if self.ledger.state.node(&node).is_none() => {
                self.hosts[host].crash();
                self.hosts[host].gone = true;
                if let Some(manager) = self.manager_on(host) {
                    self.retire_manager(manager)?;
                }
                let node = self.fresh_node();
                self.submit(Intent::Admit(node), 0);
            }
            Intent::Attach { .. }
            | Intent::RemoveNode { .. }
            | Intent::User
            | Intent::Promote(_)
            | Intent::Report(..)
            | Intent::Detach(..)
            | Intent::ActivateAll
            | Intent::RemoveEverything => {}
        }
        Ok(())
    }

    /// Somebody asks a manager for the state. It must know what was acknowledged by now.
    pub(super) fn read(&mut self) {
        let running: Vec<usize> = (0..self.managers.len())
            .filter(|index| self.managers[*index].process.is_some())
            .collect();
        if let Some(index) = self.dice.pick(&running) {
            let paused = self.managers[index]
                .paused_until
                .is_some_and(|at| at > self.now);
            let tag = self.next_read;
            self.next_read += 1;
            if !paused && let Some(process) = &mut self.managers[index].process {
                process.read(tag);
                self.reads.insert(tag, self.ledger.acknowledged);
            }
        }
        if !self.quiet {
            let next = self.now + self.dice.millis(50..=3000);
            self.queue.at(next, Event::Read);
        }
    }

    pub(super) fn answer(&mut self, index: usize, tag: u64) -> Result<(), Violation> {
        let Some(wanted) = self.reads.remove(&tag) else {
            return Ok(());
        };
        let process = self.managers[index].process.as_ref();
        let applied = process.map_or(0, |process| process.applied);
        ensure!(
            applied >= wanted,
            "a read is answered with what was so before entry {wanted}, as of {applied}"
        );
        Ok(())
    }
}
