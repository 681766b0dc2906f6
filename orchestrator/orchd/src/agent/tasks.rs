//! The owner of this node's tasks.
//!
//! One task selects one event at a time (an assignment, an observation, an action's end) and
//! applies it to its jobs; [`orch_core::agent`] says what is next. Slow calls to the engine run
//! in workers, one per job at most, and after each the container is looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orch_core::agent::{self, Action, Container, Step, container_name};
use orch_core::dispatch::{Assignment, TaskReport};
use orch_core::ids::TaskId;
use orch_core::objects::Task;
use orch_core::objects::task::{TaskOwner, TaskStatus};
use orch_core::task_state::{DesiredState, TaskState};
use orch_core::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::executor::{Executor, Subject};
use super::observer::{Look, Observation, Observer};
use crate::engine::EngineError;

/// Pause before an action that did not succeed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What this node has to do with one task.
struct Job {
    /// The task; `None` once it is assigned no longer.
    task: Option<Task>,
    /// The furthest status known, ours or the managers'.
    status: TaskStatus,
    container: Option<Container>,
    work: Work,
}

/// What a job waits for.
enum Work {
    /// The next step.
    Idle,
    /// The end of an action.
    Acting(Action, AbortHandle),
    /// A look at the container after an action.
    Looking,
    /// The time to try again.
    Paused(Instant),
}

/// A worker's result.
struct Finished {
    task: TaskId,
    action: Action,
    result: Result<(), EngineError>,
}

/// The owner of this node's tasks.
pub struct Tasks {
    executor: Executor,
    observer: Observer,
    assigned: watch::Receiver<Option<Arc<Assignment>>>,
    reports: mpsc::Sender<TaskReport>,
    jobs: BTreeMap<TaskId, Job>,
    workers: JoinSet<Finished>,
    /// The assignment in force; nothing is done before there is one.
    assignment: Option<Arc<Assignment>>,
    /// Whether the containers were listed; nothing is done before.
    listed: bool,
    /// Statuses that wait for the link: the newest of each task.
    outbox: BTreeMap<TaskId, TaskStatus>,
    /// Tasks whose containers are to be looked at.
    looks: BTreeSet<TaskId>,
}

impl Tasks {
    /// Plugs the owner's parts together.
    pub fn new(
        executor: Executor,
        observer: Observer,
        mut assigned: watch::Receiver<Option<Arc<Assignment>>>,
        reports: mpsc::Sender<TaskReport>,
    ) -> Self {
        assigned.mark_changed();
        Self {
            executor,
            observer,
            assigned,
            reports,
            jobs: BTreeMap::new(),
            workers: JoinSet::new(),
            assignment: None,
            listed: false,
            outbox: BTreeMap::new(),
            looks: BTreeSet::new(),
        }
    }

