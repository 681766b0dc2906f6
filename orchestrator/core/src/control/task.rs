//! Reports of nodes on their tasks.

use crate::dispatch::TaskReport;
use crate::ids::NodeId;
use crate::objects::task::TaskOwner;
use crate::objects::{Task, task::TaskStatus};
use crate::store::{Object, Tx};
use crate::task_state::{Actor, TaskState, may_move};

/// Takes a node's reports. A report about an unknown task, about a task of another node, or of a
/// state that the task has left behind is stale and is ignored.
pub fn report_tasks(tx: &mut Tx<'_>, node: &NodeId, reports: &[TaskReport]) {
    for report in reports {
        let Some(current) = tx.task(&report.id) else {
            continue;
        };
        if current.node.as_ref() != Some(node)
            || matches!(current.owner, TaskOwner::Attachment { .. })
        {
            continue;
        }
        let task = Task::clone(current);
        if let Some(task) = advanced(task, &report.status, tx.now()) {
            tx.put(Object::Task(task));
        }
    }
}

/// The task after the report; `None` when the report is stale or says nothing new.
fn advanced(mut task: Task, status: &TaskStatus, now: crate::time::Timestamp) -> Option<Task> {
    let old = &task.status;
    // A report that does not name the container does not say that there is none.
    let container = status.container.clone().or_else(|| old.container.clone());
    if status.state == old.state {
        let news = status.message != old.message
            || status.error != old.error
            || container != old.container;
        if !news || old.state.is_terminal() {
            return None;
        }
        task.status = TaskStatus {
            since: old.since,
            container,
            ..status.clone()
        };
        return Some(task);
    }
    if !may_move(Actor::Agent, old.state, status.state) {
        return None;
    }
    if status.state == TaskState::Running {
        task.running_since = Some(now);
    }
    task.status = TaskStatus {
        since: now,
        container,
        ..status.clone()
    };
    Some(task)
}
