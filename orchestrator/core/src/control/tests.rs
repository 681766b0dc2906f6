//! Rules of the API's operations: what is refused, in which words, and that nothing is left
//! behind then.

use std::collections::BTreeSet;

use super::*;
use crate::consensus::Group;
use crate::dispatch::{self, TaskReport};
use crate::fixture::{Bench, network_spec, on_network, service_spec};
use crate::network::{Family, Protocol};
use crate::objects::NodeSpec;
use crate::objects::node::{Availability, NodeState, Role, TakenPort};
use crate::objects::service::{PortConfig, PublishMode};
use crate::objects::task::{ContainerStatus, TaskStatus};
use crate::store::Tx;
use crate::task_state::{DesiredState, TaskState};

mod managers;

/// A raft group in which everybody votes and is well.
fn group(ids: &[u64]) -> Group {
    let ids: BTreeSet<u64> = ids.iter().copied().collect();
    Group {
        voters: ids.clone(),
        active: ids,
        ..Group::default()
    }
}

fn report(bench: &Bench, service: &crate::ids::ServiceId, state: TaskState) -> TaskReport {
    let task = bench.wanted(service)[0].clone();
    TaskReport {
        id: task.id.clone(),
        status: TaskStatus {
            state,
            ..task.status.clone()
        },
    }
}

#[test]
fn a_cluster_is_founded_once_with_its_ingress_network() {
    let mut bench = Bench::with_nodes(1);
    let ingress = bench.state.network_by_name("ingress").unwrap();
    assert!(ingress.spec.ingress);
    assert_eq!(ingress.subnets[0].range.to_string(), "10.0.0.0/24");
    let again = crate::fixture::init(bench.node(0), &["10.0.0.0/8"]);
    assert!(bench.write(|tx| init_cluster(tx, again)).is_err());
}

