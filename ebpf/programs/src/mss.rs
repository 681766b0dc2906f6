//! The maximum segment size between outside clients and tasks of other hosts.
//!
//! A client knows the MTU of its own link. What it sends to a task of another host must fit the
//! tunnel too, which neither the client nor the task knows of: both are told by a smaller size.

use orch_ebpf_common::headers::tcp_options::{OPTIONS, Step, step};
use orch_ebpf_common::headers::{Ipv4Header, Ipv6Header, TcpHeader};
use orch_ebpf_common::{Be16, Delivery, DropReason, Flow, Origin, checksum};

use crate::packet::Packet;
use crate::scratch::{Place, room};

/// Lowers the size that a SYN or its answer announces to what fits the tunnel, if one of the two
/// sides is outside and the other behind the tunnel. One that announces none keeps to the
/// standard's small default (RFC 9293 section 3.7.1).
#[inline(always)]
pub fn clamp(packet: &Packet, flow: &Flow, is_remote: bool) {
    if !packet.synchronizes() {
        return;
    }
    let is_answer = flow.delivery == Delivery::Uplink as u8 && packet.came_by_tunnel();
    if is_answer || (is_remote && flow.origin == Origin::Published as u8) {
        // Of two families, one has the longer header.
        lower(packet, packet.ip.is_v4 && flow.source.is_v4());
    }
}

#[inline(never)]
fn lower(packet: &Packet, is_v4: bool) -> bool {
    try_lower(packet, is_v4).is_ok()
}

#[inline(always)]
fn try_lower(packet: &Packet, is_v4: bool) -> Result<(), DropReason> {
    let ip = &*packet.ip;
    let room = room()?;
    let tcp: TcpHeader = packet.transport()?;
    let header_len = tcp.header_len(OPTIONS + TcpHeader::LEN);
    let len = header_len.ok_or(DropReason::Malformed)? - TcpHeader::LEN;
    if len > OPTIONS {
        return Err(DropReason::Malformed);
    }
    let options_at = ip.l4 + TcpHeader::LEN;
    packet.skb.load_bytes(options_at, &mut room.bytes, len)?;
    let options = room.bytes.first_chunk::<OPTIONS>();
    let options = options.ok_or(DropReason::Malformed)?;
    let at = find(options, len, &mut room.at).ok_or(DropReason::Malformed)?;
    let announced: Be16 = packet.skb.load(options_at + at)?;
    let headers = TcpHeader::LEN
        + if is_v4 {
            Ipv4Header::LEN
        } else {
            Ipv6Header::LEN
        };
    let most = packet.config.overlay_mtu.saturating_sub(headers as u32);
    if u32::from(announced.get()) <= most {
        return Ok(());
    }
    let most = Be16::new(most as u16);
    // The checksum's words begin at even offsets.
    let (from, to) = if at % 2 == 0 {
        (announced, most)
    } else {
        (announced.swapped(), most.swapped())
    };
    let difference = checksum::field_difference(from, to);
    packet
        .skb
        .replace_l4(ip.l4 + TcpHeader::CHECKSUM, difference, false)?;
    packet.skb.store(options_at + at, &most)
}

/// Where the size lies in the options.
#[inline(always)]
fn find(options: &[u8; OPTIONS], len: usize, here: &mut Place) -> Option<usize> {
    here.set(0);
    for _ in 0..OPTIONS {
        match step(options, len, here.get()) {
            Step::Next(next) => here.set(next),
            Step::SegmentSize(at) => return Some(at),
            Step::End => return None,
        }
    }
    None
}
