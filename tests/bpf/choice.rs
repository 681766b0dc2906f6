//! Which backend a client of a published port meets, and which clients may come.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use orch_ebpf_common::{
    Affinity, AffinityKey, Backend, Be16, DropReason, EndpointKey, Flow, FlowKey, Frontend,
    FrontendKey, Maglev, SourceKey, Vni,
};

use crate::frames::{FROM_CLIENT, Link, reset, segment, syn, udp};
use crate::world::{
    CLIENT, HOST_MAC, LOCAL, NODE, OUTSIDE, PASS, REDIRECT, REMOTE, VIP, VNI, World, published, vip,
};

const FROM_OUTSIDE: Link = Link([2; 6], [4; 6]);
const TO_OUTSIDE: Link = Link([4; 6], [2; 6]);
const NODE_SIDE: (Ipv4Addr, u16) = (NODE, 8080);
const BACKENDS: [(Ipv4Addr, Option<u16>); 3] =
    [(CLIENT, Some(80)), (LOCAL, Some(80)), (REMOTE, Some(80))];
const BY_TABLE: Frontend = Frontend {
    generation: 0,
    count: 0,
    flags: Frontend::MAGLEV,
    service: 0,
    affinity: 0,
};

fn to_node(protocol: u8, from: (Ipv4Addr, u16)) -> FlowKey {
    FlowKey {
        vni: Vni::HOST,
        source: from.0.into(),
        destination: NODE.into(),
        source_port: Be16::new(from.1),
        destination_port: Be16::new(8080),
        protocol,
        reserved: 0,
        branch: Be16::ZERO,
    }
}

/// Sends a frame to the published port, and returns the backend it was led to.
fn led_to(world: &mut World, from: (Ipv4Addr, u16), frame: &[u8]) -> IpAddr {
    assert_eq!(world.run("uplink_ingress", frame).0, REDIRECT);
    let flow = world.flow(&to_node(6, from)).expect("a conversation");
    flow.destination.into()
}

fn open(world: &mut World, from: (Ipv4Addr, u16)) -> IpAddr {
    led_to(world, from, &syn(FROM_OUTSIDE, from, NODE_SIDE))
}

#[test]
fn every_host_leads_a_client_to_the_same_backend() {
    let mut chosen = BTreeSet::new();
    let mut hosts = [World::new(), World::new()];
    for host in &mut hosts {
        host.serve_with(published(8080), 1, &BACKENDS, BY_TABLE);
    }
    for port in 50000..50100 {
        let from = (OUTSIDE, port);
        let entry = Maglev::entry(&OUTSIDE.into(), Be16::new(port), 6);
        let (expected, _) = BACKENDS[entry % BACKENDS.len()];
        for host in &mut hosts {
            assert_eq!(open(host, from), IpAddr::from(expected));
        }
        chosen.insert(expected);
    }
    assert_eq!(chosen.len(), BACKENDS.len());
}

#[test]
fn a_connection_whose_flow_was_lost_goes_on_with_its_backend() {
    let mut world = World::new();
    world.serve_with(published(8080), 1, &BACKENDS, BY_TABLE);
    for port in 50000..50020 {
        let from = (OUTSIDE, port);
        let before = open(&mut world, from);
        let flow = world.flow(&to_node(6, from)).unwrap();
        world.delete::<_, Flow>("OPENING", to_node(6, from));
        let frame = segment(FROM_OUTSIDE, from, NODE_SIDE, b"more");
        assert_eq!(led_to(&mut world, from, &frame), before);
        let anew = world.flow(&to_node(6, from)).unwrap();
        assert_eq!(
            anew.source_port, flow.source_port,
            "the client's port is kept"
        );
    }
}

#[test]
fn a_connection_to_a_virtual_address_without_a_flow_is_reset() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None)]);
    let (from, to) = ((CLIENT, 40000), (VIP, 6379));
    let refused = world.run("task_ingress", &segment(FROM_CLIENT, from, to, b"hello"));
    let to_client = Link(FROM_CLIENT.1, FROM_CLIENT.0);
    assert_eq!(refused, (REDIRECT, reset(to_client, to, from, 5001, None)));
}

fn affinity(seconds: u32) -> Frontend {
    Frontend {
        affinity: seconds,
        ..BY_TABLE
    }
}

