//! SCTP packets: other ports, and the refusal of an association.

use orch_ebpf_common::headers::{Part, SCTP, SctpHeader, sctp};
use orch_ebpf_common::{Be32, DropReason, Flow};

use crate::packet::Packet;
use crate::{Outcome, reply, verdict};

/// Gives a packet the ports of its flow. The checksum covers the whole packet, so the ports of a
/// fragmented one cannot change.
#[inline(always)]
pub fn rewrite_ports(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    if flow.source_port == packet.source_port && flow.destination_port == packet.destination_port {
        return Ok(());
    }
    if packet.ip.part != Part::Whole {
        return Err(DropReason::Fragment);
    }
    if replace_ports(packet, flow) {
        Ok(())
    } else {
        Err(DropReason::RewriteFailed)
    }
}

#[inline(never)]
fn replace_ports(packet: &Packet, flow: &Flow) -> bool {
    try_replace_ports(packet, flow).is_ok()
}

#[inline(always)]
fn try_replace_ports(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    let mut header: SctpHeader = packet.transport()?;
    let from = header.ports();
    header.source = flow.source_port;
    header.destination = flow.destination_port;
    let len = (packet.ip.end - packet.ip.l4) as u16;
    header.checksum = sctp::replace_ports(header.checksum, from, header.ports(), len);
    packet.skb.store_summed(packet.ip.l4, &header)
}

/// Answers a packet with an ABORT, as a host without a listener does.
#[inline(never)]
pub fn refuse(packet: &Packet) -> i32 {
    verdict(try_refuse(packet))
}

#[inline(always)]
fn try_refuse(packet: &Packet) -> Outcome {
    let header: SctpHeader = packet.transport()?;
    let initiate_tag = if header.opens() {
        packet.skb.load(packet.ip.l4 + SctpHeader::LEN)?
    } else {
        Be32::ZERO
    };
    let abort = header.abort(initiate_tag).ok_or(DropReason::NoBackend)?;
    let l4 = reply::begin(packet, SCTP, SctpHeader::LEN)?;
    packet.skb.store(l4, &abort)?;
    packet.reflect()
}
