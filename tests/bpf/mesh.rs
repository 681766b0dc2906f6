//! Published ports, from outside and from the host itself.

use std::net::Ipv4Addr;

use orch_ebpf_common::{Be16, Delivery, DropReason, FlowKey, Vni};

use crate::frames::{FROM_CLIENT, Link, TUNNEL, ping, reset, segment, syn, udp, unreachable};
use crate::world::{
    CLIENT, CLIENT_MAC, GATEWAY_MAC, HOST_MAC, LOCAL, LOCAL_MAC, NODE, OUTSIDE, PASS, REDIRECT,
    REMOTE, SHOT, VNI, World, published,
};

const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xee];
const UPLINK: [u8; 6] = [2, 0, 0, 0, 0, 0xdd];
const FROM_OUTSIDE: Link = Link(UPLINK, ROUTER);
const TO_OUTSIDE: Link = Link(ROUTER, UPLINK);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const OUTSIDE_SIDE: (Ipv4Addr, u16) = (OUTSIDE, 50000);
const NODE_SIDE: (Ipv4Addr, u16) = (NODE, 8080);
const MESH: Ipv4Addr = Ipv4Addr::new(169, 254, 42, 2);
/// From the host's own stack.
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);

#[test]
fn a_published_port_leads_to_a_task_and_keeps_the_client_s_address() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(REMOTE, Some(80))]);
    let forward = world.run(
        "uplink_ingress",
        &syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE),
    );
    assert_eq!(forward, (REDIRECT, syn(TUNNEL, OUTSIDE_SIDE, (REMOTE, 80))));

    let key = FlowKey {
        vni: VNI,
        source: REMOTE.into(),
        destination: OUTSIDE.into(),
        source_port: Be16::new(80),
        destination_port: Be16::new(50000),
        protocol: 6,
        reserved: 0,
        branch: Be16::ZERO,
    };
    let back = world.flow(&key).expect("the answers' way back");
    assert_eq!((back.delivery, back.ifindex), (Delivery::Uplink as u8, 1));
    assert_eq!((back.source, back.source_port.get()), (NODE.into(), 8080));
    assert_eq!(
        (back.destination, back.destination_port.get()),
        (OUTSIDE.into(), 50000)
    );
}

#[test]
fn a_local_task_s_answer_leaves_with_the_host_s_address() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(CLIENT, Some(80))]);
    world.run(
        "uplink_ingress",
        &syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE),
    );
    let answer = segment(FROM_CLIENT, (CLIENT, 80), OUTSIDE_SIDE, b"HTTP/1.1 200");
    let back = world.run("task_ingress", &answer);
    // The next hop's link-layer address is filled in when the redirect is carried out.
    assert_eq!(
        back,
        (
            REDIRECT,
            segment(FROM_CLIENT, NODE_SIDE, OUTSIDE_SIDE, b"HTTP/1.1 200")
        )
    );
}

#[test]
fn what_is_not_published_is_the_host_s() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(LOCAL, Some(80))]);
    for frame in [
        syn(FROM_OUTSIDE, OUTSIDE_SIDE, (NODE, 22)),
        udp(
            FROM_OUTSIDE,
            OUTSIDE_SIDE,
            NODE_SIDE,
            b"the port is published for TCP only",
        ),
        ping(FROM_OUTSIDE, OUTSIDE, NODE, 1),
        syn(
            FROM_OUTSIDE,
            OUTSIDE_SIDE,
            (Ipv4Addr::new(192, 0, 2, 99), 8080),
        ),
        segment(
            FROM_OUTSIDE,
            OUTSIDE_SIDE,
            (NODE, 61500),
            b"no such conversation",
        ),
    ] {
        assert_eq!(world.run("uplink_ingress", &frame), (PASS, frame));
    }
    assert_eq!(world.flows(), []);
}

#[test]
fn a_published_port_without_tasks_refuses() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[]);
    let refused = world.run(
        "uplink_ingress",
        &syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE),
    );
    let expected = reset(TO_OUTSIDE, NODE_SIDE, OUTSIDE_SIDE, 0, Some(1001));
    assert_eq!(refused, (REDIRECT, expected));

    let udp_port = orch_ebpf_common::FrontendKey::published(true, 17, Be16::new(8080));
    world.serve(udp_port, 1, &[]);
    let frame = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"anyone?");
    let refused = world.run("uplink_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_OUTSIDE, &frame, 3)));
}

#[test]
fn the_host_s_own_processes_reach_published_ports() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(CLIENT, Some(80))]);
    let frame = syn(FROM_HOST, (NODE, 50001), (MESH, 8080));
    let forward = world.run("host_ingress", &frame);
    let to_task = Link(CLIENT_MAC, GATEWAY_MAC);
    assert_eq!(
        forward,
        (REDIRECT, syn(to_task, (NODE, 50001), (CLIENT, 80)))
    );

    let answer = segment(FROM_CLIENT, (CLIENT, 80), (NODE, 50001), b"hello");
    let back = world.run("task_ingress", &answer);
    let to_host = Link(HOST_MAC, GATEWAY_MAC);
    assert_eq!(
        back,
        (
            REDIRECT,
            segment(to_host, (MESH, 8080), (NODE, 50001), b"hello")
        )
    );
}

#[test]
fn a_port_that_is_no_longer_published_refuses_the_host() {
    let mut world = World::new();
    let refused = world.run("host_ingress", &syn(FROM_HOST, (NODE, 50001), (MESH, 8080)));
    let expected = reset(FROM_HOST, (MESH, 8080), (NODE, 50001), 0, Some(1001));
    assert_eq!(refused, (REDIRECT, expected));
}

#[test]
fn the_host_link_carries_nothing_else() {
    let mut world = World::new();
    let frame = syn(FROM_HOST, (NODE, 50001), (OUTSIDE, 80));
    world.assert_drop("host_ingress", &frame, DropReason::HostUnexpected);
    assert_eq!(
        world.run("host_ingress", &ping(FROM_HOST, NODE, MESH, 1)).0,
        SHOT
    );
}

#[test]
fn a_task_reaches_published_ports_of_its_own_host() {
    let mut world = World::new();
    world.serve(published(8080), 1, &[(LOCAL, Some(80))]);
    let frame = syn(FROM_CLIENT, (CLIENT, 40000), NODE_SIDE);
    let (verdict, forwarded) = world.run("task_ingress", &frame);
    let (_, flow) = world
        .flows()
        .into_iter()
        .find(|(key, _)| key.source == CLIENT.into() && key.vni != Vni::HOST)
        .expect("the conversation");
    let source = (NODE, flow.source_port.get());
    assert!(
        source.1 >= 61000,
        "the host's address stands for the task: {source:?}"
    );
    assert_eq!(
        (verdict, forwarded),
        (REDIRECT, syn(TO_LOCAL, source, (LOCAL, 80)))
    );
}
