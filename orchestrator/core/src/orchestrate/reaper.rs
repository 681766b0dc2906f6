//! Forgets tasks: those that were to be removed and have stopped, and old history.

use super::slots::{Slot, Slots};
use super::update;
use crate::ids::TaskId;
use crate::objects::Task;
use crate::store::{ObjectKey, State, Tx};
use crate::task_state::DesiredState;

/// Forgets what needs no longer be known.
pub(crate) fn reap(tx: &mut Tx<'_>) {
    let mut forgotten: Vec<TaskId> = tx
        .tasks()
        .filter(|t| is_removed(tx, t))
        .map(|t| t.id.clone())
        .collect();
    for slot in Slots::by_service(tx)
        .into_values()
        .flat_map(|s| s.0.into_values())
    {
        forgotten.extend(surplus(tx, &slot));
    }
    for id in forgotten {
        tx.remove(ObjectKey::Task(id));
    }
}

/// Whether a task was to be removed and has stopped, or its node has left the cluster. On a node
/// that is merely down it may still run and use its address.
fn is_removed(state: &State, task: &Task) -> bool {
    let on_lost_node = task
        .node
        .as_ref()
        .is_some_and(|id| state.node(id).is_none());
    task.desired == DesiredState::Remove && (task.status.state.is_terminal() || on_lost_node)
}

/// The oldest ended tasks of a slot beyond the cluster's history limit. The newest task stays in
/// any case: it may be all that tells that the slot's work is done. So do as many as it takes to
/// count restarts.
fn surplus(state: &State, slot: &Slot) -> Vec<TaskId> {
    let limit = state.cluster().map_or(-1, |c| c.spec.task_history_limit);
    let (Ok(limit), Some(newest)) = (usize::try_from(limit), slot.newest()) else {
        return Vec::new();
    };
    let attempts = newest
        .spec
        .restart
        .as_ref()
        .map_or(0, |policy| policy.max_attempts);
    let counted = match attempts {
        0 => 0,
        attempts => usize::try_from(attempts)
            .unwrap_or(usize::MAX)
            .saturating_add(1),
    };
    let excess = slot
        .history()
        .count()
        .saturating_sub(limit.max(counted).max(1));
    let ended = slot
        .history()
        .filter(|t| t.status.state.is_terminal() && !t.is_wanted() && t.id != newest.id);
    ended
        .filter(|t| !update::needs(state, t))
        .take(excess)
        .map(|t| t.id.clone())
        .collect()
}
