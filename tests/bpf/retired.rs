//! Addresses that a task had until lately, of services whose names stand for the tasks themselves.

use std::net::Ipv4Addr;

use orch_ebpf_common::{Endpoint, EndpointKey, Frontend};

use crate::frames::{
    FROM_CLIENT, Link, TO_CLIENT, TUNNEL, ping, pong, reset, segment, syn, udp, unreachable,
};
use crate::world::{CLIENT, GATEWAY_MAC, LOCAL, LOCAL_MAC, REDIRECT, REMOTE, VNI, World};

const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const CLIENT_SIDE: (Ipv4Addr, u16) = (CLIENT, 40000);
const OLD_SIDE: (Ipv4Addr, u16) = (LOCAL, 6379);

/// [`LOCAL`] is leaving, [`REMOTE`] goes on.
fn world(siblings: &[(Ipv4Addr, Option<u16>)]) -> World {
    let mut world = World::new();
    let retired = Frontend {
        flags: Frontend::RETIRED,
        ..Frontend::default()
    };
    let address = orch_ebpf_common::FrontendKey::vip(VNI, LOCAL.into());
    world.serve_with(address, 1, siblings, retired);
    world
}

fn gone(world: &mut World) {
    let key = EndpointKey {
        vni: VNI,
        address: LOCAL.into(),
    };
    world.delete::<_, Endpoint>("ENDPOINTS", key);
}

#[test]
fn new_connections_are_led_to_a_sibling() {
    let mut world = world(&[(REMOTE, None)]);
    let opened = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, OLD_SIDE));
    assert_eq!(opened, (REDIRECT, syn(TUNNEL, CLIENT_SIDE, (REMOTE, 6379))));
    let question = udp(FROM_CLIENT, CLIENT_SIDE, OLD_SIDE, b"?");
    let asked = world.run("task_ingress", &question);
    assert_eq!(
        asked,
        (REDIRECT, udp(TUNNEL, CLIENT_SIDE, (REMOTE, 6379), b"?"))
    );
}

#[test]
fn old_conversations_go_on_while_the_task_is_there() {
    let mut world = world(&[(REMOTE, None)]);
    let old = segment(FROM_CLIENT, CLIENT_SIDE, OLD_SIDE, b"more");
    let delivered = world.run("task_ingress", &old);
    assert_eq!(
        delivered,
        (REDIRECT, segment(TO_LOCAL, CLIENT_SIDE, OLD_SIDE, b"more"))
    );
    // An answer to what the leaving task asked.
    let (from, to) = ((CLIENT, 53), (LOCAL, 43210));
    let answered = world.run("task_ingress", &udp(FROM_CLIENT, from, to, b"!"));
    assert_eq!(answered, (REDIRECT, udp(TO_LOCAL, from, to, b"!")));
    assert_eq!(world.flows(), []);

    gone(&mut world);
    let refused = world.run("task_ingress", &old);
    let expected = reset(TO_CLIENT, OLD_SIDE, CLIENT_SIDE, 5001, None);
    assert_eq!(refused, (REDIRECT, expected));
}

#[test]
fn an_echo_is_answered_while_siblings_live() {
    let frame = ping(FROM_CLIENT, CLIENT, LOCAL, 77);
    let answered = world(&[(REMOTE, None)]).run("task_ingress", &frame);
    assert_eq!(answered, (REDIRECT, pong(TO_CLIENT, LOCAL, CLIENT, 77)));
    let refused = world(&[]).run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 1)));
}
