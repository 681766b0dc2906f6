//! Decides from one look at a service and its up-to-date tasks how far it is. Pure.
//!
//! A service has converged at the instant when every wanted task runs its present spec. Only while
//! the manager rolls an update does it also wait for the manager to end the monitor period.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Service, Task};

/// Above this many tasks only the total is shown.
const MAX_LINES: usize = 20;
/// The longest error in a task's line.
const MAX_ERROR: usize = 100;

/// The states in their order; the position is a task's progress.
const STATES: [&str; 13] = [
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "running",
    "complete",
    "shutdown",
    "failed",
    "rejected",
];
const RUNNING: usize = 8;

/// What one look showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The total.
    pub overall: String,
    /// One line per wanted task, unless there are too many.
    pub tasks: Vec<TaskLine>,
    /// What is waited for after all tasks run, and what a rollback says.
    pub notes: Vec<String>,
    /// Whether to go on.
    pub verdict: Verdict,
}

/// One task's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLine {
    /// `2/3`, or the node id for a global service.
    pub label: String,
    /// Its state or error; empty while there is no task yet.
    pub text: String,
    /// Ninths of the way to running, for a bar; `None` for an error.
    pub bar: Option<usize>,
}

/// Whether to go on waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not there yet.
    Waiting,
    /// As wanted.
    Converged,
    /// The manager gave up; the reason is for the person who waits.
    Failed(String),
}

/// Looks at the service, its tasks that run (or are to run) the present spec, and the ids of the
/// nodes that are not down.
pub fn observe(service: &Service, tasks: &[Task], up: &BTreeSet<String>) -> Progress {
    let mode = &service.spec.mode;
    let mut progress = if let Some(replicated) = mode.replicated {
        replicas(
            tasks,
            up,
            usize::try_from(replicated.replicas).unwrap_or(usize::MAX),
        )
    } else if let Some(job) = mode.replicated_job {
        completions(
            tasks,
            usize::try_from(job.total_completions).unwrap_or(usize::MAX),
        )
    } else if mode.global_job.is_some() {
        completions(tasks, up.len())
    } else {
        global(tasks, up)
    };
    apply_update_status(service, &mut progress);
    progress
}

fn apply_update_status(service: &Service, progress: &mut Progress) {
    let Some(status) = &service.update_status else {
        return;
    };
    let converged = progress.verdict == Verdict::Converged;
    match status.state.as_str() {
        "paused" => {
            progress.verdict =
                Verdict::Failed(format!("service update paused: {}", status.message));
        }
        "rollback_paused" => {
            progress.verdict =
                Verdict::Failed(format!("service rollback paused: {}", status.message));
        }
        state @ ("updating" | "rollback_started") => {
            let spec = &service.spec;
            let config = if state == "updating" {
                &spec.update_config
            } else {
                &spec.rollback_config
            };
            if state == "rollback_started" {
                progress.overall = format!("rolling back update: {}", progress.overall);
                progress.notes.push(format!("rollback: {}", status.message));
            }
            if converged {
                let monitor = config
                    .as_ref()
                    .map_or(5_000_000_000, |config| config.monitor);
                progress.notes.push(format!(
                    "verify: Waiting {} seconds to verify that tasks are stable...",
                    monitor / 1_000_000_000
                ));
                progress.verdict = Verdict::Waiting;
            }
        }
        "rollback_completed" => progress.notes.push(format!("rollback: {}", status.message)),
        _ => {}
    }
}

fn rank(state: &str) -> Option<usize> {
    STATES.iter().position(|known| *known == state)
}

/// Whether a task in this state, or wanted in it, will not run any more.
fn is_over(state: &str) -> bool {
    rank(state).is_none_or(|rank| rank > RUNNING)
}

