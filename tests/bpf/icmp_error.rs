//! ICMP errors about translated conversations, and about others.

use std::net::Ipv4Addr;

use orch_ebpf_common::{Be16, Delivery, DropReason, Flow, FlowKey, FrontendKey};

use crate::egress::translated_port;
use crate::frames::{
    FROM_CLIENT, Link, Side, TO_CLIENT, TUNNEL, icmp_error, ping, segment, udp,
    udp_without_checksum, unreachable,
};
use crate::world::{
    CLIENT, GATEWAY, GATEWAY_MAC, HOST_MAC, LOCAL, LOCAL_MAC, NODE, OTHER_NODE, OUTSIDE, PASS,
    REDIRECT, REMOTE, VIP, VNI, World, vip,
};

const FROM_OUTSIDE: Link = Link([2; 6], [4; 6]);
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const TASKS: Ipv4Addr = Ipv4Addr::new(169, 254, 42, 3);
const HOST_LINK: Ipv4Addr = Ipv4Addr::new(169, 254, 42, 1);
/// Somewhere on the way.
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const CLIENT_SIDE: Side = (CLIENT, 40000);
const OUTSIDE_SIDE: Side = (OUTSIDE, 50000);
const NODE_SIDE: Side = (NODE, 8080);
const VIP_SIDE: Side = (VIP, 6379);
/// "Port unreachable".
const PORT: (u8, u8, [u8; 4]) = (3, 3, [0; 4]);
/// "Fragmentation needed", with an MTU of 1400.
const TOO_BIG: (u8, u8, [u8; 4]) = (3, 4, [0, 0, 0x05, 0x78]);
/// "Time exceeded".
const EXPIRED: (u8, u8, [u8; 4]) = (11, 0, [0; 4]);

type BuildUdp = fn(Link, Side, Side, &[u8]) -> Vec<u8>;

/// The packet in a frame.
fn packet(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

#[test]
fn a_refusal_from_outside_reaches_the_task_that_asked() {
    for build in [udp as BuildUdp, udp_without_checksum] {
        let mut world = World::new();
        let asked = build(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE, 53), b"question");
        let (_, sent) = world.run("task_ingress", &asked);
        // What is quoted ends with the UDP header, or holds the whole packet.
        for len in [28, 36] {
            let error = icmp_error(FROM_OUTSIDE, OUTSIDE, NODE, PORT, &packet(&sent)[..len]);
            let expected = icmp_error(TO_CLIENT, OUTSIDE, CLIENT, PORT, &packet(&asked)[..len]);
            assert_eq!(world.run("uplink_ingress", &error), (REDIRECT, expected));
        }
    }
}

#[test]
fn a_router_s_errors_keep_its_address_and_the_mtu() {
    let mut world = World::new();
    let asked = segment(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE, 443), &[7; 100]);
    let (_, sent) = world.run("task_ingress", &asked);
    // TCP's checksum is translated too where it is quoted, at the bytes 36 and 37.
    for len in [28, 37, 38, 140] {
        let error = icmp_error(FROM_OUTSIDE, ROUTER, NODE, TOO_BIG, &packet(&sent)[..len]);
        let mut quoted = packet(&asked)[..len].to_vec();
        if len == 37 {
            quoted[36] = packet(&sent)[36];
        }
        let expected = icmp_error(TO_CLIENT, ROUTER, CLIENT, TOO_BIG, &quoted);
        assert_eq!(world.run("uplink_ingress", &error), (REDIRECT, expected));
    }
}

#[test]
fn errors_about_pings_are_told_apart_by_their_identifier() {
    let mut world = World::new();
    let asked = ping(FROM_CLIENT, CLIENT, OUTSIDE, 5);
    let (_, sent) = world.run("task_ingress", &asked);
    let error = icmp_error(FROM_OUTSIDE, ROUTER, NODE, EXPIRED, packet(&sent));
    let expected = icmp_error(TO_CLIENT, ROUTER, CLIENT, EXPIRED, packet(&asked));
    assert_eq!(world.run("uplink_ingress", &error), (REDIRECT, expected));
}

#[test]
fn a_refusal_of_the_host_s_listener_comes_from_the_gateway() {
    let mut world = World::new();
    let asked = udp(FROM_CLIENT, CLIENT_SIDE, (GATEWAY, 53), b"question");
    world.run("task_ingress", &asked);
    let source = (TASKS, translated_port(&world));
    let sent = udp(FROM_HOST, source, (HOST_LINK, 53), b"question");
    let refused = world.run("host_ingress", &unreachable(FROM_HOST, &sent, 3));
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &asked, 3)));
}

#[test]
fn a_backend_s_refusal_comes_from_the_vip() {
    for backend in [LOCAL, REMOTE] {
        for build in [udp as BuildUdp, udp_without_checksum] {
            let mut world = World::new();
            world.serve(vip(), 1, &[(backend, None)]);
            let asked = build(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"x");
            world.run("task_ingress", &asked);
            // The sender of this run may have the backend's address.
            world.also_has(VNI, backend);
            let met = build(FROM_CLIENT, CLIENT_SIDE, (backend, 6379), b"x");
            let refused = world.run("task_ingress", &unreachable(FROM_CLIENT, &met, 3));
            assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &asked, 3)));
        }
    }
}

