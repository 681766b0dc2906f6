//! ICMP errors about conversations between the families.
//!
//! Such an error is made anew. It quotes the packet as its sender knows it, with as much behind the
//! IP header as every error has to quote (RFC 792): ports, and a TCP segment's sequence number.

use orch_ebpf_common::headers::{
    self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, IcmpHeader, Ipv4Header, Ipv6Header, TCP,
    UDP,
};
use orch_ebpf_common::{Be16, DropReason, Flow, checksum};

use crate::ip::Ip;
use crate::packet::{L3, Packet};
use crate::scratch::{Room, room};
use crate::skb::Wire;
use crate::{icmp_error, nat};

/// What lies behind the quoted IP header: two ports, and the rest of 8 bytes.
type Beginning = [Be16; 4];

/// An error in IPv4.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ErrorV4 {
    ip: Ipv4Header,
    icmp: IcmpHeader,
    quoted: Ipv4Header,
    beginning: Beginning,
}

/// An error in IPv6.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ErrorV6 {
    ip: Ipv6Header,
    icmp: IcmpHeader,
    quoted: Ipv6Header,
    beginning: Beginning,
}

// SAFETY: headers, which are made of big-endian integers and have no padding, one after the other.
unsafe impl Wire for ErrorV4 {}
// SAFETY: see above.
unsafe impl Wire for ErrorV6 {}

/// Makes an error that [`icmp_error`] has read one of the other family, for the sender of what it
/// quotes, whose flow is `flow`. This host stands for the router that sent it.
#[inline(never)]
pub fn make(packet: &Packet, flow: &Flow) -> bool {
    try_make(packet, flow).is_ok()
}

#[inline(always)]
fn try_make(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let quoted = Ip::quoted()?;
    let room = room()?;
    if !translate(packet, &mut room.icmp) {
        return Err(DropReason::FamilyNotChanged);
    }
    let beginning = beginning(packet, flow, quoted)?;
    if packet.ip.is_v4 {
        make_v6(packet, flow, quoted, room, &beginning)
    } else {
        make_v4(packet, flow, quoted, room, &beginning)
    }
}

/// Sets `to` to what the error's header is in the other family. Out of line and into a map's
/// memory, so that the verifier follows what comes once, and not once for each error.
#[inline(never)]
fn translate(packet: &Packet, to: &mut IcmpHeader) -> bool {
    let Ok(icmp) = packet.transport::<IcmpHeader>() else {
        return false;
    };
    let Some(icmp) = icmp.in_other_family(packet.ip.is_v4) else {
        return false;
    };
    *to = icmp;
    true
}

/// The ports and the checksum as the receiver of the error had sent them.
#[inline(always)]
fn beginning(packet: &Packet, flow: &Flow, quoted: &Ip) -> Result<Beginning, DropReason> {
    let mut words: Beginning = packet.skb.load(quoted.l4)?;
    if quoted.protocol == UDP {
        let difference = nat::difference(quoted, &flow.destination, &flow.source);
        let ports = [words[0], words[1]];
        words[3] = icmp_error::checksum_before(quoted, ports, flow, difference, words[3]);
    } else if quoted.protocol != TCP {
        return Err(DropReason::FamilyNotChanged);
    }
    words[0] = flow.destination_port;
    words[1] = flow.source_port;
    Ok(words)
}

#[inline(always)]
fn sum(words: &Beginning) -> u32 {
    words
        .iter()
        .fold(0, |sum, word| sum + u32::from(word.raw()))
}

#[inline(always)]
fn make_v4(
    packet: &Packet,
    flow: &Flow,
    quoted: &Ip,
    room: &mut Room,
    beginning: &Beginning,
) -> Result<(), DropReason> {
    const PAYLOAD: usize = size_of::<ErrorV4>() - Ipv4Header::LEN;
    let (icmp, error) = (room.icmp, &mut room.error_v4);
    let (host, task) = (flow.source.v4(), flow.destination.v4());
    let len = (quoted.end - quoted.l4) as u16;
    error.ip = Ipv4Header::new(host, task, headers::ICMP, PAYLOAD as u16);
    error.quoted =
        Ipv4Header::new(task, host, quoted.protocol, len).passed_on(quoted.class, quoted.hops);
    error.beginning = *beginning;
    error.icmp = icmp;
    let sum = icmp.sum() + error.quoted.sum() + sum(beginning);
    error.icmp.checksum = checksum::finish(sum);
    put(packet, ETHERTYPE_IPV4, error)
}

#[inline(always)]
fn make_v6(
    packet: &Packet,
    flow: &Flow,
    quoted: &Ip,
    room: &mut Room,
    beginning: &Beginning,
) -> Result<(), DropReason> {
    const PAYLOAD: usize = size_of::<ErrorV6>() - Ipv6Header::LEN;
    let (icmp, error) = (room.icmp, &mut room.error_v6);
    let (host, client) = (&flow.source, &flow.destination);
    let len = (quoted.end - quoted.l4) as u16;
    error.ip = Ipv6Header::new(*host, *client, headers::ICMP_V6, PAYLOAD as u16);
    error.quoted =
        Ipv6Header::new(*client, *host, quoted.protocol, len).passed_on(quoted.class, quoted.hops);
    error.beginning = *beginning;
    error.icmp = icmp;
    let pseudo = checksum::pseudo_header(host, client, headers::ICMP_V6, PAYLOAD as u16);
    let sum = pseudo + icmp.sum() + error.quoted.sum() + sum(beginning);
    error.icmp.checksum = checksum::finish(sum);
    put(packet, ETHERTYPE_IPV6, error)
}

/// Puts an error in the packet's place.
#[inline(always)]
fn put<T: Wire>(packet: &Packet, ether_type: u16, error: &T) -> Result<(), DropReason> {
    let skb = packet.skb;
    skb.change_family(ether_type)?;
    skb.resize(L3 + size_of::<T>())?;
    skb.forget_hash();
    skb.store_summed(L3, error)?;
    skb.store_anywhere(EthernetHeader::ETHER_TYPE, &Be16::new(ether_type))
}
