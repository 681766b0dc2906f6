//! The connection table over time: ports that are used again, and entries that outlived their use.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use orch_ebpf_common::flow::NAT_PORTS;
use orch_ebpf_common::{Be16, Delivery, DropReason, Flow, FlowKey, Origin, Phase, Vni};

use crate::egress::translated_port;
use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, fin, reset, segment, syn, syn_ack, udp};
use crate::world::{
    CLIENT, CLIENT_MAC, GATEWAY_MAC, LOCAL, LOCAL_MAC, NODE, OTHER_NODE, OUTSIDE, REDIRECT, VIP,
    VNI, World, published, vip,
};

const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const CLIENT_SIDE: (Ipv4Addr, u16) = (CLIENT, 40000);
const VIP_SIDE: (Ipv4Addr, u16) = (VIP, 6379);
const LOCAL_SIDE: (Ipv4Addr, u16) = (LOCAL, 6379);
const OUTSIDE_SIDE: (Ipv4Addr, u16) = (OUTSIDE, 443);

fn key(vni: Vni, protocol: u8, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> FlowKey {
    FlowKey {
        vni,
        source: from.0.into(),
        destination: to.0.into(),
        source_port: Be16::new(from.1),
        destination_port: Be16::new(to.1),
        protocol,
        reserved: 0,
        branch: Be16::ZERO,
    }
}

/// Second of the programs' clock.
fn now(world: &World) -> u32 {
    let seen = world.flows().into_iter().map(|(_, flow)| flow.last_seen);
    seen.max().expect("a conversation that was just opened")
}

/// Takes all ports of the host towards [`OUTSIDE_SIDE`], idle for `idle` seconds.
fn take_every_port(world: &mut World, phase: Phase, idle: u32) {
    let flow = Flow {
        last_seen: now(world) - idle,
        phase: phase as u8,
        ..Flow::default()
    };
    for port in NAT_PORTS {
        world.set("FLOWS", key(Vni::HOST, 6, OUTSIDE_SIDE, (NODE, port)), flow);
    }
}

#[test]
fn a_direct_conversation_is_told_apart_from_one_through_a_virtual_address() {
    for (open, protocol) in [
        (syn as fn(Link, _, _) -> Vec<u8>, 6),
        (|link, from, to| udp(link, from, to, b"x"), 17),
    ] {
        let mut world = World::new();
        world.serve(vip(), 1, &[(LOCAL, None)]);
        world.run("task_ingress", &open(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));

        let direct = world.run("task_ingress", &open(FROM_CLIENT, CLIENT_SIDE, LOCAL_SIDE));

        let flow = world
            .flow(&key(VNI, protocol, CLIENT_SIDE, LOCAL_SIDE))
            .expect("an entry of its own");
        let port = flow.source_port.get();
        assert!(NAT_PORTS.contains(&port), "{port}");
        assert_eq!(
            direct,
            (REDIRECT, open(TO_LOCAL, (CLIENT, port), LOCAL_SIDE))
        );
        // The answer shows the address that was asked.
        world.also_has(VNI, LOCAL);
        let answer = open(FROM_CLIENT, LOCAL_SIDE, (CLIENT, port));
        let expected = open(TO_CLIENT, LOCAL_SIDE, CLIENT_SIDE);
        assert_eq!(world.run("task_ingress", &answer), (REDIRECT, expected));
    }
}

#[test]
fn ports_of_unanswered_and_closed_connections_are_used_again() {
    for phase in [Phase::Opening, Phase::Closing] {
        let mut world = World::new();
        world.run(
            "task_ingress",
            &syn(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE, 80)),
        );
        take_every_port(&mut world, phase, Flow::OTHER_IDLE_SECONDS + 1);
        let next = syn(FROM_CLIENT, (CLIENT, 40001), OUTSIDE_SIDE);
        assert_eq!(world.run("task_ingress", &next).0, REDIRECT, "{phase:?}");
    }
}

#[test]
fn ports_of_open_connections_stay_taken() {
    let mut world = World::new();
    world.run(
        "task_ingress",
        &syn(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE, 80)),
    );
    take_every_port(&mut world, Phase::Established, Flow::OTHER_IDLE_SECONDS + 1);
    let next = syn(FROM_CLIENT, (CLIENT, 40001), OUTSIDE_SIDE);
    world.assert_drop("task_ingress", &next, DropReason::NoPortLeft);
}

