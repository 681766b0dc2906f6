//! Frames as tasks, hosts and the outside send them. The library computes the checksums, so that
//! equality with what a program made also says that its checksums are right.

pub mod neighbour;

use std::net::{IpAddr, Ipv4Addr};

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

/// What an echo carries.
const ECHO: &[u8] = b"abcdefgh";

/// An address and a port.
pub type Side<A = Ipv4Addr> = (A, u16);

fn ip<A: Into<IpAddr>>(link: Link, from: A, to: A) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(link.1, link.0);
    match (from.into(), to.into()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
        (from, to) => panic!("no packet goes from {from} to {to}"),
    }
}

/// Where the transport header of a frame begins that one of the functions here made.
fn transport(frame: &[u8]) -> usize {
    match frame[12..14] {
        [0x08, 0x00] => 34,
        _ => 54,
    }
}

/// A SYN.
pub fn syn<A: Into<IpAddr>>(link: Link, from: Side<A>, to: Side<A>) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from.0, to.0)
        .tcp(from.1, to.1, 1000, 64240)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// The answer to a SYN.
pub fn syn_ack<A: Into<IpAddr>>(link: Link, from: Side<A>, to: Side<A>) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from.0, to.0)
        .tcp(from.1, to.1, 5000, 64240)
        .syn()
        .ack(1001)
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// A segment of an open connection.
pub fn segment<A: Into<IpAddr>>(link: Link, from: Side<A>, to: Side<A>, payload: &[u8]) -> Vec<u8> {
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
pub fn fin<A: Into<IpAddr>>(link: Link, from: Side<A>, to: Side<A>) -> Vec<u8> {
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
pub fn reset<A: Into<IpAddr>>(
    link: Link,
    from: Side<A>,
    to: Side<A>,
    sequence: u32,
    ack: Option<u32>,
) -> Vec<u8> {
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
pub fn udp<A: Into<IpAddr>>(link: Link, from: Side<A>, to: Side<A>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(link, from.0, to.0)
        .udp(from.1, to.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// A datagram whose sender made no checksum.
pub fn udp_without_checksum<A: Into<IpAddr>>(
    link: Link,
    from: Side<A>,
    to: Side<A>,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = udp(link, from, to, payload);
    let at = transport(&frame) + 6;
    frame[at..at + 2].fill(0);
    frame
}

/// An echo request.
pub fn ping<A: Into<IpAddr>>(link: Link, from: A, to: A, id: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let (from, to) = (from.into(), to.into());
    let ip = ip(link, from, to);
    match from {
        IpAddr::V4(_) => ip.icmpv4_echo_request(id, 1).write(&mut frame, ECHO),
        IpAddr::V6(_) => ip.icmpv6_echo_request(id, 1).write(&mut frame, ECHO),
    }
    .unwrap();
    frame
}

/// An echo reply.
pub fn pong<A: Into<IpAddr>>(link: Link, from: A, to: A, id: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let (from, to) = (from.into(), to.into());
    let ip = ip(link, from, to);
    match from {
        IpAddr::V4(_) => ip.icmpv4_echo_reply(id, 1).write(&mut frame, ECHO),
        IpAddr::V6(_) => ip.icmpv6_echo_reply(id, 1).write(&mut frame, ECHO),
    }
    .unwrap();
    frame
}

/// The refusal of a frame: destination unreachable with the family's `code`, quoting its IP header
/// and 8 bytes more.
pub fn unreachable(link: Link, refused: &[u8], code: u8) -> Vec<u8> {
    let quoted = &refused[14..transport(refused) + 8];
    let (from, to, kind): (IpAddr, IpAddr, u8) = if transport(refused) == 34 {
        let address = |at: usize| -> [u8; 4] { refused[at..at + 4].try_into().unwrap() };
        (address(30).into(), address(26).into(), 3)
    } else {
        let address = |at: usize| -> [u8; 16] { refused[at..at + 16].try_into().unwrap() };
        (address(38).into(), address(22).into(), 1)
    };
    icmp_error(link, from, to, (kind, code, [0; 4]), quoted)
}

/// An ICMP error of the family: its type, its code, what its header says besides, and what it
/// quotes.
pub fn icmp_error<A: Into<IpAddr>>(
    link: Link,
    from: A,
    to: A,
    (kind, code, rest): (u8, u8, [u8; 4]),
    quoted: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    let (from, to) = (from.into(), to.into());
    let ip = ip(link, from, to);
    match from {
        IpAddr::V4(_) => ip.icmpv4_raw(kind, code, rest).write(&mut frame, quoted),
        IpAddr::V6(_) => ip.icmpv6_raw(kind, code, rest).write(&mut frame, quoted),
    }
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
