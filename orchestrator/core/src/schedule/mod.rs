//! Decides which node runs a task: filters with reasons, then spreading.
//!
//! A task that fits nowhere stays pending with the reason on it and is tried in every pass.

mod constraint;
mod filter;
mod nodes;
mod preference;
#[cfg(test)]
mod tests;

pub use constraint::{Constraint, InvalidConstraint};
pub use preference::{InvalidPreference, Preference};

use crate::objects::Task;
use crate::store::{Object, Tx};
use crate::task_state::TaskState;

use filter::Request;
use nodes::NodeInfo;

/// Gives every pending task a node, oldest first.
pub(crate) fn run(tx: &mut Tx<'_>) {
    let mut pending: Vec<Task> = tx
        .tasks()
        .filter(|t| t.status.state == TaskState::Pending && t.is_wanted())
        .map(|t| Task::clone(t))
        .collect();
    if pending.is_empty() {
        return;
    }
    pending.sort_by_key(|t| (t.meta.created_at, t.slot()));
    let mut nodes = NodeInfo::all(tx);
    for mut task in pending {
        let Some(request) = Request::of(tx, &task) else {
            continue;
        };
        match place(&request, &nodes) {
            Ok(index) => {
                let info = &mut nodes[index];
                info.add(&request);
                task.node = Some(info.node.id.clone());
                task.status.state = TaskState::Assigned;
                task.status.since = tx.now();
                task.status.message = "scheduler assigned task to node".to_owned();
                task.status.error.clear();
                tx.put(Object::Task(task));
            }
            Err(reason) if reason != task.status.error => {
                task.status.error = reason;
                tx.put(Object::Task(task));
            }
            Err(_) => {}
        }
    }
}

/// The best node for a task, or why there is none.
fn place(request: &Request, nodes: &[NodeInfo]) -> Result<usize, String> {
    let mut fitting = filter::fitting(request, nodes)?;
    for preference in &request.preferences {
        fitting = preference.narrow(fitting, |index| {
            (&nodes[index].node, nodes[index].tasks_of(&request.service))
        });
    }
    let load = |index: &usize| {
        let info = &nodes[*index];
        (
            info.tasks_of(&request.service),
            info.tasks,
            info.node.id.clone(),
        )
    };
    fitting
        .into_iter()
        .min_by_key(load)
        .ok_or_else(|| "no suitable node".to_owned())
}
