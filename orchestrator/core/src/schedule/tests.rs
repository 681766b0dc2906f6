//! Rules of placement.

use std::collections::BTreeMap;

use super::{Constraint, Preference};
use crate::fixture::{Bench, service_spec};
use crate::ids::ServiceId;
use crate::network::Protocol;
use crate::objects::ServiceSpec;
use crate::objects::node::{Availability, NodeState};
use crate::objects::service::{PortConfig, PublishMode};
use crate::task_state::TaskState;

/// Wanted tasks per node.
fn spread(bench: &Bench, id: &ServiceId, nodes: usize) -> Vec<usize> {
    let tasks = bench.wanted(id);
    let on = |index| {
        tasks
            .iter()
            .filter(|t| t.node == Some(bench.node(index)))
            .count()
    };
    (0..nodes).map(on).collect()
}

fn error_of(bench: &Bench, id: &ServiceId) -> String {
    let tasks = bench.wanted(id);
    let waiting = tasks.iter().find(|t| t.status.state == TaskState::Pending);
    waiting.map(|t| t.status.error.clone()).unwrap_or_default()
}

fn with(change: impl FnOnce(&mut ServiceSpec)) -> ServiceSpec {
    let mut spec = service_spec("s", 1);
    change(&mut spec);
    spec
}

#[test]
fn tasks_are_spread_by_service_then_by_load() {
    let mut bench = Bench::with_nodes(3);
    let a = bench.create(service_spec("a", 4));
    assert_eq!(spread(&bench, &a, 3), [2, 1, 1]);
    let b = bench.create(service_spec("b", 2));
    assert_eq!(spread(&bench, &b, 3), [0, 1, 1]);
}

#[test]
fn what_keeps_tasks_from_nodes_is_said_in_dockers_words() {
    let host_port = PortConfig {
        name: String::new(),
        protocol: Protocol::Tcp,
        target: 80,
        published: Some(80),
        mode: PublishMode::Host,
    };
    let cases = [
        (
            with(|s| s.task.resources.reservations.nano_cpus = 3_000_000_000),
            "no suitable node (insufficient resources on 2 nodes)",
        ),
        (
            with(|s| {
                s.task
                    .placement
                    .constraints
                    .push("node.hostname==other".to_owned())
            }),
            "no suitable node (scheduling constraints not satisfied on 2 nodes)",
        ),
        (
            with(|s| {
                s.task
                    .placement
                    .platforms
                    .push(("linux".to_owned(), "arm64".to_owned()))
            }),
            "no suitable node (unsupported platform on 2 nodes)",
        ),
        (
            ServiceSpec {
                endpoint: crate::objects::service::EndpointSpec {
                    ports: vec![host_port],
                    ..Default::default()
                },
                ..service_spec("s", 3)
            },
            "no suitable node (host-mode port already in use on 2 nodes)",
        ),
        (
            ServiceSpec {
                mode: crate::objects::service::ServiceMode::Replicated { replicas: 3 },
                ..with(|s| s.task.placement.max_replicas = 1)
            },
            "no suitable node (max replicas per node limit exceed)",
        ),
    ];
    for (spec, words) in cases {
        let mut bench = Bench::with_nodes(2);
        let id = bench.create(spec);
        assert_eq!(error_of(&bench, &id), words);
    }
}

#[test]
fn reasons_are_counted_and_the_commonest_comes_first() {
    let mut bench = Bench::with_nodes(3);
    bench.set_node(0, NodeState::Down);
    let spec = with(|s| {
        s.task
            .placement
            .constraints
            .push("node.role==manager".to_owned())
    });
    let id = bench.create(spec);
    assert_eq!(
        error_of(&bench, &id),
        "no suitable node (scheduling constraints not satisfied on 2 nodes; \
         1 node not available for new tasks)"
    );
}

#[test]
fn a_pending_task_is_placed_as_soon_as_a_node_fits() {
    let mut bench = Bench::with_nodes(1);
    bench.update_node(0, |spec| spec.availability = Availability::Pause);
    let id = bench.create(service_spec("s", 1));
    assert_eq!(
        error_of(&bench, &id),
        "no suitable node (1 node not available for new tasks)"
    );
    bench.update_node(0, |spec| spec.availability = Availability::Active);
    let task = bench.wanted(&id)[0].clone();
    assert_eq!(
        (task.status.state, task.status.error.as_str()),
        (TaskState::Assigned, "")
    );
}

#[test]
fn reservations_of_tasks_that_still_stop_count() {
    let mut bench = Bench::with_nodes(1);
    let reserve = |s: &mut ServiceSpec| s.task.resources.reservations.memory_bytes = 3 << 30;
    let old = bench.create(with(reserve));
    bench.obey();
    bench.scale(&old, 0);
    let new = bench.create(ServiceSpec {
        name: "new".to_owned(),
        ..with(reserve)
    });
    assert!(error_of(&bench, &new).contains("insufficient resources"));
    bench.obey();
    assert!(bench.wanted(&new)[0].is_serving());
}

#[test]
fn constraints_hold_for_the_nodes_they_name() {
    let mut bench = Bench::with_nodes(2);
    bench.update_node(1, |spec| {
        spec.labels = BTreeMap::from([("zone".to_owned(), "A".to_owned())]);
    });
    let node_id = format!("node.id=={}", bench.node(1));
    for (expression, expected) in [
        ("node.labels.zone==a", [false, true]),
        ("node.labels.zone != a", [true, false]),
        ("node.labels.none!=a", [true, true]),
        ("node.labels.none==a", [false, false]),
        ("node.hostname==N2", [false, true]),
        ("node.role==manager", [true, false]),
        ("node.role!=manager", [false, true]),
        ("node.platform.os==linux", [true, true]),
        ("node.platform.arch==x86_64", [true, true]),
        ("node.ip==192.0.2.2", [false, true]),
        ("node.ip==192.0.2.0/24", [true, true]),
        ("engine.labels.x==y", [false, false]),
        (node_id.as_str(), [false, true]),
    ] {
        let constraint = Constraint::parse(expression).unwrap();
        let holds = [0, 1].map(|i| constraint.holds(bench.state.node(&bench.node(i)).unwrap()));
        assert_eq!(holds, expected, "{expression}");
    }
}

#[test]
fn expressions_that_make_no_sense_are_refused() {
    for expression in [
        "",
        "node.id",
        "node.id=a",
        "node.id==",
        "==a",
        "node.role==chief",
        "node.ip==nowhere",
        "node.labels.==a",
        "node.colour==red",
        "node.id==a!=b",
    ] {
        assert!(Constraint::parse(expression).is_err(), "{expression}");
    }
    for descriptor in ["", "zone", "node.labels.", "node.hostname"] {
        assert!(Preference::parse(descriptor).is_err(), "{descriptor}");
    }
}

#[test]
fn a_preference_spreads_over_label_values_before_nodes() {
    let mut bench = Bench::with_nodes(3);
    for (index, zone) in [(0, "a"), (1, "a"), (2, "b")] {
        bench.update_node(index, |spec| {
            spec.labels.insert("zone".to_owned(), zone.to_owned());
        });
    }
    let mut spec = service_spec("s", 4);
    spec.task
        .placement
        .preferences
        .push("node.labels.zone".to_owned());
    let id = bench.create(spec);
    assert_eq!(spread(&bench, &id, 3), [1, 1, 2]);
}