    /// Runs until the assignments or observations end.
    pub async fn run(mut self) {
        let (reports, looks) = (self.reports.clone(), self.observer.looks.clone());
        loop {
            let retry_at = self.next_retry();
            let wake = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now));
            tokio::select! {
                changed = self.assigned.changed() => match changed {
                    Ok(()) => self.assign(),
                    Err(_) => return,
                },
                seen = self.observer.seen.recv() => match seen {
                    Some(observation) => self.observe(observation),
                    None => return,
                },
                Some(finished) = self.workers.join_next() => {
                    // One that was aborted was dealt with then.
                    if let Ok(finished) = finished {
                        self.finish(finished);
                    }
                }
                Ok(permit) = reports.reserve(), if !self.outbox.is_empty() => {
                    if let Some((id, status)) = self.outbox.pop_first() {
                        permit.send(TaskReport { id, status });
                    }
                }
                Ok(permit) = looks.reserve(), if !self.looks.is_empty() => {
                    if let Some(look) = next_look(&mut self.looks, &self.jobs) {
                        permit.send(look);
                    }
                }
                () = wake, if retry_at.is_some() => self.retry(),
            }
        }
    }

    /// A new assignment is in force.
    fn assign(&mut self) {
        let Some(assignment) = self.assigned.borrow_and_update().clone() else {
            return;
        };
        let mut gone: BTreeSet<TaskId> = self.jobs.keys().cloned().collect();
        // The engine runs attached containers; the cluster only lends them addresses.
        let ours = assignment
            .tasks
            .iter()
            .filter(|t| matches!(t.owner, TaskOwner::Service { .. }));
        for task in ours {
            gone.remove(&task.id);
            let job = self
                .jobs
                .entry(task.id.clone())
                .or_insert_with(|| Job::new(None));
            let ours = std::mem::replace(&mut job.status, unknown());
            job.status = agent::furthest(ours, &task.status);
            job.task = Some(task.clone());
        }
        for id in gone {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.task = None;
            }
        }
        self.assignment = Some(assignment);
        self.abandon_useless_work();
        self.advance_all();
    }

    /// A task that is no longer wanted is not prepared to the end: a pull may take long.
    fn abandon_useless_work(&mut self) {
        for (id, job) in &mut self.jobs {
            if let Work::Acting(Action::Prepare, worker) = &job.work
                && !job.is_wanted()
            {
                worker.abort();
                job.work = Work::Looking;
                self.looks.insert(id.clone());
            }
        }
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::All(mut containers) => {
                self.listed = true;
                for (id, job) in &mut self.jobs {
                    job.see(containers.remove(id));
                }
                for (id, container) in containers {
                    self.jobs.insert(id, Job::new(Some(container)));
                }
                self.advance_all();
            }
            Observation::One(id, container) => {
                match self.jobs.get_mut(&id) {
                    Some(job) => job.see(container),
                    None if container.is_some() => {
                        self.jobs.insert(id.clone(), Job::new(container));
                    }
                    None => return,
                }
                self.advance(&id);
            }
        }
    }

    fn finish(&mut self, finished: Finished) {
        let Finished {
            task: id,
            action,
            result,
        } = finished;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let refused = match result {
            Ok(()) => None,
            Err(error) if error.is_unreachable() => {
                tracing::debug!(task = %id, ?action, %error, "waiting for the engine");
                job.work = Work::Paused(Instant::now() + RETRY_PAUSE);
                return;
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(words) = refused {
            tracing::warn!(task = %id, ?action, error = words, "the engine refused");
            match agent::refused(action, &words, job.container.as_ref()) {
                Some(status) => job.report(&id, status, &mut self.outbox),
                None => {
                    job.work = Work::Paused(Instant::now() + RETRY_PAUSE);
                    return;
                }
            }
        }
        job.work = Work::Looking;
        self.looks.insert(id);
    }

    fn next_retry(&self) -> Option<Instant> {
        let times = self.jobs.values().filter_map(|job| match job.work {
            Work::Paused(until) => Some(until),
            Work::Idle | Work::Acting(..) | Work::Looking => None,
        });
        times.min()
    }

    /// Looks again at the containers of jobs whose pause is over.
    fn retry(&mut self) {
        let now = Instant::now();
        for (id, job) in &mut self.jobs {
            if matches!(job.work, Work::Paused(until) if until <= now) {
                job.work = Work::Looking;
                self.looks.insert(id.clone());
            }
        }
    }

    fn advance_all(&mut self) {
        let ids: Vec<TaskId> = self.jobs.keys().cloned().collect();
        for id in ids {
            self.advance(&id);
        }
    }

    /// Takes a job as far as it goes without waiting.
    fn advance(&mut self, id: &TaskId) {
        let Some(assignment) = self.assignment.clone().filter(|_| self.listed) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        while matches!(job.work, Work::Idle) {
            match agent::next(job.task.as_ref(), &job.status, job.container.as_ref()) {
                Step::Report(status) => job.report(id, status, &mut self.outbox),
                Step::Wait => return,
                Step::Forget => {
                    self.jobs.remove(id);
                    return;
                }
                Step::Act(action) => {
                    tracing::debug!(task = %id, ?action, "next");
                    let Some(subject) = job.subject() else { return };
                    let executor = self.executor.clone();
                    let (task, assignment) = (id.clone(), Arc::clone(&assignment));
                    let worker = self.workers.spawn(async move {
                        let result = executor.carry_out(action, &subject, &assignment).await;
                        Finished {
                            task,
                            action,
                            result,
                        }
                    });
                    job.work = Work::Acting(action, worker);
                }
            }
        }
    }
}

/// The next look that can be described; tasks that are gone need none.
fn next_look(looks: &mut BTreeSet<TaskId>, jobs: &BTreeMap<TaskId, Job>) -> Option<Look> {
    while let Some(task) = looks.pop_first() {
        if let Some(container) = jobs.get(&task).and_then(Job::container_reference) {
            return Some(Look { task, container });
        }
    }
    None
}

impl Job {
    /// A job for a container that was found, or for a task that is about to be set.
    fn new(container: Option<Container>) -> Self {
        Self {
            task: None,
            status: unknown(),
            container,
            work: Work::Idle,
        }
    }

    fn is_wanted(&self) -> bool {
        self.task
            .as_ref()
            .is_some_and(|task| task.desired <= DesiredState::Running)
    }

    /// The container was looked at.
    fn see(&mut self, container: Option<Container>) {
        self.container = container;
        if matches!(self.work, Work::Looking) {
            self.work = Work::Idle;
        }
    }

    fn report(
        &mut self,
        id: &TaskId,
        status: TaskStatus,
        outbox: &mut BTreeMap<TaskId, TaskStatus>,
    ) {
        tracing::info!(
            task = %id,
            state = status.state.as_str(),
            error = status.error,
            "{}", status.message
        );
        self.status = status.clone();
        outbox.insert(id.clone(), status);
    }

    fn subject(&self) -> Option<Subject> {
        let container = self
            .container
            .as_ref()
            .map(|container| container.id.clone());
        match &self.task {
            Some(task) => Some(Subject::Task(Box::new(task.clone()), container)),
            None => container.map(Subject::Container),
        }
    }

    /// Id of the container, or the name that it would have.
    fn container_reference(&self) -> Option<String> {
        let known = self
            .container
            .as_ref()
            .map(|container| container.id.clone());
        known.or_else(|| self.task.as_ref().and_then(container_name))
    }
}

/// The status of a task of which nothing is known.
fn unknown() -> TaskStatus {
    TaskStatus {
        state: TaskState::New,
        since: Timestamp::default(),
        message: String::new(),
        error: String::new(),
        container: None,
    }
}
