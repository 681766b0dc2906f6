//! Rules of the replicated orchestrator, restarts, updates and the reaper.

use std::time::Duration;

use crate::control;
use crate::fixture::{Bench, service_spec};
use crate::ids::ServiceId;
use crate::objects::node::{Availability, NodeState};
use crate::objects::service::{
    FailureAction, PortConfig, PublishMode, UpdateConfig, UpdateOrder, UpdateState,
};
use crate::objects::task::{RestartCondition, RestartPolicy};
use crate::objects::{ServiceSpec, Task};
use crate::store::Object;
use crate::task_state::{DesiredState, TaskState};

const SECOND: Duration = Duration::from_secs(1);

mod updates;

fn update_state(bench: &Bench, id: &ServiceId) -> Option<UpdateState> {
    bench.service(id).update_status.map(|s| s.state)
}

fn running(nodes: u8, spec: ServiceSpec) -> (Bench, ServiceId) {
    let mut bench = Bench::with_nodes(nodes);
    let id = bench.create(spec);
    bench.obey();
    (bench, id)
}

fn with_restart(condition: RestartCondition, max_attempts: u64) -> ServiceSpec {
    let mut spec = service_spec("s", 1);
    spec.task.restart = Some(RestartPolicy {
        condition,
        delay: Some(SECOND),
        max_attempts,
        window: None,
    });
    spec
}

fn new_image(spec: &mut ServiceSpec) {
    spec.task.container.image = "image:2".to_owned();
}

#[test]
fn slots_are_numbered_from_one_without_gaps() {
    let (mut bench, id) = running(2, service_spec("s", 3));
    assert_eq!(bench.slots(&id), [1, 2, 3]);
    bench.scale(&id, 5);
    assert_eq!(bench.slots(&id), [1, 2, 3, 4, 5]);
}

#[test]
fn scaling_up_fills_the_lowest_free_slots() {
    let (mut bench, id) = running(1, service_spec("s", 3));
    let middle = bench.wanted(&id)[1].id.clone();
    bench
        .write(|tx| {
            let task = Task::clone(tx.task(&middle).unwrap());
            super::stop(tx, task, DesiredState::Remove);
            Ok(())
        })
        .unwrap();
    bench.scale(&id, 4);
    assert_eq!(bench.slots(&id), [1, 2, 3, 4]);
}

#[test]
fn scaled_down_tasks_are_removed_and_leave_no_history() {
    let (mut bench, id) = running(1, service_spec("s", 3));
    bench.scale(&id, 1);
    assert_eq!(bench.slots(&id), [1]);
    let stopping: Vec<_> = bench
        .tasks(&id)
        .into_iter()
        .filter(|t| !t.is_wanted())
        .collect();
    assert!(stopping.iter().all(|t| t.desired == DesiredState::Remove));
    assert_eq!(stopping.len(), 2);
    bench.obey();
    assert_eq!(bench.tasks(&id).len(), 1);
}

#[test]
fn scaling_down_takes_the_fullest_node_first_then_what_does_not_run() {
    let (mut bench, id) = running(2, service_spec("s", 4));
    bench.set_node(1, NodeState::Down);
    bench.obey();
    bench.advance(5 * SECOND);
    bench.obey();
    bench.set_node(1, NodeState::Ready);
    bench.obey();
    bench.scale(&id, 6);
    // Four run on node 0, two wait on node 1: the fullest node gives first.
    bench.scale(&id, 5);
    let on = |bench: &Bench, index| {
        let node = bench.node(index);
        bench
            .wanted(&id)
            .iter()
            .filter(|t| t.node.as_ref() == Some(&node))
            .count()
    };
    assert_eq!((on(&bench, 0), on(&bench, 1)), (3, 2));
    bench.scale(&id, 4);
    bench.scale(&id, 3);
    assert_eq!((on(&bench, 0), on(&bench, 1)), (2, 1));
}

#[test]
fn a_failed_task_is_replaced_in_its_slot_after_the_delay() {
    let (mut bench, id) = running(1, service_spec("s", 1));
    let old = bench.wanted(&id)[0].clone();
    bench.report(&old, TaskState::Failed);
    assert_eq!(bench.task(&old.id).desired, DesiredState::Shutdown);
    let new = bench.wanted(&id)[0].clone();
    assert_eq!((new.slot(), new.desired), (Some(1), DesiredState::Ready));
    assert_eq!(bench.wake_at, Some(bench.now + 5 * SECOND));
    bench.advance(4 * SECOND);
    assert_eq!(bench.task(&new.id).desired, DesiredState::Ready);
    bench.advance(SECOND);
    assert_eq!(bench.task(&new.id).desired, DesiredState::Running);
}

