//! Rules of what an agent does next for a task.

use super::*;
use crate::ids::{NodeId, ServiceId, TaskId};
use crate::objects::{Meta, TaskSpec};

fn task(desired: DesiredState) -> Task {
    Task {
        id: TaskId::from_random(7),
        meta: Meta::default(),
        owner: TaskOwner::Service {
            id: ServiceId::from_random(1),
            name: "web".to_owned(),
            slot: 3,
        },
        spec: TaskSpec::default(),
        spec_version: 1,
        node: Some(NodeId::from_random(2)),
        status: at(TaskState::Assigned),
        desired,
        not_before: None,
        attachments: Vec::new(),
        running_since: None,
    }
}

fn at(state: TaskState) -> TaskStatus {
    status(state, "before", "", None)
}

fn container(state: ContainerState) -> Container {
    Container {
        id: "c0ffee".to_owned(),
        state,
    }
}

fn created() -> Container {
    container(ContainerState::Created)
}

fn running(health: Health) -> Container {
    container(ContainerState::Running { pid: 42, health })
}

fn ended(exit_code: i64) -> Container {
    container(ContainerState::Ended {
        exit_code,
        out_of_memory: false,
        error: String::new(),
    })
}

/// The state that a step reports.
fn reported(step: &Step) -> Option<TaskState> {
    match step {
        Step::Report(status) => Some(status.state),
        Step::Act(_) | Step::Wait | Step::Forget => None,
    }
}

#[test]
fn the_way_up() {
    use TaskState as S;
    let starting = Some(running(Health::Starting));
    let healthy = Some(running(Health::Healthy));
    let unchecked = Some(running(Health::Unchecked));
    let rows = [
        (S::Assigned, None, Ok(S::Accepted)),
        (S::Accepted, None, Ok(S::Preparing)),
        (S::Preparing, None, Err(Step::Act(Action::Prepare))),
        (S::Preparing, Some(created()), Ok(S::Ready)),
        (S::Ready, Some(created()), Ok(S::Starting)),
        (S::Starting, Some(created()), Err(Step::Act(Action::Start))),
        (S::Ready, starting.clone(), Ok(S::Starting)),
        (S::Starting, starting, Err(Step::Wait)),
        (S::Starting, healthy, Ok(S::Running)),
        (S::Starting, unchecked.clone(), Ok(S::Running)),
        // Taken over after a restart of the daemon, with what the managers knew before.
        (S::Assigned, unchecked.clone(), Ok(S::Running)),
        (S::Running, unchecked, Err(Step::Wait)),
        (S::Running, Some(ended(0)), Ok(S::Complete)),
        (S::Running, Some(ended(1)), Ok(S::Failed)),
        (S::Running, None, Ok(S::Failed)),
        (S::Ready, None, Ok(S::Failed)),
        (S::Running, Some(running(Health::Unhealthy)), Ok(S::Failed)),
    ];
    for (state, container, expected) in rows {
        let step = next(
            Some(&task(DesiredState::Running)),
            &at(state),
            container.as_ref(),
        );
        match expected {
            Ok(report) => assert_eq!(reported(&step), Some(report), "{state:?} {container:?}"),
            Err(expected) => assert_eq!(step, expected, "{state:?} {container:?}"),
        }
    }
}

#[test]
fn desired_ready_prepares_and_waits_with_the_start() {
    let task = task(DesiredState::Ready);
    let prepare = next(Some(&task), &at(TaskState::Preparing), None);
    assert_eq!(prepare, Step::Act(Action::Prepare));
    assert_eq!(
        next(Some(&task), &at(TaskState::Ready), Some(&created())),
        Step::Wait
    );
}

#[test]
fn the_way_down() {
    let live = running(Health::Unchecked);
    for desired in [DesiredState::Shutdown, DesiredState::Remove] {
        let task = task(desired);
        let stop = next(Some(&task), &at(TaskState::Running), Some(&live));
        assert_eq!(stop, Step::Act(Action::Stop));
        for container in [None, Some(created()), Some(ended(143))] {
            let step = next(Some(&task), &at(TaskState::Starting), container.as_ref());
            assert_eq!(
                reported(&step),
                Some(TaskState::Shutdown),
                "{desired:?} {container:?}"
            );
        }
        assert_eq!(
            next(Some(&task), &at(TaskState::Shutdown), None),
            Step::Wait
        );
    }
}

