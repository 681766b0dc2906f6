//! Rolls a changed task spec over the slots, a few at a time, and watches the new tasks.
//!
//! All of it is derived from the tasks and the service's update status; there is no updater that
//! could be lost with a leader.

use std::sync::Arc;
use std::time::Duration;

use super::slots::{Slot, Slots};
use crate::allocate;
use crate::control;
use crate::objects::service::{
    FailureAction, UpdateConfig, UpdateOrder, UpdateState, UpdateStatus,
};
use crate::objects::{Service, Task};
use crate::reconcile::Alarm;
use crate::store::{Object, State, Tx};
use crate::task_state::{DesiredState, TaskState};
use crate::time::Timestamp;

const MILLION: u128 = 1_000_000;

/// Whether a task runs what its service asks for now (the API's `_up-to-date` filter).
pub fn is_up_to_date(service: &Service, task: &Task) -> bool {
    task.spec_version == service.spec_version || task.spec == service.spec.task
}

/// When the update in progress began; `None` when none is.
fn rolling_since(service: &Service) -> Option<Timestamp> {
    let status = service.update_status.as_ref()?;
    let rolling = matches!(
        status.state,
        UpdateState::Updating | UpdateState::RollbackStarted
    );
    rolling.then_some(status.started_at)
}

fn is_rollback(service: &Service) -> bool {
    service
        .update_status
        .as_ref()
        .is_some_and(|s| s.state == UpdateState::RollbackStarted)
}

fn config(service: &Service) -> UpdateConfig {
    let config = if is_rollback(service) {
        &service.spec.rollback
    } else {
        &service.spec.update
    };
    config.clone().unwrap_or_default()
}

fn monitor(config: &UpdateConfig) -> Duration {
    config.monitor.unwrap_or(UpdateConfig::DEFAULT_MONITOR)
}

/// Whether the update in progress made the task, in place of another one.
fn is_made_by(since: Timestamp, service: &Service, task: &Task) -> bool {
    task.meta.created_at >= since && task.not_before.is_some() && is_up_to_date(service, task)
}

/// Whether a task counts as a failure of the update in progress: it came to an end by itself
/// before it had run for the time it is watched.
pub(super) fn is_failure(service: &Service, task: &Task) -> bool {
    let Some(since) = rolling_since(service) else {
        return false;
    };
    let ended = matches!(
        task.status.state,
        TaskState::Failed | TaskState::Rejected | TaskState::Complete
    );
    let early = task
        .running_since
        .is_none_or(|start| task.status.since.since(start) <= monitor(&config(service)));
    ended && early && is_made_by(since, service, task)
}

/// Pauses or turns back an update that fails more than it may.
pub(super) fn judge(tx: &mut Tx<'_>, service: Service, slots: &Slots) -> Service {
    let config = config(&service);
    if config.failure_action == FailureAction::Continue {
        return service;
    }
    let failures: Vec<&Arc<Task>> = slots
        .0
        .values()
        .flat_map(|s| &s.0)
        .filter(|t| is_failure(&service, t))
        .collect();
    let total = slots.live().count().max(1) as u128;
    let borne = u128::from(config.max_failure_millionths) * total;
    let Some(last) = failures.iter().max_by_key(|t| (t.status.since, &t.id)) else {
        return service;
    };
    if failures.len() as u128 * MILLION <= borne {
        return service;
    }
    let cause = format!("due to failure or early termination of task {}", last.id);
    if config.failure_action == FailureAction::Rollback && !is_rollback(&service) {
        roll_back(tx, service, &cause)
    } else {
        let what = if is_rollback(&service) {
            "rollback"
        } else {
            "update"
        };
        pause(tx, service, format!("{what} paused {cause}"))
    }
}

fn pause(tx: &mut Tx<'_>, mut service: Service, message: String) -> Service {
    let state = match is_rollback(&service) {
        true => UpdateState::RollbackPaused,
        false => UpdateState::Paused,
    };
    if let Some(status) = &mut service.update_status {
        status.state = state;
        status.message = message;
    }
    put(tx, service)
}

/// Goes back to the previous spec, unless what it needs was given away in the meantime.
fn roll_back(tx: &mut Tx<'_>, mut service: Service, cause: &str) -> Service {
    let Some(previous) = service.previous_spec.take() else {
        return pause(
            tx,
            service,
            format!("update paused {cause}; there is no previous spec"),
        );
    };
    let possible = control::check_networks(tx, &previous)
        .and_then(|()| allocate::check_ports(tx, Some(&service.id), &previous));
    if let Err(error) = possible {
        service.previous_spec = Some(previous);
        let message = format!("update paused {cause}; it cannot be rolled back: {error}");
        return pause(tx, service, message);
    }
    if service.spec.task != previous.task {
        service.spec_version += 1;
    }
    service.spec = *previous;
    service.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted,
        started_at: tx.now(),
        completed_at: None,
        message: format!("update rolled back {cause}"),
    });
    put(tx, service)
}

fn put(tx: &mut Tx<'_>, service: Service) -> Service {
    tx.put(Object::Service(service.clone()));
    service
}

