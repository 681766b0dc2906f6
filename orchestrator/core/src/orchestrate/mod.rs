//! Decides which tasks there are: how many, in which slots, from which spec, wanted or not.
//!
//! The stages of a pass over one service, in this order: judge the failures of an update, scale,
//! replace what ended or was lost, hand over from old tasks to new ones, roll the update on,
//! start what was waiting, and see whether the update is done.

mod reaper;
mod replicated;
mod restart;
mod slots;
#[cfg(test)]
mod tests;
mod update;

pub(crate) use reaper::reap;
pub use update::is_up_to_date;

use crate::objects::task::{TaskOwner, TaskStatus};
use crate::objects::{Meta, Service, Task};
use crate::reconcile::Alarm;
use crate::store::{Object, Tx};
use crate::task_state::{Actor, DesiredState, TaskState, may_move};
use crate::time::Timestamp;

use slots::Slots;

/// Brings the tasks of every service in line with its spec.
pub(crate) fn run(tx: &mut Tx<'_>, alarm: &mut Alarm) {
    remove_strays(tx);
    let mut slots = Slots::by_service(tx);
    let services: Vec<Service> = tx.services().map(|s| Service::clone(s)).collect();
    for service in services {
        let mut slots = slots.remove(&service.id).unwrap_or_default();
        let service = update::judge(tx, service, &slots);
        replicated::scale(tx, &service, &mut slots);
        restart::replace_ended(tx, &service, &mut slots, alarm);
        update::hand_over(tx, &service, &mut slots);
        let service = update::roll(tx, service, &mut slots, alarm);
        restart::start_waiting(tx, &mut slots, alarm);
        update::finish(tx, service, &slots, alarm);
    }
}

/// Tasks whose service is gone have no reason to be.
fn remove_strays(tx: &mut Tx<'_>) {
    let strays: Vec<Task> = tx
        .tasks()
        .filter(|t| t.desired != DesiredState::Remove)
        .filter(|t| t.service().is_some_and(|id| tx.service(id).is_none()))
        .map(|t| Task::clone(t))
        .collect();
    for task in strays {
        stop(tx, task, DesiredState::Remove);
    }
}

/// Wants a task stopped. One that no node knows of yet is stopped with that.
pub(crate) fn stop(tx: &mut Tx<'_>, mut task: Task, desired: DesiredState) {
    if task.desired >= desired {
        return;
    }
    task.desired = desired;
    if may_move(Actor::Manager, task.status.state, TaskState::Shutdown) {
        task.status.state = TaskState::Shutdown;
        task.status.since = tx.now();
        task.status.message = "stopped before it had a node".to_owned();
    }
    tx.put(Object::Task(task));
}

/// A new task of the service in that slot. `not_before` marks a replacement: it is prepared at
/// once, but waits for that moment and for its predecessors.
fn new_task(tx: &mut Tx<'_>, service: &Service, slot: u64, not_before: Option<Timestamp>) -> Task {
    Task {
        id: crate::ids::TaskId::from_random(tx.random()),
        meta: Meta::default(),
        owner: TaskOwner::Service {
            id: service.id.clone(),
            name: service.spec.name.clone(),
            slot,
        },
        spec: service.spec.task.clone(),
        spec_version: service.spec_version,
        node: None,
        status: TaskStatus {
            state: TaskState::New,
            since: tx.now(),
            message: "created".to_owned(),
            error: String::new(),
            container: None,
        },
        desired: match not_before {
            Some(_) => DesiredState::Ready,
            None => DesiredState::Running,
        },
        not_before,
        running_since: None,
        attachments: Vec::new(),
    }
}
