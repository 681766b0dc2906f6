//! IPv6 clients of tasks that have IPv4 addresses only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};
use orch_ebpf_common::flow::NAT_PORTS;
use orch_ebpf_common::{Address, Be16, DropReason, Frontend, FrontendKey};

use crate::datagram::{Carries, Datagram};
use crate::frames::{
    FROM_CLIENT, Link, TUNNEL, fin, icmp_error, segment, syn, syn_ack, udp, udp_without_checksum,
};
use crate::world::{
    CLIENT, CLIENT_MAC, CLIENT_V6, GATEWAY_MAC, HOST_MAC, LOCAL, LOCAL_MAC, NODE, NODE_V6,
    OUTSIDE_V6, PASS, REDIRECT, REMOTE, World, published_v6,
};

const UPLINK: [u8; 6] = [2, 0, 0, 0, 0, 0xdd];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xee];
const FROM_OUTSIDE: Link = Link(UPLINK, ROUTER);
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
const TO_CLIENT: Link = Link(CLIENT_MAC, GATEWAY_MAC);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const OUTSIDE_SIDE: (Ipv6Addr, u16) = (OUTSIDE_V6, 50000);
const NODE_SIDE: (Ipv6Addr, u16) = (NODE_V6, 8080);
const MESH: Ipv6Addr = Ipv6Addr::new(0xfd6f, 0x7263, 0x6864, 0, 0, 0, 0, 2);
const ETHERNET: usize = 14;
const V4: usize = 20;
const V6: usize = 40;

/// A world whose TCP and UDP ports 8080 lead IPv6 clients to a task with an IPv4 address.
fn world(backend: Ipv4Addr) -> World {
    let mut world = World::new();
    for protocol in [6, 17] {
        let frontend = FrontendKey::published(false, protocol, Be16::new(8080));
        world.serve(frontend, 1, &[(backend, Some(80))]);
    }
    world
}

/// The source port of an IPv4 frame, which must be one of the host's.
fn port(frame: &[u8]) -> u16 {
    let at = ETHERNET + V4;
    let port = u16::from_be_bytes([frame[at], frame[at + 1]]);
    assert!(NAT_PORTS.contains(&port), "{port}: {frame:02x?}");
    port
}

/// Asks, and returns what stands for the client, and what the task is asked.
fn ask(world: &mut World, program: &str, asked: &[u8]) -> ((Ipv4Addr, u16), Vec<u8>) {
    let (verdict, met) = world.run(program, asked);
    assert_eq!(verdict, REDIRECT);
    ((NODE, port(&met)), met)
}

/// Opens a connection of the outside, and returns what stands for the client.
fn open(world: &mut World) -> (Ipv4Addr, u16) {
    let asked = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    ask(world, "uplink_ingress", &asked).0
}

#[test]
fn a_connection_becomes_ipv4_and_its_answers_ipv6() {
    let mut world = world(CLIENT);
    let asked = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    let (stand_in, met) = ask(&mut world, "uplink_ingress", &asked);
    assert_eq!(met, syn(TO_CLIENT, stand_in, (CLIENT, 80)));

    let answer = syn_ack(FROM_CLIENT, (CLIENT, 80), stand_in);
    let expected = syn_ack(FROM_CLIENT, NODE_SIDE, OUTSIDE_SIDE);
    assert_eq!(world.run("task_ingress", &answer), (REDIRECT, expected));

    for payload in [&b""[..], b"odd", b"GET / HTTP/1.1", &[0xff; 999]] {
        let asked = segment(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, payload);
        let expected = segment(TO_CLIENT, stand_in, (CLIENT, 80), payload);
        assert_eq!(world.run("uplink_ingress", &asked), (REDIRECT, expected));

        let answer = segment(FROM_CLIENT, (CLIENT, 80), stand_in, payload);
        let expected = segment(FROM_CLIENT, NODE_SIDE, OUTSIDE_SIDE, payload);
        assert_eq!(world.run("task_ingress", &answer), (REDIRECT, expected));
    }
    let last = fin(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    let expected = fin(TO_CLIENT, stand_in, (CLIENT, 80));
    assert_eq!(world.run("uplink_ingress", &last), (REDIRECT, expected));
}

#[test]
fn datagrams_of_all_lengths_go_there_and_back() {
    let mut world = world(CLIENT);
    for len in (0..70).chain([599, 1200]) {
        let payload: Vec<u8> = (0..=255).cycle().skip(len).take(len).collect();
        let asked = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, &payload);
        let (stand_in, met) = ask(&mut world, "uplink_ingress", &asked);
        let expected = udp(TO_CLIENT, stand_in, (CLIENT, 80), &payload);
        assert_eq!(met, expected, "{len} bytes");

        let answer = udp(FROM_CLIENT, (CLIENT, 80), stand_in, &payload);
        let expected = udp(FROM_CLIENT, NODE_SIDE, OUTSIDE_SIDE, &payload);
        let back = world.run("task_ingress", &answer);
        assert_eq!(back, (REDIRECT, expected), "{len} bytes");
    }
}

