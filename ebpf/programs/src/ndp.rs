//! Neighbour discovery of tasks: as with ARP, every address of a subnet is at one link-layer
//! address.

use orch_ebpf_common::headers::{ICMP_V6, IcmpHeader, Ipv6Header, NeighbourMessage};
use orch_ebpf_common::{Address, Attachment, Be32, DropReason, MacAddress, checksum};

use crate::packet::{L3, Packet};
use crate::{Outcome, maps, verdict};

/// Who is told of a neighbour that nobody may have asked for: all nodes of the link.
const ALL_NODES: Address =
    Address::from_words([Be32::new(0xff02_0000), Be32::ZERO, Be32::ZERO, Be32::new(1)]);

/// Answers a task's solicitation; what else is said between neighbours has no one to hear it. The
/// task's own address stays unanswered, as it probes for duplicates.
#[inline(never)]
pub fn answer(packet: &Packet, attachment: &Attachment) -> i32 {
    verdict(try_answer(packet, attachment))
}

#[inline(always)]
fn try_answer(packet: &Packet, attachment: &Attachment) -> Outcome {
    const UNANSWERED: DropReason = DropReason::NeighbourUnanswered;
    let ip = &*packet.ip;
    let header: IcmpHeader = packet.transport()?;
    if header.kind != NeighbourMessage::SOLICITATION
        || header.code != 0
        || ip.hops != Ipv6Header::FROM_LINK
        || ip.end < ip.l4 + NeighbourMessage::OPTION
    {
        return Err(UNANSWERED);
    }
    let target: Address = packet.skb.load(ip.l4 + IcmpHeader::LEN)?;
    if target == attachment.v6 {
        return Err(UNANSWERED);
    }
    let subnet = maps::subnet(attachment.vni, target).ok_or(UNANSWERED)?;
    advertise(packet, target, target == subnet.gateway)
}

#[inline(always)]
fn advertise(packet: &Packet, target: Address, is_router: bool) -> Outcome {
    // Who has no address yet is told with all others (RFC 4861 section 7.2.4).
    let is_probe = packet.ip.source == Address::UNSPECIFIED;
    let to = if is_probe {
        ALL_NODES
    } else {
        packet.ip.source
    };
    let gateway = MacAddress::GATEWAY;
    let mut message = NeighbourMessage::advertisement(target, gateway, is_router, !is_probe);
    let len = NeighbourMessage::LEN as u16;
    let pseudo = checksum::pseudo_header(&target, &to, ICMP_V6, len);
    message.checksum = checksum::finish(message.sum() + pseudo);
    let header = Ipv6Header {
        hop_limit: Ipv6Header::FROM_LINK,
        ..Ipv6Header::new(target, to, ICMP_V6, len)
    };
    const L4: usize = L3 + Ipv6Header::LEN;
    packet.skb.resize(L4 + NeighbourMessage::LEN)?;
    packet.skb.store(L3, &header)?;
    packet.skb.store(L4, &message)?;
    // The question went to many; the answer comes from the gateway.
    packet.skb.store(0, &gateway)?;
    packet.reflect()
}
