//! Refuses TCP segments the way a host without a listener does.

use orch_ebpf_common::headers::{Ipv4Header, TCP, TcpHeader};
use orch_ebpf_common::{DropReason, checksum};

use crate::packet::{L3, Packet};
use crate::{Outcome, verdict};

/// Answers a segment with a reset; a reset itself is dropped.
#[inline(never)]
pub fn refuse(packet: &Packet) -> i32 {
    verdict(try_refuse(packet))
}

#[inline(always)]
fn try_refuse(packet: &Packet) -> Outcome {
    let tcp: TcpHeader = packet.skb.load(packet.l4)?;
    let header_len = (packet.l4 - L3) as u16;
    let segment = packet.ip.total_len.get().saturating_sub(header_len);
    let mut reset = tcp.reset(segment).ok_or(DropReason::NoBackend)?;
    let ip = packet.ip.reply(TCP, TcpHeader::LEN as u16);
    reset.checksum = checksum::finish(reset.sum() + ip.pseudo_sum(TcpHeader::LEN as u16));

    const L4: usize = L3 + Ipv4Header::LEN;
    packet.skb.resize(L4 + TcpHeader::LEN)?;
    packet.skb.store(L3, &ip)?;
    packet.skb.store(L4, &reset)?;
    packet.reflect()
}