#[test]
fn a_task_of_another_host_sees_this_host() {
    let mut world = world(REMOTE);
    let asked = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    let (stand_in, met) = ask(&mut world, "uplink_ingress", &asked);
    assert_eq!(met, syn(TUNNEL, stand_in, (REMOTE, 80)));
}

#[test]
fn class_and_hops_are_passed_on() {
    let mut world = world(CLIENT);
    let stand_in = open(&mut world);
    let mut asked = segment(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"hello");
    // Expedited forwarding and "congestion experienced", a flow label, and 7 hops.
    asked[ETHERNET..ETHERNET + 4].copy_from_slice(&[0x6b, 0xb1, 0x23, 0x45]);
    asked[ETHERNET + 7] = 7;
    let (verdict, met) = world.run("uplink_ingress", &asked);
    assert_eq!(verdict, REDIRECT);
    let ip = Ipv4HeaderSlice::from_slice(&met[ETHERNET..])
        .unwrap()
        .to_header();
    let class = ip.dscp.value() << 2 | ip.ecn.value();
    assert_eq!((class, ip.time_to_live), (0xbb, 7));
    assert_eq!((ip.identification, ip.dont_fragment), (0, true));
    assert_eq!(ip.header_checksum, ip.calc_header_checksum());

    let mut answer = segment(FROM_CLIENT, (CLIENT, 80), stand_in, b"hello");
    answer[ETHERNET + 1] = 0xbb;
    answer[ETHERNET + 8] = 7;
    let (verdict, back) = world.run("task_ingress", &answer);
    assert_eq!(verdict, REDIRECT);
    let ip = Ipv6HeaderSlice::from_slice(&back[ETHERNET..])
        .unwrap()
        .to_header();
    assert_eq!((ip.traffic_class, ip.hop_limit), (0xbb, 7));
    assert_eq!(ip.flow_label.value(), 0);
}

#[test]
fn padding_is_no_payload() {
    let mut world = world(CLIENT);
    let stand_in = open(&mut world);
    let mut answer = segment(FROM_CLIENT, (CLIENT, 80), stand_in, b"");
    answer.resize(60, 0);
    let (verdict, back) = world.run("task_ingress", &answer);
    let expected = segment(FROM_CLIENT, NODE_SIDE, OUTSIDE_SIDE, b"");
    assert_eq!(
        (verdict, &back[..expected.len()]),
        (REDIRECT, expected.as_slice())
    );
}

#[test]
fn what_the_families_do_not_share_is_dropped() {
    let mut world = world(CLIENT);
    let tcp = open(&mut world);
    let (from, to) = (OUTSIDE_SIDE, NODE_SIDE);
    let asked = udp(FROM_OUTSIDE, from, to, b"hello");
    let (stand_in, _) = ask(&mut world, "uplink_ingress", &asked);
    let client = |link, from: (IpAddr, u16), to: (IpAddr, u16)| {
        let datagram = Datagram::new(from, to, Carries::Udp, &[7; 64]);
        datagram.fragments(link, 32).swap_remove(0)
    };
    let (outside, node) = ((OUTSIDE_V6.into(), 50000), (NODE_V6.into(), 8080));
    let (task, host) = ((CLIENT.into(), 80), (NODE.into(), stand_in.1));
    let mut options = segment(FROM_CLIENT, (CLIENT, 80), tcp, b"");
    // Room for four options that do nothing, and one word more of header.
    options.splice(ETHERNET + V4..ETHERNET + V4, [1; 4]);
    options[ETHERNET] = 0x46;
    options[ETHERNET + 3] += 4;
    for (program, frame) in [
        (
            "uplink_ingress",
            with_extension(segment(FROM_OUTSIDE, from, to, b"hello")),
        ),
        (
            "uplink_ingress",
            udp_without_checksum(FROM_OUTSIDE, from, to, b"hello"),
        ),
        ("uplink_ingress", client(FROM_OUTSIDE, outside, node)),
        ("task_ingress", client(FROM_CLIENT, task, host)),
        (
            "task_ingress",
            udp_without_checksum(FROM_CLIENT, (CLIENT, 80), stand_in, b"hello"),
        ),
        ("task_ingress", options),
    ] {
        world.assert_drop(program, &frame, DropReason::FamilyNotChanged);
    }
}

