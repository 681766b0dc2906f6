//! What does not fit the tunnel, whose packets have 1450 bytes.

use orch_ebpf_common::{Be16, DropReason, FrontendKey};

use crate::datagram::{Addresses, Carries, Datagram};
use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, TUNNEL, icmp_error};
use crate::world::{GATEWAY_MAC, LOCAL_MAC, REDIRECT, SHOT, VNI, World};

const MTU: usize = 1450;
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
const TO_OUTSIDE: Link = Link(FROM_OUTSIDE.1, FROM_OUTSIDE.0);

/// A UDP packet of `len` bytes.
fn packet(
    at: &Addresses,
    from: std::net::IpAddr,
    to: (std::net::IpAddr, u16),
    len: usize,
) -> Datagram {
    let headers = if at.is_v4() { 28 } else { 48 };
    Datagram::new((from, 40000), to, Carries::Udp, &vec![7; len - headers])
}

/// What its sender is told.
fn told(
    at: &Addresses,
    link: Link,
    refused: &[u8],
    sides: (std::net::IpAddr, std::net::IpAddr),
) -> Vec<u8> {
    let mtu = u32::try_from(MTU).unwrap().to_be_bytes();
    let (header, code) = if at.is_v4() {
        (20, (3, 4))
    } else {
        (40, (2, 0))
    };
    let quoted = &refused[14..14 + header + 8];
    icmp_error(link, sides.0, sides.1, (code.0, code.1, mtu), quoted)
}

#[test]
fn a_task_is_told_the_size_that_fits() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        world.lead(
            FrontendKey::vip(VNI, at.vip.into()),
            1,
            &[(at.remote.into(), None)],
        );
        for to in [at.remote, at.vip] {
            for len in [MTU - 1, MTU] {
                let asked = packet(&at, at.client, (to, 6000), len);
                let met = asked.between(asked.from, (at.remote, 6000)).whole(TUNNEL);
                let sent = world.run("task_ingress", &asked.whole(FROM_CLIENT));
                assert_eq!(sent, (REDIRECT, met), "{to} {len}");
            }
            let before = world.dropped(DropReason::TooBig);
            let frame = packet(&at, at.client, (to, 6000), MTU + 1).whole(FROM_CLIENT);
            // In terms of what was sent, whatever it would have become.
            let expected = told(&at, TO_CLIENT, &frame, (to, at.client));
            assert_eq!(
                world.run("task_ingress", &frame),
                (REDIRECT, expected),
                "{to}"
            );
            assert_eq!(world.dropped(DropReason::TooBig), before + 1, "{to}");
        }
    }
}

#[test]
fn an_outside_client_is_told_by_the_address_that_it_knows() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let frontend = FrontendKey::published(at.is_v4(), 17, Be16::new(8080));
        world.lead(frontend, 1, &[(at.remote.into(), Some(80))]);
        let frame = packet(&at, at.outside, (at.node, 8080), MTU + 1).whole(FROM_OUTSIDE);
        let expected = told(&at, TO_OUTSIDE, &frame, (at.node, at.outside));
        for again in 0..2 {
            let answered = world.run("uplink_ingress", &frame);
            assert_eq!(answered, (REDIRECT, expected.clone()), "{again}");
        }
    }
}

#[test]
fn tasks_of_one_host_have_no_tunnel_between_them() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let big = packet(&at, at.client, (at.local, 6000), MTU + 50);
        let delivered = world.run("task_ingress", &big.whole(FROM_CLIENT));
        assert_eq!(delivered, (REDIRECT, big.whole(TO_LOCAL)));
    }
}

#[test]
fn what_routers_may_cut_passes() {
    let at = Addresses::V4;
    let mut world = World::new();
    let big = packet(&at, at.client, (at.remote, 6000), MTU + 50);
    // "Don't fragment" off; the header's checksum grows by what the bit counted.
    let may_be_cut = |link| {
        let mut frame = big.whole(link);
        frame[20] = 0;
        let checksum = u32::from(u16::from_be_bytes([frame[24], frame[25]])) + 0x4000;
        let checksum = u16::try_from((checksum & 0xffff) + (checksum >> 16)).unwrap();
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame
    };
    let sent = world.run("task_ingress", &may_be_cut(FROM_CLIENT));
    assert_eq!(sent, (REDIRECT, may_be_cut(TUNNEL)));
}

#[test]
fn errors_and_later_fragments_are_not_answered() {
    let mut world = World::new();
    let at = Addresses::V4;
    let error = icmp_error(
        FROM_CLIENT,
        at.client,
        at.remote,
        (3, 3, [0; 4]),
        &[0x45; 1450],
    );
    world.assert_drop("task_ingress", &error, DropReason::TooBig);
    let at = Addresses::V6;
    let big = packet(&at, at.client, (at.remote, 6000), 3000);
    let fragments = big.fragments(FROM_CLIENT, 1416);
    let before = world.dropped(DropReason::TooBig);
    assert_eq!(world.run("task_ingress", &fragments[0]).0, REDIRECT);
    assert_eq!(world.run("task_ingress", &fragments[1]).0, SHOT);
    assert_eq!(world.dropped(DropReason::TooBig), before + 2);
}

#[test]
fn segments_count_not_what_they_are_cut_from() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let payload = vec![7; 1800];
        let bulk = Datagram::new(
            (at.client, 40000),
            (at.remote, 80),
            Carries::Segment,
            &payload,
        );
        let fit = if at.is_v4() { 1410 } else { 1390 };
        let sent = world.run_segmented("task_ingress", &bulk.whole(FROM_CLIENT), fit);
        assert_eq!(sent, (REDIRECT, bulk.whole(TUNNEL)));
        let refused = world.run_segmented("task_ingress", &bulk.whole(FROM_CLIENT), fit + 1);
        let frame = bulk.whole(FROM_CLIENT);
        let expected = told(&at, TO_CLIENT, &frame, (at.remote, at.client));
        assert_eq!(refused, (REDIRECT, expected));
    }
}
