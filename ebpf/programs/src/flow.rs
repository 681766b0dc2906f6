//! The connection table: finding, following and opening flows.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use orch_ebpf_common::flow::NAT_PORTS;
use orch_ebpf_common::headers::Part;
use orch_ebpf_common::{
    Address, Be16, Delivery, DropReason, EndpointKey, Flow, FlowKey, Origin, Phase, Vni,
};

use crate::maps::{self, FLOWS};
use crate::packet::{Kind, Packet};
use crate::scratch::Scratch;
use crate::{Outcome, deliver, icmp_error, service, skb, verdict};

/// How many source ports are tried for a new conversation.
const PORT_ATTEMPTS: u32 = 16;
const NANOSECONDS: u64 = 1_000_000_000;

/// How answers leave.
#[derive(Clone, Copy)]
pub struct ReplyPath {
    /// The way out.
    pub delivery: Delivery,
    /// Device of [`Delivery::Uplink`], else 0.
    pub ifindex: u32,
}

/// The source port of a new conversation after the rewrite.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SourcePort {
    /// The client's own, unless another conversation has it already.
    Kept,
    /// One of the host's.
    Translated,
}

/// Seconds on the kernel's monotonic clock.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: takes nothing.
    (unsafe { bpf_ktime_get_coarse_ns() } / NANOSECONDS) as u32
}

/// Delivers the packet by the flow that `scratch.key` names, or an ICMP error by that of the packet
/// it quotes; `None` if there is none, or if it must be decided anew because its backend left.
#[inline(always)]
pub fn follow(packet: &Packet, scratch: &mut Scratch) -> Option<Outcome> {
    if packet.kind == Kind::IcmpError {
        return icmp_error::follow(packet, scratch);
    }
    if !packet.has_flow() {
        return None;
    }
    let flow = FLOWS.get_ptr_mut(&scratch.key)?;
    // SAFETY: the entry stays in memory until the program ends; other CPUs write single fields of
    // it, and every byte pattern is a value.
    let flow = unsafe { &mut *flow };
    let goes_on = if flow.origin == Origin::Reply as u8 {
        note(packet, scratch, flow);
        // A task whose address was not known yet was taken for an outside client.
        flow.delivery != Delivery::Tunnel as u8 || !has_endpoint(flow)
    } else {
        let may_move = packet.opens() || !matches!(packet.kind, Kind::Tcp | Kind::Sctp);
        if may_move
            && (flow.phase == Phase::Closing as u8 || !service::still_serves(&scratch.key, flow))
        {
            return None;
        }
        if flow.delivery == Delivery::Endpoint as u8 && !has_endpoint(flow) {
            return if may_move {
                None
            } else {
                Some(service::refuse(packet, scratch))
            };
        }
        note(packet, scratch, flow) || !may_move
    };
    if !goes_on {
        return None;
    }
    Some(deliver::by_flow(packet, flow))
}

/// Notes in both entries of a conversation that it goes on, at most once a second, and how far it
/// is. `false` if the other entry was seen to be gone or another conversation's.
///
/// So the two grow old together: the port of a sender who is never answered stays taken too.
#[inline(never)]
fn note(packet: &Packet, scratch: &mut Scratch, flow: &mut Flow) -> bool {
    let now = now();
    let closes = packet.closes() && flow.phase != Phase::Closing as u8;
    if closes {
        flow.phase = Phase::Closing as u8;
    } else if flow.phase == Phase::Opening as u8 {
        flow.phase = Phase::Established as u8;
    }
    if flow.last_seen == now && !closes {
        return true;
    }
    flow.last_seen = now;
    scratch.reply_key = FlowKey {
        vni: flow.vni,
        source: flow.destination,
        destination: flow.source,
        source_port: flow.destination_port,
        destination_port: flow.source_port,
        protocol: scratch.key.protocol,
        reserved: 0,
        branch: Be16::ZERO,
    };
    let Some(other) = FLOWS.get_ptr_mut(&scratch.reply_key) else {
        return false;
    };
    // SAFETY: as in `follow`.
    let other = unsafe { &mut *other };
    let key = &scratch.key;
    if other.vni != key.vni
        || other.destination != key.source
        || other.destination_port != key.source_port
    {
        return false;
    }
    other.last_seen = now;
    if closes {
        other.phase = Phase::Closing as u8;
    }
    true
}

#[inline(always)]
fn has_endpoint(flow: &Flow) -> bool {
    maps::endpoint(&EndpointKey {
        vni: flow.vni,
        address: flow.destination,
    })
    .is_some()
}

/// Whether answers to the packet of `scratch.key` would be taken for those of another
/// conversation: one through a virtual address that has the same ports and the same backend.
#[inline(always)]
pub fn has_way_back(scratch: &mut Scratch) -> bool {
    scratch.reply_key = scratch.key.reversed(scratch.key.vni);
    FLOWS.get_ptr_mut(&scratch.reply_key).is_some()
}

