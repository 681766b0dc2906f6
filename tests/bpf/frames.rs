//! Frames as tasks, hosts and the outside send them. The library computes the checksums, so that
//! equality with what a program made also says that its checksums are right.

use std::net::Ipv4Addr;

use etherparse::{PacketBuilder, PacketBuilderStep};

use crate::world::{CLIENT_MAC, GATEWAY_MAC};

/// Link-layer addresses of a frame: destination, source.
#[derive(Clone, Copy)]
pub struct Link(pub [u8; 6], pub [u8; 6]);

/// From the client's container to the gateway, which is all that it knows.
pub const FROM_CLIENT: Link = Link(GATEWAY_MAC, CLIENT_MAC);
/// An answer to the client.
pub const TO_CLIENT: Link = Link(CLIENT_MAC, GATEWAY_MAC);
/// Between hosts, after the tunnel key was set.
pub const TUNNEL: Link = Link(GATEWAY_MAC, GATEWAY_MAC);

/// An address and a port.
pub type Side = (Ipv4Addr, u16);

fn ip(link: Link, from: Ipv4Addr, to: Ipv4Addr) -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(link.1, link.0).ipv4(from.octets(), to.octets(), 64)
}

/// A SYN.
pub fn syn(link: Link, from: Side, to: Side) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from.0, to.0)
        .tcp(from.1, to.1, 1000, 64240)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// A segment of an open connection.
pub fn segment(link: Link, from: Side, to: Side, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from.0, to.0)
        .tcp(from.1, to.1, 1001, 64240)
        .ack(5001)
        .psh()
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// The last segment of one side of a connection.
pub fn fin(link: Link, from: Side, to: Side) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from.0, to.0)
        .tcp(from.1, to.1, 1001, 64240)
        .ack(5001)
        .fin()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// A reset with an acknowledgement number, or else with a sequence number.
pub fn reset(link: Link, from: Side, to: Side, sequence: u32, ack: Option<u32>) -> Vec<u8> {
    let mut frame = Vec::new();
    let tcp = ip(link, from.0, to.0).tcp(from.1, to.1, sequence, 0).rst();
    let tcp = match ack {
        Some(number) => tcp.ack(number),
        None => tcp,
    };
    tcp.write(&mut frame, &[]).unwrap();
    frame
}

/// A datagram.
pub fn udp(link: Link, from: Side, to: Side, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from.0, to.0)
        .udp(from.1, to.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// A datagram whose sender made no checksum.
pub fn udp_without_checksum(link: Link, from: Side, to: Side, payload: &[u8]) -> Vec<u8> {
    let mut frame = udp(link, from, to, payload);
    frame[40..42].fill(0);
    frame
}

/// An echo request.
pub fn ping(link: Link, from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from, to)
        .icmpv4_echo_request(id, 1)
        .write(&mut frame, b"abcdefgh")
        .unwrap();
    frame
}

/// An echo reply.
pub fn pong(link: Link, from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from, to)
        .icmpv4_echo_reply(id, 1)
        .write(&mut frame, b"abcdefgh")
        .unwrap();
    frame
}

/// The refusal of a frame: destination unreachable with `code`, quoting its first 28 bytes.
pub fn unreachable(link: Link, refused: &[u8], code: u8) -> Vec<u8> {
    let address = |at: usize| -> [u8; 4] { refused[at..at + 4].try_into().unwrap() };
    let (from, to) = (address(30).into(), address(26).into());
    icmp_error(link, from, to, (3, code, [0; 4]), &refused[14..42])
}

/// An ICMP error: its type, its code, what its header says besides, and what it quotes.
pub fn icmp_error(
    link: Link,
    from: Ipv4Addr,
    to: Ipv4Addr,
    (kind, code, rest): (u8, u8, [u8; 4]),
    quoted: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from, to)
        .icmpv4_raw(kind, code, rest)
        .write(&mut frame, quoted)
        .unwrap();
    frame
}

/// An ARP message: 1 asks, 2 answers.
pub fn arp(
    link: Link,
    operation: u8,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(link.0);
    frame.extend(link.1);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation]);
    frame.extend(sender.0);
    frame.extend(sender.1.octets());
    frame.extend(target.0);
    frame.extend(target.1.octets());
    frame
}