/// Stops old tasks in slots where a new one runs.
pub(super) fn hand_over(tx: &mut Tx<'_>, service: &Service, slots: &mut Slots) {
    for slot in slots.0.values_mut() {
        if slot
            .wanted()
            .any(|t| is_up_to_date(service, t) && t.is_serving())
        {
            slot.stop(tx, DesiredState::Shutdown, |t| {
                t.is_wanted() && !is_up_to_date(service, t)
            });
        }
    }
}

/// Replaces old tasks slot by slot, as many slots at a time as the service allows.
pub(super) fn roll(
    tx: &mut Tx<'_>,
    mut service: Service,
    slots: &mut Slots,
    alarm: &mut Alarm,
) -> Service {
    let dirty: Vec<u64> = slots
        .live()
        .filter(|(_, s)| is_dirty(&service, s))
        .map(|(number, _)| number)
        .collect();
    if dirty.is_empty() {
        return service;
    }
    begin(tx, &mut service);
    let Some(since) = rolling_since(&service) else {
        return service;
    };
    let config = config(&service);
    let busy = slots
        .live()
        .filter(|(_, slot)| is_busy(tx.now(), since, &service, &config, slot, alarm))
        .count();
    let free = match config.parallelism {
        0 => dirty.len(),
        parallelism => usize::try_from(parallelism)
            .unwrap_or(usize::MAX)
            .saturating_sub(busy),
    };
    for number in dirty.into_iter().take(free) {
        if let Some(slot) = slots.0.get_mut(&number) {
            replace(tx, &service, number, slot, config.order);
        }
    }
    service
}

/// Marks an update as begun, unless one is going on or was stopped and waits for the user.
fn begin(tx: &mut Tx<'_>, service: &mut Service) {
    use UpdateState as S;
    match service.update_status.as_ref().map(|s| s.state) {
        Some(S::Paused | S::RollbackPaused | S::Updating | S::RollbackStarted) => {}
        None | Some(S::Completed | S::RollbackCompleted) => {
            service.update_status = Some(UpdateStatus {
                state: S::Updating,
                started_at: tx.now(),
                completed_at: None,
                message: "update in progress".to_owned(),
            });
            tx.put(Object::Service(service.clone()));
        }
    }
}

/// Whether a slot still has to be updated: nothing in it was made from the current task spec.
fn is_dirty(service: &Service, slot: &Slot) -> bool {
    let current = slot.wanted().any(|t| is_up_to_date(service, t));
    let wanted = slot.wanted().next().is_some();
    let finished = || slot.newest().is_some_and(|t| is_up_to_date(service, t));
    !current && (wanted || !finished())
}

/// Whether a slot's new task has yet to come up, or came up less than the update's delay ago.
fn is_busy(
    now: Timestamp,
    since: Timestamp,
    service: &Service,
    config: &UpdateConfig,
    slot: &Slot,
    alarm: &mut Alarm,
) -> bool {
    let Some(task) = slot.wanted().find(|t| is_made_by(since, service, t)) else {
        return false;
    };
    match task
        .running_since
        .filter(|_| task.status.state == TaskState::Running)
    {
        None => true,
        Some(start) if now < start + config.delay => {
            alarm.set(start + config.delay);
            true
        }
        Some(_) => false,
    }
}

/// Puts a new task in a slot. Start-first keeps what runs there until the new task does.
fn replace(tx: &mut Tx<'_>, service: &Service, number: u64, slot: &mut Slot, order: UpdateOrder) {
    slot.stop(tx, DesiredState::Shutdown, |t| {
        t.is_wanted() && (order == UpdateOrder::StopFirst || !t.is_serving())
    });
    let now = tx.now();
    slot.create(tx, service, number, Some(now));
}

/// Ends an update once every slot is updated and its new tasks have stood the time they are
/// watched.
pub(super) fn finish(tx: &mut Tx<'_>, mut service: Service, slots: &Slots, alarm: &mut Alarm) {
    let Some(since) = rolling_since(&service) else {
        return;
    };
    let watched = monitor(&config(&service));
    let now = tx.now();
    for (_, slot) in slots.live() {
        if is_dirty(&service, slot) {
            return;
        }
        for task in slot.wanted() {
            match task
                .running_since
                .filter(|_| task.status.state == TaskState::Running)
            {
                _ if !is_made_by(since, &service, task) => {}
                None => return,
                Some(start) if now < start + watched => return alarm.set(start + watched),
                Some(_) => {}
            }
        }
    }
    let rollback = is_rollback(&service);
    if let Some(status) = &mut service.update_status {
        status.completed_at = Some(now);
        (status.state, status.message) = match rollback {
            true => (
                UpdateState::RollbackCompleted,
                "rollback completed".to_owned(),
            ),
            false => (UpdateState::Completed, "update completed".to_owned()),
        };
    }
    tx.put(Object::Service(service));
}

/// Whether the update in progress still needs a task's record: it counts failures by it.
pub(super) fn needs(state: &State, task: &Task) -> bool {
    task.service()
        .and_then(|id| state.service(id))
        .is_some_and(|service| {
            config(service).failure_action != FailureAction::Continue && is_failure(service, task)
        })
}
