//! Rewrites a packet's addresses and ports, and what its checksums say about them.

use orch_ebpf_common::headers::{IcmpHeader, Ipv4Header, TcpHeader, UdpHeader};
use orch_ebpf_common::{Be16, Be32, DropReason, Flow};

use crate::packet::{Kind, L3, Packet};

/// Makes the packet look as the flow says; `false` if the kernel refused a change.
#[inline(never)]
pub fn rewrite(packet: &Packet, flow: &Flow) -> bool {
    try_rewrite(packet, flow).is_ok()
}

#[inline(always)]
fn try_rewrite(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let (source, destination) = (flow.source.v4(), flow.destination.v4());
    if source != packet.ip.source {
        address(packet, Ipv4Header::SOURCE, packet.ip.source, source)?;
    }
    if destination != packet.ip.destination {
        address(
            packet,
            Ipv4Header::DESTINATION,
            packet.ip.destination,
            destination,
        )?;
    }
    let (source_at, destination_at) = match packet.kind {
        Kind::EchoRequest | Kind::EchoReply => (IcmpHeader::ID, IcmpHeader::ID),
        _ => (0, size_of::<Be16>()),
    };
    if flow.source_port != packet.source_port {
        port(packet, source_at, packet.source_port, flow.source_port)?;
    }
    if flow.destination_port != packet.destination_port {
        port(
            packet,
            destination_at,
            packet.destination_port,
            flow.destination_port,
        )?;
    }
    packet.skb.forget_hash();
    Ok(())
}

#[inline(always)]
fn checksum_at(packet: &Packet) -> usize {
    packet.l4
        + match packet.kind {
            Kind::Tcp => TcpHeader::CHECKSUM,
            Kind::Udp => UdpHeader::CHECKSUM,
            _ => IcmpHeader::CHECKSUM,
        }
}

#[inline(always)]
fn address(packet: &Packet, field: usize, from: Be32, to: Be32) -> Result<(), DropReason> {
    if matches!(packet.kind, Kind::Tcp | Kind::Udp) {
        let is_udp = packet.kind == Kind::Udp;
        packet
            .skb
            .replace_l4_address(checksum_at(packet), from, to, is_udp)?;
    }
    packet.skb.replace_l3(L3 + Ipv4Header::CHECKSUM, from, to)?;
    packet.skb.store(L3 + field, &to)
}

#[inline(always)]
fn port(packet: &Packet, field: usize, from: Be16, to: Be16) -> Result<(), DropReason> {
    let is_udp = packet.kind == Kind::Udp;
    packet
        .skb
        .replace_l4_field(checksum_at(packet), from, to, is_udp)?;
    packet.skb.store(packet.l4 + field, &to)
}
