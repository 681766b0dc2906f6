//! Answers to outside clients that another host led here. How they get here is shown by the
//! scenarios between hosts, because a test run has no tunnel key.

use std::net::Ipv4Addr;

use orch_ebpf_common::{Be16, Delivery, Flow, FlowKey, Origin, Phase};

use crate::frames::{FROM_CLIENT, TUNNEL, segment};
use crate::world::{CLIENT, OTHER_NODE, OUTSIDE, REDIRECT, VNI, World};

const TASK_SIDE: (Ipv4Addr, u16) = (CLIENT, 80);

/// The key of answers to a client's port.
fn answers(port: u16) -> FlowKey {
    FlowKey {
        vni: VNI,
        source: CLIENT.into(),
        destination: OUTSIDE.into(),
        source_port: Be16::new(80),
        destination_port: Be16::new(port),
        protocol: 6,
        reserved: 0,
        branch: Be16::ZERO,
    }
}

fn answer() -> Flow {
    Flow {
        source: CLIENT.into(),
        destination: OUTSIDE.into(),
        source_port: Be16::new(80),
        destination_port: Be16::new(50000),
        vni: VNI,
        node: OTHER_NODE.into(),
        delivery: Delivery::Tunnel as u8,
        origin: Origin::Reply as u8,
        phase: Phase::Established as u8,
        ..Flow::default()
    }
}

#[test]
fn answers_leave_through_the_host_that_led_the_client_here() {
    let mut world = World::new();
    world.set("FLOWS", answers(50000), answer());
    let frame = segment(FROM_CLIENT, TASK_SIDE, (OUTSIDE, 50000), b"hello");
    let expected = segment(TUNNEL, TASK_SIDE, (OUTSIDE, 50000), b"hello");
    assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
}

#[test]
fn the_second_of_two_conversations_from_one_port_gets_that_port_back() {
    let mut world = World::new();
    let second = Flow {
        flags: Flow::BRANCH,
        ..answer()
    };
    world.set("FLOWS", answers(61234), second);
    let frame = segment(FROM_CLIENT, TASK_SIDE, (OUTSIDE, 61234), b"hello");
    let expected = segment(TUNNEL, TASK_SIDE, (OUTSIDE, 50000), b"hello");
    assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
}

#[test]
fn a_direct_answer_shows_the_address_and_port_that_the_client_asked() {
    let mut world = World::new();
    let straight = Flow {
        source: OTHER_NODE.into(),
        source_port: Be16::new(8080),
        delivery: Delivery::Uplink as u8,
        ifindex: 1,
        flags: Flow::DIRECT_RETURN,
        ..answer()
    };
    world.set("FLOWS", answers(50000), straight);
    let frame = segment(FROM_CLIENT, TASK_SIDE, (OUTSIDE, 50000), b"hello");
    let expected = segment(FROM_CLIENT, (OTHER_NODE, 8080), (OUTSIDE, 50000), b"hello");
    assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
}
