//! Exact drain: a task is told to stop only once no node leads clients to it any more, and, if its
//! service gives it time for that, once the conversations that it has are over.
//!
//! A task that is no longer wanted leaves backends and names at once, but each node puts that in
//! force in its own time. Until all have said that they did, the task's node sees it as wanted;
//! and then for as long as some node still leads a conversation to it, but not for longer than its
//! service's drain time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Assignment;
use crate::ids::{NodeId, TaskId};
use crate::network::{self, Vni};
use crate::objects::Task;
use crate::objects::node::NodeState;
use crate::objects::service::EndpointMode;
use crate::store::State;
use crate::task_state::DesiredState;
use crate::time::Timestamp;

/// How long a task goes on for the sake of nodes that do not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a node said of its data plane last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The version that is in force.
    pub version: u64,
    /// How many conversations it leads to each endpoint that drains; those without any may be
    /// left out. `None`: it cannot tell.
    pub live: Option<BTreeMap<(Vni, IpAddr), u64>>,
}

/// What each node said.
pub type Acknowledged = BTreeMap<NodeId, Acknowledgement>;

/// What the session of one node remembers of its tasks that are to stop.
#[derive(Debug, Default)]
pub struct Drain {
    /// `None`: the node was told.
    leaving: BTreeMap<TaskId, Option<Leaving>>,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    /// Version from which on no node leads new clients to the task.
    version: u64,
    /// When it was told to stop.
    since: Timestamp,
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
        let mut known = std::mem::take(&mut self.leaving);
        let mut next = None;
        for task in assignment.tasks.iter_mut().filter(|t| t.is_leaving()) {
            let left = known.remove(&task.id);
            let left = left.unwrap_or_else(|| Some(Leaving::begin(task, now)));
            let until = left.map(|left| left.until(task, state, acknowledged));
            let left = match until {
                Some(until) if now < until => {
                    task.desired = DesiredState::Running;
                    next = Some(next.map_or(until, |at: Timestamp| at.min(until)));
                    left
                }
                Some(_) | None => None,
            };
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
            since: task.meta.updated_at.min(now),
        }
    }

    /// When the task stops if no node says anything new; a moment that is over: now.
    fn until(&self, task: &Task, state: &State, acknowledged: &Acknowledged) -> Timestamp {
        let ready = state.nodes().filter(|n| n.status.state == NodeState::Ready);
        let endpoints = endpoints(state, task);
        let (mut in_force, mut over) = (true, !talks_directly(state, task));
        for said in ready.map(|n| acknowledged.get(&n.id)) {
            let said = said.filter(|said| said.version >= self.version);
            in_force &= said.is_some();
            let live = said.and_then(|said| said.live.as_ref());
            over &= live.is_some_and(|live| !endpoints.iter().any(|e| live.get(e) > Some(&0)));
        }
        let patience = if in_force { Duration::ZERO } else { PATIENCE };
        let drain = if over {
            Duration::ZERO
        } else {
            network::drain_time(state, task)
        };
        self.since + patience.max(drain)
    }
}

/// Whether clients come to the task by its own address, where nobody counts conversations.
fn talks_directly(state: &State, task: &Task) -> bool {
    let service = task.service().and_then(|id| state.service(id));
    service.is_some_and(|s| s.endpoint.spec.mode == EndpointMode::DnsRoundRobin)
}

