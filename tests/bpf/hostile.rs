//! Packets that contradict themselves or end too early: none opens a flow, none is passed on, and
//! what may be the host's own goes to the host as it is.

use std::net::IpAddr;

use orch_ebpf_common::{Be16, DropReason, FrontendKey};

use crate::datagram::{Addresses, Carries, Datagram};
use crate::frames::{FROM_CLIENT, Link, arp, icmp_error};
use crate::world::{CLIENT, CLIENT_MAC, GATEWAY, HOST_MAC, PASS, SHOT, VNI, World};

const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
/// The shortest frame that a test run takes: it refuses what ends within the Ethernet header, or
/// within an IP header without options.
fn shortest(frame: &[u8]) -> usize {
    match frame[12..14] {
        [0x08, 0x00] => 34,
        [0x86, 0xdd] => 54,
        _ => 15,
    }
}

/// A frame with a name, and where its chain of headers ends.
struct Sample {
    name: String,
    frame: Vec<u8>,
    headers: usize,
}

/// Where a frame of this kind has what.
#[derive(Clone, Copy)]
struct Place {
    program: &'static str,
    link: Link,
}

const TASK: Place = Place {
    program: "task_ingress",
    link: FROM_CLIENT,
};
const UPLINK: Place = Place {
    program: "uplink_ingress",
    link: FROM_OUTSIDE,
};
const HOST: Place = Place {
    program: "host_ingress",
    link: FROM_HOST,
};

/// The published ports of the host link, as the host's processes see them.
fn mesh(at: &Addresses) -> IpAddr {
    if at.is_v4() {
        orch_ebpf_common::Address::MESH.into()
    } else {
        orch_ebpf_common::Address::MESH_V6.into()
    }
}

/// A world in which every sample would be served.
fn world() -> World {
    let mut world = World::new();
    for at in Addresses::BOTH {
        let backend = at.local.into();
        world.lead(FrontendKey::vip(VNI, at.vip.into()), 1, &[(backend, None)]);
        for protocol in [6, 17, 132] {
            let frontend = FrontendKey::published(at.is_v4(), protocol, Be16::new(8080));
            world.lead(frontend, 1, &[(backend, Some(80))]);
        }
    }
    world
}

/// What is sent where, in one family.
fn samples(at: &Addresses, place: Place) -> Vec<Sample> {
    let ip = if at.is_v4() { 34 } else { 54 };
    let (from, to) = match place.program {
        "task_ingress" => ((at.client, 40000), (at.vip, 53)),
        "uplink_ingress" => ((at.outside, 40000), (at.node, 8080)),
        _ => ((at.node, 40000), (mesh(at), 8080)),
    };
    let packet = |carries, payload: &[u8]| Datagram::new(from, to, carries, payload);
    // A question for the name "redis".
    let dns = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x05redis\0\0\x01\0\x01";
    let mut samples = vec![];
    let mut add = |name: &str, frame: Vec<u8>, transport: usize| {
        samples.push(Sample {
            name: format!(
                "{} {name} of IPv{}",
                place.program,
                if at.is_v4() { 4 } else { 6 }
            ),
            headers: ip + transport,
            frame,
        });
    };
    add(
        "TCP",
        packet(Carries::Segment, b"data").whole(place.link),
        20,
    );
    add(
        "TCP options",
        packet(Carries::Syn, b"").whole(place.link),
        24,
    );
    add("UDP", packet(Carries::Udp, b"data").whole(place.link), 8);
    add(
        "DNS",
        packet(Carries::Udp, dns).whole(place.link),
        8 + dns.len(),
    );
    add(
        "SCTP",
        packet(Carries::Sctp(1), &[7; 16]).whole(place.link),
        16,
    );
    if place.program == "task_ingress" {
        add(
            "ICMP",
            packet(Carries::EchoRequest, b"data").whole(place.link),
            8,
        );
    }
    let in_parts = packet(Carries::Udp, &[7; 64]).fragments(place.link, 24);
    let extension = if at.is_v4() { 0 } else { 8 };
    add("fragment", in_parts[0].clone(), extension + 8);
    if !at.is_v4() {
        let udp = packet(Carries::Udp, b"data");
        let frame = with_extensions(&udp.whole(place.link));
        add("extension headers", frame, 8 + 16 + 8);
    }
    samples
}