#[test]
fn a_task_that_cannot_be_prepared_is_not_replaced_before_its_wait_is_over() {
    let (mut bench, id) = running(1, service_spec("s", 1));
    bench.report(&bench.wanted(&id)[0].clone(), TaskState::Failed);
    let second = bench.wanted(&id)[0].clone();
    bench.report(&second, TaskState::Rejected);
    assert_eq!(bench.wanted(&id).len(), 1);
    assert_eq!(bench.wake_at, second.not_before);
    bench.advance(5 * SECOND);
    let third = bench.wanted(&id)[0].clone();
    assert_ne!(third.id, second.id);
    assert_eq!(third.not_before, Some(bench.now + 5 * SECOND));
}

#[test]
fn the_restart_condition_decides_whether_there_is_another_task() {
    use RestartCondition as C;
    for (condition, end, again) in [
        (C::Any, TaskState::Complete, true),
        (C::Any, TaskState::Failed, true),
        (C::OnFailure, TaskState::Complete, false),
        (C::OnFailure, TaskState::Failed, true),
        (C::OnFailure, TaskState::Rejected, true),
        (C::None, TaskState::Failed, false),
        (C::None, TaskState::Complete, false),
    ] {
        let (mut bench, id) = running(1, with_restart(condition, 0));
        bench.report(&bench.wanted(&id)[0].clone(), end);
        assert_eq!(
            bench.wanted(&id).len(),
            usize::from(again),
            "{condition:?} {end:?}"
        );
        bench.advance(100 * SECOND);
        assert_eq!(
            bench.wanted(&id).len(),
            usize::from(again),
            "{condition:?} {end:?} later"
        );
    }
}

#[test]
fn a_task_is_restarted_as_often_as_the_policy_says_and_a_new_spec_starts_anew() {
    let (mut bench, id) = running(1, with_restart(RestartCondition::Any, 2));
    let mut ran = 0;
    while let Some(task) = bench.wanted(&id).first().cloned() {
        ran += 1;
        bench.report(&task, TaskState::Failed);
        bench.advance(SECOND);
        bench.obey();
        assert!(ran <= 3, "restarted without end");
    }
    assert_eq!(ran, 3);
    bench.update(&id, new_image).unwrap();
    assert_eq!(bench.wanted(&id).len(), 1);
}

#[test]
fn restarts_outside_the_window_do_not_count() {
    let mut spec = with_restart(RestartCondition::Any, 1);
    if let Some(policy) = &mut spec.task.restart {
        policy.window = Some(10 * SECOND);
    }
    let (mut bench, id) = running(1, spec);
    for _ in 0..5 {
        bench.advance(20 * SECOND);
        bench.report(&bench.wanted(&id)[0].clone(), TaskState::Failed);
        bench.advance(SECOND);
        bench.obey();
        assert_eq!(bench.wanted(&id).len(), 1);
    }
    bench.report(&bench.wanted(&id)[0].clone(), TaskState::Failed);
    assert_eq!(bench.wanted(&id).len(), 0);
}

#[test]
fn tasks_of_a_down_node_are_replaced_without_waiting_for_them() {
    let (mut bench, id) = running(2, service_spec("s", 2));
    bench.set_node(1, NodeState::Down);
    let wanted = bench.wanted(&id);
    assert!(wanted.iter().all(|t| t.node == Some(bench.node(0))));
    assert!(wanted.iter().all(|t| t.desired == DesiredState::Running));
}

#[test]
fn tasks_of_a_drained_node_are_replaced_at_once_but_start_after_they_stopped() {
    let (mut bench, id) = running(2, service_spec("s", 1));
    let old = bench.wanted(&id)[0].clone();
    let index = usize::from(old.node == Some(bench.node(1)));
    bench.update_node(index, |spec| spec.availability = Availability::Drain);
    let new = bench.wanted(&id)[0].clone();
    assert_eq!(new.not_before, Some(bench.now));
    assert_eq!(new.desired, DesiredState::Ready);
    bench.report(&bench.task(&old.id), TaskState::Shutdown);
    assert_eq!(bench.task(&new.id).desired, DesiredState::Running);
    assert_ne!(bench.task(&new.id).node, old.node);
}

#[test]
fn nodes_that_are_unknown_paused_or_disconnected_keep_their_tasks() {
    for state in [
        NodeState::Unknown,
        NodeState::Disconnected,
        NodeState::Unreachable,
    ] {
        let (mut bench, id) = running(2, service_spec("s", 2));
        let before: Vec<_> = bench.wanted(&id).iter().map(|t| t.id.clone()).collect();
        bench.set_node(1, state);
        let after: Vec<_> = bench.wanted(&id).iter().map(|t| t.id.clone()).collect();
        assert_eq!(before, after, "{state:?}");
    }
    let (mut bench, id) = running(2, service_spec("s", 2));
    bench.update_node(1, |spec| spec.availability = Availability::Pause);
    assert!(bench.tasks(&id).iter().all(|t| t.is_wanted()));
}

