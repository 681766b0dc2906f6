//! What is counted per conversation and per service, and what is told of each.

use std::net::{IpAddr, Ipv4Addr};

use orch_ebpf_common::{
    Be16, Config, Decision, DropReason, FlowKey, Frontend, ServiceCounters, Vni,
};

use crate::frames::{FROM_CLIENT, Link, segment, syn, syn_ack};
use crate::world::{CLIENT, LOCAL, NODE, OUTSIDE, VNI, World, published};

const FROM_OUTSIDE: Link = Link([2; 6], [4; 6]);
const OUTSIDE_SIDE: (Ipv4Addr, u16) = (OUTSIDE, 50000);
const NODE_SIDE: (Ipv4Addr, u16) = (NODE, 8080);
const SERVICE: u32 = 9;

fn world(backends: &[(Ipv4Addr, Option<u16>)]) -> World {
    let mut world = World::new();
    let options = Frontend {
        service: SERVICE,
        ..Frontend::default()
    };
    world.serve_with(published(8080), 1, backends, options);
    world
}

#[test]
fn packets_and_bytes_of_both_directions_are_counted() {
    let mut world = world(&[(CLIENT, Some(80))]);
    let answers = [
        syn_ack(FROM_CLIENT, (CLIENT, 80), OUTSIDE_SIDE),
        segment(FROM_CLIENT, (CLIENT, 80), OUTSIDE_SIDE, b"HTTP/1.1 200"),
    ];
    let frames = [
        ("uplink_ingress", syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE)),
        ("task_ingress", answers[0].clone()),
        (
            "uplink_ingress",
            segment(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"GET /"),
        ),
        (
            "uplink_ingress",
            segment(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"Host: x"),
        ),
        ("task_ingress", answers[1].clone()),
    ];
    for (program, frame) in &frames {
        world.run(program, frame);
    }
    let len = |frames: &mut dyn Iterator<Item = &Vec<u8>>| -> u64 {
        frames
            .map(|frame| u64::try_from(frame.len()).unwrap())
            .sum()
    };
    let forward = FlowKey {
        vni: Vni::HOST,
        source: OUTSIDE.into(),
        destination: NODE.into(),
        source_port: Be16::new(50000),
        destination_port: Be16::new(8080),
        protocol: 6,
        reserved: 0,
        branch: Be16::ZERO,
    };
    let back = FlowKey {
        vni: VNI,
        source: CLIENT.into(),
        destination: OUTSIDE.into(),
        source_port: Be16::new(80),
        destination_port: Be16::new(50000),
        ..forward
    };
    let (forward, back) = (
        world.proven(&forward).unwrap(),
        world.proven(&back).unwrap(),
    );
    assert_eq!((forward.packets, back.packets), (3, 2));
    let all = len(&mut frames.iter().map(|(_, frame)| frame));
    assert_eq!(back.bytes, len(&mut answers.iter()));
    assert_eq!(forward.bytes, all - back.bytes);
    let counted = ServiceCounters {
        flows: 1,
        packets: 5,
        bytes: all,
        refused: 0,
    };
    assert_eq!(world.counters(SERVICE), counted);
    assert_eq!(world.counters(0), ServiceCounters::default());
}

#[test]
fn refusals_are_counted() {
    let mut world = world(&[]);
    world.run(
        "uplink_ingress",
        &syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE),
    );
    let counted = ServiceCounters {
        refused: 1,
        ..ServiceCounters::default()
    };
    assert_eq!(world.counters(SERVICE), counted);
}

/// What an event says: source port, backend, decision, reason, service.
fn told(event: &[u8]) -> (u16, IpAddr, u8, u8, u32) {
    let at = |from: usize, len: usize| &event[from..from + len];
    let address: [u8; 16] = at(8 + 44, 16).try_into().unwrap();
    (
        u16::from_be_bytes(at(8 + 36, 2).try_into().unwrap()),
        IpAddr::from(address).to_canonical(),
        event[70],
        event[71],
        u32::from_ne_bytes(at(72, 4).try_into().unwrap()),
    )
}

#[test]
fn what_becomes_of_a_conversation_is_told_while_somebody_listens() {
    let mut world = world(&[(LOCAL, Some(80))]);
    let open = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    world.run("uplink_ingress", &open);
    assert!(world.events().is_empty(), "nobody listens");

    world.change_config(|config| config.flags |= Config::EVENTS);
    world.run(
        "uplink_ingress",
        &syn(FROM_OUTSIDE, (OUTSIDE, 50001), NODE_SIDE),
    );
    world.serve_with(
        published(8080),
        2,
        &[(LOCAL, None); 0],
        Frontend {
            service: SERVICE,
            ..Frontend::default()
        },
    );
    world.run(
        "uplink_ingress",
        &syn(FROM_OUTSIDE, (OUTSIDE, 50002), NODE_SIDE),
    );
    let spoofed = syn(FROM_CLIENT, (OUTSIDE, 50003), (LOCAL, 80));
    world.assert_drop("task_ingress", &spoofed, DropReason::SpoofedSource);

    let nobody = IpAddr::from([0; 16]);
    let events: Vec<_> = world.events().iter().map(|event| told(event)).collect();
    assert_eq!(
        events,
        [
            (50001, LOCAL.into(), Decision::Opened as u8, 0, SERVICE),
            (50002, nobody, Decision::Refused as u8, 0, SERVICE),
            (
                0,
                nobody,
                Decision::Dropped as u8,
                DropReason::SpoofedSource as u8,
                0
            ),
        ]
    );
}