/// The same packet with options for the destination that do nothing.
fn with_extension(mut frame: Vec<u8>) -> Vec<u8> {
    let next = frame[ETHERNET + 6];
    frame[ETHERNET + 6] = 60;
    frame[ETHERNET + 5] += 8;
    frame.splice(ETHERNET + V6..ETHERNET + V6, [next, 0, 1, 4, 0, 0, 0, 0]);
    frame
}

#[test]
fn what_is_cut_off_stays_as_it_is() {
    let mut world = world(CLIENT);
    for whole in [
        syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE),
        udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"hello"),
    ] {
        for len in ETHERNET + V6..whole.len() {
            let frame = whole[..len].to_vec();
            assert_eq!(
                world.run("uplink_ingress", &frame),
                (PASS, frame),
                "{len} bytes"
            );
        }
    }
    assert_eq!(world.flows(), []);
}

#[test]
fn a_host_without_an_ipv4_address_cannot_stand_for_anybody() {
    let mut world = world(CLIENT);
    world.change_config(|config| {
        config.node = NODE_V6.into();
        config.outside_v4 = Address::UNSPECIFIED;
    });
    let asked = syn(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE);
    world.assert_drop("uplink_ingress", &asked, DropReason::NoSourceAddress);
    assert_eq!(world.flows(), []);
}

#[test]
fn the_host_s_own_processes_ask_by_ipv6_too() {
    let mut world = world(CLIENT);
    let source = (NODE_V6, 50001);
    let asked = syn(FROM_HOST, source, (MESH, 8080));
    let (stand_in, met) = ask(&mut world, "host_ingress", &asked);
    assert_eq!(met, syn(TO_CLIENT, stand_in, (CLIENT, 80)));

    let answer = segment(FROM_CLIENT, (CLIENT, 80), stand_in, b"hello");
    let back = world.run("task_ingress", &answer);
    let to_host = Link(HOST_MAC, GATEWAY_MAC);
    let expected = segment(to_host, (MESH, 8080), source, b"hello");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn a_task_asks_its_host_by_ipv6_too() {
    let mut world = world(LOCAL);
    let asked = syn(FROM_CLIENT, (CLIENT_V6, 40000), NODE_SIDE);
    let (stand_in, met) = ask(&mut world, "task_ingress", &asked);
    assert_eq!(met, syn(TO_LOCAL, stand_in, (LOCAL, 80)));
}

#[test]
fn answers_cannot_go_straight_to_the_client() {
    let mut world = World::new();
    let options = Frontend {
        flags: Frontend::DIRECT_RETURN,
        ..Frontend::default()
    };
    world.serve_with(published_v6(8080), 1, &[(CLIENT, Some(80))], options);
    let stand_in = open(&mut world);
    let answer = segment(FROM_CLIENT, (CLIENT, 80), stand_in, b"hello");
    let expected = segment(FROM_CLIENT, NODE_SIDE, OUTSIDE_SIDE, b"hello");
    assert_eq!(world.run("task_ingress", &answer), (REDIRECT, expected));
}

#[test]
fn a_packet_too_big_for_the_tunnel_is_refused_in_the_client_s_family() {
    let mut world = world(REMOTE);
    let fits = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, &[7; 1450 - V6 - 8]);
    let (verdict, met) = world.run("uplink_ingress", &fits);
    assert_eq!((verdict, met.len()), (REDIRECT, fits.len() - V6 + V4));

    let asked = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, &[7; 1450 - V6 - 7]);
    let (verdict, answer) = world.run("uplink_ingress", &asked);
    let ip = Ipv6HeaderSlice::from_slice(&answer[ETHERNET..]).unwrap();
    assert_eq!((verdict, ip.destination_addr()), (REDIRECT, OUTSIDE_V6));
    // Packet too big, 1450 bytes; and the packet as the client sent it.
    let message = &answer[ETHERNET + V6..];
    assert_eq!(
        (message[0], &message[4..8]),
        (2, &1450_u32.to_be_bytes()[..])
    );
    assert_eq!(message[8..8 + V6], asked[ETHERNET..ETHERNET + V6]);
}