#[test]
fn a_container_stays_as_history_until_its_task_is_to_be_removed() {
    let over = at(TaskState::Shutdown);
    let dead = ended(0);
    let keep = next(Some(&task(DesiredState::Shutdown)), &over, Some(&dead));
    assert_eq!(keep, Step::Wait);
    let remove = next(Some(&task(DesiredState::Remove)), &over, Some(&dead));
    assert_eq!(remove, Step::Act(Action::Remove));
}

#[test]
fn containers_without_a_task_are_stopped_and_removed() {
    let any = at(TaskState::Running);
    let live = running(Health::Healthy);
    assert_eq!(next(None, &any, Some(&live)), Step::Act(Action::Stop));
    assert_eq!(next(None, &any, Some(&ended(0))), Step::Act(Action::Remove));
    assert_eq!(
        next(None, &any, Some(&created())),
        Step::Act(Action::Remove)
    );
    assert_eq!(next(None, &any, None), Step::Forget);
}

#[test]
fn what_is_over_is_never_started_again_and_does_not_run() {
    for state in TaskState::ALL.into_iter().filter(|s| s.is_terminal()) {
        for desired in [DesiredState::Ready, DesiredState::Running] {
            let task = task(desired);
            assert_eq!(next(Some(&task), &at(state), None), Step::Wait);
            assert_eq!(next(Some(&task), &at(state), Some(&created())), Step::Wait);
            assert_eq!(next(Some(&task), &at(state), Some(&ended(1))), Step::Wait);
            let live = running(Health::Unhealthy);
            assert_eq!(
                next(Some(&task), &at(state), Some(&live)),
                Step::Act(Action::Stop)
            );
        }
    }
}

#[test]
fn every_report_is_a_move_that_an_agent_may_make() {
    use crate::task_state::{Actor, may_move};
    let containers = [
        None,
        Some(created()),
        Some(running(Health::Unchecked)),
        Some(running(Health::Starting)),
        Some(running(Health::Healthy)),
        Some(running(Health::Unhealthy)),
        Some(ended(0)),
        Some(ended(137)),
    ];
    let desired = [
        DesiredState::Ready,
        DesiredState::Running,
        DesiredState::Shutdown,
        DesiredState::Remove,
    ];
    for state in TaskState::ALL
        .into_iter()
        .filter(|s| *s >= TaskState::Assigned)
    {
        for desired in desired {
            for container in &containers {
                let step = next(Some(&task(desired)), &at(state), container.as_ref());
                if let Some(to) = reported(&step) {
                    assert!(may_move(Actor::Agent, state, to), "{state:?} -> {to:?}");
                }
            }
        }
    }
}

#[test]
fn an_end_is_told_in_words() {
    let killed = container(ContainerState::Ended {
        exit_code: 137,
        out_of_memory: true,
        error: String::new(),
    });
    let step = next(
        Some(&task(DesiredState::Running)),
        &at(TaskState::Running),
        Some(&killed),
    );
    let Step::Report(status) = step else {
        panic!("{step:?}")
    };
    assert_eq!(
        status.error,
        "task: non-zero exit (137): the container ran out of memory"
    );
    let container = ContainerStatus {
        id: "c0ffee".to_owned(),
        pid: 0,
        exit_code: Some(137),
    };
    assert_eq!(status.container, Some(container));
}

#[test]
fn refusals_end_a_task_but_never_leave_a_container() {
    let prepare = refused(Action::Prepare, "No such image: nope", None).unwrap();
    assert_eq!(
        (prepare.state, prepare.error.as_str()),
        (TaskState::Rejected, "No such image: nope")
    );
    let start = refused(Action::Start, "exec: not found", Some(&created())).unwrap();
    assert_eq!(start.state, TaskState::Failed);
    assert_eq!(refused(Action::Stop, "busy", None), None);
    assert_eq!(refused(Action::Remove, "busy", None), None);
}

#[test]
fn the_further_status_wins() {
    let ours = at(TaskState::Running);
    assert_eq!(furthest(ours.clone(), &at(TaskState::Starting)), ours);
    assert_eq!(
        furthest(ours, &at(TaskState::Orphaned)),
        at(TaskState::Orphaned)
    );
}

#[test]
fn containers_are_named_as_swarm_names_them() {
    let task = task(DesiredState::Running);
    assert_eq!(container_name(&task), Some(format!("web.3.{}", task.id)));
}
