//! Published ports, from outside and from the host itself.

use std::net::Ipv6Addr;

use orch_ebpf_common::{DropReason, Vni};

use crate::frames::{FROM_CLIENT, Link, TUNNEL, ping, reset, segment, syn, udp};
use crate::world::{
    CLIENT_MAC, CLIENT_V6, GATEWAY_MAC, HOST_MAC, LOCAL, LOCAL_MAC, LOCAL_V6, NODE_V6, OUTSIDE_V6,
    PASS, REDIRECT, REMOTE_V6, World, published, published_v6,
};

const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xee];
const UPLINK: [u8; 6] = [2, 0, 0, 0, 0, 0xdd];
const FROM_OUTSIDE: Link = Link(UPLINK, ROUTER);
const TO_OUTSIDE: Link = Link(ROUTER, UPLINK);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
const OUTSIDE_SIDE: (Ipv6Addr, u16) = (OUTSIDE_V6, 50000);
const NODE_SIDE: (Ipv6Addr, u16) = (NODE_V6, 8080);
const MESH: Ipv6Addr = Ipv6Addr::new(0xfd6f, 0x7263, 0x6864, 0, 0, 0, 0, 2);

#[test]
fn a_published_port_leads_to_a_task_and_keeps_the_client_s_address() {
    let mut world = World::new();
    world.serve_v6(published_v6(8080), 1, &[(REMOTE_V6, Some(80))]);
    let frame = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    let expected = syn(TUNNEL, OUTSIDE_SIDE, (REMOTE_V6, 80));
    assert_eq!(world.run("uplink_ingress", &frame), (REDIRECT, expected));
}

#[test]
fn a_local_task_s_answer_leaves_with_the_host_s_address() {
    let mut world = World::new();
    world.serve_v6(published_v6(8080), 1, &[(CLIENT_V6, Some(80))]);
    let asked = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    world.run("uplink_ingress", &asked);
    let answer = segment(FROM_CLIENT, (CLIENT_V6, 80), OUTSIDE_SIDE, b"HTTP/1.1 200");
    let back = world.run("task_ingress", &answer);
    // The next hop's link-layer address is filled in when the redirect is carried out.
    let expected = segment(FROM_CLIENT, NODE_SIDE, OUTSIDE_SIDE, b"HTTP/1.1 200");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn a_port_has_backends_of_each_family_of_its_own() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(LOCAL, Some(80))]);
    let frame = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    assert_eq!(world.run("uplink_ingress", &frame), (PASS, frame.clone()));

    world.serve_v6(published_v6(8080), 1, &[]);
    let refused = world.run("uplink_ingress", &frame);
    let expected = reset(TO_OUTSIDE, NODE_SIDE, OUTSIDE_SIDE, 0, Some(1001));
    assert_eq!(refused, (REDIRECT, expected));
}

#[test]
fn what_is_not_published_is_the_host_s() {
    let mut world = World::new();
    world.serve_v6(published_v6(8080), 1, &[(LOCAL_V6, Some(80))]);
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);
    for frame in [
        syn(FROM_OUTSIDE, OUTSIDE_SIDE, (NODE_V6, 22)),
        udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"published for TCP"),
        ping(FROM_OUTSIDE, OUTSIDE_V6, NODE_V6, 1),
        syn(FROM_OUTSIDE, OUTSIDE_SIDE, (other, 8080)),
        segment(FROM_OUTSIDE, OUTSIDE_SIDE, (NODE_V6, 61500), b"unknown"),
    ] {
        assert_eq!(world.run("uplink_ingress", &frame), (PASS, frame));
    }
    assert_eq!(world.flows(), []);
}

#[test]
fn the_host_s_own_processes_reach_published_ports() {
    let mut world = World::new();
    world.serve_v6(published_v6(8080), 1, &[(CLIENT_V6, Some(80))]);
    let source = (NODE_V6, 50001);
    let forward = world.run("host_ingress", &syn(FROM_HOST, source, (MESH, 8080)));
    let to_task = Link(CLIENT_MAC, GATEWAY_MAC);
    assert_eq!(forward, (REDIRECT, syn(to_task, source, (CLIENT_V6, 80))));

    let answer = segment(FROM_CLIENT, (CLIENT_V6, 80), source, b"hello");
    let back = world.run("task_ingress", &answer);
    let to_host = Link(HOST_MAC, GATEWAY_MAC);
    let expected = segment(to_host, (MESH, 8080), source, b"hello");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn the_host_link_refuses_and_carries_nothing_else() {
    let mut world = World::new();
    let source = (NODE_V6, 50001);
    let refused = world.run("host_ingress", &syn(FROM_HOST, source, (MESH, 8080)));
    let expected = reset(FROM_HOST, (MESH, 8080), source, 0, Some(1001));
    assert_eq!(refused, (REDIRECT, expected));
    let frame = syn(FROM_HOST, source, (OUTSIDE_V6, 80));
    world.assert_drop("host_ingress", &frame, DropReason::HostUnexpected);
}

#[test]
fn a_task_reaches_published_ports_of_its_own_host() {
    let mut world = World::new();
    world.serve_v6(published_v6(8080), 1, &[(LOCAL_V6, Some(80))]);
    let frame = syn(FROM_CLIENT, (CLIENT_V6, 40000), NODE_SIDE);
    let forwarded = world.run("task_ingress", &frame);
    let (_, flow) = world
        .flows()
        .into_iter()
        .find(|(key, _)| key.source == CLIENT_V6.into() && key.vni != Vni::HOST)
        .expect("the conversation");
    let source = (NODE_V6, flow.source_port.get());
    assert_eq!(forwarded, (REDIRECT, syn(TO_LOCAL, source, (LOCAL_V6, 80))));

    world.change_config(|config| config.outside_v6 = orch_ebpf_common::Address::UNSPECIFIED);
    let frame = syn(FROM_CLIENT, (CLIENT_V6, 40001), NODE_SIDE);
    world.assert_drop("task_ingress", &frame, DropReason::NoSourceAddress);
}
