//! Virtual addresses of services.

use std::net::Ipv6Addr;

use orch_ebpf_common::DropReason;

use crate::frames::{
    FROM_CLIENT, Link, TO_CLIENT, TUNNEL, ping, pong, reset, segment, syn, udp, unreachable,
};
use crate::world::{
    CLIENT_V6, GATEWAY_MAC, LOCAL_MAC, LOCAL_V6, REDIRECT, REMOTE_V6, VIP_V6, VNI, World, vip_v6,
};

const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const CLIENT_SIDE: (Ipv6Addr, u16) = (CLIENT_V6, 40000);
const VIP_SIDE: (Ipv6Addr, u16) = (VIP_V6, 6379);

#[test]
fn an_echo_is_answered_while_a_backend_stands_behind() {
    let mut world = World::new();
    let frame = ping(FROM_CLIENT, CLIENT_V6, VIP_V6, 77);
    world.serve_v6(vip_v6(), 1, &[(REMOTE_V6, None)]);
    let answered = world.run("task_ingress", &frame);
    assert_eq!(answered, (REDIRECT, pong(TO_CLIENT, VIP_V6, CLIENT_V6, 77)));
    world.serve_v6(vip_v6(), 2, &[]);
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 3)));
}

#[test]
fn a_connection_goes_to_the_backend_and_its_answers_come_from_the_vip() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[(REMOTE_V6, None)]);
    let forward = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    let expected = syn(TUNNEL, CLIENT_SIDE, (REMOTE_V6, 6379));
    assert_eq!(forward, (REDIRECT, expected));

    world.also_has(VNI, REMOTE_V6);
    let answer = segment(FROM_CLIENT, (REMOTE_V6, 6379), CLIENT_SIDE, b"+PONG\r\n");
    let back = world.run("task_ingress", &answer);
    let expected = segment(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, b"+PONG\r\n");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn datagrams_are_translated() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[(LOCAL_V6, None)]);
    let frame = udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"odd");
    let expected = udp(TO_LOCAL, CLIENT_SIDE, (LOCAL_V6, 6379), b"odd");
    assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
}

#[test]
fn a_client_that_is_its_own_backend_sees_the_vip_as_peer() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[(CLIENT_V6, None)]);
    let forward = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    let expected = syn(TO_CLIENT, (VIP_V6, 40000), (CLIENT_V6, 6379));
    assert_eq!(forward, (REDIRECT, expected));
    let answer = segment(FROM_CLIENT, (CLIENT_V6, 6379), (VIP_V6, 40000), b"hi");
    let back = world.run("task_ingress", &answer);
    let expected = segment(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, b"hi");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn without_backends_connections_are_refused_at_once() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[]);
    let refused = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    let expected = reset(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, 0, Some(1001));
    assert_eq!(refused, (REDIRECT, expected));

    let frame = segment(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, &[9; 100]);
    let refused = world.run("task_ingress", &frame);
    let expected = reset(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, 5001, None);
    assert_eq!(refused, (REDIRECT, expected));

    let frame = udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, &[9; 100]);
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 4)));

    let stray = reset(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, 7, None);
    world.assert_drop("task_ingress", &stray, DropReason::NoBackend);
}
