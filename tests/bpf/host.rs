//! What processes of the host send to addresses of a network.

use std::net::Ipv4Addr;

use orch_ebpf_common::{Delivery, DropReason};

use crate::frames::{Link, TUNNEL, ping, pong, reset, segment, syn, udp, unreachable};
use crate::world::{
    CLIENT, CLIENT_MAC, GATEWAY, GATEWAY_MAC, HOST_MAC, LOCAL, LOCAL_MAC, NODE, NODE_V6, OUTSIDE,
    REDIRECT, REMOTE, REMOTE_V6, VIP, World, vip,
};

/// From the host's own stack.
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
const TO_HOST: Link = Link(HOST_MAC, GATEWAY_MAC);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const TO_CLIENT: Link = Link(CLIENT_MAC, GATEWAY_MAC);
const FROM_CLIENT: Link = Link(GATEWAY_MAC, CLIENT_MAC);
const HOST_SIDE: (Ipv4Addr, u16) = (NODE, 40000);

#[test]
fn a_task_of_this_host_sees_the_host_and_its_answers_reach_it() {
    let mut world = World::new();
    let ask = world.run("host_ingress", &syn(FROM_HOST, HOST_SIDE, (CLIENT, 80)));
    assert_eq!(ask, (REDIRECT, syn(TO_CLIENT, HOST_SIDE, (CLIENT, 80))));
    let answer = segment(FROM_CLIENT, (CLIENT, 80), HOST_SIDE, b"OK");
    let back = world.run("task_ingress", &answer);
    let expected = segment(TO_HOST, (CLIENT, 80), HOST_SIDE, b"OK");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn a_task_of_another_host_is_reached_through_the_tunnel_in_both_families() {
    let mut world = World::new();
    let ask = world.run(
        "host_ingress",
        &udp(FROM_HOST, HOST_SIDE, (REMOTE, 53), b"?"),
    );
    assert_eq!(ask, (REDIRECT, udp(TUNNEL, HOST_SIDE, (REMOTE, 53), b"?")));
    let ask = syn(FROM_HOST, (NODE_V6, 40000), (REMOTE_V6, 80));
    let expected = syn(TUNNEL, (NODE_V6, 40000), (REMOTE_V6, 80));
    assert_eq!(world.run("host_ingress", &ask), (REDIRECT, expected));
    let flows = world.flows();
    let back: Vec<_> = flows
        .iter()
        .filter(|(key, _)| key.source == REMOTE.into() || key.source == REMOTE_V6.into())
        .map(|(_, flow)| flow.delivery)
        .collect();
    assert_eq!(back, [Delivery::Host as u8; 2]);
}

#[test]
fn an_echo_finds_the_host_again() {
    let mut world = World::new();
    let ask = world.run("host_ingress", &ping(FROM_HOST, NODE, CLIENT, 7));
    assert_eq!(ask, (REDIRECT, ping(TO_CLIENT, NODE, CLIENT, 7)));
    let back = world.run("task_ingress", &pong(FROM_CLIENT, CLIENT, NODE, 7));
    assert_eq!(back, (REDIRECT, pong(TO_HOST, CLIENT, NODE, 7)));
}

#[test]
fn a_virtual_address_leads_to_a_task_and_answers_for_it() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(CLIENT, None)]);
    let ask = world.run("host_ingress", &syn(FROM_HOST, HOST_SIDE, (VIP, 80)));
    assert_eq!(ask, (REDIRECT, syn(TO_CLIENT, HOST_SIDE, (CLIENT, 80))));
    let answer = segment(FROM_CLIENT, (CLIENT, 80), HOST_SIDE, b"OK");
    let back = world.run("task_ingress", &answer);
    assert_eq!(
        back,
        (REDIRECT, segment(TO_HOST, (VIP, 80), HOST_SIDE, b"OK"))
    );
    // The conversation stays where it is.
    world.serve(vip(), 2, &[(LOCAL, None)]);
    let more = segment(FROM_HOST, HOST_SIDE, (VIP, 80), b"more");
    let expected = segment(TO_CLIENT, HOST_SIDE, (CLIENT, 80), b"more");
    assert_eq!(world.run("host_ingress", &more), (REDIRECT, expected));

    let (verdict, frame) = world.run("host_ingress", &ping(FROM_HOST, NODE, VIP, 1));
    assert_eq!((verdict, frame), (REDIRECT, pong(FROM_HOST, VIP, NODE, 1)));
}

#[test]
fn a_virtual_address_without_backends_refuses() {
    let mut world = World::new();
    world.serve(vip(), 1, &[]);
    let refused = world.run("host_ingress", &syn(FROM_HOST, HOST_SIDE, (VIP, 80)));
    let expected = reset(FROM_HOST, (VIP, 80), HOST_SIDE, 0, Some(1001));
    assert_eq!(refused, (REDIRECT, expected));
}

#[test]
fn the_gateway_is_there_and_others_are_not() {
    let mut world = World::new();
    let echo = world.run("host_ingress", &ping(FROM_HOST, NODE, GATEWAY, 1));
    assert_eq!(echo, (REDIRECT, pong(FROM_HOST, GATEWAY, NODE, 1)));
    let nobody = Ipv4Addr::new(10, 0, 10, 77);
    let ask = udp(FROM_HOST, HOST_SIDE, (nobody, 80), b"anyone?");
    let expected = unreachable(FROM_HOST, &ask, 1);
    assert_eq!(world.run("host_ingress", &ask), (REDIRECT, expected));
}

#[test]
fn what_the_host_forwards_for_others_enters_no_network() {
    let mut world = World::new();
    for frame in [
        syn(FROM_HOST, (OUTSIDE, 40000), (LOCAL, 80)),
        syn(FROM_HOST, (OUTSIDE, 40000), (VIP, 80)),
        ping(FROM_HOST, OUTSIDE, LOCAL, 1),
    ] {
        world.assert_drop("host_ingress", &frame, DropReason::HostUnexpected);
    }
    assert_eq!(world.flows(), []);
}

#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let mut world = World::new();
    let frame = pong(FROM_HOST, NODE, LOCAL, 1);
    world.assert_drop("host_ingress", &frame, DropReason::HostUnexpected);
    let answered = world.run("host_ingress", &ping(FROM_HOST, NODE, LOCAL, 1));
    assert_eq!(answered, (REDIRECT, ping(TO_LOCAL, NODE, LOCAL, 1)));
}
