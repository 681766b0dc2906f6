//! Telling of single conversations, while somebody listens.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
#[cfg(doc)]
use orch_ebpf_common::DropReason;
use orch_ebpf_common::{Config, Decision, FlowEvent};

use crate::maps;
use crate::packet::Packet;
use crate::scratch::{Scratch, scratch};
use crate::skb::Skb;

/// Tells what was decided about the conversation of `scratch.key`.
#[inline(always)]
pub fn tell(packet: &Packet, scratch: &Scratch, decision: Decision, service: u32) {
    if packet.config.flags & Config::EVENTS != 0 {
        record(packet.skb, scratch, decision as u32, service);
    }
}

/// Tells of a packet that is dropped; `reason` is the index of a [`DropReason`]. Its conversation
/// is told too if it was known by then.
#[inline(always)]
pub fn tell_drop(skb: Skb, reason: u32) {
    if let Ok(config) = maps::config()
        && config.flags & Config::EVENTS != 0
        && let Ok(scratch) = scratch()
    {
        record(skb, scratch, Decision::Dropped as u32 | reason << 8, 0);
    }
}

/// Writes a record; `decision` is a [`Decision`], and above that a [`DropReason`].
#[inline(never)]
fn record(skb: Skb, scratch: &Scratch, decision: u32, service: u32) {
    // SAFETY: takes nothing.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = maps::event() else {
        return;
    };
    // Field by field: a whole value would not fit on the stack.
    let event = entry.write(FlowEvent::default());
    event.time = time;
    if scratch.has_key() {
        event.key = scratch.key;
    }
    if decision as u8 == Decision::Opened as u8 {
        event.backend = scratch.forward.destination;
        event.backend_port = scratch.forward.destination_port;
    }
    event.decision = decision as u8;
    event.reason = (decision >> 8) as u8;
    event.service = service;
    event.len = skb.len();
    event.ifindex = skb.ifindex();
    entry.submit(0);
}