fn replicas(tasks: &[Task], up: &BTreeSet<String>, wanted: usize) -> Progress {
    let slots = current_tasks(tasks, up, |task| task.slot.to_string());
    let running = slots.values().filter(|task| is_running(task)).count();
    let mut lines = Vec::new();
    if wanted <= MAX_LINES {
        let mut live = slots
            .iter()
            .filter(|(_, task)| !is_over(&task.desired_state));
        for position in 1..=wanted {
            let label = format!("{position}/{wanted}");
            lines.push(match live.next() {
                Some((slot, task)) => {
                    let slot_tasks = tasks.iter().filter(|task| task.slot.to_string() == *slot);
                    task_line(label, task, slot_tasks)
                }
                None => TaskLine {
                    label,
                    text: String::new(),
                    bar: Some(0),
                },
            });
        }
    }
    Progress {
        overall: format!("{running} out of {wanted} tasks"),
        tasks: lines,
        notes: Vec::new(),
        verdict: if running == wanted {
            Verdict::Converged
        } else {
            Verdict::Waiting
        },
    }
}

fn global(tasks: &[Task], up: &BTreeSet<String>) -> Progress {
    let mut nodes = current_tasks(tasks, up, |task| task.node_id.clone());
    nodes.retain(|_, task| !is_over(&task.desired_state));
    let running = nodes.values().filter(|task| is_running(task)).count();
    if nodes.is_empty() {
        return Progress {
            overall: "waiting for new tasks".to_owned(),
            tasks: Vec::new(),
            notes: Vec::new(),
            verdict: Verdict::Waiting,
        };
    }
    let line = |(node, task): (&String, &&Task)| {
        let node_tasks = tasks.iter().filter(|task| task.node_id == *node);
        task_line(node.chars().take(12).collect(), task, node_tasks)
    };
    Progress {
        overall: format!("{running} out of {} tasks", nodes.len()),
        tasks: if nodes.len() <= MAX_LINES {
            nodes.iter().map(line).collect()
        } else {
            Vec::new()
        },
        notes: Vec::new(),
        verdict: if running == nodes.len() {
            Verdict::Converged
        } else {
            Verdict::Waiting
        },
    }
}

fn completions(tasks: &[Task], wanted: usize) -> Progress {
    let done = tasks
        .iter()
        .filter(|task| task.status.state == "complete")
        .count();
    let active = tasks
        .iter()
        .filter(|task| !is_over(&task.status.state))
        .count();
    let failure = tasks
        .iter()
        .map(|task| task.status.err.as_str())
        .rfind(|err| !err.is_empty());
    Progress {
        overall: format!("{done} out of {wanted} complete, {active} active"),
        tasks: Vec::new(),
        notes: failure
            .map(|err| format!("last failure: {}", short_error(err)))
            .into_iter()
            .collect(),
        verdict: if done >= wanted {
            Verdict::Converged
        } else {
            Verdict::Waiting
        },
    }
}

/// The task that stands for each group (slot or node): the one that is meant to live longest, and
/// among equals the one that is further behind. Tasks on nodes that are down do not count.
fn current_tasks<'a>(
    tasks: &'a [Task],
    up: &BTreeSet<String>,
    group: impl Fn(&Task) -> String,
) -> BTreeMap<String, &'a Task> {
    let mut current: BTreeMap<String, &Task> = BTreeMap::new();
    for task in tasks {
        let order = |task: &Task| Some((rank(&task.desired_state)?, rank(&task.status.state)?));
        let Some(own) = order(task) else { continue };
        if !task.node_id.is_empty() && !up.contains(&task.node_id) {
            continue;
        }
        let slot = current.entry(group(task)).or_insert(task);
        if order(slot).is_some_and(|other| own < other) {
            *slot = task;
        }
    }
    current
}

fn is_running(task: &Task) -> bool {
    !is_over(&task.desired_state) && task.status.state == "running"
}

/// A task that is not up yet is shown with why the one before it in its slot ended, so that a
/// service that never comes up says so here and not only in `service ps`.
fn task_line<'a>(label: String, task: &Task, siblings: impl Iterator<Item = &'a Task>) -> TaskLine {
    let state = task.status.state.as_str();
    if !task.status.err.is_empty() {
        let text = format!("{state}: {}", short_error(&task.status.err));
        return TaskLine {
            label,
            text,
            bar: None,
        };
    }
    let previous = siblings
        .filter(|other| other.id != task.id && !other.status.err.is_empty())
        .max_by(|a, b| a.created_at.cmp(&b.created_at));
    match previous {
        Some(previous) if state != "running" => TaskLine {
            label,
            text: format!("{state} (before: {})", short_error(&previous.status.err)),
            bar: None,
        },
        _ => TaskLine {
            label,
            text: state.to_owned(),
            bar: rank(state).map(|rank| rank + 1),
        },
    }
}

