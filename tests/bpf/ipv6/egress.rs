//! What tasks send to outside their networks.

use std::net::Ipv6Addr;

use orch_ebpf_common::{Address, DropReason, Network};

use crate::egress::translated_port;
use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, ping, pong, segment, syn, udp, unreachable};
use crate::world::{
    CLIENT_V6, GATEWAY_MAC, GATEWAY_V6, HOST_MAC, NODE_V6, OUTSIDE_V6, REDIRECT, VNI, World,
};

const TASKS: Ipv6Addr = Ipv6Addr::new(0xfd6f, 0x7263, 0x6864, 0, 0, 0, 0, 3);
const HOST_LINK: Ipv6Addr = Ipv6Addr::new(0xfd6f, 0x7263, 0x6864, 0, 0, 0, 0, 1);
const CLIENT_SIDE: (Ipv6Addr, u16) = (CLIENT_V6, 40000);
const TO_HOST: Link = Link(HOST_MAC, GATEWAY_MAC);
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
const FROM_OUTSIDE: Link = Link([2; 6], [4; 6]);

#[test]
fn a_service_of_the_host_sees_a_link_address_and_its_answer_comes_from_the_host_s() {
    let mut world = World::new();
    let host = (NODE_V6, 2375);
    let sent = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, host));
    let source = (TASKS, translated_port(&world));
    assert_eq!(sent, (REDIRECT, syn(TO_HOST, source, host)));

    let answer = segment(FROM_HOST, host, source, b"OK");
    let back = world.run("host_ingress", &answer);
    let expected = segment(TO_CLIENT, host, CLIENT_SIDE, b"OK");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn questions_to_the_gateway_reach_the_host_s_listener() {
    let mut world = World::new();
    let (gateway, listener) = ((GATEWAY_V6, 53), (HOST_LINK, 53));
    let question = udp(FROM_CLIENT, CLIENT_SIDE, gateway, b"none that is known");
    let sent = world.run("task_ingress", &question);
    let source = (TASKS, translated_port(&world));
    let expected = udp(TO_HOST, source, listener, b"none that is known");
    assert_eq!(sent, (REDIRECT, expected));

    let answer = udp(FROM_HOST, listener, source, b"an answer");
    let back = world.run("host_ingress", &answer);
    let expected = udp(TO_CLIENT, gateway, CLIENT_SIDE, b"an answer");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn the_outside_sees_the_host_s_address() {
    let mut world = World::new();
    let outside = (OUTSIDE_V6, 443);
    let sent = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, outside));
    let source = (NODE_V6, translated_port(&world));
    assert_eq!(sent, (REDIRECT, syn(FROM_CLIENT, source, outside)));

    let answer = segment(FROM_OUTSIDE, outside, source, b"data");
    let back = world.run("uplink_ingress", &answer);
    let expected = segment(TO_CLIENT, outside, CLIENT_SIDE, b"data");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn pings_to_outside_are_told_apart_by_their_identifier() {
    let mut world = World::new();
    let asked = ping(FROM_CLIENT, CLIENT_V6, OUTSIDE_V6, 5);
    let sent = world.run("task_ingress", &asked);
    let id = translated_port(&world);
    let expected = ping(FROM_CLIENT, NODE_V6, OUTSIDE_V6, id);
    assert_eq!(sent, (REDIRECT, expected));

    let answer = pong(FROM_OUTSIDE, OUTSIDE_V6, NODE_V6, id);
    let back = world.run("uplink_ingress", &answer);
    let expected = pong(TO_CLIENT, OUTSIDE_V6, CLIENT_V6, 5);
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn a_host_without_an_address_of_the_family_says_so_at_once() {
    let mut world = World::new();
    world.change_config(|config| config.outside_v6 = Address::UNSPECIFIED);
    let before = world.dropped(DropReason::NoSourceAddress);
    let frame = syn(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE_V6, 443));
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 0)));
    assert_eq!(world.dropped(DropReason::NoSourceAddress), before + 1);
}

#[test]
fn tasks_of_an_internal_network_stay_inside() {
    let mut world = World::new();
    let flags = Network::INTERNAL;
    world.set("NETWORKS", VNI, Network { flags });
    for to in [OUTSIDE_V6, NODE_V6] {
        let frame = syn(FROM_CLIENT, CLIENT_SIDE, (to, 443));
        world.assert_drop("task_ingress", &frame, DropReason::InternalNetwork);
    }
    let question = udp(FROM_CLIENT, CLIENT_SIDE, (GATEWAY_V6, 53), b"secret?");
    let refused = world.run("task_ingress", &question);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &question, 4)));
}
