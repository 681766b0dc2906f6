//! The connection tables: finding and following flows.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::maps::LruHashMap;
use orch_ebpf_common::{
    Address, Be16, Delivery, DropReason, EndpointKey, Flow, FlowKey, Origin, Phase,
};

use crate::maps::{self, FLOWS, OPENING};
use crate::packet::{Kind, Packet};
use crate::scratch::Scratch;
use crate::{Outcome, deliver, icmp_error, ingress, service};

const NANOSECONDS: u64 = 1_000_000_000;

const REPLY: u8 = Origin::Reply as u8;
const INGRESS: u8 = Origin::Ingress as u8;
const TUNNEL: u8 = Delivery::Tunnel as u8;

/// Seconds on the kernel's monotonic clock.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: takes nothing.
    (unsafe { bpf_ktime_get_coarse_ns() } / NANOSECONDS) as u32
}

/// The entry of a table.
#[inline(always)]
pub fn entry(table: &LruHashMap<FlowKey, Flow>, key: &FlowKey) -> Option<&'static mut Flow> {
    let flow = table.get_ptr_mut(key)?;
    // SAFETY: the entry stays in memory until the program ends; other CPUs write single fields of
    // it, and every byte pattern is a value.
    Some(unsafe { &mut *flow })
}

/// The flow of a key, and whether its conversation has proved to be one.
#[inline(always)]
fn look_up(key: &FlowKey) -> Option<(&'static mut Flow, bool)> {
    match entry(&FLOWS, key) {
        Some(flow) => Some((flow, true)),
        None => entry(&OPENING, key).map(|flow| (flow, false)),
    }
}

/// The flow of a key.
#[inline(always)]
pub fn find(key: &FlowKey) -> Option<&'static mut Flow> {
    look_up(key).map(|(flow, _)| flow)
}

/// Delivers the packet by the flow that `scratch.key` names, or an ICMP error by that of the packet
/// it quotes; `None` if there is none, or if it must be decided anew because its backend left.
#[inline(always)]
pub fn follow(packet: &Packet, scratch: &mut Scratch) -> Option<Outcome> {
    follow_from(packet, scratch, &Address::UNSPECIFIED)
}

/// The same for a packet that came through the tunnel from the host `node`.
#[inline(always)]
pub fn follow_from(packet: &Packet, scratch: &mut Scratch, node: &Address) -> Option<Outcome> {
    if packet.kind == Kind::IcmpError {
        return icmp_error::follow(packet, scratch);
    }
    if !packet.has_flow() {
        return None;
    }
    let (mut flow, mut proven) = look_up(&scratch.key)?;
    if flow.origin == INGRESS && flow.node != *node {
        if !ingress::takes_over(packet, scratch, flow, node) {
            (flow, proven) = look_up(&scratch.key)?;
        }
        if flow.node != *node {
            return Some(Err(DropReason::IngressCollision));
        }
    }
    if !goes_on(packet, scratch, flow, proven) {
        return None;
    }
    let verdict = deliver::by_flow(packet, flow);
    if flow.origin == REPLY || !deliver::lacks_task(verdict) {
        return Some(Ok(verdict));
    }
    if may_move(packet) {
        return None;
    }
    Some(service::refuse(packet, scratch, flow.service))
}

/// Whether another backend could serve the packet: nobody has agreed on anything yet.
#[inline(always)]
fn may_move(packet: &Packet) -> bool {
    packet.opens() || !is_stateful(packet)
}

/// Whether both ends of the conversation keep a state of it, which a new backend would lack.
#[inline(always)]
fn is_stateful(packet: &Packet) -> bool {
    matches!(packet.kind, Kind::Tcp | Kind::Sctp)
}

/// Whether the packet is to follow a flow as it is. Most packets of a connection are settled by a
/// look at the flow itself.
#[inline(always)]
fn goes_on(packet: &Packet, scratch: &mut Scratch, flow: &mut Flow, proven: bool) -> bool {
    if flow.origin != REPLY
        && may_move(packet)
        && (flow.phase == Phase::Closing as u8
            || !service::still_serves(packet.config, scratch, flow))
    {
        return false;
    }
    // Before the entry may be copied to the other table.
    count(packet, flow);
    let may_prove = if is_stateful(packet) {
        !packet.opens()
    } else {
        flow.origin == REPLY
    };
    let closes = packet.closes() && flow.phase != Phase::Closing as u8;
    let is_noted = flow.last_seen == now() && !closes && (proven || !may_prove);
    is_noted || note(packet, scratch, flow, proven)
}

