//! ICMPv6 errors about translated conversations, and about others.

use std::net::Ipv6Addr;

use orch_ebpf_common::{Be16, DropReason, FrontendKey};

use crate::frames::{
    FROM_CLIENT, Link, Side, TO_CLIENT, icmp_error, ping, segment, udp, unreachable,
};
use crate::world::{
    CLIENT_V6, GATEWAY_MAC, LOCAL_MAC, LOCAL_V6, NODE_V6, OUTSIDE_V6, PASS, REDIRECT, REMOTE_V6,
    VIP_V6, VNI, World, vip_v6,
};

const FROM_OUTSIDE: Link = Link([2; 6], [4; 6]);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
/// Somewhere on the way.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 1);
const CLIENT_SIDE: Side<Ipv6Addr> = (CLIENT_V6, 40000);
const OUTSIDE_SIDE: Side<Ipv6Addr> = (OUTSIDE_V6, 50000);
const NODE_SIDE: Side<Ipv6Addr> = (NODE_V6, 8080);
const VIP_SIDE: Side<Ipv6Addr> = (VIP_V6, 6379);
/// "Port unreachable".
const PORT: (u8, u8, [u8; 4]) = (1, 4, [0; 4]);
/// "Packet too big", with an MTU of 1400.
const TOO_BIG: (u8, u8, [u8; 4]) = (2, 0, [0, 0, 0x05, 0x78]);
/// "Time exceeded".
const EXPIRED: (u8, u8, [u8; 4]) = (3, 0, [0; 4]);
/// "Parameter problem", at byte 40.
const PROBLEM: (u8, u8, [u8; 4]) = (4, 0, [0, 0, 0, 40]);

/// The packet in a frame.
fn packet(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

#[test]
fn a_refusal_from_outside_reaches_the_task_that_asked() {
    let mut world = World::new();
    let asked = udp(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE_V6, 53), b"question");
    let (_, sent) = world.run("task_ingress", &asked);
    // What is quoted ends with the UDP header, or holds the whole packet.
    for len in [48, 56] {
        let error = icmp_error(
            FROM_OUTSIDE,
            OUTSIDE_V6,
            NODE_V6,
            PORT,
            &packet(&sent)[..len],
        );
        let quoted = &packet(&asked)[..len];
        let expected = icmp_error(TO_CLIENT, OUTSIDE_V6, CLIENT_V6, PORT, quoted);
        assert_eq!(world.run("uplink_ingress", &error), (REDIRECT, expected));
    }
}

#[test]
fn a_router_s_errors_keep_its_address_and_what_they_say() {
    let mut world = World::new();
    let asked = segment(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE_V6, 443), &[7; 100]);
    let (_, sent) = world.run("task_ingress", &asked);
    // TCP's checksum is translated too where it is quoted, at the bytes 56 and 57.
    for (kind, len) in [
        (TOO_BIG, 48),
        (EXPIRED, 57),
        (PROBLEM, 58),
        (TOO_BIG, packet(&sent).len()),
    ] {
        let error = icmp_error(FROM_OUTSIDE, ROUTER, NODE_V6, kind, &packet(&sent)[..len]);
        let mut quoted = packet(&asked)[..len].to_vec();
        if len == 57 {
            quoted[56] = packet(&sent)[56];
        }
        let expected = icmp_error(TO_CLIENT, ROUTER, CLIENT_V6, kind, &quoted);
        assert_eq!(world.run("uplink_ingress", &error), (REDIRECT, expected));
    }
}

#[test]
fn errors_about_pings_are_told_apart_by_their_identifier() {
    let mut world = World::new();
    let asked = ping(FROM_CLIENT, CLIENT_V6, OUTSIDE_V6, 5);
    let (_, sent) = world.run("task_ingress", &asked);
    let error = icmp_error(FROM_OUTSIDE, ROUTER, NODE_V6, EXPIRED, packet(&sent));
    let expected = icmp_error(TO_CLIENT, ROUTER, CLIENT_V6, EXPIRED, packet(&asked));
    assert_eq!(world.run("uplink_ingress", &error), (REDIRECT, expected));
}

#[test]
fn a_backend_s_refusal_comes_from_the_vip() {
    for backend in [LOCAL_V6, REMOTE_V6] {
        let mut world = World::new();
        world.serve_v6(vip_v6(), 1, &[(backend, None)]);
        let asked = udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"x");
        world.run("task_ingress", &asked);
        // The sender of this run may have the backend's address.
        world.also_has(VNI, backend);
        let met = udp(FROM_CLIENT, CLIENT_SIDE, (backend, 6379), b"x");
        let refused = world.run("task_ingress", &unreachable(FROM_CLIENT, &met, 4));
        assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &asked, 4)));
    }
}

#[test]
fn refusals_cross_a_published_port_both_ways() {
    let mut world = World::new();
    let port = FrontendKey::published(false, 17, Be16::new(8080));
    world.serve_v6(port, 1, &[(CLIENT_V6, Some(80))]);
    let asked = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"x");
    world.run("uplink_ingress", &asked);
    let met = udp(FROM_CLIENT, OUTSIDE_SIDE, (CLIENT_V6, 80), b"x");
    let refused = world.run("task_ingress", &unreachable(FROM_CLIENT, &met, 4));
    // The next hop's link-layer address is filled in when the redirect is carried out.
    assert_eq!(refused, (REDIRECT, unreachable(FROM_CLIENT, &asked, 4)));

    let gave = udp(FROM_CLIENT, (CLIENT_V6, 80), OUTSIDE_SIDE, b"answer");
    let (_, sent) = world.run("task_ingress", &gave);
    let refused = world.run("uplink_ingress", &unreachable(FROM_OUTSIDE, &sent, 4));
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &gave, 4)));
}

#[test]
fn errors_about_other_conversations_go_their_own_way() {
    let mut world = World::new();
    let host_s = udp(FROM_OUTSIDE, (NODE_V6, 5000), OUTSIDE_SIDE, b"x");
    let error = unreachable(FROM_OUTSIDE, &host_s, 4);
    assert_eq!(world.run("uplink_ingress", &error), (PASS, error));

    let met = udp(FROM_CLIENT, (LOCAL_V6, 5000), (CLIENT_V6, 6000), b"x");
    let delivered = world.run("task_ingress", &unreachable(FROM_CLIENT, &met, 4));
    assert_eq!(delivered, (REDIRECT, unreachable(TO_LOCAL, &met, 4)));

    let met = udp(FROM_CLIENT, OUTSIDE_SIDE, (CLIENT_V6, 6000), b"x");
    let error = unreachable(FROM_CLIENT, &met, 4);
    world.assert_drop("task_ingress", &error, DropReason::IcmpNotTranslated);
}
