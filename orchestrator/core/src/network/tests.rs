//! Rules of the desired network.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Backend, DesiredNetwork, Family, Frontend, Protocol, Vni, desired};
use crate::allocate;
use crate::control;
use crate::fixture::{Bench, on_network, service_spec, underlay};
use crate::ids::{NetworkId, ServiceId};
use crate::objects::node::NodeState;
use crate::objects::service::{EndpointMode, PortConfig, PublishMode};
use crate::objects::{ServiceSpec, Task};
use crate::task_state::TaskState;

/// Two nodes, a network, and a service `Web` of two running tasks on it.
fn world() -> (Bench, NetworkId, ServiceId) {
    let mut bench = Bench::with_nodes(2);
    let network = bench.network("sandbox", Some("10.0.10.0/24"));
    let mut spec = on_network(service_spec("Web", 2), &network);
    spec.task.networks[0].aliases.push("Alias".to_owned());
    let id = bench.create(spec);
    bench.obey();
    (bench, network, id)
}

fn at(bench: &Bench, node: usize) -> DesiredNetwork {
    desired(&bench.state, &bench.node(node))
}

fn vni(bench: &Bench, network: &NetworkId) -> Vni {
    bench.state.network(network).unwrap().vni
}

fn task_ips(bench: &Bench, id: &ServiceId) -> BTreeSet<IpAddr> {
    bench
        .wanted(id)
        .iter()
        .map(|t| t.attachments[0].addresses[0].addr())
        .collect()
}

fn backends(desired: &DesiredNetwork, frontend: Frontend) -> Option<BTreeSet<IpAddr>> {
    Some(
        desired
            .frontends
            .get(&frontend)?
            .backends
            .iter()
            .map(|b| b.address)
            .collect(),
    )
}

fn vip(bench: &Bench, id: &ServiceId, network: &NetworkId) -> Frontend {
    let address = bench.service(id).endpoint.vips[0].address.addr();
    Frontend::Vip {
        vni: vni(bench, network),
        address,
    }
}

fn publish(bench: &mut Bench, id: &ServiceId, mode: PublishMode) -> Frontend {
    bench
        .update(id, |spec| {
            spec.endpoint.ports = vec![PortConfig {
                name: String::new(),
                protocol: Protocol::Tcp,
                target: 80,
                published: Some(8080),
                mode,
            }];
        })
        .unwrap();
    Frontend::Published {
        protocol: Protocol::Tcp,
        port: 8080,
        address: Family::V4.unspecified(),
    }
}

#[test]
fn every_node_knows_the_others_and_every_network() {
    let (bench, network, _) = world();
    let desired = at(&bench, 0);
    assert_eq!(desired.peers, BTreeSet::from([underlay(1)]));
    assert_eq!(desired.networks.len(), 2);
    assert_eq!(desired.networks[&vni(&bench, &network)].id, network);
    assert_eq!(desired.version, bench.state.version());
}

#[test]
fn a_virtual_address_leads_to_the_running_tasks() {
    let (bench, network, id) = world();
    let frontend = vip(&bench, &id, &network);
    for node in [0, 1] {
        assert_eq!(
            backends(&at(&bench, node), frontend),
            Some(task_ips(&bench, &id))
        );
    }
}

#[test]
fn a_task_that_is_told_to_stop_leaves_frontends_and_names_but_stays_an_endpoint() {
    let (mut bench, network, id) = world();
    bench.scale(&id, 1);
    let stopping = bench
        .tasks(&id)
        .into_iter()
        .find(|t| !t.is_wanted())
        .unwrap();
    let address = stopping.attachments[0].addresses[0].addr();
    let vni = vni(&bench, &network);
    let before = at(&bench, 0);
    assert!(
        !before
            .frontends
            .values()
            .flat_map(|pool| &pool.backends)
            .any(|b| b.address == address)
    );
    assert!(!before.names.values().flatten().any(|a| *a == address));
    assert!(before.endpoints.contains_key(&(vni, address)));
    bench.report(&stopping, TaskState::Shutdown);
    assert!(!at(&bench, 0).endpoints.contains_key(&(vni, address)));
}