fn endpoints(state: &State, task: &Task) -> Vec<(Vni, IpAddr)> {
    let mut endpoints = Vec::new();
    for attachment in &task.attachments {
        if let Some(network) = state.network(&attachment.network) {
            let addresses = attachment.addresses.iter();
            endpoints.extend(addresses.map(|a| (network.vni, a.addr())));
        }
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control;
    use crate::dispatch::assignment;
    use crate::fixture::{Bench, service_spec};
    use crate::ids::ServiceId;

    /// A cluster of three nodes whose only task, on one of them, was just scaled away.
    struct Scene {
        bench: Bench,
        service: ServiceId,
        task: TaskId,
        host: NodeId,
        drain: Drain,
        acknowledged: Acknowledged,
    }

    impl Scene {
        fn new() -> Self {
            Self::with_drain("0s", EndpointMode::Vip)
        }

        fn with_drain(time: &str, mode: EndpointMode) -> Self {
            let mut bench = Bench::with_nodes(3);
            let mut spec = service_spec("s", 1);
            spec.endpoint.mode = mode;
            let label = "orch.endpoint.drain".to_owned();
            spec.labels.insert(label, time.to_owned());
            let service = bench.create(spec);
            bench.obey();
            let task = bench.wanted(&service)[0].clone();
            let before = bench.state.version();
            let said = Acknowledgement {
                version: before,
                live: Some(BTreeMap::new()),
            };
            let acknowledged = (0..3).map(|n| (bench.node(n), said.clone())).collect();
            bench.scale(&service, 0);
            Self {
                service,
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
            self.acknowledge_with(node, 0);
        }

        /// The node leads nobody new to the task and still has so many conversations with it.
        fn acknowledge_with(&mut self, node: usize, conversations: u64) {
            let task = self.bench.task(&self.task);
            let endpoint = endpoints(&self.bench.state, &task)[0];
            let said = Acknowledgement {
                version: self.bench.state.version(),
                live: Some(BTreeMap::from([(endpoint, conversations)])),
            };
            self.acknowledged.insert(self.bench.node(node), said);
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

    const DRAIN: Duration = Duration::from_secs(30);

    #[test]
    fn a_task_drains_until_its_last_conversation_is_over() {
        let mut scene = Scene::with_drain("30s", EndpointMode::Vip);
        let until = scene.bench.now + DRAIN;
        scene.acknowledge_with(0, 2);
        scene.acknowledge_with(1, 1);
        assert_eq!(scene.told(), (GOES_ON, Some(until)), "one has not answered");
        scene.acknowledge(2);
        assert_eq!(scene.told(), (GOES_ON, Some(until)));
        scene.acknowledge(0);
        assert_eq!(scene.told(), (GOES_ON, Some(until)));
        scene.acknowledge(1);
        assert_eq!(scene.told(), (STOPS, None));
    }

    #[test]
    fn a_drain_that_does_not_end_is_ended() {
        let mut scene = Scene::with_drain("30s", EndpointMode::Vip);
        (0..3).for_each(|node| scene.acknowledge_with(node, 1));
        scene.bench.now = scene.bench.now + DRAIN;
        assert_eq!(scene.told(), (STOPS, None));
    }

    #[test]
    fn conversations_that_nobody_counts_get_the_whole_time() {
        let mut scene = Scene::with_drain("30s", EndpointMode::DnsRoundRobin);
        let until = scene.bench.now + DRAIN;
        (0..3).for_each(|node| scene.acknowledge(node));
        assert_eq!(scene.told(), (GOES_ON, Some(until)));
    }

    #[test]
    fn a_service_that_is_removed_drains_no_longer() {
        let mut scene = Scene::with_drain("30s", EndpointMode::Vip);
        (0..3).for_each(|node| scene.acknowledge_with(node, 1));
        assert_eq!(scene.told().0, GOES_ON);
        let id = scene.service.clone();
        let removed = scene.bench.write(|tx| control::remove_service(tx, &id));
        removed.unwrap();
        assert_eq!(scene.told(), (STOPS, None));
    }

    proptest! {
        /// Whatever the nodes say and however long it takes.
        #[test]
        fn a_task_goes_on_exactly_as_long_as_it_is_needed(
            drain in 0..10_u64,
            happenings in prop::collection::vec((0..3_usize, 0..3_u64, 0..1500_u64), 1..20),
        ) {
            let mut scene = Scene::with_drain(&format!("{drain}s"), EndpointMode::Vip);
            let began = scene.bench.now;
            let mut conversations = [None; 3];
            let mut stopped = false;
            for (node, count, millis) in happenings {
                scene.acknowledge_with(node, count);
                conversations[node] = Some(count);
                scene.bench.now = scene.bench.now + Duration::from_millis(millis);
                let passed = scene.bench.now.since(began);
                let waits = conversations.contains(&None) && passed < PATIENCE;
                let over = conversations == [Some(0); 3];
                let drains = !over && passed < Duration::from_secs(drain);
                stopped |= !waits && !drains;
                let (told, next) = scene.told();
                prop_assert_eq!(told, if stopped { STOPS } else { GOES_ON });
                prop_assert_eq!(next.is_none(), stopped);
                prop_assert!(next.is_none_or(|at| at > scene.bench.now));
            }
        }
    }
}
