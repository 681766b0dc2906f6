//! Rules of tunnel identifiers, ranges, addresses, virtual addresses and ports.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::control::{self, AttachRequest, ControlError};
use crate::fixture::{Bench, dual_stack_spec, network_spec, on_network, service_spec};
use crate::ids::ServiceId;
use crate::network::{Family, Protocol, Vni};
use crate::objects::service::{EndpointMode, PortConfig, PublishMode};
use crate::objects::{Node, ServiceSpec, Task};
use crate::store::Object;
use crate::task_state::TaskState;

fn publishing(name: &str, published: Option<u16>, mode: PublishMode) -> ServiceSpec {
    let mut spec = service_spec(name, 1);
    spec.endpoint.ports.push(port(80, published, mode));
    spec
}

fn port(target: u16, published: Option<u16>, mode: PublishMode) -> PortConfig {
    PortConfig {
        name: String::new(),
        protocol: Protocol::Tcp,
        target,
        published,
        mode,
    }
}

fn published(bench: &Bench, id: &ServiceId) -> Vec<Option<u16>> {
    bench
        .service(id)
        .endpoint
        .ports
        .iter()
        .map(|p| p.published)
        .collect()
}

fn addresses(task: &Task) -> Vec<IpAddr> {
    task.attachments
        .iter()
        .flat_map(|a| a.addresses.iter().map(|ip| ip.addr()))
        .collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn tunnel_identifiers_count_up_from_4096_and_are_not_inherited() {
    let mut bench = Bench::with_nodes(1);
    let first = bench.network("a", None);
    bench.network("b", None);
    bench
        .write(|tx| control::remove_network(tx, &first))
        .unwrap();
    bench.network("c", None);
    let mut vnis: Vec<Vni> = bench.state.networks().map(|n| n.vni).collect();
    vnis.sort();
    assert_eq!(vnis, [Vni(4096), Vni(4098), Vni(4099)]);
}

#[test]
fn ranges_are_cut_from_the_pools_around_those_in_use() {
    let mut bench = Bench::with_nodes(1);
    bench.network("asked", Some("10.0.1.0/25"));
    let cut = bench.network("cut", None);
    let subnet = bench.state.network(&cut).unwrap().subnets[0].clone();
    assert_eq!(subnet.range.to_string(), "10.0.2.0/24");
    assert_eq!(subnet.gateway, ip("10.0.2.1"));
}

#[test]
fn ranges_are_cut_around_the_hosts_own_addresses() {
    let mut bench = Bench::with_nodes(1);
    let node = bench.node(0);
    bench
        .write(|tx| {
            let mut node = Node::clone(tx.node(&node).unwrap());
            node.description.as_mut().unwrap().data_path_address = Some(ip("10.0.1.7"));
            tx.put(Object::Node(node));
            Ok(())
        })
        .unwrap();
    let cut = bench.network("cut", None);
    let range = bench.state.network(&cut).unwrap().subnets[0].range;
    assert_eq!(range.to_string(), "10.0.2.0/24");
}

#[test]
fn overlapping_ranges_are_refused() {
    let mut bench = Bench::with_nodes(1);
    bench.network("a", Some("10.0.10.0/24"));
    for subnet in [
        "10.0.10.0/24",
        "10.0.10.128/25",
        "10.0.0.0/16",
        "10.0.0.0/24",
    ] {
        let spec = network_spec("b", Some(subnet));
        let error = bench
            .write(|tx| control::create_network(tx, spec))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Pool overlaps with other one on this address space",
            "{subnet}"
        );
    }
}