#[test]
fn names_are_unique() {
    let mut bench = Bench::with_nodes(1);
    bench.create(service_spec("redis", 1));
    let error = bench
        .write(|tx| create_service(tx, service_spec("redis", 1)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "name conflicts with an existing object: service redis already exists"
    );
    bench.network("net", None);
    let spec = network_spec("net", None);
    assert!(matches!(
        bench.write(|tx| create_network(tx, spec)),
        Err(ControlError::AlreadyExists { .. })
    ));
}

#[test]
fn a_stale_version_is_refused() {
    let mut bench = Bench::with_nodes(1);
    let id = bench.create(service_spec("s", 1));
    let stale = bench.service(&id).meta.version - 1;
    let spec = service_spec("s", 2);
    let node = bench.node(0);
    let node_spec = bench.state.node(&node).unwrap().spec.clone();
    let cluster_spec = bench.state.cluster().unwrap().spec.clone();
    let results = [
        bench.write(|tx| update_service(tx, &id, stale, spec)),
        bench.write(|tx| rollback_service(tx, &id, stale)),
        bench.write(|tx| update_node(tx, &node, 0, node_spec, &Group::default())),
        bench.write(|tx| update_cluster(tx, 0, cluster_spec, None)),
    ];
    for result in results {
        assert_eq!(result, Err(ControlError::OutOfSequence));
    }
    assert_eq!(
        ControlError::OutOfSequence.to_string(),
        "update out of sequence"
    );
}

#[test]
fn a_network_in_use_is_not_removed() {
    let mut bench = Bench::with_nodes(1);
    let net = bench.network("net", None);
    let id = bench.create(on_network(service_spec("user", 1), &net));
    bench.obey();
    let error = bench.write(|tx| remove_network(tx, &net)).unwrap_err();
    assert_eq!(error.to_string(), "network net is in use by service user");
    bench.write(|tx| remove_service(tx, &id)).unwrap();
    let task = bench.tasks(&id)[0].id.clone();
    let error = bench.write(|tx| remove_network(tx, &net)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("network net is in use by task {task}")
    );
    bench.obey();
    bench.write(|tx| remove_network(tx, &net)).unwrap();
}

#[test]
fn unknown_and_ingress_networks_cannot_be_named_by_services() {
    let mut bench = Bench::with_nodes(1);
    let ingress = bench.state.network_by_name("ingress").unwrap().id.clone();
    let nowhere = crate::ids::NetworkId::from_random(9);
    for network in [ingress, nowhere] {
        let spec = on_network(service_spec("s", 1), &network);
        assert!(bench.write(|tx| create_service(tx, spec)).is_err());
    }
}

#[test]
fn a_refused_operation_leaves_nothing_behind() {
    let mut bench = Bench::with_nodes(1);
    let before = bench.state.clone();
    let result = bench.write(|tx| {
        create_service(tx, service_spec("s", 1))?;
        create_service(tx, service_spec("s", 1))
    });
    assert!(result.is_err());
    assert_eq!(bench.state, before);
}

#[test]
fn objects_are_found_by_id_name_and_unique_beginning() {
    let mut bench = Bench::with_nodes(2);
    let id = bench.create(service_spec("redis", 1));
    for text in [id.as_str(), "redis", &id.as_str()[..8]] {
        assert_eq!(find_service(&bench.state, text).unwrap().id, id, "{text}");
    }
    assert_eq!(
        find_service(&bench.state, "nosuch")
            .unwrap_err()
            .to_string(),
        "service nosuch not found"
    );
    assert!(find_service(&bench.state, "").is_err());
    assert_eq!(find_node(&bench.state, "n2").unwrap().id, bench.node(1));
    // The ids of the fixture's nodes begin with zeros.
    assert!(matches!(
        find_node(&bench.state, "000"),
        Err(ControlError::Ambiguous { matches: 2, .. })
    ));
    assert!(find_network(&bench.state, "ingress").is_ok());
    let task = bench.wanted(&id)[0].id.clone();
    assert_eq!(find_task(&bench.state, task.as_str()).unwrap().id, task);
}

#[test]
fn reports_that_are_stale_or_foreign_are_ignored() {
    let mut bench = Bench::with_nodes(2);
    let id = bench.create(service_spec("s", 1));
    bench.obey();
    let task = bench.wanted(&id)[0].clone();
    let own = task.node.clone().unwrap();
    let foreign = bench.node(usize::from(own == bench.node(0)));
    let before = bench.state.clone();
    let mut unknown = report(&bench, &id, TaskState::Failed);
    unknown.id = crate::ids::TaskId::from_random(1);
    for (node, report) in [
        (&own, report(&bench, &id, TaskState::Preparing)),
        (&own, report(&bench, &id, TaskState::Running)),
        (&own, report(&bench, &id, TaskState::Orphaned)),
        (&own, unknown),
        (&foreign, report(&bench, &id, TaskState::Failed)),
    ] {
        bench
            .write(|tx| {
                report_tasks(tx, node, std::slice::from_ref(&report));
                Ok(())
            })
            .unwrap();
        assert_eq!(bench.state, before, "{report:?}");
    }
}

#[test]
fn a_report_without_a_container_does_not_take_the_known_one_away() {
    let mut bench = Bench::with_nodes(1);
    let id = bench.create(service_spec("s", 1));
    bench.obey();
    let task = bench.wanted(&id)[0].clone();
    let node = task.node.clone().unwrap();
    let container = ContainerStatus {
        id: "c".to_owned(),
        pid: 1,
        exit_code: None,
    };
    for (message, named) in [("first", Some(container.clone())), ("second", None)] {
        let report = TaskReport {
            id: task.id.clone(),
            status: TaskStatus {
                message: message.to_owned(),
                container: named,
                ..task.status.clone()
            },
        };
        bench
            .write(|tx| {
                report_tasks(tx, &node, &[report]);
                Ok(())
            })
            .unwrap();
        let status = bench.task(&task.id).status;
        assert_eq!(status.message, message);
        assert_eq!(status.container, Some(container.clone()));
    }
}

#[test]
fn a_running_task_carries_the_managers_time_of_its_start() {
    let mut bench = Bench::with_nodes(1);
    let id = bench.create(service_spec("s", 1));
    bench.obey();
    let task = bench.wanted(&id)[0].clone();
    assert_eq!(
        (task.running_since, task.status.since),
        (Some(bench.now), bench.now)
    );
}

#[test]
fn nodes_leave_only_when_down_or_by_force_and_managers_not_at_all() {
    let mut bench = Bench::with_nodes(2);
    let (manager, worker) = (bench.node(0), bench.node(1));
    let error = bench
        .write(|tx| remove_node(tx, &manager, true))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("must be demoted to worker before removal"),
        "{error}"
    );
    let error = bench
        .write(|tx| remove_node(tx, &worker, false))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("node {worker} is not down and can't be removed")
    );
    bench.set_node(1, NodeState::Down);
    bench.write(|tx| remove_node(tx, &worker, false)).unwrap();
    assert!(bench.state.node(&worker).is_none());
}

#[test]
fn what_ran_on_a_removed_node_is_written_off() {
    let mut bench = Bench::with_nodes(2);
    let net = bench.network("net", None);
    let id = bench.create(service_spec("s", 2));
    bench.obey();
    let worker = bench.node(1);
    let request = AttachRequest {
        endpoint: "e".to_owned(),
        network: net.clone(),
        address: None,
        family: Family::V4,
    };
    let lent = bench.write(|tx| attach(tx, &worker, request)).unwrap();
    let task = bench
        .wanted(&id)
        .into_iter()
        .find(|t| t.node == Some(worker.clone()))
        .unwrap();
    bench.write(|tx| remove_node(tx, &worker, true)).unwrap();
    assert_eq!(bench.task(&task.id).status.state, TaskState::Orphaned);
    assert!(bench.state.task(&lent.id).is_none());
}

