//! What reaches the hosts: assignments, and what their engines do.

use orch_core::agent::Action;
use orch_core::dispatch::{Assignment, TaskReport};
use orch_core::ids::TaskId;

use super::{Event, World};
use crate::sim::host::Wish;

impl World {
    pub(super) fn register_soon(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        // A registration ends whatever an earlier session still had under way.
        host.session += 1;
        let event = Event::Register(index, host.session);
        let delay = self.dice.millis(10..=2000);
        self.queue.at(self.now + delay, event);
    }

    pub(super) fn assign(&mut self, index: usize, session: u64, assignment: Assignment) {
        let host = &mut self.hosts[index];
        if host.session == session && host.reachable() {
            let wishes = host.assign(assignment);
            self.grant(index, wishes);
        }
    }

    pub(super) fn acted(&mut self, index: usize, daemon: u64, task: &TaskId, action: Action) {
        let host = &mut self.hosts[index];
        if !host.alive || host.daemon != daemon {
            return;
        }
        let may_fail = matches!(action, Action::Prepare | Action::Start);
        let fails = !self.quiet && may_fail && self.dice.percent(8);
        let wishes = host.acted(task, action, !fails);
        if action == Action::Start && !fails && !self.quiet && self.dice.percent(25) {
            let code = if self.dice.percent(50) { 0 } else { 1 };
            let end = self.now + self.dice.millis(100..=30_000);
            self.queue.at(end, Event::Exit(index, task.clone(), code));
        }
        self.grant(index, wishes);
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

    /// Reports overtake each other; those under way when a link breaks are lost, and sent again
    /// by the next registration.
    pub(super) fn send_reports(&mut self, index: usize, reports: Vec<TaskReport>) {
        if self.hosts[index].reachable() && !reports.is_empty() {
            let delay = self.dice.millis(1..=300);
            self.queue
                .at(self.now + delay, Event::Report(index, reports));
        }
    }
}
