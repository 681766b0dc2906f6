//! Conversations between the families: IPv6 clients of tasks that have IPv4 addresses only.
//!
//! The IP header is made anew (RFC 7915 sections 4.1 and 5.1), and the transport keeps its bytes
//! but for ports and checksum. What has no plain counterpart is dropped: fragments, IPv4 options,
//! IPv6 extensions, and UDP without a checksum, which IPv6 does not know. What is too big for the
//! tunnel is told so before, and as the client's family counts it.

use orch_ebpf_common::headers::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, Ipv4Header, Ipv6Header, Part, UdpHeader,
};
use orch_ebpf_common::{Be16, DropReason, Flow};

use crate::packet::{Kind, L3, Packet};
use crate::{family_error, nat};

/// Whether a flow leads a packet to the other family.
#[inline(always)]
pub fn changes(packet: &Packet, flow: &Flow) -> bool {
    flow.source.is_v4() != packet.ip.is_v4
}

/// Makes the packet one of the other family that looks as the flow says; `false` if it cannot be
/// made.
#[inline(always)]
pub fn change(packet: &Packet, flow: &Flow) -> bool {
    if packet.kind == Kind::IcmpError {
        family_error::make(packet, flow)
    } else {
        make(packet, flow)
    }
}

/// Whether all that the packet says has a counterpart.
#[inline(always)]
fn is_plain(packet: &Packet) -> bool {
    let ip = &*packet.ip;
    let header = if ip.is_v4 {
        Ipv4Header::LEN
    } else {
        Ipv6Header::LEN
    };
    if ip.part != Part::Whole || ip.l4 != L3 + header {
        return false;
    }
    match packet.kind {
        Kind::Tcp => true,
        Kind::Udp => packet
            .transport::<UdpHeader>()
            .is_ok_and(|udp| udp.checksum != Be16::ZERO),
        _ => false,
    }
}

#[inline(never)]
fn make(packet: &Packet, flow: &Flow) -> bool {
    if !is_plain(packet) {
        return false;
    }
    let made = if packet.ip.is_v4 {
        make_v6(packet, flow)
    } else {
        make_v4(packet, flow)
    };
    made.is_ok()
}

/// Not to be cut: so its lack of an identification does no harm (RFC 6864 section 4.1).
#[inline(always)]
fn make_v4(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let (skb, ip) = (packet.skb, &*packet.ip);
    nat::store_transport(packet, flow)?;
    skb.change_family(ETHERTYPE_IPV4)?;
    let payload = (ip.end - ip.l4) as u16;
    let header = Ipv4Header::new(
        flow.source.v4(),
        flow.destination.v4(),
        ip.protocol,
        payload,
    );
    skb.store_summed(L3, &header.passed_on(ip.class, ip.hops))?;
    skb.store_anywhere(EthernetHeader::ETHER_TYPE, &Be16::new(ETHERTYPE_IPV4))
}

#[inline(always)]
fn make_v6(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let (skb, ip) = (packet.skb, &*packet.ip);
    nat::store_transport(packet, flow)?;
    skb.change_family(ETHERTYPE_IPV6)?;
    let payload = (ip.end - ip.l4) as u16;
    let header = Ipv6Header::new(flow.source, flow.destination, ip.protocol, payload);
    skb.store_summed(L3, &header.passed_on(ip.class, ip.hops))?;
    skb.store_anywhere(EthernetHeader::ETHER_TYPE, &Be16::new(ETHERTYPE_IPV6))
}
