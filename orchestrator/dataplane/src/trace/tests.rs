//! The way over several hosts. What each program decides is compared with the programs themselves
//! by the fixtures' `trace`.

use std::net::IpAddr;

use orch_core::ids::NetworkId;
use orch_core::network::{Family, Frontend, OverlayNetwork, Pool, Sources, Subnet};

use super::*;

const VNI: Vni = Vni(4096);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn node(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Tasks 10.0.10.7 on the first host and 10.0.10.8 on the second; both serve 10.0.10.2 and the
/// published port 8080.
fn cluster() -> Cluster {
    let mut desired = DesiredNetwork::default();
    desired.networks.insert(
        VNI,
        OverlayNetwork {
            id: NetworkId::from_random(1),
            subnets: vec![Subnet {
                range: "10.0.10.0/24".parse().unwrap(),
                gateway: ip("10.0.10.1"),
            }],
            internal: false,
        },
    );
    desired.endpoints = BTreeMap::from([
        ((VNI, ip("10.0.10.7")), node(1)),
        ((VNI, ip("10.0.10.8")), node(2)),
    ]);
    let pool = |port| Pool {
        service: "web".into(),
        backends: ["10.0.10.7", "10.0.10.8"]
            .map(|address| Backend {
                vni: VNI,
                address: ip(address),
                port,
            })
            .into(),
        ..Pool::default()
    };
    let vip = Frontend::Vip {
        vni: VNI,
        address: ip("10.0.10.2"),
    };
    desired.frontends.insert(vip, pool(None));
    desired.frontends.insert(published(), pool(Some(80)));
    let host = |last: u8| Host {
        desired: DesiredNetwork {
            peers: [node(3 - last)].into(),
            ..desired.clone()
        },
        addresses: [node(last)].into(),
        attached: None,
    };
    Cluster {
        hosts: [1, 2].map(|last| (node(last), host(last))).into(),
        host_names: BTreeMap::from([(node(2), "n2".to_owned())]),
        network_names: BTreeMap::from([(VNI, "shop".to_owned())]),
    }
}

fn published() -> Frontend {
    Frontend::Published {
        protocol: Protocol::Tcp,
        port: 8080,
        address: Family::V4.unspecified(),
    }
}

fn tcp(source: &str, destination: &str, port: u16) -> Packet {
    Packet {
        source: ip(source),
        destination: ip(destination),
        transport: Transport::Port(Protocol::Tcp, port),
    }
}

/// Hosts, programs and verdicts.
fn way(hops: &[Hop]) -> Vec<(IpAddr, &'static str, Vec<&'static str>)> {
    let verdicts = |hop: &Hop| hop.outcomes.iter().map(Outcome::verdict).collect();
    hops.iter()
        .map(|hop| (hop.node, hop.program, verdicts(hop)))
        .collect()
}

#[test]
fn every_backend_is_followed_to_its_host() {
    let packet = tcp("10.0.10.7", "10.0.10.2", 6379);
    let hops = trace(&cluster(), node(1), Sender::Task(VNI), packet);
    assert_eq!(
        way(&hops),
        [
            (node(1), "task_ingress", vec!["delivered", "tunnelled"]),
            (node(2), "overlay_ingress", vec!["delivered"]),
        ]
    );
    assert_eq!(hops[1].packet.destination, ip("10.0.10.8"));
    assert!(hops[0].steps.iter().any(|step| step.contains("web")));
}

#[test]
fn a_published_port_is_followed_from_a_task_through_another_host() {
    let packet = tcp("10.0.10.7", "192.0.2.2", 8080);
    let hops = trace(&cluster(), node(1), Sender::Task(VNI), packet);
    assert_eq!(
        way(&hops),
        [
            (node(1), "task_ingress", vec!["outside"]),
            (node(2), "uplink_ingress", vec!["tunnelled", "delivered"]),
            (node(1), "overlay_ingress", vec!["delivered"]),
        ]
    );
    assert_eq!(hops[1].packet.source, node(1));
}

#[test]
fn a_host_that_is_named_by_one_family_speaks_the_other_too() {
    let mut cluster = cluster();
    let host = cluster.hosts.get_mut(&node(1)).unwrap();
    host.addresses.insert(ip("2001:db8::1"));
    let pool = host.desired.frontends[&published()].clone();
    let of_v6 = Frontend::Published {
        protocol: Protocol::Tcp,
        port: 8080,
        address: Family::V6.unspecified(),
    };
    host.desired.frontends.insert(of_v6, pool);
    let packet = tcp("192.0.2.1", "::1", 8080);
    let hops = trace(&cluster, node(1), Sender::Process, packet);
    assert_eq!(
        way(&hops),
        [
            (node(1), "host_ingress", vec!["delivered", "tunnelled"]),
            (node(2), "overlay_ingress", vec!["delivered"]),
        ]
    );
    assert_eq!(hops[0].packet.source, ip("2001:db8::1"));
    // The tasks have IPv4 only.
    assert_eq!(hops[1].packet.source, node(1));
}

#[test]
fn the_longest_range_decides_who_may_come() {
    let mut cluster = cluster();
    for host in cluster.hosts.values_mut() {
        let pool = host.desired.frontends.get_mut(&published()).unwrap();
        pool.sources = Sources {
            allow: ["198.51.100.0/24".parse().unwrap()].into(),
            deny: ["198.51.100.128/25".parse().unwrap()].into(),
        };
    }
    for (client, denied) in [
        ("198.51.100.5", false),
        ("198.51.100.200", true),
        ("203.0.113.1", true),
    ] {
        let packet = tcp(client, "192.0.2.1", 8080);
        let hops = trace(&cluster, node(1), Sender::Outside, packet);
        let dropped = hops[0].outcomes == [Outcome::Dropped(DropReason::SourceDenied)];
        assert_eq!(dropped, denied, "{client}");
    }
}

#[test]
fn a_task_is_let_in_by_the_address_of_its_host() {
    let mut cluster = cluster();
    for (allowed, denied) in [("192.0.2.1/32", false), ("10.0.10.7/32", true)] {
        for host in cluster.hosts.values_mut() {
            let pool = host.desired.frontends.get_mut(&published()).unwrap();
            pool.sources.allow = [allowed.parse().unwrap()].into();
        }
        let packet = tcp("10.0.10.7", "192.0.2.1", 8080);
        let hops = trace(&cluster, node(1), Sender::Task(VNI), packet);
        let dropped = hops[0].outcomes == [Outcome::Dropped(DropReason::SourceDenied)];
        assert_eq!(dropped, denied, "{allowed}: {:?}", hops[0]);
    }
}

#[test]
fn a_host_that_was_not_told_of_another_one_drops_what_it_sends() {
    let mut cluster = cluster();
    cluster
        .hosts
        .get_mut(&node(2))
        .unwrap()
        .desired
        .peers
        .clear();
    let packet = tcp("10.0.10.7", "10.0.10.8", 80);
    let hops = trace(&cluster, node(1), Sender::Task(VNI), packet);
    assert_eq!(
        hops[1].outcomes,
        [Outcome::Dropped(DropReason::UnknownPeer)]
    );
    assert_eq!(cluster.words(&hops[1].outcomes[0]), "dropped: unknown-peer");
}

#[test]
fn a_task_that_is_not_attached_yet_gets_nothing() {
    let mut cluster = cluster();
    let host = cluster.hosts.get_mut(&node(2)).unwrap();
    host.attached = Some(BTreeSet::new());
    let packet = tcp("10.0.10.7", "10.0.10.8", 80);
    let hops = trace(&cluster, node(1), Sender::Task(VNI), packet);
    assert_eq!(
        hops[1].outcomes,
        [Outcome::Dropped(DropReason::EndpointNotAttached)]
    );
}