/// A world whose UDP port 8080 leads to port 80 of [`CLIENT`], and the frame of one who asked.
fn asked_from_outside() -> (World, Vec<u8>) {
    let mut world = World::new();
    let port = FrontendKey::published(true, 17, Be16::new(8080));
    world.serve(port, 1, &[(CLIENT, Some(80))]);
    let asked = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"x");
    world.run("uplink_ingress", &asked);
    (world, asked)
}

#[test]
fn a_refusal_behind_a_published_port_comes_from_the_host() {
    let (mut world, asked) = asked_from_outside();
    let met = udp(FROM_CLIENT, OUTSIDE_SIDE, (CLIENT, 80), b"x");
    let refused = world.run("task_ingress", &unreachable(FROM_CLIENT, &met, 3));
    // The next hop's link-layer address is filled in when the redirect is carried out.
    assert_eq!(refused, (REDIRECT, unreachable(FROM_CLIENT, &asked, 3)));
}

#[test]
fn a_refusal_goes_back_through_the_host_that_the_client_knocked_at() {
    let mut world = World::new();
    let key = FlowKey {
        vni: VNI,
        source: CLIENT.into(),
        destination: OUTSIDE.into(),
        source_port: Be16::new(80),
        destination_port: Be16::new(OUTSIDE_SIDE.1),
        protocol: 17,
        reserved: 0,
        branch: Be16::ZERO,
    };
    let way_back = Flow {
        source: key.source,
        destination: key.destination,
        source_port: key.source_port,
        destination_port: key.destination_port,
        vni: VNI,
        node: OTHER_NODE.into(),
        delivery: Delivery::Tunnel as u8,
        ..Flow::default()
    };
    world.set("FLOWS", key, way_back);
    let met = udp(FROM_CLIENT, OUTSIDE_SIDE, (CLIENT, 80), b"x");
    let refused = world.run("task_ingress", &unreachable(FROM_CLIENT, &met, 3));
    assert_eq!(refused, (REDIRECT, unreachable(TUNNEL, &met, 3)));
}

#[test]
fn a_client_s_refusal_of_an_answer_reaches_the_task_that_gave_it() {
    let (mut world, _) = asked_from_outside();
    let gave = udp(FROM_CLIENT, (CLIENT, 80), OUTSIDE_SIDE, b"answer");
    let (_, sent) = world.run("task_ingress", &gave);
    let refused = world.run("uplink_ingress", &unreachable(FROM_OUTSIDE, &sent, 3));
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &gave, 3)));
}

#[test]
fn errors_about_other_conversations_are_no_business_of_ours() {
    let mut world = World::new();
    let asked = udp(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE, 53), b"question");
    let (_, sent) = world.run("task_ingress", &asked);
    let own = udp(FROM_HOST, (NODE, 40000), (OUTSIDE, 53), b"question");
    let (mut fragment, mut redirect) = (sent.clone(), PORT);
    fragment[21] = 1;
    redirect.0 = 5;
    for error in [
        // The host's own, a later fragment's, one that quotes too little, and no error at all.
        unreachable(FROM_OUTSIDE, &own, 3),
        unreachable(FROM_OUTSIDE, &fragment, 3),
        icmp_error(FROM_OUTSIDE, OUTSIDE, NODE, PORT, &packet(&sent)[..27]),
        icmp_error(FROM_OUTSIDE, OUTSIDE, NODE, redirect, packet(&sent)),
    ] {
        assert_eq!(world.run("uplink_ingress", &error), (PASS, error));
    }
    let error = unreachable(FROM_HOST, &own, 3);
    world.assert_drop("host_ingress", &error, DropReason::HostUnexpected);
}

#[test]
fn errors_between_tasks_are_ordinary_traffic() {
    let mut world = World::new();
    let met = udp(FROM_CLIENT, (LOCAL, 5000), (CLIENT, 6000), b"x");
    let error = unreachable(FROM_CLIENT, &met, 3);
    let delivered = world.run("task_ingress", &error);
    assert_eq!(delivered, (REDIRECT, unreachable(TO_LOCAL, &met, 3)));

    let met = udp(FROM_CLIENT, OUTSIDE_SIDE, (CLIENT, 6000), b"x");
    let error = unreachable(FROM_CLIENT, &met, 3);
    world.assert_drop("task_ingress", &error, DropReason::IcmpNotTranslated);
}

#[test]
fn a_task_cannot_refuse_what_another_one_got() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None)]);
    world.also_has(VNI, REMOTE);
    let asked = udp(FROM_CLIENT, (REMOTE, 40000), VIP_SIDE, b"x");
    world.run("task_ingress", &asked);
    let met = udp(FROM_CLIENT, (REMOTE, 40000), (LOCAL, 6379), b"x");
    let forged = |link| icmp_error(link, CLIENT, REMOTE, PORT, &packet(&met)[..28]);
    let delivered = world.run("task_ingress", &forged(FROM_CLIENT));
    assert_eq!(delivered, (REDIRECT, forged(TUNNEL)), "as any other packet");
    // The true one comes from an address that this sender does not have.
    let error = unreachable(FROM_CLIENT, &met, 3);
    world.assert_drop("task_ingress", &error, DropReason::SpoofedSource);
}