/// Opens a conversation between two tasks beside one that [`has_way_back`] found, so that it needs
/// another source port.
#[inline(always)]
pub fn open_beside(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    let key = &scratch.key;
    scratch.forward = Flow {
        source: key.source,
        destination: key.destination,
        destination_port: key.destination_port,
        vni: key.vni,
        delivery: Delivery::Endpoint as u8,
        origin: Origin::Direct as u8,
        ..Flow::default()
    };
    let reply_path = ReplyPath {
        delivery: Delivery::Endpoint,
        ifindex: 0,
    };
    Ok(open(packet, scratch, &reply_path, SourcePort::Kept))
}

/// Writes both directions of a new conversation and delivers the packet.
///
/// `scratch.key` is the packet's, `scratch.forward` what shall become of it; its source port and
/// its time are chosen here.
#[inline(never)]
pub fn open(
    packet: &Packet,
    scratch: &mut Scratch,
    reply_path: &ReplyPath,
    source_port: SourcePort,
) -> i32 {
    verdict(try_open(packet, scratch, reply_path, source_port))
}

#[inline(always)]
fn try_open(
    packet: &Packet,
    scratch: &mut Scratch,
    reply_path: &ReplyPath,
    source_port: SourcePort,
) -> Outcome {
    // A part without ports, or one whose first part was refused.
    if packet.ip.part == Part::Later {
        return Err(DropReason::Fragment);
    }
    let now = now();
    scratch.forward.last_seen = now;
    scratch.reply = Flow {
        source: scratch.key.destination,
        destination: scratch.key.source,
        source_port: scratch.key.destination_port,
        destination_port: scratch.key.source_port,
        vni: scratch.key.vni,
        last_seen: now,
        delivery: reply_path.delivery as u8,
        ifindex: reply_path.ifindex,
        ..Flow::default()
    };
    claim_source_port(scratch, source_port)?;
    if FLOWS
        .insert(&scratch.key, &scratch.forward, BPF_ANY.into())
        .is_err()
    {
        return Err(DropReason::FlowTableFull);
    }
    deliver::by_flow(packet, &scratch.forward)
}

/// Finds a source port under which answers can be told from those of other conversations, and
/// writes the way back.
#[inline(always)]
fn claim_source_port(scratch: &mut Scratch, source_port: SourcePort) -> Result<(), DropReason> {
    for attempt in 0..PORT_ATTEMPTS {
        scratch.forward.source_port = if attempt == 0 && source_port == SourcePort::Kept {
            scratch.key.source_port
        } else {
            random_port()
        };
        scratch.reply_key = FlowKey {
            vni: scratch.forward.vni,
            source: scratch.forward.destination,
            destination: scratch.forward.source,
            source_port: scratch.forward.destination_port,
            destination_port: scratch.forward.source_port,
            protocol: scratch.key.protocol,
            reserved: 0,
            branch: Be16::ZERO,
        };
        if claim(scratch) {
            return Ok(());
        }
    }
    Err(DropReason::NoPortLeft)
}

#[inline(always)]
fn random_port() -> Be16 {
    let ports = (*NAT_PORTS.end() - *NAT_PORTS.start()) as u32 + 1;
    Be16::new(*NAT_PORTS.start() + (skb::random() % ports) as u16)
}

/// Writes `scratch.reply` under `scratch.reply_key`, unless a living conversation has that key.
#[inline(always)]
fn claim(scratch: &Scratch) -> bool {
    if FLOWS
        .insert(&scratch.reply_key, &scratch.reply, BPF_NOEXIST.into())
        .is_ok()
    {
        return true;
    }
    let Some(held) = FLOWS.get_ptr_mut(&scratch.reply_key) else {
        return false;
    };
    // SAFETY: as in `follow`.
    let held = unsafe { &*held };
    let reply = &scratch.reply;
    let same = held.source == reply.source
        && held.destination == reply.destination
        && held.source_port == reply.source_port
        && held.destination_port == reply.destination_port
        && held.vni == reply.vni;
    (same || held.is_stale(scratch.key.protocol, reply.last_seen))
        && FLOWS
            .insert(&scratch.reply_key, reply, BPF_ANY.into())
            .is_ok()
}

/// Remembers through which host an outside client's packet came, so that the answers of the task
/// leave that way. `scratch.key` is the packet's.
#[inline(always)]
pub fn remember_ingress(scratch: &mut Scratch, vni: Vni, node: Address) -> Result<(), DropReason> {
    scratch.reply_key = scratch.key.reversed(vni);
    let now = now();
    if let Some(known) = FLOWS.get_ptr_mut(&scratch.reply_key) {
        // SAFETY: as in `follow`.
        let known = unsafe { &*known };
        if known.node == node && known.last_seen == now {
            return Ok(());
        }
    }
    scratch.reply = Flow {
        source: scratch.reply_key.source,
        destination: scratch.reply_key.destination,
        source_port: scratch.reply_key.source_port,
        destination_port: scratch.reply_key.destination_port,
        vni,
        node,
        last_seen: now,
        delivery: Delivery::Tunnel as u8,
        ..Flow::default()
    };
    FLOWS
        .insert(&scratch.reply_key, &scratch.reply, BPF_ANY.into())
        .map_err(|_| DropReason::FlowTableFull)
}
