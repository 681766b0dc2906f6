//! What lies between the IPv6 header and the transport header, and headers that are cut off.

use std::net::Ipv6Addr;

use orch_ebpf_common::DropReason;

use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, TUNNEL, ping, reset, syn, udp};
use crate::world::{CLIENT_V6, PASS, REDIRECT, REMOTE_V6, SHOT, VIP_V6, World, vip_v6};

const CLIENT_SIDE: (Ipv6Addr, u16) = (CLIENT_V6, 40000);
const VIP_SIDE: (Ipv6Addr, u16) = (VIP_V6, 6379);
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const IPV6: usize = 14;
const L4: usize = 54;

/// An extension header: its number and its bytes from the second one on.
type Extension<'a> = (u8, &'a [u8]);

const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
const LONG_PADDING: &[u8] = &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A routing header whose segments are all behind it.
const ROUTED: &[u8] = &[0, 2, 0, 0, 0, 0, 0];

/// Puts extension headers between a frame's IPv6 header and what follows.
fn extended(frame: &[u8], extensions: &[Extension]) -> Vec<u8> {
    let mut headers = Vec::new();
    let mut numbers: Vec<u8> = extensions.iter().map(|(number, _)| *number).collect();
    numbers.push(frame[IPV6 + 6]);
    for ((_, rest), next) in extensions.iter().zip(&numbers[1..]) {
        headers.push(*next);
        headers.extend(*rest);
    }
    let mut extended = frame[..L4].to_vec();
    let payload = u16::try_from(frame.len() - L4 + headers.len()).unwrap();
    extended[IPV6 + 4..IPV6 + 6].copy_from_slice(&payload.to_be_bytes());
    extended[IPV6 + 6] = numbers[0];
    extended.extend(headers);
    extended.extend(&frame[L4..]);
    extended
}

#[test]
fn the_transport_header_is_found_behind_extensions() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[(REMOTE_V6, None)]);
    let chains: [&[Extension]; 5] = [
        &[(HOP_BY_HOP, PADDING)],
        &[(DESTINATION_OPTIONS, LONG_PADDING)],
        &[(HOP_BY_HOP, PADDING), (ROUTING, ROUTED)],
        // A datagram in one fragment is whole.
        &[(FRAGMENT, &[0; 7])],
        &[(DESTINATION_OPTIONS, PADDING); 6],
    ];
    for chain in chains {
        let build = |link, to| extended(&udp(link, CLIENT_SIDE, to, b"x"), chain);
        let frame = build(FROM_CLIENT, VIP_SIDE);
        let expected = build(TUNNEL, (REMOTE_V6, 6379));
        assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
    }
}

#[test]
fn more_extensions_than_are_walked_carry_something_unknown() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[(REMOTE_V6, None)]);
    let chain = [(DESTINATION_OPTIONS, PADDING); 7];
    let to_vip = extended(&udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"x"), &chain);
    world.assert_drop("task_ingress", &to_vip, DropReason::UnsupportedProtocol);
    let build = |link| extended(&udp(link, CLIENT_SIDE, (REMOTE_V6, 53), b"x"), &chain);
    let sent = world.run("task_ingress", &build(FROM_CLIENT));
    assert_eq!(
        sent,
        (REDIRECT, build(TUNNEL)),
        "between tasks anything goes"
    );
}

#[test]
fn what_comes_behind_extensions_is_refused_without_them() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[]);
    let chain: [Extension; 1] = [(DESTINATION_OPTIONS, PADDING)];
    let refused = extended(&syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE), &chain);
    let expected = reset(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, 0, Some(1001));
    assert_eq!(world.run("task_ingress", &refused), (REDIRECT, expected));

    // The quote holds the extensions, and cuts what is longer than it may be.
    let long: [Extension; 6] = [(DESTINATION_OPTIONS, LONG_PADDING); 6];
    for (chain, quoted) in [(&chain[..], 56), (&long[..], 128)] {
        let refused = extended(&udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"xyz"), chain);
        let (verdict, frame) = world.run("task_ingress", &refused);
        let error = crate::frames::icmp_error(
            TO_CLIENT,
            VIP_V6,
            CLIENT_V6,
            (1, 4, [0; 4]),
            &refused[IPV6..IPV6 + quoted],
        );
        assert_eq!((verdict, frame), (REDIRECT, error));
    }
}

/// Every program, and every verdict that it may give a packet that cannot be read.
const PROGRAMS: [(&str, i32); 3] = [
    ("task_ingress", SHOT),
    ("host_ingress", SHOT),
    ("uplink_ingress", PASS),
];

#[test]
fn frames_that_are_cut_off_anywhere_are_dropped() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[(REMOTE_V6, None)]);
    let chain: [Extension; 3] = [
        (HOP_BY_HOP, PADDING),
        (ROUTING, ROUTED),
        (DESTINATION_OPTIONS, LONG_PADDING),
    ];
    for whole in [
        syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE),
        udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b""),
        ping(FROM_CLIENT, CLIENT_V6, VIP_V6, 7),
    ] {
        let whole = extended(&whole, &chain);
        for (program, verdict) in PROGRAMS {
            // A test run takes no frame without a whole IPv6 header.
            for len in L4..whole.len() {
                let cut = &whole[..len];
                if verdict == SHOT {
                    world.assert_drop(program, cut, DropReason::Malformed);
                } else {
                    assert_eq!(world.run(program, cut).0, verdict, "{program}, {len} bytes");
                }
            }
        }
    }
}

#[test]
fn packets_that_end_inside_their_headers_are_dropped() {
    let mut world = World::new();
    world.serve_v6(vip_v6(), 1, &[(REMOTE_V6, None)]);
    let chain: [Extension; 2] = [(HOP_BY_HOP, PADDING), (DESTINATION_OPTIONS, LONG_PADDING)];
    for (whole, transport) in [
        (syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE), 20),
        (udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b""), 8),
        (ping(FROM_CLIENT, CLIENT_V6, VIP_V6, 7), 8),
    ] {
        let mut frame = extended(&whole, &chain);
        // What the link adds to short frames is not the packet's.
        frame.extend([0; 64]);
        for payload in 0..u16::try_from(8 + 16 + transport).unwrap() {
            frame[IPV6 + 4..IPV6 + 6].copy_from_slice(&payload.to_be_bytes());
            world.assert_drop("task_ingress", &frame, DropReason::Malformed);
        }
    }
}

#[test]
fn fragments_pass_between_tasks() {
    let mut world = World::new();
    // "More fragments", at offset 0; and a later one.
    for rest in [&[0, 0, 1, 0, 0, 0, 7], &[0, 0, 8, 0, 0, 0, 7]] {
        let chain: [Extension; 1] = [(FRAGMENT, rest)];
        let to = (REMOTE_V6, 6000);
        let build = |link: Link| extended(&udp(link, CLIENT_SIDE, to, &[7; 64]), &chain);
        let sent = world.run("task_ingress", &build(FROM_CLIENT));
        assert_eq!(sent, (REDIRECT, build(TUNNEL)));
    }
}