#[test]
fn changes_of_ports_labels_and_replicas_replace_no_task() {
    let (mut bench, id) = running(2, service_spec("s", 2));
    let before: Vec<_> = bench.wanted(&id).iter().map(|t| t.id.clone()).collect();
    bench
        .update(&id, |spec| {
            spec.labels.insert("a".to_owned(), "b".to_owned());
            spec.endpoint.ports.push(PortConfig {
                name: String::new(),
                protocol: crate::network::Protocol::Tcp,
                target: 6379,
                published: Some(6379),
                mode: PublishMode::Ingress,
            });
        })
        .unwrap();
    let after: Vec<_> = bench.wanted(&id).iter().map(|t| t.id.clone()).collect();
    assert_eq!(before, after);
    assert_eq!(update_state(&bench, &id), None);
    assert!(
        bench
            .wanted(&id)
            .iter()
            .all(|t| super::is_up_to_date(&bench.service(&id), t))
    );
}

#[test]
fn history_is_kept_up_to_the_limit_and_the_newest_task_always() {
    let (mut bench, id) = running(1, service_spec("s", 1));
    for _ in 0..10 {
        bench.report(&bench.wanted(&id)[0].clone(), TaskState::Failed);
        bench.advance(5 * SECOND);
        bench.obey();
    }
    assert_eq!(bench.tasks(&id).len(), 5);
    let (mut bench, id) = running(1, with_restart(RestartCondition::None, 0));
    let cluster = bench.state.cluster().unwrap().clone();
    let mut spec = cluster.spec.clone();
    spec.task_history_limit = 0;
    bench
        .write(|tx| control::update_cluster(tx, cluster.meta.version, spec, None))
        .unwrap();
    bench.report(&bench.wanted(&id)[0].clone(), TaskState::Complete);
    assert_eq!(bench.tasks(&id).len(), 1, "the one-shot would run again");
}

#[test]
fn tasks_that_are_being_removed_do_not_push_counted_restarts_out_of_history() {
    let (mut bench, id) = running(1, with_restart(RestartCondition::Any, 4));
    bench.scale(&id, 0);
    bench.scale(&id, 1);
    for _ in 0..5 {
        let task = bench.wanted(&id)[0].clone();
        bench.report(&task, TaskState::Failed);
        bench.advance(SECOND);
    }
    assert_eq!(bench.wanted(&id).len(), 0, "four restarts are allowed");
    bench.advance(SECOND);
    assert_eq!(bench.wanted(&id).len(), 0);
}

#[test]
fn a_removed_service_leaves_no_task() {
    let (mut bench, id) = running(2, service_spec("s", 3));
    bench.write(|tx| control::remove_service(tx, &id)).unwrap();
    bench.step();
    assert_eq!(bench.tasks(&id).len(), 3);
    bench.obey();
    assert_eq!(bench.tasks(&id).len(), 0);
}

#[test]
fn a_removed_task_on_a_down_node_keeps_its_address_until_the_node_leaves() {
    let (mut bench, id) = running(2, service_spec("s", 2));
    bench.set_node(1, NodeState::Down);
    bench.write(|tx| control::remove_service(tx, &id)).unwrap();
    bench.obey();
    assert_eq!(bench.tasks(&id).len(), 1);
    let node = bench.node(1);
    bench
        .write(|tx| control::remove_node(tx, &node, false))
        .unwrap();
    bench.step();
    assert_eq!(bench.tasks(&id).len(), 0);
}

#[test]
fn a_task_that_never_had_a_node_is_stopped_with_the_word() {
    let mut bench = Bench::with_nodes(1);
    bench.set_node(0, NodeState::Down);
    let id = bench.create(service_spec("s", 1));
    assert_eq!(bench.wanted(&id)[0].status.state, TaskState::Pending);
    bench.scale(&id, 0);
    assert_eq!(bench.tasks(&id).len(), 0);
}

#[test]
fn huge_services_are_made_in_several_passes() {
    let mut bench = Bench::with_nodes(1);
    let id = bench.create(service_spec("s", 450));
    let mut passes = 1;
    while !bench.step().is_empty() {
        passes += 1;
    }
    assert_eq!((bench.slots(&id).len(), passes), (450, 3));
    let changes = bench.step();
    assert!(
        !changes
            .iter()
            .any(|c| matches!(c, crate::store::Change::Put(Object::Task(_))))
    );
}