#[test]
fn both_entries_of_a_connection_know_how_far_it_is() {
    type End = fn((Ipv4Addr, u16), (Ipv4Addr, u16)) -> Vec<u8>;
    let ends: [End; 2] = [
        |from, to| fin(FROM_CLIENT, from, to),
        |from, to| reset(FROM_CLIENT, from, to, 1, None),
    ];
    for end in ends {
        let mut world = World::new();
        world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, OUTSIDE_SIDE));
        let node_side = (NODE, translated_port(&world));
        let forward = key(VNI, 6, CLIENT_SIDE, OUTSIDE_SIDE);
        let back = key(Vni::HOST, 6, OUTSIDE_SIDE, node_side);
        let phase = |world: &World, key| world.flow(key).unwrap().phase;
        assert_eq!(phase(&world, &back), Phase::Opening as u8);

        let answer = segment(Link([2; 6], [4; 6]), OUTSIDE_SIDE, node_side, b"hello");
        world.run("uplink_ingress", &answer);
        assert_eq!(phase(&world, &back), Phase::Established as u8);

        world.run("task_ingress", &end(CLIENT_SIDE, OUTSIDE_SIDE));
        assert_eq!(phase(&world, &back), Phase::Closing as u8);
        assert_eq!(phase(&world, &forward), Phase::Closing as u8);
    }
}

#[test]
fn a_new_connection_on_the_ports_of_a_closed_one_is_decided_anew() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None), (CLIENT, None)]);
    let mut chosen = BTreeSet::new();
    for _ in 0..40 {
        world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
        let flow = world.flow(&key(VNI, 6, CLIENT_SIDE, VIP_SIDE)).unwrap();
        chosen.insert(std::net::IpAddr::from(flow.destination));
        world.run("task_ingress", &fin(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    }
    assert_eq!(chosen, BTreeSet::from([LOCAL.into(), CLIENT.into()]));
}

#[test]
fn a_sender_whose_way_back_was_lost_gets_another() {
    let mut world = World::new();
    let outside = (OUTSIDE, 514);
    let frame = udp(FROM_CLIENT, CLIENT_SIDE, outside, b"log line");
    world.run("task_ingress", &frame);
    let port = translated_port(&world);
    let (forward, back) = (
        key(VNI, 17, CLIENT_SIDE, outside),
        key(Vni::HOST, 17, outside, (NODE, port)),
    );
    // Idle for so long that another conversation took the port over.
    let mut idle = world.flow(&forward).unwrap();
    idle.last_seen -= 100;
    world.set("OPENING", forward, idle);
    let mut other = world.flow(&back).unwrap();
    other.destination = LOCAL.into();
    world.set("OPENING", back, other);

    world.run("task_ingress", &frame);

    let now = world.flow(&forward).unwrap();
    assert_ne!(now.source_port.get(), port);
    assert_eq!(world.flow(&back).unwrap().destination, LOCAL.into());
}

#[test]
fn a_sender_without_answers_keeps_its_port() {
    let mut world = World::new();
    let outside = (OUTSIDE, 514);
    let frame = udp(FROM_CLIENT, CLIENT_SIDE, outside, b"log line");
    world.run("task_ingress", &frame);
    let (forward, back) = (
        key(VNI, 17, CLIENT_SIDE, outside),
        key(Vni::HOST, 17, outside, (NODE, translated_port(&world))),
    );
    for key in [forward, back] {
        let mut flow = world.flow(&key).unwrap();
        flow.last_seen -= 50;
        world.set("OPENING", key, flow);
    }
    let before = world.flow(&back).unwrap().last_seen;
    world.run("task_ingress", &frame);
    assert!(world.flow(&back).unwrap().last_seen > before);
}

#[test]
fn a_task_that_was_taken_for_an_outside_client_is_answered_where_it_is() {
    let mut world = World::new();
    world.run(
        "task_ingress",
        &syn(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE, 80)),
    );
    let remembered = Flow {
        source: CLIENT.into(),
        destination: LOCAL.into(),
        source_port: Be16::new(7946),
        destination_port: Be16::new(7946),
        vni: VNI,
        node: OTHER_NODE.into(),
        last_seen: now(&world) - 1,
        delivery: Delivery::Tunnel as u8,
        origin: Origin::Reply as u8,
        ..Flow::default()
    };
    let (from, to) = ((CLIENT, 7946), (LOCAL, 7946));
    world.set("FLOWS", key(VNI, 17, from, to), remembered);
    let delivered = world.run("task_ingress", &udp(FROM_CLIENT, from, to, b"gossip"));
    assert_eq!(delivered, (REDIRECT, udp(TO_LOCAL, from, to, b"gossip")));
}

