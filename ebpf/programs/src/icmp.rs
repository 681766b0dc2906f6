//! ICMP messages that are made here: echo replies and "destination unreachable".

use orch_ebpf_common::headers::{ICMP, IcmpHeader, Ipv4Header};
use orch_ebpf_common::{Be16, DropReason, checksum};

use crate::packet::{Kind, L3, Packet};
use crate::scratch::Scratch;
use crate::{Outcome, skb, verdict};

/// Bytes of the refused packet's payload that are quoted.
const QUOTED_PAYLOAD: usize = 8;
/// The longest IPv4 header and the quoted payload.
const QUOTED_MAX: usize = 60 + QUOTED_PAYLOAD;

/// Turns an echo request into its reply.
#[inline(never)]
pub fn echo_reply(packet: &Packet) -> i32 {
    verdict(try_echo_reply(packet))
}

#[inline(always)]
fn try_echo_reply(packet: &Packet) -> Outcome {
    let type_and_code = |kind| Be16::from_bytes([kind, 0]);
    packet.skb.replace_l4_field(
        packet.l4 + IcmpHeader::CHECKSUM,
        type_and_code(IcmpHeader::ECHO_REQUEST),
        type_and_code(IcmpHeader::ECHO_REPLY),
        false,
    )?;
    packet.skb.store(packet.l4, &IcmpHeader::ECHO_REPLY)?;
    // Swapping the addresses leaves the header's checksum as it is.
    packet
        .skb
        .store(L3 + Ipv4Header::SOURCE, &packet.ip.destination)?;
    packet
        .skb
        .store(L3 + Ipv4Header::DESTINATION, &packet.ip.source)?;
    packet.reflect()
}

/// Answers that the address does not exist.
#[inline(always)]
pub fn host_unreachable(packet: &Packet, scratch: &mut Scratch) -> i32 {
    unreachable(packet, scratch, IcmpHeader::HOST)
}

/// Answers that nobody listens on the port.
#[inline(always)]
pub fn port_unreachable(packet: &Packet, scratch: &mut Scratch) -> i32 {
    unreachable(packet, scratch, IcmpHeader::PORT)
}

#[inline(never)]
fn unreachable(packet: &Packet, scratch: &mut Scratch, code: u8) -> i32 {
    verdict(try_unreachable(packet, scratch, code))
}

#[inline(always)]
fn try_unreachable(packet: &Packet, scratch: &mut Scratch, code: u8) -> Outcome {
    // An error is never answered with an error (RFC 1122 section 3.2.2).
    if matches!(
        packet.kind,
        Kind::EchoReply | Kind::IcmpError | Kind::OtherIcmp
    ) {
        return Err(DropReason::IcmpNotTranslated);
    }
    let quoted = packet.l4 - L3 + QUOTED_PAYLOAD;
    if quoted > QUOTED_MAX {
        return Err(DropReason::Malformed);
    }
    packet.skb.load_bytes(L3, &mut scratch.packet, quoted)?;
    let mut icmp = IcmpHeader::unreachable(code);
    icmp.checksum = checksum::finish(skb::sum(&mut scratch.packet, quoted, icmp.sum()));
    let ip = packet.ip.reply(ICMP, (IcmpHeader::LEN + quoted) as u16);

    const L4: usize = L3 + Ipv4Header::LEN;
    packet.skb.resize(L4 + IcmpHeader::LEN + quoted)?;
    packet.skb.store(L3, &ip)?;
    packet.skb.store(L4, &icmp)?;
    packet
        .skb
        .store_bytes(L4 + IcmpHeader::LEN, &scratch.packet, quoted)?;
    packet.reflect()
}