#[test]
fn a_network_of_both_families_gets_the_range_that_was_not_asked_for() {
    let mut bench = Bench::with_nodes(1);
    let own = bench.state.cluster().unwrap().own_v6_pool();
    assert_eq!(own.prefix_len(), 48);
    assert_eq!(own.addr().to_string().get(..2), Some("fd"));
    for (index, asked) in [&[][..], &["10.0.20.0/24"], &["fd00:10::/64"]]
        .into_iter()
        .enumerate()
    {
        let spec = dual_stack_spec(&format!("n{index}"), asked);
        let id = bench.write(|tx| control::create_network(tx, spec)).unwrap();
        let subnets = bench.state.network(&id).unwrap().subnets.clone();
        let [v4, v6] = &subnets[..] else {
            panic!("{subnets:?}");
        };
        assert!(v4.range.addr().is_ipv4() && v4.range.contains(&v4.gateway));
        assert!(v6.range.prefix_len() == 64 && v6.range.contains(&v6.gateway));
        assert_eq!(own.contains(&v6.range), index != 2, "{subnets:?}");
        for asked in asked {
            assert!(subnets.iter().any(|s| s.range.to_string() == *asked));
        }
    }
}

#[test]
fn a_users_own_pool_of_ipv6_is_cut_into_links() {
    let mut bench = Bench::with_pools(1, &["10.0.0.0/8", "fd12:3456::/63"]);
    let mut create = |name| {
        let spec = dual_stack_spec(name, &[]);
        bench.write(|tx| control::create_network(tx, spec))
    };
    create("first").unwrap();
    create("second").unwrap();
    assert!(create("third").is_err());
    let ranges: Vec<_> = bench.state.networks().map(|n| &n.subnets).collect();
    let v6: BTreeSet<_> = ranges
        .iter()
        .filter_map(|subnets| Some(subnets.get(1)?.range.to_string()))
        .collect();
    let expected = ["fd12:3456:0:1::/64", "fd12:3456::/64"].map(str::to_owned);
    assert_eq!(v6, BTreeSet::from(expected));
}

#[test]
fn a_service_on_both_families_has_two_virtual_addresses_and_its_tasks_two_each() {
    let mut bench = Bench::with_nodes(1);
    let spec = dual_stack_spec("both", &["10.0.10.0/24", "fd00:10::/64"]);
    let network = bench.write(|tx| control::create_network(tx, spec)).unwrap();
    let id = bench.create(on_network(service_spec("web", 1), &network));
    let vips: Vec<_> = bench.service(&id).endpoint.vips;
    let vips: Vec<_> = vips.iter().map(|vip| vip.address.to_string()).collect();
    assert_eq!(vips, ["10.0.10.2/24", "fd00:10::2/64"]);
    let task = bench.tasks(&id)[0].clone();
    let addresses = task.attachments[0].addresses.iter();
    let addresses: Vec<_> = addresses.map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.10.3/24", "fd00:10::3/64"]);
}

#[test]
fn a_container_borrows_an_address_of_each_family() {
    let mut bench = Bench::with_nodes(1);
    let spec = dual_stack_spec("both", &["10.0.10.0/24", "fd00:10::/64"]);
    let network = bench.write(|tx| control::create_network(tx, spec)).unwrap();
    let node = bench.node(0);
    for (family, expected) in [(Family::V4, "10.0.10.2/24"), (Family::V6, "fd00:10::2/64")] {
        let request = AttachRequest {
            endpoint: format!("{family:?}"),
            network: network.clone(),
            address: None,
            family,
        };
        let task = bench
            .write(|tx| control::attach(tx, &node, request))
            .unwrap();
        assert_eq!(task.attachments[0].addresses[0].to_string(), expected);
    }
}

#[test]
fn a_spent_pool_of_ranges_is_an_error() {
    let mut bench = Bench::with_pool(1, "192.168.0.0/23");
    bench.network("second", None);
    let spec = network_spec("third", None);
    let error = bench
        .write(|tx| control::create_network(tx, spec))
        .unwrap_err();
    assert!(
        matches!(error, ControlError::ResourceExhausted(_)),
        "{error}"
    );
}

