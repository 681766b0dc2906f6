//! Answers questions for the names of services and tasks.
//!
//! The engine's resolver inside each container passes on the names it does not know, from the
//! container's namespace, to whatever server it was given. So a question to any address counts.

use orch_ebpf_common::dns::{AddressRecord, DnsHeader, QuestionTail, lower_case, name_len};
use orch_ebpf_common::headers::{UDP, UdpHeader};
use orch_ebpf_common::names::{NAME_ADDRESSES, NAME_BYTES};
use orch_ebpf_common::{Attachment, Be16, DropReason, NameAddresses, Sandbox, Vni};

use crate::packet::Packet;
use crate::scratch::Scratch;
use crate::{Outcome, maps, reply, skb, verdict};

/// Answers a question if its name is known in one of the container's networks; `None` if it is
/// somebody else's to answer.
#[inline(always)]
pub fn answer(
    packet: &Packet,
    scratch: &mut Scratch,
    attachment: &Attachment,
    vni: Vni,
) -> Option<Outcome> {
    if !read_name(packet, scratch) {
        return None;
    }
    let addresses = look_up(scratch, attachment, vni)?;
    Some(Ok(respond(packet, scratch, addresses)))
}

/// Reads the question's name into `scratch`; `false` if there is none to be answered here.
#[inline(never)]
fn read_name(packet: &Packet, scratch: &mut Scratch) -> bool {
    try_read_name(packet, scratch).is_ok()
}

#[inline(always)]
fn try_read_name(packet: &Packet, scratch: &mut Scratch) -> Result<(), DropReason> {
    let message = packet.ip.l4 + UdpHeader::LEN;
    let header: DnsHeader = packet.skb.load(message)?;
    if !header.is_single_query() {
        return Err(DropReason::Malformed);
    }
    if !find_end(packet, scratch) {
        return Err(DropReason::Malformed);
    }
    let len = scratch.name_len as usize;
    scratch.name.name = [0; NAME_BYTES];
    packet
        .skb
        .load_bytes(message + DnsHeader::LEN, &mut scratch.name.name, len)?;
    lower_case(&mut scratch.name.name);
    Ok(())
}

/// Measures the question's name.
#[inline(never)]
fn find_end(packet: &Packet, scratch: &mut Scratch) -> bool {
    let at = packet.ip.l4 + UdpHeader::LEN + DnsHeader::LEN;
    // The name may be shorter than its room, and the packet may end before it.
    let available = packet.skb.len().wrapping_sub(at as u32) as usize;
    let len = if available > NAME_BYTES {
        NAME_BYTES
    } else {
        available
    };
    if packet.skb.load_bytes(at, &mut scratch.packet, len).is_err() {
        return false;
    }
    let wire = scratch.packet.first_chunk::<NAME_BYTES>();
    match wire.and_then(name_len) {
        Some(name_len) if name_len <= len => {
            scratch.name_len = name_len as u32;
            true
        }
        _ => false,
    }
}

/// The addresses of the name in the first network of the container that knows it.
#[inline(never)]
fn look_up(
    scratch: &mut Scratch,
    attachment: &Attachment,
    vni: Vni,
) -> Option<&'static NameAddresses> {
    scratch.name.vni = vni;
    if let Some(addresses) = maps::name(&scratch.name) {
        return Some(addresses);
    }
    let sandbox = maps::sandbox(&attachment.sandbox)?;
    for index in 0..Sandbox::NETWORKS {
        if index >= sandbox.count as usize {
            break;
        }
        scratch.name.vni = sandbox.networks[index];
        if let Some(addresses) = maps::name(&scratch.name) {
            return Some(addresses);
        }
    }
    None
}

/// Turns the packet into the answer.
#[inline(never)]
fn respond(packet: &Packet, scratch: &mut Scratch, addresses: &NameAddresses) -> i32 {
    verdict(try_respond(packet, scratch, addresses))
}

#[inline(always)]
fn try_respond(packet: &Packet, scratch: &mut Scratch, addresses: &NameAddresses) -> Outcome {
    let message = packet.ip.l4 + UdpHeader::LEN;
    let query: DnsHeader = packet.skb.load(message)?;
    let question_len = question_len(scratch)?;
    // The question goes back as it came, its capitals included.
    packet
        .skb
        .load_bytes(message + DnsHeader::LEN, &mut scratch.packet, question_len)?;
    let tail_at = message + DnsHeader::LEN + question_len - QuestionTail::LEN;
    let tail: QuestionTail = packet.skb.load(tail_at)?;
    scratch.answers = 0;
    if tail.kind == QuestionTail::A && tail.class == QuestionTail::IN {
        write_records(scratch, addresses);
    }
    let answers = scratch.answers as usize;
    if answers > AddressRecord::MAX {
        return Err(DropReason::Malformed);
    }

    let body = question_len + answers * AddressRecord::LEN;
    let len = UdpHeader::LEN + DnsHeader::LEN + body;
    let l4 = reply::begin(packet, UDP, len)?;
    let udp = UdpHeader {
        source: packet.destination_port,
        destination: packet.source_port,
        len: Be16::new(len as u16),
        checksum: Be16::ZERO,
    };
    packet.skb.store(l4, &udp)?;
    let message = l4 + UdpHeader::LEN;
    packet.skb.store(message, &query.answer(answers as u16))?;
    packet
        .skb
        .store_bytes(message + DnsHeader::LEN, &scratch.packet, body)?;
    packet.reflect()
}

/// Length of the question, its type and class included.
#[inline(always)]
fn question_len(scratch: &Scratch) -> Result<usize, DropReason> {
    let name_len = scratch.name_len as usize;
    if name_len == 0 || name_len > NAME_BYTES {
        return Err(DropReason::Malformed);
    }
    Ok(name_len + QuestionTail::LEN)
}

/// Writes address records behind the question, beginning with a random one.
#[inline(never)]
fn write_records(scratch: &mut Scratch, addresses: &NameAddresses) -> bool {
    let count = addresses.count_v4;
    let Ok(question_len) = question_len(scratch) else {
        return false;
    };
    if count == 0 || count as usize > NAME_ADDRESSES {
        return false;
    }
    let start = skb::random() % count;
    for step in 0..AddressRecord::MAX {
        if step as u32 >= count {
            break;
        }
        let index = (start + step as u32) % count;
        let Some(address) = addresses.v4.get(index as usize) else {
            break;
        };
        let at = question_len + step * AddressRecord::LEN;
        let Some(room) = scratch.packet.get_mut(at..at + AddressRecord::LEN) else {
            break;
        };
        room.copy_from_slice(&AddressRecord::new(*address).bytes());
        scratch.answers = step as u32 + 1;
    }
    true
}
