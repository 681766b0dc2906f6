//! What a task may send, and how it reaches other tasks.

use std::net::Ipv4Addr;

use orch_ebpf_common::{DropReason, Vni};

use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, TUNNEL, ping, pong, syn, udp, unreachable};
use crate::world::{
    CLIENT, GATEWAY, GATEWAY_MAC, LOCAL, LOCAL_MAC, OUTSIDE, REDIRECT, REMOTE, World,
};

const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);

#[test]
fn a_task_of_the_same_host_gets_the_frame_itself() {
    let mut world = World::new();
    let (from, to) = ((CLIENT, 40000), (LOCAL, 80));
    let delivered = world.run("task_ingress", &syn(FROM_CLIENT, from, to));
    assert_eq!(delivered, (REDIRECT, syn(TO_LOCAL, from, to)));
    assert_eq!(world.flows(), [], "untranslated traffic needs no state");
}

#[test]
fn a_task_of_another_host_gets_it_through_the_tunnel() {
    let mut world = World::new();
    let delivered = world.run("task_ingress", &ping(FROM_CLIENT, CLIENT, REMOTE, 7));
    assert_eq!(delivered, (REDIRECT, ping(TUNNEL, CLIENT, REMOTE, 7)));
}

#[test]
fn fragments_between_tasks_pass() {
    let mut world = World::new();
    let mut frame = udp(FROM_CLIENT, (CLIENT, 5000), (LOCAL, 6000), &[7; 64]);
    let fragment = |frame: &mut Vec<u8>| {
        // "More fragments" instead of "don't fragment", and the header's checksum with it.
        frame[20] = 0x20;
        let checksum = u16::from_be_bytes([frame[24], frame[25]]) + 0x2000;
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    };
    fragment(&mut frame);
    let mut expected = udp(TO_LOCAL, (CLIENT, 5000), (LOCAL, 6000), &[7; 64]);
    fragment(&mut expected);
    assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
}

#[test]
fn what_came_by_the_tunnel_never_leaves_by_it() {
    let mut world = World::new();
    world.change_config(|config| config.vxlan_ifindex = 1);
    let frame = ping(FROM_CLIENT, CLIENT, REMOTE, 7);
    world.assert_drop("task_ingress", &frame, DropReason::UnknownEndpoint);
}

#[test]
fn a_task_without_an_interface_is_not_sent_through_the_tunnel_to_ourselves() {
    let mut world = World::new();
    world.set(
        "ENDPOINTS",
        orch_ebpf_common::EndpointKey {
            vni: crate::world::VNI,
            address: Ipv4Addr::new(10, 0, 10, 20).into(),
        },
        orch_ebpf_common::Endpoint {
            node: crate::world::NODE.into(),
            ..orch_ebpf_common::Endpoint::default()
        },
    );
    let frame = ping(FROM_CLIENT, CLIENT, Ipv4Addr::new(10, 0, 10, 20), 1);
    world.assert_drop("task_ingress", &frame, DropReason::EndpointNotAttached);
}

#[test]
fn an_address_that_nobody_has_is_unreachable() {
    let mut world = World::new();
    let nobody = Ipv4Addr::new(10, 0, 10, 200);
    for frame in [
        ping(FROM_CLIENT, CLIENT, nobody, 3),
        syn(FROM_CLIENT, (CLIENT, 40000), (nobody, 80)),
        udp(FROM_CLIENT, (CLIENT, 40000), (nobody, 80), &[1; 300]),
    ] {
        let refused = world.run("task_ingress", &frame);
        assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 1)));
    }
}

#[test]
fn the_gateway_answers_pings_and_refuses_connections() {
    let mut world = World::new();
    let answered = world.run("task_ingress", &ping(FROM_CLIENT, CLIENT, GATEWAY, 9));
    assert_eq!(answered, (REDIRECT, pong(TO_CLIENT, GATEWAY, CLIENT, 9)));
    let frame = udp(FROM_CLIENT, (CLIENT, 40000), (GATEWAY, 123), b"time?");
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 3)));
}

#[test]
fn foreign_source_addresses_are_dropped() {
    let mut world = World::new();
    for source in [LOCAL, OUTSIDE] {
        let frame = ping(FROM_CLIENT, source, REMOTE, 1);
        world.assert_drop("task_ingress", &frame, DropReason::SpoofedSource);
    }
}

#[test]
fn an_address_of_another_interface_of_the_container_continues_in_that_network() {
    let mut world = World::new();
    let (other, address) = (Vni::new(4099), Ipv4Addr::new(10, 0, 30, 7));
    world.also_has(other, address);
    // In its own network LOCAL's address means nothing, so it is not delivered to LOCAL.
    let frame = ping(FROM_CLIENT, address, LOCAL, 1);
    world.assert_drop("task_ingress", &frame, DropReason::UnknownNetwork);
}

#[test]
fn multicast_and_broadcast_are_dropped() {
    let mut world = World::new();
    for to in [[224, 0, 0, 251], [255, 255, 255, 255], [10, 0, 10, 255]] {
        let frame = udp(FROM_CLIENT, (CLIENT, 68), (to.into(), 67), b"discover");
        world.assert_drop("task_ingress", &frame, DropReason::Multicast);
    }
}

#[test]
fn broken_frames_are_dropped() {
    let mut world = World::new();
    let frame = syn(FROM_CLIENT, (CLIENT, 40000), (LOCAL, 80));
    world.assert_drop("task_ingress", &frame[..40], DropReason::Malformed);
    let mut mislabelled = frame.clone();
    mislabelled[12..14].copy_from_slice(&[0x86, 0xdd]);
    world.assert_drop("task_ingress", &mislabelled, DropReason::Malformed);
    let mut other = frame;
    other[12..14].copy_from_slice(&[0x88, 0xcc]);
    world.assert_drop("task_ingress", &other, DropReason::UnsupportedEtherType);
}

#[test]
fn before_the_loader_is_done_nothing_passes() {
    let mut world = World::empty();
    let frame = syn(FROM_CLIENT, (CLIENT, 40000), (LOCAL, 80));
    world.assert_drop("task_ingress", &frame, DropReason::NotConfigured);
    assert_eq!(world.run("uplink_ingress", &frame).0, crate::world::PASS);
}

#[test]
fn tunnel_packets_without_a_sender_are_dropped() {
    let mut world = World::new();
    let frame = ping(TUNNEL, REMOTE, CLIENT, 1);
    world.assert_drop("overlay_ingress", &frame, DropReason::UnknownPeer);
}
