//! What reaches the hosts: assignments, and what their engines do.

use orch_core::agent::Action;
use orch_core::dispatch::Assignment;
use orch_core::ids::TaskId;
use orch_core::objects::node::Role;

use super::{Event, World};
use crate::sim::Violation;
use crate::sim::host::Wish;
use crate::sim::manager::Manager;

impl World<'_> {
    pub(super) fn assign(
        &mut self,
        index: usize,
        session: u64,
        assignment: Assignment,
    ) -> Result<(), Violation> {
        let host = &mut self.hosts[index];
        if host.session == session && host.reachable() {
            let wishes = host.assign(assignment);
            self.grant(index, wishes);
            self.follow_role(index)?;
        }
        Ok(())
    }

    /// A host becomes a manager, or is one no more.
    fn follow_role(&mut self, index: usize) -> Result<(), Violation> {
        let host = &mut self.hosts[index];
        let manages = self
            .managers
            .iter()
            .position(|m| m.host == index && !m.gone);
        match (host.role(), manages) {
            (Some(Role::Manager), None) if !host.enrolling => {
                host.enrolling = true;
                let soon = self.now + self.dice.millis(50..=500);
                self.queue.at(soon, Event::Enroll(index));
            }
            (Some(Role::Worker), Some(manager)) => self.retire_manager(manager)?,
            (Some(Role::Manager), Some(manager)) => {
                let Manager { id, since, .. } = self.managers[manager];
                if self.hosts[index].is_disowned(id, since) {
                    self.retire_manager(manager)?;
                    self.queue.at(self.now, Event::Enroll(index));
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn acted(
        &mut self,
        index: usize,
        daemon: u64,
        task: &TaskId,
        action: Action,
    ) -> Result<(), Violation> {
        let host = &mut self.hosts[index];
        if !host.alive || host.daemon != daemon {
            return Ok(());
        }
        let may_fail = matches!(action, Action::Prepare | Action::Start);
        let fails = !self.quiet && may_fail && self.dice.percent(8);
        let wishes = host.acted(task, action, !fails)?;
        if action == Action::Start && !fails && !self.quiet && self.dice.percent(25) {
            let code = if self.dice.percent(50) { 0 } else { 1 };
            let end = self.now + self.dice.millis(100..=30_000);
            self.queue.at(end, Event::Exit(index, task.clone(), code));
        }
        self.grant(index, wishes);
        Ok(())
    }

    pub(super) fn exit(&mut self, index: usize, task: &TaskId, code: i64) {
        let host = &mut self.hosts[index];
        if !self.quiet && host.exit(task, code) && host.alive {
            let wishes = host.drive(task);
            self.grant(index, wishes);
        }
    }

    pub(super) fn grant(&mut self, index: usize, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Report(report) => self.send_reports(index, vec![report]),
                Wish::Act(task, action) => {
                    let delay = match action {
                        Action::Prepare => self.dice.millis(5..=3000),
                        Action::Start => self.dice.millis(5..=800),
                        Action::Stop => self.dice.millis(5..=10_000),
                        Action::Remove => self.dice.millis(5..=100),
                    };
                    let daemon = self.hosts[index].daemon;
                    self.queue
                        .at(self.now + delay, Event::Acted(index, daemon, task, action));
                }
            }
        }
    }
}
