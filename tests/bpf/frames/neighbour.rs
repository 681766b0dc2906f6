//! Messages between IPv6 neighbours, RFC 4861.

use std::net::Ipv6Addr;

use etherparse::PacketBuilder;

use super::Link;
use crate::world::CLIENT_MAC;

/// Asks for a neighbour.
pub const SOLICITATION: u8 = 135;
/// Tells one.
pub const ADVERTISEMENT: u8 = 136;

/// The group of nodes whose address ends like this one.
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (a & 0xff), b)
}

/// An ICMPv6 message between neighbours.
pub fn message(
    link: Link,
    (from, to, hops): (Ipv6Addr, Ipv6Addr, u8),
    (kind, flags): (u8, u8),
    body: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(link.1, link.0)
        .ipv6(from.octets(), to.octets(), hops)
        .icmpv6_raw(kind, 0, [flags, 0, 0, 0])
        .write(&mut frame, body)
        .unwrap();
    frame
}

/// The body that says that `target` is at `mac`; the option's type is 1 in a question.
pub fn body(target: Ipv6Addr, option: u8, mac: [u8; 6]) -> Vec<u8> {
    let mut body = target.octets().to_vec();
    body.extend([option, 1]);
    body.extend(mac);
    body
}

/// The question of the client's container for `target`.
pub fn solicitation(link: Link, from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let body = body(target, 1, CLIENT_MAC);
    message(link, (from, to, 255), (SOLICITATION, 0), &body)
}