/// Frames of a connection from the outside to a task of this host, through the published port.
const FROM_OUTSIDE: Link = Link([2; 6], [4; 6]);
const CONNECTION: ((Ipv4Addr, u16), (Ipv4Addr, u16)) = ((OUTSIDE, 50000), (NODE, 8080));
const TASK_SIDE: (Ipv4Addr, u16) = (CLIENT, 80);

/// Both keys of the connection.
fn connection() -> [FlowKey; 2] {
    let (from, to) = CONNECTION;
    [key(Vni::HOST, 6, from, to), key(VNI, 6, TASK_SIDE, from)]
}

fn connect(world: &mut World) {
    let (from, to) = CONNECTION;
    world.run("uplink_ingress", &syn(FROM_OUTSIDE, from, to));
    world.run("task_ingress", &syn_ack(FROM_CLIENT, TASK_SIDE, from));
    world.run("uplink_ingress", &segment(FROM_OUTSIDE, from, to, b"GET /"));
}

#[test]
fn a_connection_is_proved_by_the_client_s_segment_after_an_answer() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(CLIENT, Some(80))]);
    let proven = |world: &World| connection().map(|key| world.proven(&key).is_some());
    let (from, to) = CONNECTION;
    let steps = [
        ("uplink_ingress", syn(FROM_OUTSIDE, from, to), false),
        (
            "uplink_ingress",
            segment(FROM_OUTSIDE, from, to, b"too early"),
            false,
        ),
        ("task_ingress", syn_ack(FROM_CLIENT, TASK_SIDE, from), false),
        ("uplink_ingress", syn(FROM_OUTSIDE, from, to), false),
        (
            "uplink_ingress",
            segment(FROM_OUTSIDE, from, to, b"GET /"),
            true,
        ),
    ];
    for (program, frame, is_proven) in steps {
        assert_eq!(world.run(program, &frame).0, REDIRECT);
        assert_eq!(proven(&world), [is_proven; 2]);
    }
    for key in connection() {
        assert_eq!(world.proven(&key).unwrap().phase, Phase::Established as u8);
    }
}

#[test]
fn any_answer_proves_a_conversation_without_connection() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None)]);
    world.also_has(VNI, LOCAL);
    let keys = [
        key(VNI, 17, CLIENT_SIDE, VIP_SIDE),
        key(VNI, 17, LOCAL_SIDE, CLIENT_SIDE),
    ];
    for _ in 0..2 {
        world.run(
            "task_ingress",
            &udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"?"),
        );
        assert_eq!(keys.map(|key| world.proven(&key)), [None; 2]);
    }
    let answer = udp(FROM_CLIENT, LOCAL_SIDE, CLIENT_SIDE, b"!");
    assert_eq!(world.run("task_ingress", &answer).0, REDIRECT);
    assert!(keys.iter().all(|key| world.proven(key).is_some()));
}

#[test]
fn a_flood_of_openings_leaves_connections_alone() {
    const ENTRIES: u32 = 1024;
    let mut world = World::small(ENTRIES);
    world.serve(published(8080), 1, &[(CLIENT, Some(80))]);
    connect(&mut world);

    for number in 0..10 * ENTRIES {
        let [_, _, a, b] = number.to_be_bytes();
        let from = (Ipv4Addr::new(203, 0, a, b), 1024);
        let opened = world.run("uplink_ingress", &syn(FROM_OUTSIDE, from, CONNECTION.1));
        assert_eq!(opened.0, REDIRECT, "the flood itself is served too");
    }

    let (from, to) = CONNECTION;
    let delivered = world.run("uplink_ingress", &segment(FROM_OUTSIDE, from, to, b"more"));
    let to_task = Link(CLIENT_MAC, GATEWAY_MAC);
    assert_eq!(
        delivered,
        (REDIRECT, segment(to_task, from, TASK_SIDE, b"more"))
    );
    let answered = world.run(
        "task_ingress",
        &segment(FROM_CLIENT, TASK_SIDE, from, b"OK"),
    );
    assert_eq!(answered, (REDIRECT, segment(FROM_CLIENT, to, from, b"OK")));
    assert!(connection().iter().all(|key| world.proven(key).is_some()));
}

#[test]
fn a_new_connection_takes_the_place_of_a_closed_one() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(CLIENT, Some(80))]);
    connect(&mut world);
    let (from, to) = CONNECTION;
    world.run("uplink_ingress", &fin(FROM_OUTSIDE, from, to));
    world.run("uplink_ingress", &syn(FROM_OUTSIDE, from, to));
    assert_eq!(connection().map(|key| world.proven(&key)), [None; 2]);
    connect(&mut world);
    assert!(connection().iter().all(|key| world.proven(key).is_some()));
}
