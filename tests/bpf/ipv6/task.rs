//! What a task may send, and how it reaches other tasks.

use std::net::Ipv6Addr;

use orch_ebpf_common::{DropReason, Vni};

use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, TUNNEL, ping, pong, syn, udp, unreachable};
use crate::world::{
    CLIENT_V6, GATEWAY_MAC, GATEWAY_V6, LOCAL_MAC, LOCAL_V6, OUTSIDE_V6, REDIRECT, REMOTE_V6, World,
};

const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);

#[test]
fn tasks_reach_each_other_on_the_same_and_on_another_host() {
    let mut world = World::new();
    let (from, to) = ((CLIENT_V6, 40000), (LOCAL_V6, 80));
    let delivered = world.run("task_ingress", &syn(FROM_CLIENT, from, to));
    assert_eq!(delivered, (REDIRECT, syn(TO_LOCAL, from, to)));
    let sent = world.run("task_ingress", &ping(FROM_CLIENT, CLIENT_V6, REMOTE_V6, 7));
    assert_eq!(sent, (REDIRECT, ping(TUNNEL, CLIENT_V6, REMOTE_V6, 7)));
    assert_eq!(world.flows(), [], "untranslated traffic needs no state");
}

#[test]
fn hosts_tunnel_over_either_family() {
    let mut world = World::new();
    world.change_config(|config| config.node = crate::world::NODE_V6.into());
    let endpoint = orch_ebpf_common::Endpoint {
        node: OUTSIDE_V6.into(),
        ..orch_ebpf_common::Endpoint::default()
    };
    let key = orch_ebpf_common::EndpointKey {
        vni: crate::world::VNI,
        address: REMOTE_V6.into(),
    };
    world.set("ENDPOINTS", key, endpoint);
    let sent = world.run("task_ingress", &ping(FROM_CLIENT, CLIENT_V6, REMOTE_V6, 7));
    assert_eq!(sent, (REDIRECT, ping(TUNNEL, CLIENT_V6, REMOTE_V6, 7)));
    let received = ping(TUNNEL, REMOTE_V6, CLIENT_V6, 1);
    world.assert_drop("overlay_ingress", &received, DropReason::UnknownPeer);
}

#[test]
fn an_address_that_nobody_has_is_unreachable() {
    let mut world = World::new();
    let nobody = Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 0x200);
    for frame in [
        ping(FROM_CLIENT, CLIENT_V6, nobody, 3),
        syn(FROM_CLIENT, (CLIENT_V6, 40000), (nobody, 80)),
        udp(FROM_CLIENT, (CLIENT_V6, 40000), (nobody, 80), &[1; 300]),
    ] {
        let refused = world.run("task_ingress", &frame);
        assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 3)));
    }
}

#[test]
fn the_gateway_answers_pings_and_refuses_connections() {
    let mut world = World::new();
    let answered = world.run("task_ingress", &ping(FROM_CLIENT, CLIENT_V6, GATEWAY_V6, 9));
    let expected = pong(TO_CLIENT, GATEWAY_V6, CLIENT_V6, 9);
    assert_eq!(answered, (REDIRECT, expected));
    let frame = udp(FROM_CLIENT, (CLIENT_V6, 40000), (GATEWAY_V6, 123), b"time?");
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 4)));
}

#[test]
fn foreign_and_link_local_source_addresses_are_dropped() {
    let mut world = World::new();
    for source in [LOCAL_V6, OUTSIDE_V6, LINK_LOCAL, Ipv6Addr::UNSPECIFIED] {
        let frame = ping(FROM_CLIENT, source, REMOTE_V6, 1);
        world.assert_drop("task_ingress", &frame, DropReason::SpoofedSource);
    }
}

#[test]
fn an_address_of_another_interface_of_the_container_continues_in_that_network() {
    let mut world = World::new();
    let (other, address) = (Vni::new(4099), Ipv6Addr::new(0xfd00, 30, 0, 0, 0, 0, 0, 7));
    world.also_has(other, address);
    let frame = ping(FROM_CLIENT, address, LOCAL_V6, 1);
    world.assert_drop("task_ingress", &frame, DropReason::UnknownNetwork);
}

#[test]
fn multicast_is_dropped() {
    let mut world = World::new();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    for source in [CLIENT_V6, LINK_LOCAL] {
        let frame = udp(FROM_CLIENT, (source, 5353), (group, 5353), b"who?");
        world.assert_drop("task_ingress", &frame, DropReason::Multicast);
    }
}
