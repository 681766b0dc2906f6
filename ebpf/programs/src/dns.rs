//! Answers questions for the names of services and tasks.
//!
//! The engine's resolver inside each container passes on the names it does not know, from the
//! container's namespace, to whatever server it was given. So a question to any address counts.

use orch_ebpf_common::dns::{
    AddressRecord, DnsHeader, MESSAGE_MAX, QuestionTail, lower_case, name_len,
};
use orch_ebpf_common::headers::{UDP, UdpHeader};
use orch_ebpf_common::names::{NAME_ADDRESSES, NAME_BYTES};
use orch_ebpf_common::{Attachment, Be16, DropReason, NameAddresses, Sandbox, Vni, checksum};

use crate::packet::Packet;
use crate::scratch::Scratch;
use crate::{Outcome, maps, reply, skb, verdict};

/// Longest question and records that are answered with; a word more is room to add them up.
const BODY_MAX: usize = MESSAGE_MAX - DnsHeader::LEN;
/// Bytes of a word of a sum.
const WORD: usize = 4;

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
    let mut truncated = false;
    if let Some(is_v4) = tail.asks_v4() {
        truncated = write_records(scratch, addresses, is_v4);
    }
    let record_len = match tail.kind {
        QuestionTail::A => AddressRecord::LEN_V4,
        _ => AddressRecord::LEN_V6,
    };
    let body = question_len + scratch.answers as usize * record_len;
    if body > BODY_MAX {
        return Err(DropReason::Malformed);
    }
    send(
        packet,
        scratch,
        &query.answer(scratch.answers as u16, truncated),
        body,
    )
}

/// Sends a message of a header and the `body` bytes in `scratch.packet` to who asked.
#[inline(always)]
fn send(packet: &Packet, scratch: &mut Scratch, header: &DnsHeader, body: usize) -> Outcome {
    let len = UdpHeader::LEN + DnsHeader::LEN + body;
    let mut udp = UdpHeader {
        source: packet.destination_port,
        destination: packet.source_port,
        len: Be16::new(len as u16),
        checksum: Be16::ZERO,
    };
    if !packet.ip.is_v4 {
        // Over IPv6 there must be one.
        let seed = reply::pseudo_header(packet, UDP, len) + udp.sum() + header.sum();
        udp.checksum = match checksum::finish(body_sum(scratch, body, seed)) {
            Be16::ZERO => UdpHeader::ZERO_SUM,
            checksum => checksum,
        };
    }
    let l4 = reply::begin(packet, UDP, len)?;
    packet.skb.store(l4, &udp)?;
    let message = l4 + UdpHeader::LEN;
    packet.skb.store(message, header)?;
    packet
        .skb
        .store_bytes(message + DnsHeader::LEN, &scratch.packet, body)?;
    packet.reflect()
}

/// Adds the body, which a sum needs in whole words.
#[inline(always)]
fn body_sum(scratch: &mut Scratch, body: usize, seed: u32) -> u32 {
    if body > BODY_MAX {
        return seed;
    }
    if let Some(behind) = scratch.packet.get_mut(body..body + WORD) {
        behind.copy_from_slice(&[0; WORD]);
    }
    skb::sum(&mut scratch.packet, body.next_multiple_of(WORD), seed)
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

/// Writes address records of one family behind the question, beginning with a random one; whether
/// there are more than fit.
#[inline(never)]
fn write_records(scratch: &mut Scratch, addresses: &NameAddresses, is_v4: bool) -> bool {
    let count = if is_v4 {
        addresses.count_v4
    } else {
        addresses.count_v6
    };
    let Ok(question_len) = question_len(scratch) else {
        return false;
    };
    if count == 0 || count as usize > NAME_ADDRESSES {
        return false;
    }
    let fit = AddressRecord::fit(is_v4, question_len) as u32;
    let start = skb::random() % count;
    for step in 0..NAME_ADDRESSES as u32 {
        if step >= count || step >= fit {
            break;
        }
        let index = ((start + step) % count) as usize;
        if !write_record(scratch, addresses, is_v4, index) {
            break;
        }
    }
    count > fit
}

/// Writes the record of one address behind those that are there. Out of line, or the compiler
/// would advance a pointer from one record to the next, whose bounds the verifier does not see.
#[inline(never)]
fn write_record(
    scratch: &mut Scratch,
    addresses: &NameAddresses,
    is_v4: bool,
    index: usize,
) -> bool {
    let (Ok(question_len), answers) = (question_len(scratch), scratch.answers as usize) else {
        return false;
    };
    if answers >= NAME_ADDRESSES {
        return false;
    }
    let written = if is_v4 {
        let at = question_len + answers * AddressRecord::LEN_V4;
        let room = scratch.packet.get_mut(at..at + AddressRecord::LEN_V4);
        let address = addresses.v4.get(index);
        write_at(room, is_v4, address.map(|address| address.bytes()))
    } else {
        let at = question_len + answers * AddressRecord::LEN_V6;
        let room = scratch.packet.get_mut(at..at + AddressRecord::LEN_V6);
        let address = addresses.v6.get(index);
        write_at(room, is_v4, address.map(|address| address.bytes()))
    };
    if written {
        scratch.answers += 1;
    }
    written
}

#[inline(always)]
fn write_at<const LEN: usize>(
    room: Option<&mut [u8]>,
    is_v4: bool,
    address: Option<[u8; LEN]>,
) -> bool {
    let (Some(room), Some(address)) = (room, address) else {
        return false;
    };
    let (head, tail) = room.split_at_mut(AddressRecord::HEAD);
    head.copy_from_slice(&AddressRecord::head(is_v4));
    tail.copy_from_slice(&address);
    true
}
