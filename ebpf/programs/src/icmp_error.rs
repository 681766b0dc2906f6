//! ICMP errors about translated conversations.
//!
//! An error quotes the packet that it is about as it was after the rewrite. The flow of the answers
//! knows what that packet looked like before, who sent it and how to get there. What the message
//! says besides, such as the MTU of the next hop, stays.

use orch_ebpf_common::headers::{
    self, ICMP, IcmpHeader, IcmpMessage, Ipv4Header, Part, SCTP, TCP, TcpHeader, UDP, UdpHeader,
};
use orch_ebpf_common::{Be16, DropReason, Flow, FlowKey, Vni, checksum};

use crate::family;
use crate::ip::Ip;
use crate::nat::{difference, store_addresses};
use crate::packet::Packet;
use crate::scratch::Scratch;
use crate::{FORWARD, Outcome, flow, verdict};

/// The packet that an error quotes: its header, and at least 8 bytes of what it carried.
struct Quote {
    /// What its IP header says.
    ip: &'static mut Ip,
    /// Where that begins in the error's frame.
    l3: usize,
    /// Source port, as in [`FlowKey`].
    source_port: Be16,
    /// Destination port, as in [`FlowKey`].
    destination_port: Be16,
}

/// Delivers an error to the sender of the packet that it quotes, in terms of what was sent; `None`
/// if that packet belongs to no flow of the network that `scratch.key` names.
#[inline(always)]
pub fn follow(packet: &Packet, scratch: &mut Scratch) -> Option<Outcome> {
    let mut quote = Quote {
        ip: Ip::quoted().ok()?,
        l3: packet.ip.l4 + IcmpHeader::LEN,
        source_port: Be16::ZERO,
        destination_port: Be16::ZERO,
    };
    let vni = scratch.key.vni;
    if !read(packet, &mut quote) || !may_speak(packet, &quote, vni) {
        return None;
    }
    scratch.reply_key = FlowKey {
        vni,
        source: quote.ip.destination,
        destination: quote.ip.source,
        source_port: quote.destination_port,
        destination_port: quote.source_port,
        protocol: quote.ip.protocol,
        reserved: 0,
        branch: Be16::ZERO,
    };
    let flow = flow::find(&scratch.reply_key)?;
    Some(Ok(translate(packet, scratch, &quote, flow)))
}

/// Reads what is quoted; `false` if it is nothing that has a flow.
#[inline(never)]
fn read(packet: &Packet, quote: &mut Quote) -> bool {
    try_read(packet, quote).is_ok()
}

#[inline(always)]
fn try_read(packet: &Packet, quote: &mut Quote) -> Result<(), DropReason> {
    // A quote is shorter than the packet was.
    let is_v4 = packet.ip.is_v4;
    quote.ip.read(packet.skb, quote.l3, is_v4, u32::MAX)?;
    if quote.ip.part == Part::Later {
        return Err(DropReason::Fragment);
    }
    match quote.ip.protocol {
        TCP | UDP | SCTP => {
            // All ports lie where UDP's do.
            let ports: UdpHeader = packet.skb.load(quote.ip.l4)?;
            quote.source_port = ports.source;
            quote.destination_port = ports.destination;
        }
        protocol if protocol == headers::icmp(is_v4) => {
            let icmp: IcmpHeader = packet.skb.load(quote.ip.l4)?;
            match icmp.message(is_v4) {
                IcmpMessage::EchoRequest => quote.source_port = icmp.id,
                IcmpMessage::EchoReply => quote.destination_port = icmp.id,
                _ => return Err(DropReason::IcmpNotTranslated),
            }
        }
        _ => return Err(DropReason::UnsupportedProtocol),
    }
    Ok(())
}

/// Whether the error is for who sent the quoted packet, and from who may have met it: outside any
/// router; inside a network, which has none, only the receiver.
#[inline(always)]
fn may_speak(packet: &Packet, quote: &Quote, vni: Vni) -> bool {
    packet.ip.destination == quote.ip.source
        && (vni == Vni::HOST || packet.ip.source == quote.ip.destination)
}

/// Rewrites the quote, and lets the packet around it be delivered as `flow`, the one of the quoted
/// packet's answers, says.
#[inline(never)]
fn translate(packet: &Packet, scratch: &mut Scratch, quote: &Quote, flow: &Flow) -> i32 {
    verdict(try_translate(packet, scratch, quote, flow))
}

