//! What a node does next for one task.
//!
//! [`next`] compares what the managers want of a task with what the engine has for it, and names
//! one step: a status to report, one action on the engine, or nothing. The shell carries it out,
//! looks again and asks again. The module owns the order of these steps and the words of task
//! statuses; it must not know how an engine is called or how a report travels.
//!
//! ```text
//!             none            created            running            ended
//!  Ready      prepare ──────> wait               wait               report its end
//!  Running    prepare ──────> start ───────────> report, watch ───> report its end
//!  Shutdown   report          report             stop ────────────> report
//!  Remove     report          report, remove     stop ────────────> report, remove
//!  (no task)  forget          remove             stop ────────────> remove
//! ```
//!
//! A task has one container in its life: one that was started is never started again, and one
//! that a former daemon made is taken over by its label.

#[cfg(test)]
mod tests;

use crate::objects::Task;
use crate::objects::task::{ContainerStatus, TaskOwner, TaskStatus};
use crate::planted::{self, Fault};
use crate::task_state::{DesiredState, TaskState};
use crate::time::Timestamp;

/// A task's container as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id of it.
    pub id: String,
    /// How far it came.
    pub state: ContainerState,
}

/// How far a container came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Never started.
    Created,
    /// Its process lives.
    Running {
        /// Process id on the host.
        pid: i64,
        /// What its health check says.
        health: Health,
    },
    /// Its process ended.
    Ended {
        /// How.
        exit_code: i64,
        /// Whether the kernel killed it for want of memory.
        out_of_memory: bool,
        /// The engine's words, when it has any.
        error: String,
    },
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// There is no health check.
    Unchecked,
    /// Not known yet.
    Starting,
    /// All is well.
    Healthy,
    /// It failed too often.
    Unhealthy,
}

/// Something to be done on the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Provide networks and image, create the container.
    Prepare,
    /// Start the container.
    Start,
    /// Stop the container: its stop signal, the grace period, SIGKILL.
    Stop,
    /// Remove the container, which does not run.
    Remove,
}

/// The next step for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This is the task's status now: tell the managers, then ask again.
    Report(TaskStatus),
    /// Do this, look at the container, then ask again.
    Act(Action),
    /// Nothing until the assignment or the container changes.
    Wait,
    /// The task is unknown to managers and engine alike.
    Forget,
}

/// The next step for a task that is assigned to this node, or, with `None`, is no longer.
///
/// `status` is the furthest status known of it, ours or the managers'.
pub fn next(task: Option<&Task>, status: &TaskStatus, container: Option<&Container>) -> Step {
    let running = container.is_some_and(|c| matches!(c.state, ContainerState::Running { .. }));
    let Some(task) = task else {
        return match container {
            None => Step::Forget,
            Some(_) if running => Step::Act(Action::Stop),
            Some(_) => Step::Act(Action::Remove),
        };
    };
    let finished = status.state.is_terminal();
    match task.desired {
        // Whatever is over stays over: a container of it must not run.
        _ if finished && running => Step::Act(Action::Stop),
        DesiredState::Remove if finished && container.is_some() => Step::Act(Action::Remove),
        _ if finished => Step::Wait,
        DesiredState::Shutdown | DesiredState::Remove if running => Step::Act(Action::Stop),
        DesiredState::Shutdown | DesiredState::Remove => {
            report(TaskState::Shutdown, "shutdown", "", container)
        }
        DesiredState::Ready | DesiredState::Running => forward(task.desired, status, container),
    }
}