#[test]
fn tasks_that_do_not_run_yet_are_endpoints_without_clients() {
    let (mut bench, network, id) = world();
    bench.scale(&id, 3);
    let new = bench.wanted(&id)[2].clone();
    let key = (
        vni(&bench, &network),
        new.attachments[0].addresses[0].addr(),
    );
    assert!(!at(&bench, 0).endpoints.contains_key(&key), "assigned");
    bench.report(&new, TaskState::Preparing);
    assert!(at(&bench, 0).endpoints.contains_key(&key), "preparing");
    assert_eq!(
        backends(&at(&bench, 0), vip(&bench, &id, &network))
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn tasks_of_a_down_node_serve_nobody() {
    let (mut bench, network, id) = world();
    bench.set_node(1, NodeState::Down);
    let left = backends(&at(&bench, 0), vip(&bench, &id, &network)).unwrap();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_service_of_no_tasks_has_an_empty_frontend_and_still_a_name() {
    let (mut bench, network, id) = world();
    bench.scale(&id, 0);
    let desired = at(&bench, 0);
    assert_eq!(
        backends(&desired, vip(&bench, &id, &network)),
        Some(BTreeSet::new())
    );
    let vni = vni(&bench, &network);
    assert!(desired.names.contains_key(&(vni, "web".to_owned())));
    assert_eq!(
        desired.names[&(vni, "tasks.web".to_owned())],
        BTreeSet::new()
    );
}

#[test]
fn nobody_outside_is_asked_for_the_name_of_a_cluster_address() {
    let (bench, network, id) = world();
    let names = at(&bench, 0).names;
    let vni = vni(&bench, &network);
    let vip = bench.service(&id).endpoint.vips[0].address.addr();
    let gateway = "10.0.10.1".parse().unwrap();
    for address in task_ips(&bench, &id).into_iter().chain([vip, gateway]) {
        let IpAddr::V4(v4) = address else {
            panic!("{address} is not IPv4");
        };
        let [a, b, c, d] = v4.octets();
        let reverse = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
        assert_eq!(
            names.get(&(vni, reverse)),
            Some(&BTreeSet::new()),
            "{address}"
        );
    }
}

#[test]
fn names_are_lower_case_and_stand_for_service_tasks_and_each_task() {
    let (bench, network, id) = world();
    let names = at(&bench, 0).names;
    let vni = vni(&bench, &network);
    let of = |name: &str| {
        names
            .get(&(vni, name.to_owned()))
            .cloned()
            .unwrap_or_default()
    };
    let address = bench.service(&id).endpoint.vips[0].address.addr();
    for name in ["web", "alias"] {
        assert_eq!(of(name), BTreeSet::from([address]), "{name}");
        assert_eq!(
            of(&format!("tasks.{name}")),
            task_ips(&bench, &id),
            "{name}"
        );
    }
    let first = bench.wanted(&id)[0].clone();
    let own = BTreeSet::from([first.attachments[0].addresses[0].addr()]);
    assert_eq!(of("web.1"), own);
    assert_eq!(of(&format!("web.1.{}", first.id)), own);
}

#[test]
fn in_dns_round_robin_the_name_stands_for_the_tasks() {
    let (mut bench, network, id) = world();
    bench
        .update(&id, |spec| spec.endpoint.mode = EndpointMode::DnsRoundRobin)
        .unwrap();
    let desired = at(&bench, 0);
    let key = (vni(&bench, &network), "web".to_owned());
    assert_eq!(desired.names[&key], task_ips(&bench, &id));
    assert!(!desired.frontends.keys().any(|f| matches!(
        f, Frontend::Vip { vni, .. } if *vni == key.0
    )));
}

/// A service in DNS round robin, one of whose two tasks was just told to stop; that task.
fn leaving() -> (Bench, NetworkId, ServiceId, Task) {
    let (mut bench, network, id) = world();
    bench
        .update(&id, |spec| spec.endpoint.mode = EndpointMode::DnsRoundRobin)
        .unwrap();
    bench.scale(&id, 1);
    let tasks = bench.tasks(&id);
    let task = Task::clone(tasks.iter().find(|t| t.is_leaving()).unwrap());
    (bench, network, id, task)
}

fn address(bench: &Bench, network: &NetworkId, task: &Task) -> Frontend {
    Frontend::Vip {
        vni: vni(bench, network),
        address: task.addresses_in(network).next().unwrap(),
    }
}

#[test]
fn in_dns_round_robin_the_address_of_a_task_that_leaves_leads_to_its_siblings() {
    let (mut bench, network, id, task) = leaving();
    let gone = address(&bench, &network, &task);
    let siblings = Some(task_ips(&bench, &id));
    assert_eq!(backends(&at(&bench, 0), gone), siblings, "while it stops");
    bench.report(&task, TaskState::Shutdown);
    assert!(bench.state.task(&task.id).is_none(), "it is forgotten");
    assert_eq!(backends(&at(&bench, 0), gone), siblings, "when it is gone");
    assert!(at(&bench, 0).frontends[&gone].retired);
    let until = bench.now + allocate::REST;
    assert_eq!(bench.wake_at, Some(until));
    bench.now = until;
    bench.step();
    assert_eq!(backends(&at(&bench, 0), gone), None);
    assert_eq!(bench.service(&id).endpoint.retired, []);
}

#[test]
fn an_address_that_somebody_got_leads_nowhere_else() {
    let (mut bench, network, id, task) = leaving();
    bench.report(&task, TaskState::Shutdown);
    let node = bench.node(1);
    let request = control::AttachRequest {
        endpoint: "e".to_owned(),
        network: network.clone(),
        address: task.addresses_in(&network).next(),
        family: Family::V4,
    };
    let attached = bench.write(|tx| control::attach(tx, &node, request));
    let gone = address(&bench, &network, &attached.unwrap());
    assert_eq!(backends(&at(&bench, 0), gone), None, "at once");
    bench.step();
    assert_eq!(bench.service(&id).endpoint.retired, []);
}

#[test]
fn a_virtual_address_needs_no_retired_ones() {
    let (mut bench, network, id) = world();
    bench.scale(&id, 1);
    let task = Task::clone(&bench.tasks(&id)[1]);
    let gone = address(&bench, &network, &task);
    assert_eq!(backends(&at(&bench, 0), gone), None);
    bench.report(&task, TaskState::Shutdown);
    assert_eq!(backends(&at(&bench, 0), gone), None);
}

#[test]
fn only_some_siblings_stand_in_for_each_address() {
    let (mut bench, network, id, task) = leaving();
    bench.scale(&id, 20);
    bench.obey();
    let gone = address(&bench, &network, &task);
    assert_eq!(backends(&at(&bench, 0), gone).unwrap().len(), 8);
}

#[test]
fn a_port_in_ingress_mode_leads_to_all_tasks_on_every_node() {
    let (mut bench, network, id) = world();
    let frontend = publish(&mut bench, &id, PublishMode::Ingress);
    let expected: BTreeSet<Backend> = task_ips(&bench, &id)
        .into_iter()
        .map(|address| Backend {
            vni: vni(&bench, &network),
            address,
            port: Some(80),
        })
        .collect();
    for node in [0, 1] {
        assert_eq!(at(&bench, node).frontends[&frontend].backends, expected);
    }
}

#[test]
fn clients_of_ipv6_are_led_to_tasks_that_have_ipv4_only() {
    let (mut bench, _, id) = world();
    let tasks = task_ips(&bench, &id);
    for (protocol, expected) in [
        (Protocol::Tcp, Some(&tasks)),
        (Protocol::Udp, Some(&tasks)),
        // Its messages name addresses.
        (Protocol::Sctp, None),
    ] {
        publish(&mut bench, &id, PublishMode::Ingress);
        let change = |spec: &mut ServiceSpec| spec.endpoint.ports[0].protocol = protocol;
        bench.update(&id, change).unwrap();
        let [v4, v6] = Family::ALL.map(|family| Frontend::Published {
            protocol,
            port: 8080,
            address: family.unspecified(),
        });
        let desired = at(&bench, 0);
        assert_eq!(backends(&desired, v4).as_ref(), Some(&tasks));
        assert_eq!(backends(&desired, v6).as_ref(), expected, "{protocol:?}");
    }
}

#[test]
fn labels_of_the_service_shape_its_frontends() {
    let (mut bench, network, id) = world();
    publish(&mut bench, &id, PublishMode::Ingress);
    let labels = [
        ("orch.endpoint.affinity", "client-ip:60"),
        ("orch.endpoint.dsr", "true"),
        ("orch.endpoint.publish.80/tcp.address", "192.0.2.1"),
        ("orch.endpoint.publish.80/tcp.allow", "10.0.0.0/8"),
    ];
    bench
        .update(&id, |spec| {
            for (key, value) in labels {
                spec.labels.insert(key.to_owned(), value.to_owned());
            }
        })
        .unwrap();
    let desired = at(&bench, 0);
    let published = Frontend::Published {
        protocol: Protocol::Tcp,
        port: 8080,
        address: "192.0.2.1".parse().unwrap(),
    };
    let allow = BTreeSet::from(["10.0.0.0/8".parse().unwrap()]);
    for (frontend, allow) in [
        (published, allow),
        (vip(&bench, &id, &network), BTreeSet::new()),
    ] {
        let pool = &desired.frontends[&frontend];
        assert_eq!((pool.affinity, pool.direct_return), (Some(60), true));
        assert_eq!(pool.sources.allow, allow, "{frontend:?}");
    }
    assert!(!desired.frontends.contains_key(&Frontend::Published {
        protocol: Protocol::Tcp,
        port: 8080,
        address: Family::V4.unspecified(),
    }));
}

#[test]
fn a_port_in_host_mode_answers_where_a_task_runs_and_with_that_task_alone() {
    let (mut bench, _, id) = world();
    bench.scale(&id, 1);
    let frontend = publish(&mut bench, &id, PublishMode::Host);
    let task = bench.wanted(&id)[0].clone();
    let here = usize::from(task.node == Some(bench.node(1)));
    assert_eq!(
        backends(&at(&bench, here), frontend),
        Some(task_ips(&bench, &id))
    );
    assert_eq!(backends(&at(&bench, 1 - here), frontend), None);
}

#[test]
fn an_attached_container_is_an_endpoint_of_its_node() {
    let (mut bench, network, _) = world();
    let node = bench.node(1);
    let request = control::AttachRequest {
        endpoint: "e".to_owned(),
        network: network.clone(),
        address: None,
        family: Family::V4,
    };
    let task = bench
        .write(|tx| control::attach(tx, &node, request))
        .unwrap();
    let key = (
        vni(&bench, &network),
        task.attachments[0].addresses[0].addr(),
    );
    assert_eq!(at(&bench, 0).endpoints[&key], underlay(1));
}

#[test]
fn an_attached_container_has_its_names_and_takes_none_from_services() {
    let (mut bench, network, id) = world();
    let node = bench.node(1);
    let request = control::AttachRequest {
        endpoint: "e".to_owned(),
        network: network.clone(),
        address: None,
        family: Family::V4,
    };
    let task = bench
        .write(|tx| control::attach(tx, &node, request))
        .unwrap();
    let names = ["Tool", "c0ffee123456", "web", "no name"].map(str::to_owned);
    bench
        .write(|tx| {
            control::name_attachment(tx, &node, "e", &names);
            Ok(())
        })
        .unwrap();
    let own = BTreeSet::from([task.addresses_in(&network).next().unwrap()]);
    let vni = vni(&bench, &network);
    let of = |bench: &Bench, name: &str| at(bench, 0).names.get(&(vni, name.to_owned())).cloned();
    assert_eq!(of(&bench, "tool"), Some(own.clone()));
    assert_eq!(of(&bench, "c0ffee123456"), Some(own));
    let vip = bench.service(&id).endpoint.vips[0].address.addr();
    assert_eq!(of(&bench, "web"), Some(BTreeSet::from([vip])));
    assert_eq!(of(&bench, "no name"), None);
    bench
        .write(|tx| {
            control::detach(tx, &node, "e");
            Ok(())
        })
        .unwrap();
    assert_eq!(of(&bench, "tool"), None);
}

#[test]
fn nodes_watch_what_drains() {
    let (mut bench, network, id) = world();
    bench
        .update(&id, |spec| {
            let label = "orch.endpoint.drain".to_owned();
            spec.labels.insert(label, "30s".to_owned());
        })
        .unwrap();
    assert_eq!(at(&bench, 0).draining, BTreeSet::new());
    bench.scale(&id, 1);
    let task = Task::clone(&bench.tasks(&id)[1]);
    let address = task.addresses_in(&network).next().unwrap();
    let draining = BTreeSet::from([(vni(&bench, &network), address)]);
    assert_eq!(at(&bench, 0).draining, draining);
    bench.report(&task, TaskState::Shutdown);
    assert_eq!(at(&bench, 0).draining, BTreeSet::new());
}