/// An IPv6 frame with hop-by-hop and destination options, one of 8 and one of 16 bytes.
fn with_extensions(frame: &[u8]) -> Vec<u8> {
    let transport = frame[20];
    let padding = [1, 4, 0, 0, 0, 0];
    let mut changed = frame[..54].to_vec();
    changed[20] = 0;
    changed[19] += 24;
    changed.extend([60, 0]);
    changed.extend(padding);
    changed.extend([transport, 1]);
    changed.extend(padding);
    changed.extend([1, 6, 0, 0, 0, 0, 0, 0]);
    changed.extend(&frame[54..]);
    changed
}

/// The frame with the lengths of its IP header as if it were no longer than it is.
fn shortened(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let (at, before) = if frame[12..14] == [0x08, 0x00] {
        (16, 14)
    } else {
        (18, 54)
    };
    if frame.len() >= before && frame.len() >= at + 2 {
        let len = u16::try_from(frame.len() - before).unwrap();
        frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
    }
    frame
}

/// Sends hostile frames, counts them, and checks what became of each.
struct Attack {
    world: World,
    place: Place,
    sent: u64,
}

impl Attack {
    fn new(place: Place) -> Self {
        Self {
            world: world(),
            place,
            sent: 0,
        }
    }

    fn send(&mut self, name: &str, frame: &[u8]) {
        let (verdict, out) = self.world.run(self.place.program, frame);
        if self.place.program == UPLINK.program {
            assert_eq!((verdict, &out[..]), (PASS, frame), "{name}");
        } else {
            assert_eq!(verdict, SHOT, "{name}");
        }
        self.sent += 1;
    }

    /// All of them were dropped for `reason`, if they were dropped, and left nothing behind.
    fn check(mut self, reason: DropReason) -> u64 {
        if self.place.program != UPLINK.program {
            assert_eq!(self.world.dropped(reason), self.sent, "{}", reason.name());
        }
        assert_eq!(self.world.flows(), []);
        assert_eq!(
            self.world.forget_conversations(),
            0,
            "something was remembered"
        );
        self.sent
    }
}

#[test]
fn packets_that_end_too_early_are_malformed() {
    let mut sent = 0;
    for place in [TASK, UPLINK, HOST] {
        let mut attack = Attack::new(place);
        for at in Addresses::BOTH {
            for sample in samples(&at, place) {
                for len in shortest(&sample.frame)..sample.headers {
                    let cut = &sample.frame[..len];
                    attack.send(&format!("{} cut at {len}", sample.name), cut);
                    let name = format!("{} shortened to {len}", sample.name);
                    attack.send(&name, &shortened(cut));
                }
            }
        }
        sent += attack.check(DropReason::Malformed);
    }
    assert!(sent > 800, "{sent}");
}

#[test]
fn questions_of_the_link_that_end_too_early_are_not_answered() {
    let mut attack = Attack::new(TASK);
    let question = arp(
        Link([0xff; 6], CLIENT_MAC),
        1,
        (CLIENT_MAC, CLIENT),
        ([0; 6], GATEWAY),
    );
    for len in shortest(&question)..question.len() {
        attack.send(&format!("ARP cut at {len}"), &question[..len]);
    }
    let at = Addresses::V6;
    let solicitation = icmp_error(
        FROM_CLIENT,
        at.client,
        at.vip,
        (135, 0, [0; 4]),
        &[0xfd; 16],
    );
    for len in shortest(&solicitation)..62 {
        let cut = &solicitation[..len];
        attack.send(&format!("solicitation cut at {len}"), cut);
        attack.send(&format!("solicitation shortened to {len}"), &shortened(cut));
    }
    attack.check(DropReason::Malformed);
}

