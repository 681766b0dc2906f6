//! Exact drain: a task is told to stop only once no node leads clients to it any more.
//!
//! A task that is no longer wanted leaves backends and names at once, but each node puts that in
//! force in its own time. Until all have said that they did, the task's node sees it as wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Assignment;
use crate::ids::{NodeId, TaskId};
use crate::objects::Task;
use crate::objects::node::NodeState;
use crate::store::State;
use crate::task_state::{DesiredState, TaskState};
use crate::time::Timestamp;

/// How long a task goes on for the sake of nodes that do not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Version of the data plane that each node said to have in force.
pub type Acknowledged = BTreeMap<NodeId, u64>;

/// What the session of one node remembers of its tasks that are to stop.
#[derive(Debug, Default)]
pub struct Drain {
    /// `None`: the node was told.
    leaving: BTreeMap<TaskId, Option<Leaving>>,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    /// Version from which on no node leads clients to the task.
    version: u64,
    /// When it stops in any case.
    until: Timestamp,
}

impl Drain {
    /// Shows those tasks of the node's `assignment` as wanted that clients may still be led to.
    /// Returns when time alone ends that for one of them. What a node was told is not taken back.
    pub fn hold_back(
        &mut self,
        assignment: &mut Assignment,
        state: &State,
        acknowledged: &Acknowledged,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let in_force = in_force(state, acknowledged);
        let mut known = std::mem::take(&mut self.leaving);
        let mut next = None;
        for task in assignment.tasks.iter_mut().filter(|t| is_leaving(t)) {
            let left = known.remove(&task.id);
            let left = left.unwrap_or_else(|| Some(Leaving::begin(task, now)));
            let left = left.filter(|l| in_force < l.version && now < l.until);
            if let Some(Leaving { until, .. }) = left {
                task.desired = DesiredState::Running;
                next = Some(next.map_or(until, |at: Timestamp| at.min(until)));
            }
            self.leaving.insert(task.id.clone(), left);
        }
        next
    }
}

impl Leaving {
    /// The task's last change was that it is no longer wanted.
    fn begin(task: &Task, now: Timestamp) -> Self {
        Self {
            version: task.meta.version,
            until: task.meta.updated_at.min(now) + PATIENCE,
        }
    }
}

/// Whether the task served clients until it was told to stop.
fn is_leaving(task: &Task) -> bool {
    !task.is_wanted() && task.status.state == TaskState::Running
}

/// The version that every node that is ready has in force.
fn in_force(state: &State, acknowledged: &Acknowledged) -> u64 {
    let ready = state
        .nodes()
        .filter(|n| n.status.state == NodeState::Ready)
        .map(|n| acknowledged.get(&n.id).copied().unwrap_or_default());
    ready.min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;
    use crate::dispatch::assignment;
    use crate::fixture::{Bench, service_spec};

    /// A cluster of three nodes whose only task, on one of them, was just scaled away.
    struct Scene {
        bench: Bench,
        task: TaskId,
        host: NodeId,
        drain: Drain,
        acknowledged: Acknowledged,
    }

    impl Scene {
        fn new() -> Self {
            let mut bench = Bench::with_nodes(3);
            let service = bench.create(service_spec("s", 1));
            bench.obey();
            let task = bench.wanted(&service)[0].clone();
            let before = bench.state.version();
            let acknowledged = (0..3).map(|n| (bench.node(n), before)).collect();
            bench.scale(&service, 0);
            Self {
                task: task.id.clone(),
                host: task.node.clone().unwrap(),
                drain: Drain::default(),
                acknowledged,
                bench,
            }
        }

        /// What the task's node is told of it, and when to look again.
        fn told(&mut self) -> (DesiredState, Option<Timestamp>) {
            let Self { bench, .. } = self;
            let mut told = assignment(&bench.state, &self.host).unwrap();
            let next = self
                .drain
                .hold_back(&mut told, &bench.state, &self.acknowledged, bench.now);
            let task = told.tasks.iter().find(|t| t.id == self.task).unwrap();
            (task.desired, next)
        }

        fn acknowledge(&mut self, node: usize) {
            let version = self.bench.state.version();
            self.acknowledged.insert(self.bench.node(node), version);
        }
    }

    const GOES_ON: DesiredState = DesiredState::Running;
    const STOPS: DesiredState = DesiredState::Remove;

    #[test]
    fn a_task_stops_when_the_last_node_leads_nobody_to_it() {
        let mut scene = Scene::new();
        let until = scene.bench.now + PATIENCE;
        for node in 0..3 {
            assert_eq!(scene.told(), (GOES_ON, Some(until)), "{node}");
            scene.acknowledge(node);
        }
        assert_eq!(scene.told(), (STOPS, None));
    }

    #[test]
    fn a_node_that_does_not_answer_is_waited_for_so_long_and_no_longer() {
        let mut scene = Scene::new();
        scene.acknowledge(0);
        let until = scene.bench.now + PATIENCE;
        assert_eq!(scene.told(), (GOES_ON, Some(until)));
        // News of the task do not prolong it.
        let task = scene.bench.task(&scene.task);
        scene.bench.now = scene.bench.now + PATIENCE / 2;
        let (host, now) = (scene.host.clone(), scene.bench.now);
        let report = crate::dispatch::TaskReport {
            id: task.id.clone(),
            status: crate::objects::task::TaskStatus {
                message: "news".to_owned(),
                ..task.status
            },
        };
        let reported = |tx: &mut crate::store::Tx<'_>| {
            control::report_tasks(tx, &host, &[report]);
            Ok(())
        };
        scene.bench.write(reported).unwrap();
        assert_eq!(scene.bench.task(&scene.task).meta.updated_at, now);
        assert_eq!(scene.told(), (GOES_ON, Some(until)));
        scene.bench.now = until;
        assert_eq!(scene.told(), (STOPS, None));
    }

    #[test]
    fn a_node_that_is_down_is_not_waited_for() {
        let mut scene = Scene::new();
        let silent = (0..3).find(|n| scene.bench.node(*n) != scene.host).unwrap();
        for node in (0..3).filter(|n| *n != silent) {
            scene.acknowledge(node);
        }
        assert_eq!(scene.told().0, GOES_ON);
        scene.bench.set_node(silent, NodeState::Down);
        assert_eq!(scene.told(), (STOPS, None));
    }

    #[test]
    fn what_a_node_was_told_is_not_taken_back() {
        let mut scene = Scene::new();
        for node in 0..3 {
            scene.acknowledge(node);
        }
        assert_eq!(scene.told().0, STOPS);
        // As when a node joins that has not said anything yet.
        scene.acknowledged.clear();
        assert_eq!(scene.told(), (STOPS, None));
        // Nor does a new session ask again about what is long over.
        scene.drain = Drain::default();
        scene.bench.now = scene.bench.now + PATIENCE;
        assert_eq!(scene.told(), (STOPS, None));
    }
}