#[test]
fn a_client_with_affinity_meets_one_backend_from_every_port() {
    for options in [
        affinity(300),
        Frontend {
            flags: 0,
            ..affinity(300)
        },
    ] {
        let mut world = World::new();
        world.serve_with(published(8080), 1, &BACKENDS, options);
        let chosen: BTreeSet<_> = (50000..50050)
            .map(|port| open(&mut world, (OUTSIDE, port)))
            .collect();
        assert_eq!(chosen.len(), 1, "{chosen:?}");
    }
}

#[test]
fn affinity_ends_with_its_time_and_with_its_backend() {
    let key = AffinityKey {
        frontend: published(8080),
        client: OUTSIDE.into(),
    };
    // By the table the client would meet this one.
    let entry = Maglev::entry(&OUTSIDE.into(), Be16::ZERO, 0);
    let (by_table, _) = BACKENDS[entry % BACKENDS.len()];
    let (other, _) = BACKENDS[(entry + 1) % BACKENDS.len()];
    let gone = Ipv4Addr::new(10, 0, 10, 77);
    // Less than the time for which even a machine made for the test has been up.
    const SECONDS: u32 = 2;
    for (last, age, expected) in [
        (other, SECONDS, other),
        (other, SECONDS + 1, by_table),
        (gone, 0, by_table),
    ] {
        let mut world = World::new();
        world.serve_with(published(8080), 1, &BACKENDS, affinity(SECONDS));
        let (from, now) = ((OUTSIDE, 50000), {
            open(&mut world, (OUTSIDE, 49999));
            world.flow(&to_node(6, (OUTSIDE, 49999))).unwrap().opened
        });
        let value = Affinity {
            backend: Backend {
                vni: VNI,
                address: last.into(),
                port: Be16::new(80),
                reserved: 0,
            },
            last_used: now - age,
        };
        world.set("AFFINITY", key, value);
        // A second may begin in between, which makes old what was just young enough.
        let met = open(&mut world, from);
        let ticked = world.flow(&to_node(6, from)).unwrap().opened > now;
        if !(ticked && age == SECONDS) {
            assert_eq!(met, IpAddr::from(expected), "{last} after {age} s");
        }
    }
}

#[test]
fn clients_may_be_denied_or_allowed_by_range() {
    const ALLOW: u32 = SourceKey::ALLOW;
    const DENY: u32 = SourceKey::DENY;
    const NAMED: u32 = Frontend::SOURCES;
    const ONLY: u32 = Frontend::SOURCES | Frontend::SOURCES_ONLY;
    let range = Ipv4Addr::new(198, 51, 100, 0);
    for (flags, ranges, comes) in [
        (NAMED, &[(range, 24, DENY)][..], false),
        (NAMED, &[(range, 24, DENY), (OUTSIDE, 32, ALLOW)], true),
        (NAMED, &[(Ipv4Addr::new(10, 0, 0, 0), 8, DENY)], true),
        (ONLY, &[(range, 24, ALLOW)], true),
        (ONLY, &[(range, 24, ALLOW), (OUTSIDE, 32, DENY)], false),
        (ONLY, &[(Ipv4Addr::new(10, 0, 0, 0), 8, ALLOW)], false),
        // Without the flag nothing is looked up.
        (0, &[(range, 24, DENY)], true),
    ] {
        let mut world = World::new();
        let options = Frontend {
            flags,
            service: 5,
            ..Frontend::default()
        };
        world.serve_with(published(8080), 1, &BACKENDS, options);
        for (client, prefix, value) in ranges {
            world.range(published(8080), *client, *prefix, *value);
        }
        let frame = syn(FROM_OUTSIDE, (OUTSIDE, 50000), NODE_SIDE);
        if comes {
            assert_eq!(
                world.run("uplink_ingress", &frame).0,
                REDIRECT,
                "{ranges:?}"
            );
        } else {
            world.assert_drop("uplink_ingress", &frame, DropReason::SourceDenied);
            assert_eq!(world.flows(), []);
        }
        assert_eq!(world.counters(5).refused, u64::from(!comes));
    }
}

/// Another address of this host.
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
const MESH: Ipv4Addr = Ipv4Addr::new(169, 254, 42, 2);

fn only_at(address: Ipv4Addr) -> FrontendKey {
    FrontendKey::published_at(address.into(), 6, Be16::new(8080))
}

fn local(world: &mut World, address: Ipv4Addr, own_ports: bool) {
    let key = EndpointKey {
        vni: Vni::HOST,
        address: address.into(),
    };
    let own_ports = if own_ports {
        FrontendKey::HAS_OWN_PORTS
    } else {
        0
    };
    world.set("LOCAL_ADDRESSES", key, 1 | own_ports);
}