/// Counts a packet for its flow and its service.
#[inline(always)]
pub fn count(packet: &Packet, flow: &mut Flow) {
    let len = u64::from(packet.skb.len());
    flow.packets += 1;
    flow.bytes += len;
    if let Some(counters) = maps::service_counters(flow.service) {
        counters.packets += 1;
        counters.bytes += len;
    }
}

/// Notes in both entries of a conversation that it goes on, and how far it is; once a second is
/// enough for one that has proved itself. `false` if it is to be decided anew: the other entry was
/// seen to be gone or another conversation's, or the way has changed.
///
/// So the two grow old together: the port of a sender who is never answered stays taken too.
#[inline(never)]
fn note(packet: &Packet, scratch: &mut Scratch, flow: &mut Flow, proven: bool) -> bool {
    if was_unknown_task(flow) {
        return false;
    }
    let is_reply = flow.origin == REPLY;
    let now = now();
    set_other_key(scratch, flow);
    let other = if proven {
        entry(&FLOWS, &scratch.reply_key)
    } else {
        entry(&OPENING, &scratch.reply_key)
    };
    let Some(other) = other else {
        // An answer still finds its way.
        return is_reply;
    };
    if !is_other(scratch, other) {
        return is_reply;
    }
    flow.last_seen = now;
    other.last_seen = now;
    if packet.closes() {
        flow.phase = Phase::Closing as u8;
        other.phase = Phase::Closing as u8;
    } else if flow.phase == Phase::Opening as u8 {
        flow.phase = Phase::Established as u8;
    }
    if !proven && proves(packet, flow, other) {
        promote(scratch, flow, other);
    }
    true
}

/// Whether a task whose address was not known yet was taken for an outside client.
#[inline(always)]
fn was_unknown_task(flow: &Flow) -> bool {
    let client = match flow.origin {
        REPLY if flow.delivery == TUNNEL => flow.destination,
        INGRESS => flow.source,
        _ => return false,
    };
    let key = EndpointKey {
        vni: flow.vni,
        address: client,
    };
    maps::endpoint(&key).is_some()
}

/// Whether a packet shows that both sides of a conversation mean it: the client's first segment
/// after an answer, or else any answer. Answers that go straight to the client are not seen here.
#[inline(always)]
fn proves(packet: &Packet, flow: &Flow, other: &Flow) -> bool {
    if !is_stateful(packet) {
        return flow.origin == REPLY;
    }
    let answered = other.phase == Phase::Established as u8 || flow.flags & Flow::DIRECT_RETURN != 0;
    flow.origin != REPLY && !packet.opens() && answered
}

/// Moves a conversation to the table of those that have proved to be one. The entries that it had
/// stay for those who look them up at this moment; nobody uses them any more, so they go first.
#[inline(always)]
fn promote(scratch: &Scratch, flow: &mut Flow, other: &mut Flow) {
    if other.phase == Phase::Opening as u8 {
        other.phase = Phase::Established as u8;
    }
    // If the table took but one of them, the conversation would be decided anew.
    _ = FLOWS.insert(&scratch.reply_key, &*other, BPF_ANY.into());
    _ = FLOWS.insert(&scratch.key, &*flow, BPF_ANY.into());
}

/// Sets `scratch.reply_key` to the key of the other direction of `scratch.key`'s conversation.
#[inline(always)]
pub fn set_other_key(scratch: &mut Scratch, flow: &Flow) {
    let key = &scratch.key;
    let straight = flow.origin == REPLY && flow.flags & Flow::DIRECT_RETURN != 0;
    let branches = flow.origin == REPLY && flow.flags & Flow::BRANCH != 0;
    scratch.reply_key = FlowKey {
        vni: flow.vni,
        source: flow.destination,
        // Answers that go straight to the client show another host's address.
        destination: if straight { key.source } else { flow.source },
        source_port: flow.destination_port,
        destination_port: if straight {
            key.source_port
        } else {
            flow.source_port
        },
        protocol: key.protocol,
        reserved: 0,
        branch: if branches {
            ingress::branch(&flow.node)
        } else {
            Be16::ZERO
        },
    };
}

/// Whether an entry leads back to where `scratch.key` comes from.
#[inline(always)]
fn is_other(scratch: &Scratch, other: &Flow) -> bool {
    let key = &scratch.key;
    other.vni == key.vni
        && other.destination == key.source
        && other.destination_port == key.source_port
}
