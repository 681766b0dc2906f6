//! Packets that answer another one, made in its place.

use orch_ebpf_common::headers::{Ipv4Header, Ipv6Header};
use orch_ebpf_common::{DropReason, checksum};

use crate::packet::{L3, Packet};

/// Turns the packet into one to its sender: a new IP header, and room for `payload` bytes behind
/// it. Returns where these begin.
#[inline(always)]
pub fn begin(packet: &Packet, protocol: u8, payload: usize) -> Result<usize, DropReason> {
    match write_header(packet, protocol, payload) {
        0 => Err(DropReason::RewriteFailed),
        l4 => Ok(l4),
    }
}

/// One's complement sum of the pseudo header of such an answer.
#[inline(always)]
pub fn pseudo_header(packet: &Packet, protocol: u8, payload: usize) -> u32 {
    let (source, destination) = (&packet.ip.destination, &packet.ip.source);
    checksum::pseudo_header(source, destination, protocol, payload as u16)
}

#[inline(always)]
fn write_header(packet: &Packet, protocol: u8, payload: usize) -> usize {
    try_write_header(packet, protocol, payload).unwrap_or(0)
}

#[inline(always)]
fn try_write_header(packet: &Packet, protocol: u8, payload: usize) -> Result<usize, DropReason> {
    let (skb, ip) = (packet.skb, &*packet.ip);
    if ip.is_v4 {
        let l4 = L3 + Ipv4Header::LEN;
        skb.resize(l4 + payload)?;
        let (source, destination) = (ip.destination.v4(), ip.source.v4());
        let header = Ipv4Header::new(source, destination, protocol, payload as u16);
        skb.store(L3, &header)?;
        return Ok(l4);
    }
    let l4 = L3 + Ipv6Header::LEN;
    skb.resize(l4 + payload)?;
    let header = Ipv6Header::new(ip.destination, ip.source, protocol, payload as u16);
    skb.store(L3, &header)?;
    Ok(l4)
}