#[test]
fn a_task_without_networks_is_on_ingress_and_others_on_theirs_only() {
    let mut bench = Bench::with_nodes(1);
    let sandbox = bench.network("sandbox", Some("10.0.10.0/24"));
    let plain = bench.create(service_spec("plain", 1));
    let named = bench.create(on_network(service_spec("named", 1), &sandbox));
    assert_eq!(addresses(&bench.wanted(&plain)[0]), [ip("10.0.0.3")]);
    assert_eq!(addresses(&bench.wanted(&named)[0]), [ip("10.0.10.3")]);
    let vips = |id| bench.service(id).endpoint.vips;
    assert_eq!(vips(&plain)[0].address.to_string(), "10.0.0.2/24");
    assert_eq!(vips(&named)[0].address.to_string(), "10.0.10.2/24");
}

#[test]
fn an_address_given_back_rests_until_the_others_had_their_turn() {
    let mut bench = Bench::with_nodes(1);
    let net = bench.network("net", Some("10.0.10.0/28"));
    let node = bench.node(0);
    let mut given = Vec::new();
    for round in 0..14 {
        let request = AttachRequest {
            endpoint: format!("e{round}"),
            network: net.clone(),
            address: None,
            family: Family::V4,
        };
        let task = bench
            .write(|tx| control::attach(tx, &node, request))
            .unwrap();
        given.extend(addresses(&task));
        bench
            .write(|tx| {
                control::detach(tx, &node, &format!("e{round}"));
                Ok(())
            })
            .unwrap();
    }
    let distinct: BTreeSet<_> = given.iter().collect();
    assert_eq!(distinct.len(), 13, "13 hosts beside the gateway: {given:?}");
    assert_eq!(given[13], given[0]);
}

#[test]
fn a_full_pool_is_said_on_the_task_and_retried_when_something_is_freed() {
    let mut bench = Bench::with_nodes(1);
    let net = bench.network("tiny", Some("10.0.10.0/29"));
    // Six hosts: gateway, virtual address, four tasks.
    let id = bench.create(on_network(service_spec("s", 5), &net));
    let waiting: Vec<_> = bench
        .wanted(&id)
        .into_iter()
        .filter(|t| t.status.state == TaskState::New)
        .collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        waiting[0].status.error,
        "no address in network tiny: its address pool 10.0.10.0/29 is exhausted"
    );
    bench.obey();
    let running = bench
        .wanted(&id)
        .into_iter()
        .find(|t| t.is_serving())
        .unwrap();
    bench.now = bench.now + Duration::from_secs(1);
    bench.report(&running, TaskState::Failed);
    let task = bench.task(&waiting[0].id);
    assert_eq!(
        (task.status.state, task.status.error.as_str()),
        (TaskState::Assigned, "")
    );
}

#[test]
fn a_service_without_a_virtual_address_says_so_on_its_tasks() {
    let mut bench = Bench::with_nodes(1);
    let net = bench.network("tiny", Some("10.0.10.0/30"));
    let first = bench.create(on_network(service_spec("a", 0), &net));
    let second = bench.create(on_network(service_spec("b", 1), &net));
    assert_eq!(bench.service(&first).endpoint.vips.len(), 1);
    let task = bench.wanted(&second)[0].clone();
    assert_eq!(task.status.state, TaskState::New);
    assert!(
        task.status.error.contains("exhausted"),
        "{}",
        task.status.error
    );
    bench
        .write(|tx| control::remove_service(tx, &first))
        .unwrap();
    bench.step();
    assert_eq!(bench.service(&second).endpoint.vips.len(), 1);
    // The one address is the service's now.
    assert_eq!(bench.task(&task.id).status.state, TaskState::New);
}

#[test]
fn changing_the_endpoint_mode_frees_and_gives_virtual_addresses() {
    let mut bench = Bench::with_nodes(1);
    let id = bench.create(service_spec("s", 1));
    assert_eq!(bench.service(&id).endpoint.vips.len(), 1);
    bench
        .update(&id, |spec| spec.endpoint.mode = EndpointMode::DnsRoundRobin)
        .unwrap();
    assert_eq!(bench.service(&id).endpoint.vips.len(), 0);
    bench
        .update(&id, |spec| spec.endpoint.mode = EndpointMode::Vip)
        .unwrap();
    assert_eq!(bench.service(&id).endpoint.vips.len(), 1);
}