#[test]
fn a_port_of_one_address_is_not_one_of_another() {
    let mut world = World::new();
    local(&mut world, SECOND, true);
    world.serve(only_at(SECOND), 1, &[(LOCAL, Some(80))]);
    let from = (OUTSIDE, 50000);
    let other = syn(FROM_OUTSIDE, from, NODE_SIDE);
    assert_eq!(world.run("uplink_ingress", &other).0, PASS);
    let frame = syn(FROM_OUTSIDE, from, (SECOND, 8080));
    assert_eq!(world.run("uplink_ingress", &frame).0, REDIRECT);
    // A task of the host reaches it there, too, and nowhere else.
    let from_task = |to| syn(FROM_CLIENT, (CLIENT, 40000), (to, 8080));
    world.run("task_ingress", &from_task(SECOND));
    let flows = world.flows();
    let led = |(_, flow): &&(FlowKey, Flow)| flow.destination == LOCAL.into();
    assert_eq!(flows.iter().filter(led).count(), 2);
}

#[test]
fn a_port_of_one_address_goes_before_one_of_all() {
    let mut world = World::new();
    local(&mut world, SECOND, true);
    world.serve(published(8080), 1, &[(CLIENT, Some(80))]);
    world.serve(only_at(SECOND), 1, &[(LOCAL, Some(80))]);
    for (at, expected) in [(NODE, CLIENT), (SECOND, LOCAL)] {
        world.run(
            "uplink_ingress",
            &syn(FROM_OUTSIDE, (OUTSIDE, 50000), (at, 8080)),
        );
        let key = FlowKey {
            destination: at.into(),
            ..to_node(6, (OUTSIDE, 50000))
        };
        let flow = world.flow(&key).unwrap();
        assert_eq!(flow.destination, expected.into());
        assert_eq!(flow.flags & Flow::ONE_ADDRESS != 0, at == SECOND);
    }
}

#[test]
fn a_datagram_follows_the_port_of_its_address() {
    let mut world = World::new();
    local(&mut world, SECOND, true);
    let udp_at = FrontendKey::published_at(SECOND.into(), 17, Be16::new(8080));
    world.serve(udp_at, 1, &[(LOCAL, Some(80))]);
    let frame = udp(FROM_OUTSIDE, (OUTSIDE, 50000), (SECOND, 8080), b"?");
    let led = |world: &mut World| {
        let verdict = world.run("uplink_ingress", &frame).0;
        let flows = world.flows();
        let forward = flows.iter().find(|(key, _)| key.vni == Vni::HOST);
        (
            verdict,
            forward.map(|(_, flow)| IpAddr::from(flow.destination)),
        )
    };
    assert_eq!(led(&mut world), (REDIRECT, Some(LOCAL.into())));
    world.serve(udp_at, 2, &[(CLIENT, Some(80))]);
    assert_eq!(
        led(&mut world),
        (REDIRECT, Some(CLIENT.into())),
        "its backend left"
    );
}

#[test]
fn a_port_of_the_loopback_address_is_the_host_s_own() {
    let mut world = World::new();
    world.serve(only_at(LOOPBACK), 1, &[(LOCAL, Some(80))]);
    let from_host = Link(HOST_MAC, HOST_MAC);
    let frame = syn(from_host, (NODE, 50001), (MESH, 8080));
    assert_eq!(world.run("host_ingress", &frame).0, REDIRECT);
    let outside = syn(FROM_OUTSIDE, (OUTSIDE, 50000), NODE_SIDE);
    assert_eq!(world.run("uplink_ingress", &outside).0, PASS);
}

#[test]
fn a_published_port_without_backends_refuses_whatever_its_options() {
    let mut world = World::new();
    world.serve_with(published(8080), 1, &BACKENDS, affinity(60));
    open(&mut world, (OUTSIDE, 50000));
    let empty = Frontend {
        generation: 2,
        ..affinity(60)
    };
    world.set("FRONTENDS", published(8080), empty);
    let from = (OUTSIDE, 50001);
    let refused = world.run("uplink_ingress", &syn(FROM_OUTSIDE, from, NODE_SIDE));
    assert_eq!(
        refused,
        (REDIRECT, reset(TO_OUTSIDE, NODE_SIDE, from, 0, Some(1001)))
    );
}