#[test]
fn removed_nodes_are_remembered_while_their_certificates_are_good() {
    let mut bench = Bench::with_nodes(3);
    let (first, second) = (bench.node(1), bench.node(2));
    bench.write(|tx| remove_node(tx, &first, true)).unwrap();
    let removed = |bench: &Bench| bench.state.cluster().unwrap().removed_nodes.clone();
    assert!(removed(&bench).contains_key(&first));
    bench.now = bench.now + bench.state.cluster().unwrap().spec.node_cert_expiry;
    bench.write(|tx| remove_node(tx, &second, true)).unwrap();
    assert_eq!(removed(&bench).into_keys().collect::<Vec<_>>(), [second]);
}

#[test]
fn a_command_does_what_its_function_does() {
    let mut bench = Bench::with_nodes(1);
    let create = Command::CreateService(Box::new(service_spec("redis", 1)));
    // It travels.
    let bytes = rmp_serde::to_vec_named(&create).unwrap();
    let create: Command = rmp_serde::from_slice(&bytes).unwrap();
    let id = bench
        .write(|tx| run(tx, create, &group(&[1])))
        .unwrap()
        .unwrap();
    let service = find_service(&bench.state, &id).unwrap();
    assert_eq!(service.spec.name, "redis");
    let remove = Command::RemoveService(service.id.clone());
    assert_eq!(
        bench.write(|tx| run(tx, remove.clone(), &group(&[1]))),
        Ok(None)
    );
    let again = bench.write(|tx| run(tx, remove, &group(&[1]))).unwrap_err();
    let bytes = rmp_serde::to_vec_named(&again).unwrap();
    assert_eq!(
        rmp_serde::from_slice::<ControlError>(&bytes).unwrap(),
        again
    );
}

#[test]
fn admitting_a_known_node_again_changes_nothing() {
    let mut bench = Bench::with_nodes(2);
    let before = bench.state.clone();
    let node = bench.node(1);
    bench
        .write(|tx| admit_node(tx, &node, Role::Worker, Availability::Drain))
        .unwrap();
    assert_eq!(bench.state, before);
}

#[test]
fn attachments_that_are_gone_from_the_engine_are_dropped() {
    let mut bench = Bench::with_nodes(1);
    let net = bench.network("net", None);
    let node = bench.node(0);
    for endpoint in ["a", "b"] {
        let request = AttachRequest {
            endpoint: endpoint.to_owned(),
            network: net.clone(),
            address: None,
            family: Family::V4,
        };
        bench.write(|tx| attach(tx, &node, request)).unwrap();
    }
    let live = std::collections::BTreeSet::from(["b".to_owned()]);
    bench
        .write(|tx| {
            sync_attachments(tx, &node, &live);
            Ok(())
        })
        .unwrap();
    assert_eq!(bench.state.tasks().count(), 1);
}

#[test]
fn a_network_that_is_not_attachable_lends_no_address() {
    let mut bench = Bench::with_nodes(1);
    let ingress = bench.state.network_by_name("ingress").unwrap().id.clone();
    let node = bench.node(0);
    let request = AttachRequest {
        endpoint: "e".to_owned(),
        network: ingress,
        address: None,
        family: Family::V4,
    };
    let error = bench.write(|tx| attach(tx, &node, request)).unwrap_err();
    assert_eq!(error.to_string(), "network ingress not manually attachable");
}

#[test]
fn a_node_is_assigned_its_tasks_until_they_ended() {
    let mut bench = Bench::with_nodes(2);
    let id = bench.create(service_spec("s", 2));
    bench.obey();
    bench.write(|tx| remove_service(tx, &id)).unwrap();
    bench.step();
    let assigned = dispatch::assignment(&bench.state, &bench.node(0)).unwrap();
    assert_eq!(assigned.tasks.len(), 1);
    assert_eq!(assigned.tasks[0].desired, DesiredState::Remove);
    assert_eq!(assigned.networks.len(), 1);
    bench.obey();
    let emptied = dispatch::assignment(&bench.state, &bench.node(0)).unwrap();
    assert_eq!(emptied.tasks.len(), 0);
    assert!(!emptied.same_content(&assigned));
    assert!(dispatch::assignment(&bench.state, &crate::ids::NodeId::from_random(99)).is_none());
}

#[test]
fn a_port_that_a_process_holds_too_is_said_of_the_service_that_publishes_it() {
    let mut bench = Bench::with_nodes(2);
    let mut spec = service_spec("web", 1);
    spec.endpoint.ports = vec![PortConfig {
        name: String::new(),
        protocol: Protocol::Tcp,
        target: 80,
        published: Some(8080),
        mode: PublishMode::Ingress,
    }];
    let id = bench.create(spec);
    let node = bench.node(1);
    let taken = |port| {
        BTreeSet::from([TakenPort {
            protocol: Protocol::Tcp,
            port,
            holder: "nginx (pid 123)".to_owned(),
        }])
    };
    let mut warned = |port| {
        let report = |tx: &mut Tx<'_>| report_ports(tx, &node, taken(port));
        bench.write(report).unwrap();
        service_warnings(&bench.state, &bench.service(&id))
    };
    let held = "n2: port 8080/tcp is also held by nginx (pid 123), which its clients no longer \
                reach";
    assert_eq!(warned(8080), [held]);
    assert_eq!(warned(9090), Vec::<String>::new());
}
