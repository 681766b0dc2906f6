//! Rolling updates and rollbacks.

use super::*;

fn with_update(replicas: u64, config: UpdateConfig) -> ServiceSpec {
    ServiceSpec {
        update: Some(config),
        ..service_spec("s", replicas)
    }
}

fn new_tasks(bench: &Bench, id: &ServiceId) -> Vec<Task> {
    let service = bench.service(id);
    let tasks = bench.wanted(id);
    tasks
        .iter()
        .filter(|t| t.spec == service.spec.task)
        .map(|t| Task::clone(t))
        .collect()
}

#[test]
fn an_update_replaces_one_task_at_a_time_and_completes_after_the_watch() {
    let (mut bench, id) = running(2, service_spec("s", 3));
    bench
        .update(&id, |spec| spec.task.force_update += 1)
        .unwrap();
    for done in 1..=3 {
        assert_eq!(update_state(&bench, &id), Some(UpdateState::Updating));
        assert_eq!(new_tasks(&bench, &id).len(), done);
        let pending = new_tasks(&bench, &id);
        assert!(
            pending
                .iter()
                .filter(|t| t.status.state != TaskState::Running)
                .count()
                == 1
        );
        let stopping: Vec<_> = bench
            .tasks(&id)
            .iter()
            .filter(|t| !t.is_wanted() && !t.status.state.is_terminal())
            .map(|t| Task::clone(t))
            .collect();
        for task in stopping {
            bench.report(&task, TaskState::Shutdown);
        }
        let starting = new_tasks(&bench, &id)
            .into_iter()
            .find(|t| t.status.state != TaskState::Running)
            .unwrap();
        bench.report(&starting, TaskState::Running);
    }
    assert_eq!(update_state(&bench, &id), Some(UpdateState::Updating));
    bench.advance(UpdateConfig::DEFAULT_MONITOR);
    assert_eq!(update_state(&bench, &id), Some(UpdateState::Completed));
}

#[test]
fn start_first_keeps_the_old_task_until_the_new_one_runs() {
    let config = UpdateConfig {
        order: UpdateOrder::StartFirst,
        ..UpdateConfig::default()
    };
    let (mut bench, id) = running(1, with_update(1, config));
    let old = bench.wanted(&id)[0].clone();
    bench.update(&id, new_image).unwrap();
    let new = new_tasks(&bench, &id)[0].clone();
    assert_eq!(new.desired, DesiredState::Running);
    assert_eq!(bench.task(&old.id).desired, DesiredState::Running);
    bench.report(&new, TaskState::Running);
    assert_eq!(bench.task(&old.id).desired, DesiredState::Shutdown);
}

#[test]
fn the_delay_of_an_update_passes_between_slots() {
    let config = UpdateConfig {
        delay: 3 * SECOND,
        ..UpdateConfig::default()
    };
    let (mut bench, id) = running(1, with_update(2, config));
    bench.update(&id, new_image).unwrap();
    bench.obey();
    assert_eq!(new_tasks(&bench, &id).len(), 1);
    bench.advance(2 * SECOND);
    assert_eq!(new_tasks(&bench, &id).len(), 1);
    bench.advance(SECOND);
    assert_eq!(new_tasks(&bench, &id).len(), 2);
}

#[test]
fn parallelism_zero_replaces_all_slots_at_once() {
    let config = UpdateConfig {
        parallelism: 0,
        ..UpdateConfig::default()
    };
    let (mut bench, id) = running(1, with_update(4, config));
    bench.update(&id, new_image).unwrap();
    assert_eq!(new_tasks(&bench, &id).len(), 4);
}

#[test]
fn the_failure_action_decides_what_becomes_of_a_failing_update() {
    for (action, state, image) in [
        (FailureAction::Pause, UpdateState::Paused, "image:2"),
        (FailureAction::Continue, UpdateState::Updating, "image:2"),
        (
            FailureAction::Rollback,
            UpdateState::RollbackStarted,
            "image:1",
        ),
    ] {
        let config = UpdateConfig {
            failure_action: action,
            ..UpdateConfig::default()
        };
        let (mut bench, id) = running(1, with_update(2, config));
        bench.update(&id, new_image).unwrap();
        bench.report(&new_tasks(&bench, &id)[0].clone(), TaskState::Rejected);
        assert_eq!(update_state(&bench, &id), Some(state), "{action:?}");
        assert_eq!(
            bench.service(&id).spec.task.container.image,
            image,
            "{action:?}"
        );
    }
}

#[test]
fn an_update_bears_the_share_of_failures_it_was_given() {
    let config = UpdateConfig {
        max_failure_millionths: 500_000,
        ..UpdateConfig::default()
    };
    let (mut bench, id) = running(1, with_update(2, config));
    bench.update(&id, new_image).unwrap();
    bench.report(&new_tasks(&bench, &id)[0].clone(), TaskState::Rejected);
    assert_eq!(update_state(&bench, &id), Some(UpdateState::Updating));
    bench.advance(5 * SECOND);
    bench.report(&new_tasks(&bench, &id)[0].clone(), TaskState::Rejected);
    bench.advance(5 * SECOND);
    assert_eq!(update_state(&bench, &id), Some(UpdateState::Paused));
}

#[test]
fn an_automatic_rollback_ends_with_the_old_tasks_and_spec() {
    let config = UpdateConfig {
        failure_action: FailureAction::Rollback,
        ..UpdateConfig::default()
    };
    let (mut bench, id) = running(1, with_update(2, config));
    bench.update(&id, new_image).unwrap();
    bench.report(&new_tasks(&bench, &id)[0].clone(), TaskState::Rejected);
    bench.obey();
    for _ in 0..3 {
        bench.advance(5 * SECOND);
        bench.obey();
    }
    assert_eq!(
        update_state(&bench, &id),
        Some(UpdateState::RollbackCompleted)
    );
    let tasks = bench.wanted(&id);
    assert!(tasks.iter().all(|t| t.spec.container.image == "image:1"));
    assert!(tasks.iter().all(|t| t.is_serving()));
    assert_eq!(tasks.len(), 2);
}

#[test]
fn a_rollback_by_the_user_goes_back_and_forth() {
    let (mut bench, id) = running(1, service_spec("s", 1));
    bench.update(&id, new_image).unwrap();
    for image in ["image:1", "image:2"] {
        let version = bench.service(&id).meta.version;
        bench
            .write(|tx| control::rollback_service(tx, &id, version))
            .unwrap();
        bench.step();
        assert_eq!(bench.service(&id).spec.task.container.image, image);
    }
}