fn short_error(error: &str) -> String {
    let flat = error.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(MAX_ERROR) {
        None => flat,
        Some((end, _)) => format!("{}…", &flat[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    fn service(extra: &str) -> Service {
        decode(&format!(
            r#"{{"ID": "s", "Spec": {{"Name": "web", "Mode": {{"Replicated": {{"Replicas": 2}}}},
                "UpdateConfig": {{"Monitor": 3000000000}}}} {extra}}}"#
        ))
        .unwrap()
    }

    fn task(id: &str, slot: u64, desired: &str, state: &str, err: &str) -> Task {
        let mut task = Task {
            id: id.into(),
            slot,
            ..Task::default()
        };
        task.created_at = id.into();
        task.node_id = "n1".into();
        task.desired_state = desired.into();
        task.status.state = state.into();
        task.status.err = err.into();
        task
    }

    fn up() -> BTreeSet<String> {
        BTreeSet::from(["n1".to_owned()])
    }

    #[test]
    fn running_tasks_converge_at_once() {
        let tasks = [
            task("a", 1, "running", "running", ""),
            task("b", 5, "running", "starting", ""),
        ];
        let progress = observe(&service(""), &tasks, &up());
        assert_eq!(progress.overall, "1 out of 2 tasks");
        assert_eq!(progress.verdict, Verdict::Waiting);
        assert_eq!(
            (progress.tasks[1].label.as_str(), progress.tasks[1].bar),
            ("2/2", Some(8))
        );
        let tasks = [
            task("a", 1, "running", "running", ""),
            task("b", 5, "running", "running", ""),
        ];
        assert_eq!(
            observe(&service(""), &tasks, &up()).verdict,
            Verdict::Converged
        );
    }

    #[test]
    fn a_rolling_update_also_waits_for_the_manager() {
        let tasks = [
            task("a", 1, "running", "running", ""),
            task("b", 2, "running", "running", ""),
        ];
        let rolling = service(r#", "UpdateStatus": {"State": "updating"}"#);
        let progress = observe(&rolling, &tasks, &up());
        assert_eq!(progress.verdict, Verdict::Waiting);
        assert_eq!(
            progress.notes,
            ["verify: Waiting 3 seconds to verify that tasks are stable..."]
        );
        let done = service(r#", "UpdateStatus": {"State": "completed"}"#);
        assert_eq!(observe(&done, &tasks, &up()).verdict, Verdict::Converged);
    }

    #[test]
    fn a_paused_update_fails_with_its_reason() {
        let paused = service(r#", "UpdateStatus": {"State": "paused", "Message": "task x died"}"#);
        let verdict = observe(&paused, &[], &up()).verdict;
        assert_eq!(
            verdict,
            Verdict::Failed("service update paused: task x died".into())
        );
    }

    #[test]
    fn the_reason_stays_visible_while_a_slot_restarts() {
        let tasks = [
            task("a", 1, "shutdown", "rejected", "No such image: nosuch:1"),
            task("b", 1, "ready", "preparing", ""),
            task("c", 2, "running", "pending", "no suitable node"),
        ];
        let progress = observe(&service(""), &tasks, &up());
        let texts: Vec<&str> = progress
            .tasks
            .iter()
            .map(|line| line.text.as_str())
            .collect();
        assert_eq!(
            texts,
            [
                "preparing (before: No such image: nosuch:1)",
                "pending: no suitable node"
            ]
        );
    }

    #[test]
    fn tasks_on_lost_nodes_and_removed_tasks_do_not_count() {
        let mut lost = task("a", 1, "running", "running", "");
        lost.node_id = "gone".into();
        let tasks = [lost, task("b", 2, "remove", "running", "")];
        assert_eq!(
            observe(&service(""), &tasks, &up()).overall,
            "0 out of 2 tasks"
        );
    }
}