/// An ICMP error that quotes the packet in a frame up to the first 8 bytes behind its IP header.
fn error<A: Into<IpAddr>>(
    link: Link,
    (from, to): (A, A),
    what: (u8, u8, [u8; 4]),
    frame: &[u8],
) -> Vec<u8> {
    let header = if frame[ETHERNET] >> 4 == 4 { V4 } else { V6 };
    let quoted = &frame[ETHERNET..ETHERNET + header + 8];
    icmp_error(link, from, to, what, quoted)
}

#[test]
fn a_router_tells_the_task_which_size_its_answer_may_have() {
    let router = Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 1);
    let mut world = world(CLIENT);
    let stand_in = open(&mut world);
    let answer = segment(FROM_CLIENT, (CLIENT, 80), stand_in, &[7; 1400]);
    let (_, sent) = world.run("task_ingress", &answer);

    let too_big = |mtu: u32| (2, 0, mtu.to_be_bytes());
    let asked = error(FROM_OUTSIDE, (router, NODE_V6), too_big(1280), &sent);
    let expected = error(
        TO_CLIENT,
        (NODE, CLIENT),
        (3, 4, [0, 0, 0x04, 0xec]),
        &answer,
    );
    assert_eq!(world.run("uplink_ingress", &asked), (REDIRECT, expected));

    // The same with all of the packet quoted.
    let quoted = &sent[ETHERNET..];
    let asked = icmp_error(FROM_OUTSIDE, router, NODE_V6, too_big(1280), quoted);
    let expected = error(
        TO_CLIENT,
        (NODE, CLIENT),
        (3, 4, [0, 0, 0x04, 0xec]),
        &answer,
    );
    assert_eq!(world.run("uplink_ingress", &asked), (REDIRECT, expected));
}

#[test]
fn a_client_that_has_gone_is_told_to_the_task() {
    let mut world = world(CLIENT);
    for len in [0, 1, 8, 100] {
        let payload = vec![7; len];
        let asked = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, &payload);
        let (stand_in, _) = ask(&mut world, "uplink_ingress", &asked);
        let answer = udp(FROM_CLIENT, (CLIENT, 80), stand_in, &payload);
        let (_, sent) = world.run("task_ingress", &answer);
        let refused = error(FROM_OUTSIDE, (OUTSIDE_V6, NODE_V6), (1, 4, [0; 4]), &sent);
        let expected = error(TO_CLIENT, (NODE, CLIENT), (3, 3, [0; 4]), &answer);
        assert_eq!(world.run("uplink_ingress", &refused), (REDIRECT, expected));
    }
}

#[test]
fn a_task_s_refusal_reaches_the_client() {
    let mut world = world(CLIENT);
    let asked = udp(FROM_OUTSIDE, OUTSIDE_SIDE, NODE_SIDE, b"question");
    let (_, met) = ask(&mut world, "uplink_ingress", &asked);
    let refused = error(FROM_CLIENT, (CLIENT, NODE), (3, 3, [0; 4]), &met);
    let expected = error(FROM_CLIENT, (NODE_V6, OUTSIDE_V6), (1, 4, [0; 4]), &asked);
    assert_eq!(world.run("task_ingress", &refused), (REDIRECT, expected));

    // "Protocol unreachable" points at a byte of a header that IPv6 does not have.
    let refused = error(FROM_CLIENT, (CLIENT, NODE), (3, 2, [0; 4]), &met);
    world.assert_drop("task_ingress", &refused, DropReason::FamilyNotChanged);
}
