//! Refuses TCP segments the way a host without a listener does.

use orch_ebpf_common::headers::{TCP, TcpHeader};
use orch_ebpf_common::{DropReason, checksum};

use crate::packet::Packet;
use crate::{Outcome, reply, verdict};

/// Answers a segment with a reset; a reset itself is dropped.
#[inline(never)]
pub fn refuse(packet: &Packet) -> i32 {
    verdict(try_refuse(packet))
}

#[inline(always)]
fn try_refuse(packet: &Packet) -> Outcome {
    let tcp: TcpHeader = packet.transport()?;
    let segment = (packet.ip.end - packet.ip.l4) as u16;
    let mut reset = tcp.reset(segment).ok_or(DropReason::NoBackend)?;
    let pseudo = reply::pseudo_header(packet, TCP, TcpHeader::LEN);
    reset.checksum = checksum::finish(reset.sum() + pseudo);
    let l4 = reply::begin(packet, TCP, TcpHeader::LEN)?;
    packet.skb.store(l4, &reset)?;
    packet.reflect()
}
