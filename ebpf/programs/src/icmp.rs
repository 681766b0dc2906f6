//! ICMP messages that are made here: echo replies and "destination unreachable".

use orch_ebpf_common::headers::{self, IcmpHeader, Part, Unreachable};
use orch_ebpf_common::{DropReason, checksum};

use crate::nat::store_addresses;
use crate::packet::{Kind, L3, Packet};
use crate::scratch::{Scratch, room};
use crate::{Outcome, maps, reply, skb, verdict};

/// Bytes of the refused packet's payload that are quoted.
const QUOTED_PAYLOAD: usize = 8;
/// The longest quote. It holds any IPv4 header; long extensions of an IPv6 header are cut.
pub const QUOTED_MAX: usize = 128;

/// Turns an echo request into its reply.
#[inline(never)]
pub fn echo_reply(packet: &Packet) -> i32 {
    verdict(try_echo_reply(packet))
}

#[inline(always)]
fn try_echo_reply(packet: &Packet) -> Outcome {
    let ip = &*packet.ip;
    if ip.part == Part::Later {
        // Type and checksum are in the first part.
        store_addresses(packet.skb, L3, ip.is_v4, &ip.destination, &ip.source)?;
        return packet.reflect();
    }
    let (request, reply) = (
        IcmpHeader::echo_request(ip.is_v4),
        IcmpHeader::echo_reply(ip.is_v4),
    );
    let difference = checksum::field_difference(request, reply);
    packet
        .skb
        .replace_l4(ip.l4 + IcmpHeader::CHECKSUM, difference, false)?;
    packet.skb.store(ip.l4, &reply)?;
    // Swapping the addresses leaves all checksums as they are.
    store_addresses(packet.skb, L3, ip.is_v4, &ip.destination, &ip.source)?;
    packet.reflect()
}

/// Answers that the address does not exist.
#[inline(always)]
pub fn host_unreachable(packet: &Packet, scratch: &mut Scratch) -> i32 {
    unreachable(packet, scratch, Unreachable::Host)
}

/// Answers that nobody listens on the port.
#[inline(always)]
pub fn port_unreachable(packet: &Packet, scratch: &mut Scratch) -> i32 {
    unreachable(packet, scratch, Unreachable::Port)
}

/// Answers that nothing leads to the address, so that a client with other addresses to try does
/// not wait; counts the reason as for a drop, because it is the host's want.
#[inline(always)]
pub fn no_route(packet: &Packet, scratch: &mut Scratch, reason: DropReason) -> i32 {
    maps::count_drop(reason as u32);
    unreachable(packet, scratch, Unreachable::Network)
}

/// Answers that the packet does not fit the tunnel, and which size would; counted as a drop.
#[inline(never)]
pub fn too_big(packet: &Packet) -> i32 {
    verdict(try_too_big(packet))
}

#[inline(always)]
fn try_too_big(packet: &Packet) -> Outcome {
    if !may_be_answered(packet) {
        return Err(DropReason::TooBig);
    }
    maps::count_drop(DropReason::TooBig as u32);
    let icmp = IcmpHeader::too_big(packet.ip.is_v4, packet.config.overlay_mtu);
    answer(packet, &mut room()?.bytes, icmp)
}

#[inline(never)]
fn unreachable(packet: &Packet, scratch: &mut Scratch, what: Unreachable) -> i32 {
    verdict(try_unreachable(packet, scratch, what))
}

#[inline(always)]
fn try_unreachable(packet: &Packet, scratch: &mut Scratch, what: Unreachable) -> Outcome {
    if packet.ip.part == Part::Later {
        return Err(DropReason::Fragment);
    }
    if !may_be_answered(packet) {
        return Err(DropReason::IcmpNotTranslated);
    }
    let icmp = IcmpHeader::unreachable(packet.ip.is_v4, what);
    answer(packet, &mut scratch.packet, icmp)
}

/// Whether an error may answer it: no error does (RFC 1122 section 3.2.2, RFC 4443 section 2.4),
/// and one answer for all parts of a datagram is enough.
#[inline(always)]
fn may_be_answered(packet: &Packet) -> bool {
    !matches!(
        packet.kind,
        Kind::EchoReply | Kind::IcmpError | Kind::OtherIcmp | Kind::Neighbour
    ) && packet.ip.part != Part::Later
}

/// Turns the packet into an error that quotes it. `room` must have [`QUOTED_MAX`] bytes.
#[inline(always)]
fn answer(packet: &Packet, room: &mut [u8], mut icmp: IcmpHeader) -> Outcome {
    let ip = &*packet.ip;
    let mut quoted = ip.l4 - L3 + QUOTED_PAYLOAD;
    if quoted > QUOTED_MAX {
        quoted = QUOTED_MAX;
    }
    packet.skb.load_bytes(L3, room, quoted)?;
    let (protocol, payload) = (headers::icmp(ip.is_v4), IcmpHeader::LEN + quoted);
    let mut seed = icmp.sum();
    if !ip.is_v4 {
        seed += reply::pseudo_header(packet, protocol, payload);
    }
    icmp.checksum = checksum::finish(skb::sum(room, quoted, seed));

    let l4 = reply::begin(packet, protocol, payload)?;
    packet.skb.store(l4, &icmp)?;
    packet.skb.store_bytes(l4 + IcmpHeader::LEN, room, quoted)?;
    packet.reflect()
}