#[test]
fn headers_that_contradict_themselves_are_malformed() {
    for place in [TASK, UPLINK, HOST] {
        let mut attack = Attack::new(place);
        for at in Addresses::BOTH {
            for sample in samples(&at, place) {
                for (what, offset, bytes) in contradictions(&at, &sample) {
                    let mut frame = sample.frame.clone();
                    frame[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    attack.send(&format!("{}: {what}", sample.name), &frame);
                }
            }
        }
        assert!(attack.check(DropReason::Malformed) > 150);
    }
}

/// What is written where to make a sample wrong.
fn contradictions(at: &Addresses, sample: &Sample) -> Vec<(String, usize, Vec<u8>)> {
    let mut wrong = vec![];
    let mut add = |what: String, offset: usize, bytes: &[u8]| {
        wrong.push((what, offset, bytes.to_vec()));
    };
    let whole = u16::try_from(sample.frame.len() - 14).unwrap();
    if at.is_v4() {
        for ihl in 0..5 {
            add(format!("header length {ihl}"), 14, &[0x40 | ihl]);
        }
        for version in [0, 5, 6, 15] {
            add(format!("version {version}"), 14, &[version << 4 | 5]);
        }
        for total in [0, 1, 19, 20, whole + 1, u16::MAX] {
            add(format!("total length {total}"), 16, &total.to_be_bytes());
        }
    } else {
        for version in [0, 4, 5, 15] {
            add(format!("version {version}"), 14, &[version << 4]);
        }
        for payload in [0, 1, 7, whole - 40 + 1, u16::MAX] {
            add(
                format!("payload length {payload}"),
                18,
                &payload.to_be_bytes(),
            );
        }
    }
    let transport = if at.is_v4() { 34 } else { 54 };
    if sample.name.contains("TCP") {
        for words in [0, 1, 4, 15] {
            add(
                format!("TCP header of {words}"),
                transport + 12,
                &[words << 4],
            );
        }
    }
    if sample.name.contains("UDP") || sample.name.contains("DNS") {
        let udp = whole - u16::try_from(transport - 14).unwrap();
        for len in [0, 1, 7, udp + 1, u16::MAX] {
            add(
                format!("UDP length {len}"),
                transport + 4,
                &len.to_be_bytes(),
            );
        }
    }
    if sample.name.contains("extension") {
        for units in [20, 255] {
            add(format!("options of {units} units"), 55, &[units]);
        }
    }
    wrong
}

#[test]
fn protocols_that_nobody_knows_are_not_translated() {
    let mut attack = Attack::new(TASK);
    for at in Addresses::BOTH {
        let frame = Datagram::new((at.client, 1), (at.vip, 2), Carries::Udp, &[0; 64]);
        let frame = frame.whole(FROM_CLIENT);
        let (offset, known): (usize, &[u8]) = if at.is_v4() {
            (23, &[1, 6, 17, 132])
        } else {
            (20, &[0, 6, 17, 43, 44, 58, 60, 132])
        };
        for protocol in (0..=255).filter(|protocol| !known.contains(protocol)) {
            let mut frame = frame.clone();
            frame[offset] = protocol;
            attack.send(&format!("protocol {protocol}"), &frame);
        }
    }
    assert_eq!(attack.check(DropReason::UnsupportedProtocol), 252 + 248);
}

#[test]
fn ethernet_frames_of_other_kinds_are_not_looked_into() {
    for place in [TASK, UPLINK, HOST] {
        let mut attack = Attack::new(place);
        let frame = Datagram::new((CLIENT, 1), (GATEWAY, 2), Carries::Udp, b"x").whole(place.link);
        for kind in [0_u16, 0x05dc, 0x8100, 0x88a8, 0x8847, 0x88cc, 0xffff] {
            let mut frame = frame.clone();
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
            attack.send(&format!("{kind:#x}"), &frame);
        }
        attack.check(DropReason::UnsupportedEtherType);
    }
}

#[test]
fn nothing_without_a_sender_comes_out_of_the_tunnel() {
    let mut attack = Attack::new(Place {
        program: "overlay_ingress",
        link: FROM_CLIENT,
    });
    for at in Addresses::BOTH {
        for sample in samples(&at, TASK) {
            for len in shortest(&sample.frame)..=sample.frame.len() {
                attack.send(
                    &format!("{} cut at {len}", sample.name),
                    &sample.frame[..len],
                );
            }
        }
    }
    attack.check(DropReason::UnknownPeer);
}