/// The next step of a task that is wanted and not over.
fn forward(desired: DesiredState, status: &TaskStatus, container: Option<&Container>) -> Step {
    let Some(container) = container else {
        return if status.state < TaskState::Accepted {
            report(TaskState::Accepted, "accepted", "", None)
        } else if status.state < TaskState::Preparing {
            report(TaskState::Preparing, "preparing", "", None)
        } else if status.state == TaskState::Preparing {
            Step::Act(Action::Prepare)
        } else {
            let gone = "the task's container was removed from the engine";
            report(TaskState::Failed, &status.message, gone, None)
        };
    };
    let reached = |state, message| {
        if status.state < state {
            report(state, message, "", Some(container))
        } else {
            Step::Wait
        }
    };
    match &container.state {
        ContainerState::Created if status.state < TaskState::Ready => {
            report(TaskState::Ready, "prepared", "", Some(container))
        }
        ContainerState::Created if desired < DesiredState::Running => Step::Wait,
        ContainerState::Created if status.state < TaskState::Starting => {
            report(TaskState::Starting, "starting", "", Some(container))
        }
        ContainerState::Created => Step::Act(Action::Start),
        ContainerState::Running { health, .. } => match health {
            Health::Unchecked | Health::Healthy => reached(TaskState::Running, "started"),
            Health::Starting => reached(TaskState::Starting, "starting"),
            Health::Unhealthy => report(
                TaskState::Failed,
                &status.message,
                "unhealthy container",
                Some(container),
            ),
        },
        ContainerState::Ended { .. } if planted::is(Fault::RunAgain) => Step::Act(Action::Start),
        ContainerState::Ended {
            exit_code: 0,
            error,
            ..
        } if error.is_empty() => report(TaskState::Complete, "finished", "", Some(container)),
        ContainerState::Ended {
            exit_code,
            out_of_memory,
            error,
        } => {
            let words = exit_error(*exit_code, *out_of_memory, error);
            report(TaskState::Failed, "started", &words, Some(container))
        }
    }
}

/// The status of a task whose action the engine refused with these words; `None` when the action
/// must be tried again: a container cannot be left behind.
pub fn refused(action: Action, words: &str, container: Option<&Container>) -> Option<TaskStatus> {
    match action {
        Action::Prepare => Some(status(TaskState::Rejected, "preparing", words, container)),
        Action::Start => Some(status(TaskState::Failed, "starting", words, container)),
        Action::Stop | Action::Remove => None,
    }
}

/// The further one of two statuses of a task.
pub fn furthest(ours: TaskStatus, theirs: &TaskStatus) -> TaskStatus {
    if theirs.state > ours.state {
        theirs.clone()
    } else {
        ours
    }
}

/// Name of a task's container, `<service>.<slot>.<task id>`; `None` for an attachment, whose
/// container is not ours.
pub fn container_name(task: &Task) -> Option<String> {
    match &task.owner {
        TaskOwner::Service { name, slot, .. } => Some(format!("{name}.{slot}.{}", task.id)),
        TaskOwner::Attachment { .. } => None,
    }
}

fn exit_error(exit_code: i64, out_of_memory: bool, error: &str) -> String {
    let mut words = format!("task: non-zero exit ({exit_code})");
    if out_of_memory {
        words.push_str(": the container ran out of memory");
    }
    if !error.is_empty() {
        words.push_str(": ");
        words.push_str(error);
    }
    words
}

fn report(state: TaskState, message: &str, error: &str, container: Option<&Container>) -> Step {
    Step::Report(status(state, message, error, container))
}

fn status(
    state: TaskState,
    message: &str,
    error: &str,
    container: Option<&Container>,
) -> TaskStatus {
    TaskStatus {
        state,
        // The managers stamp it by their clock.
        since: Timestamp::default(),
        message: message.to_owned(),
        error: error.to_owned(),
        container: container.map(container_status),
    }
}

fn container_status(container: &Container) -> ContainerStatus {
    let (pid, exit_code) = match &container.state {
        ContainerState::Created => (0, None),
        ContainerState::Running { pid, .. } => (*pid, None),
        ContainerState::Ended { exit_code, .. } => (0, Some(*exit_code)),
    };
    ContainerStatus {
        id: container.id.clone(),
        pid,
        exit_code,
    }
}