#[test]
fn a_virtual_address_that_is_freed_serves_others_in_the_same_pass() {
    let mut bench = Bench::with_nodes(1);
    let net = bench.network("tiny", Some("10.0.10.0/30"));
    let id = bench.create(on_network(service_spec("s", 1), &net));
    assert_eq!(bench.wanted(&id)[0].status.state, TaskState::New);
    bench
        .update(&id, |spec| spec.endpoint.mode = EndpointMode::DnsRoundRobin)
        .unwrap();
    assert_eq!(addresses(&bench.wanted(&id)[0]), [ip("10.0.10.2")]);
}

#[test]
fn a_port_that_nobody_named_is_chosen_from_30000_and_kept() {
    let mut bench = Bench::with_nodes(1);
    let first = bench.create(publishing("a", None, PublishMode::Ingress));
    let second = bench.create(publishing("b", None, PublishMode::Ingress));
    assert_eq!(published(&bench, &first), [Some(30_000)]);
    assert_eq!(published(&bench, &second), [Some(30_001)]);
    bench
        .write(|tx| control::remove_service(tx, &first))
        .unwrap();
    bench
        .update(&second, |spec| {
            spec.endpoint
                .ports
                .insert(0, port(81, None, PublishMode::Ingress))
        })
        .unwrap();
    assert_eq!(published(&bench, &second), [Some(30_000), Some(30_001)]);
}

#[test]
fn a_port_of_another_service_is_refused_in_dockers_words() {
    use PublishMode::{Host, Ingress};
    for (theirs, ours, words) in [
        (Ingress, Ingress, Some("an ingress port")),
        (Ingress, Host, Some("an ingress port")),
        (Host, Ingress, Some("a host-published port")),
        (Host, Host, None),
    ] {
        let mut bench = Bench::with_nodes(1);
        let id = bench.create(publishing("first", Some(6379), theirs));
        let spec = publishing("second", Some(6379), ours);
        let result = bench.write(|tx| control::create_service(tx, spec));
        let expected = words
            .map(|how| format!("port '6379' is already in use by service 'first' ({id}) as {how}"));
        assert_eq!(
            result.err().map(|e| e.to_string()),
            expected,
            "{theirs:?} {ours:?}"
        );
    }
}

#[test]
fn a_chosen_port_is_in_use_as_much_as_a_named_one() {
    let mut bench = Bench::with_nodes(1);
    bench.create(publishing("first", None, PublishMode::Ingress));
    let spec = publishing("second", Some(30_000), PublishMode::Ingress);
    assert!(bench.write(|tx| control::create_service(tx, spec)).is_err());
}

#[test]
fn a_certain_address_is_lent_once() {
    let mut bench = Bench::with_nodes(1);
    let net = bench.network("net", Some("10.0.10.0/24"));
    let node = bench.node(0);
    let mut ask = |endpoint: &str, address: &str| {
        let request = AttachRequest {
            endpoint: endpoint.to_owned(),
            network: net.clone(),
            address: Some(ip(address)),
            family: Family::V4,
        };
        bench
            .write(|tx| control::attach(tx, &node, request))
            .map(|t| addresses(&t))
    };
    assert_eq!(ask("a", "10.0.10.77"), Ok(vec![ip("10.0.10.77")]));
    assert_eq!(ask("a", "10.0.10.77"), Ok(vec![ip("10.0.10.77")]));
    for foul in [
        "10.0.10.77",
        "10.0.10.1",
        "10.0.10.0",
        "10.0.10.255",
        "10.0.11.7",
    ] {
        assert!(ask("b", foul).is_err(), "{foul}");
    }
}