#[inline(always)]
fn try_translate(packet: &Packet, scratch: &mut Scratch, quote: &Quote, flow: &Flow) -> Outcome {
    if family::changes(packet, flow) {
        // Made anew when it is delivered.
        scratch.forward = *flow;
        return Ok(FORWARD);
    }
    let difference = difference(quote.ip, &flow.destination, &flow.source);
    restore_addresses(packet, quote, flow, difference)?;
    restore_ports(packet, quote, flow, difference)?;
    scratch.forward = *flow;
    if packet.ip.source != quote.ip.destination {
        scratch.forward.source = packet.ip.source;
    }
    // The error itself has no ports.
    scratch.forward.source_port = packet.source_port;
    scratch.forward.destination_port = packet.destination_port;
    Ok(FORWARD)
}

/// The quoted addresses as they were before the rewrite. In IPv4 the message's checksum stays, as
/// the quoted header's own makes up for them.
#[inline(always)]
fn restore_addresses(
    packet: &Packet,
    quote: &Quote,
    flow: &Flow,
    difference: u32,
) -> Result<(), DropReason> {
    let (skb, ip) = (packet.skb, &*quote.ip);
    if ip.is_v4 {
        let at = quote.l3 + Ipv4Header::CHECKSUM;
        let checksum: Be16 = skb.load(at)?;
        skb.store(at, &checksum::replace_by(checksum, difference))?;
    } else {
        skb.replace_l4(packet.ip.l4 + IcmpHeader::CHECKSUM, difference, false)?;
    }
    store_addresses(skb, quote.l3, ip.is_v4, &flow.destination, &flow.source)
}

/// The quoted ports as they were before the rewrite, and the checksum over them if it is quoted.
#[inline(always)]
fn restore_ports(
    packet: &Packet,
    quote: &Quote,
    flow: &Flow,
    difference: u32,
) -> Result<(), DropReason> {
    let (source_at, destination_at, checksum_at) = match quote.ip.protocol {
        TCP => (0, size_of::<Be16>(), TcpHeader::CHECKSUM),
        // SCTP's checksum stays: it covers more than is quoted, and a receiver goes by the tag.
        UDP | SCTP => (0, size_of::<Be16>(), UdpHeader::CHECKSUM),
        _ => (IcmpHeader::ID, IcmpHeader::ID, IcmpHeader::CHECKSUM),
    };
    let is_quoted = quote.ip.l4 + checksum_at + size_of::<Be16>() <= packet.ip.end;
    if is_quoted && quote.ip.protocol != SCTP {
        let after: Be16 = packet.skb.load(quote.ip.l4 + checksum_at)?;
        let ports = [quote.source_port, quote.destination_port];
        let before = checksum_before(quote.ip, ports, flow, difference, after);
        replace(packet, quote.ip.l4 + checksum_at, after, before)?;
    }
    let (source, destination) = (flow.destination_port, flow.source_port);
    replace(packet, quote.ip.l4 + source_at, quote.source_port, source)?;
    replace(
        packet,
        quote.ip.l4 + destination_at,
        quote.destination_port,
        destination,
    )
}

/// The TCP, UDP or ICMP checksum of a quoted packet as it was before the rewrite, which changed its
/// `ports`, and the sum of its addresses by `difference`.
#[inline(always)]
pub fn checksum_before(
    quoted: &Ip,
    ports: [Be16; 2],
    flow: &Flow,
    difference: u32,
    after: Be16,
) -> Be16 {
    let is_udp = quoted.protocol == UDP;
    if is_udp && after == Be16::ZERO {
        return after;
    }
    let before = checksum::replace(after, ports[0], flow.destination_port);
    let mut before = checksum::replace(before, ports[1], flow.source_port);
    if quoted.protocol != ICMP {
        before = checksum::replace_by(before, difference);
    }
    if is_udp && before == Be16::ZERO {
        return UdpHeader::ZERO_SUM;
    }
    before
}

/// Overwrites a field of the quote, and adapts the message's checksum.
#[inline(always)]
fn replace(packet: &Packet, at: usize, from: Be16, to: Be16) -> Result<(), DropReason> {
    if from == to {
        return Ok(());
    }
    let checksum_at = packet.ip.l4 + IcmpHeader::CHECKSUM;
    let difference = checksum::field_difference(from, to);
    packet.skb.replace_l4(checksum_at, difference, false)?;
    packet.skb.store(at, &to)
}
