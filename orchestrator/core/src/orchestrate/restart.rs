//! Replaces tasks that ended or lost their node, and lets replacements start.

use std::sync::Arc;
use std::time::Duration;

use super::slots::{Slot, Slots};
use super::update;
use crate::objects::node::{Availability, NodeState};
use crate::objects::task::{RestartCondition, RestartPolicy};
use crate::objects::{Service, Task};
use crate::planted::{self, Fault};
use crate::reconcile::Alarm;
use crate::store::{State, Tx};
use crate::task_state::{DesiredState, TaskState};
use crate::time::Timestamp;

/// Gives up wanted tasks that ended or whose node is lost, and makes their replacements where
/// the restart policy says so.
pub(super) fn replace_ended(
    tx: &mut Tx<'_>,
    service: &Service,
    slots: &mut Slots,
    alarm: &mut Alarm,
) {
    for (number, slot) in &mut slots.0 {
        let over: Vec<Arc<Task>> = slot
            .wanted()
            .filter(|task| is_over(tx, task, alarm))
            .cloned()
            .collect();
        for task in over {
            slot.stop(tx, DesiredState::Shutdown, |t| t.id == task.id);
            // The newest task has the last word, as it has on whether the slot is live.
            let again = slot
                .newest()
                .is_some_and(|newest| should_restart(newest, slot));
            let replaced = slot.wanted().any(|t| update::is_up_to_date(service, t));
            if again && !replaced {
                let not_before = restart_at(tx, &task);
                slot.create(tx, service, *number, Some(not_before));
            }
        }
    }
}

/// Whether a wanted task has ended or lost its node. One that ended while it waited for its start
/// counts only when that wait is over, so that one that cannot even be prepared is not replaced
/// again and again without a pause.
fn is_over(tx: &Tx<'_>, task: &Task, alarm: &mut Alarm) -> bool {
    if !task.status.state.is_terminal() {
        return has_lost_node(tx, task);
    }
    match task.not_before.filter(|at| *at > tx.now()) {
        Some(at) => {
            alarm.set(at);
            false
        }
        None => true,
    }
}

/// Whether a task's node is drained, down or gone.
fn has_lost_node(state: &State, task: &Task) -> bool {
    let lost = |id| {
        state.node(id).is_none_or(|node| {
            node.spec.availability == Availability::Drain || node.status.state == NodeState::Down
        })
    };
    task.node.as_ref().is_some_and(lost)
}

/// When a task's replacement may start: after the policy's delay, or at once when it is the node
/// that was lost: the delay is there for tasks that fail. A wait that the task itself had not
/// finished is not cut short.
fn restart_at(tx: &Tx<'_>, task: &Task) -> Timestamp {
    let policy = task.spec.restart.as_ref();
    let delay = match has_lost_node(tx, task) {
        true => Duration::ZERO,
        false => policy
            .and_then(|p| p.delay)
            .unwrap_or(RestartPolicy::DEFAULT_DELAY),
    };
    (tx.now() + delay).max(task.not_before.unwrap_or_default())
}

/// Whether the policy wants another task after this one. The answer depends on the task and on
/// its slot's history only, so that it stays the same however often it is asked.
pub(super) fn should_restart(task: &Task, slot: &Slot) -> bool {
    let Some(policy) = &task.spec.restart else {
        return true;
    };
    let wanted = match policy.condition {
        RestartCondition::Any => true,
        RestartCondition::OnFailure => task.status.state != TaskState::Complete,
        RestartCondition::None => false,
    };
    wanted && (policy.max_attempts == 0 || attempts(policy, task, slot) < policy.max_attempts)
}

/// Restarts in the slot so far, of the same spec and within the policy's window: every task but
/// the first is one. What was scaled away does not count.
fn attempts(policy: &RestartPolicy, task: &Task, slot: &Slot) -> u64 {
    let since = policy
        .window
        .filter(|w| !w.is_zero())
        .map_or(Timestamp::default(), |window| {
            let end = task.status.since.as_nanos();
            let span = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
            Timestamp::from_nanos(end.saturating_sub(span))
        });
    let same_spec = slot
        .history()
        .filter(|other| other.spec_version == task.spec_version);
    let restarts = same_spec.skip(1).filter(|t| t.meta.created_at >= since);
    restarts.count() as u64
}

/// Starts replacements whose time has come and whose predecessors have stopped, or were on a node
/// that is down or gone.
pub(super) fn start_waiting(tx: &mut Tx<'_>, slots: &mut Slots, alarm: &mut Alarm) {
    for slot in slots.0.values_mut() {
        let stopping = slot.0.iter().any(|t| is_stopping(tx, t));
        let blocked = stopping && !planted::is(Fault::StartBesideStopping);
        for index in 0..slot.0.len() {
            let task = &slot.0[index];
            if task.desired != DesiredState::Ready || task.status.state.is_terminal() {
                continue;
            }
            match task.not_before.filter(|at| *at > tx.now()) {
                Some(at) => alarm.set(at),
                None if !blocked => slot.start(tx, index),
                None => {}
            }
        }
    }
}

/// Whether a task was told to stop, has not stopped, and can still be heard of.
fn is_stopping(state: &State, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|id| state.node(id));
    !task.is_wanted()
        && !task.status.state.is_terminal()
        && node.is_some_and(|n| n.status.state != NodeState::Down)
}
