//! Rewrites a packet's addresses and ports, and what its checksums say about them.

use orch_ebpf_common::headers::{IcmpHeader, Ipv4Header, Ipv6Header, Part, TcpHeader, UdpHeader};
use orch_ebpf_common::{Address, DropReason, Flow, checksum};

use crate::ip::Ip;
use crate::packet::{Kind, L3, Packet};
use crate::sctp;
use crate::skb::Skb;

/// Makes the packet look as the flow says; `false` if the kernel refused a change.
#[inline(never)]
pub fn rewrite(packet: &Packet, flow: &Flow) -> bool {
    try_rewrite(packet, flow).is_ok()
}

/// Writes both addresses of the IP header at `l3`, and nothing else.
#[inline(always)]
pub fn store_addresses(
    skb: Skb,
    l3: usize,
    is_v4: bool,
    source: &Address,
    destination: &Address,
) -> Result<(), DropReason> {
    if is_v4 {
        let addresses = [source.v4(), destination.v4()];
        return skb.store(l3 + Ipv4Header::SOURCE, &addresses);
    }
    skb.store(l3 + Ipv6Header::SOURCE, &[*source, *destination])
}

/// What has to be added to sums over a header's addresses when these change. Out of line, as the
/// words of four addresses fill a stack.
#[inline(never)]
pub fn difference(ip: &Ip, source: &Address, destination: &Address) -> u32 {
    checksum::difference(&ip.source, source) + checksum::difference(&ip.destination, destination)
}

#[inline(always)]
fn try_rewrite(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let ip = &*packet.ip;
    if flow.source != ip.source || flow.destination != ip.destination {
        addresses(packet, &flow.source, &flow.destination)?;
    }
    packet.skb.forget_hash();
    if ip.part == Part::Later {
        // The ports are in the first part, and so is the checksum over them and the addresses.
        return Ok(());
    }
    if packet.kind == Kind::Sctp {
        return sctp::rewrite_ports(packet, flow);
    }
    ports(packet, flow)
}

/// Adapts a TCP segment or UDP datagram to a flow that leads it to the other family, and leaves the
/// IP header to who makes it anew. Not by [`ports`], whose ways for an echo and for ports that stay
/// the verifier would follow here too.
#[inline(always)]
pub fn store_transport(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let difference = difference(packet.ip, &flow.source, &flow.destination);
    let is_udp = packet.kind == Kind::Udp;
    packet
        .skb
        .replace_l4_pseudo_header(checksum_at(packet), difference, is_udp, true)?;
    packet.skb.forget_hash();
    let difference = ports_difference(packet, flow);
    packet
        .skb
        .replace_l4(checksum_at(packet), difference, is_udp)?;
    let ports = [flow.source_port, flow.destination_port];
    packet.skb.store_anywhere(packet.ip.l4, &ports)
}

#[inline(always)]
fn checksum_at(packet: &Packet) -> usize {
    packet.ip.l4
        + match packet.kind {
            Kind::Tcp => TcpHeader::CHECKSUM,
            Kind::Udp => UdpHeader::CHECKSUM,
            _ => IcmpHeader::CHECKSUM,
        }
}

/// Whether the transport's checksum covers the addresses.
#[inline(always)]
fn covers_addresses(packet: &Packet) -> bool {
    match packet.kind {
        _ if packet.ip.part == Part::Later => false,
        Kind::Tcp | Kind::Udp => true,
        Kind::Sctp | Kind::Fragment | Kind::Other => false,
        _ => !packet.ip.is_v4,
    }
}

#[inline(always)]
fn addresses(packet: &Packet, source: &Address, destination: &Address) -> Result<(), DropReason> {
    let ip = &*packet.ip;
    let difference = difference(ip, source, destination);
    if covers_addresses(packet) {
        let is_udp = packet.kind == Kind::Udp;
        packet
            .skb
            .replace_l4_pseudo_header(checksum_at(packet), difference, is_udp, ip.is_v4)?;
    } else if !ip.is_v4 {
        // Nothing in the packet makes up for the addresses.
        let skb = packet.skb;
        skb.store_summed(L3 + Ipv6Header::SOURCE, source)?;
        return skb.store_summed(L3 + Ipv6Header::DESTINATION, destination);
    }
    if ip.is_v4 {
        return store_v4(packet, source, destination, difference);
    }
    store_addresses(packet.skb, L3, false, source, destination)
}

/// Writes the IPv4 header's checksum and the addresses behind it at once. What the kernel knows of
/// the whole packet's sum stays true, as the checksum makes up for the addresses.
#[inline(always)]
fn store_v4(
    packet: &Packet,
    source: &Address,
    destination: &Address,
    difference: u32,
) -> Result<(), DropReason> {
    let [a, b] = source.v4().halves();
    let [c, d] = destination.v4().halves();
    let checksum = checksum::replace_by(packet.ip.checksum, difference);
    let fields = [checksum, a, b, c, d];
    packet.skb.store(L3 + Ipv4Header::CHECKSUM, &fields)
}

#[inline(always)]
fn ports_difference(packet: &Packet, flow: &Flow) -> u32 {
    checksum::field_difference(packet.source_port, flow.source_port)
        + checksum::field_difference(packet.destination_port, flow.destination_port)
}

/// Writes the ports, or the identifier of an echo.
#[inline(always)]
fn ports(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let difference = ports_difference(packet, flow);
    if packet.source_port == flow.source_port && packet.destination_port == flow.destination_port {
        return Ok(());
    }
    let is_udp = packet.kind == Kind::Udp;
    packet
        .skb
        .replace_l4(checksum_at(packet), difference, is_udp)?;
    match packet.kind {
        Kind::EchoRequest => packet
            .skb
            .store(packet.ip.l4 + IcmpHeader::ID, &flow.source_port),
        Kind::EchoReply => packet
            .skb
            .store(packet.ip.l4 + IcmpHeader::ID, &flow.destination_port),
        _ => packet
            .skb
            .store(packet.ip.l4, &[flow.source_port, flow.destination_port]),
    }
}
