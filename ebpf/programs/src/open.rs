//! Opening conversations: the two entries of each, and source ports that tell them apart.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use orch_ebpf_common::flow::NAT_PORTS;
use orch_ebpf_common::headers::Part;
use orch_ebpf_common::{Address, Be16, Decision, Delivery, DropReason, Flow, FlowKey, Origin};

use crate::flow::{self, now};
use crate::maps::{self, FLOWS, OPENING};
use crate::packet::Packet;
use crate::scratch::Scratch;
use crate::skb::Skb;
use crate::{FORWARD, OPEN, Outcome, event, skb, verdict};

/// How many source ports are tried for a new conversation.
const PORT_ATTEMPTS: u32 = 16;

/// How answers leave.
#[derive(Clone, Copy)]
pub struct ReplyPath {
    /// Host of [`Delivery::Tunnel`], and the one that answers show of a conversation that was led
    /// here by it.
    pub node: Address,
    /// Device of [`Delivery::Uplink`], else 0.
    pub ifindex: u32,
    /// With an uplink: the port of `node` that answers show. 0: they show what was asked.
    pub published: Be16,
    /// A [`Delivery`].
    pub delivery: u8,
}

impl ReplyPath {
    /// To the task that asked.
    pub const TASK: Self = Self::new(Delivery::Endpoint, 0);
    /// To this host's own stack.
    pub const HOST: Self = Self::new(Delivery::Host, 0);

    /// Out of a device.
    #[inline(always)]
    pub const fn uplink(ifindex: u32) -> Self {
        Self::new(Delivery::Uplink, ifindex)
    }

    #[inline(always)]
    const fn new(delivery: Delivery, ifindex: u32) -> Self {
        Self {
            node: Address::UNSPECIFIED,
            ifindex,
            published: Be16::ZERO,
            delivery: delivery as u8,
        }
    }
}

/// The source port of a new conversation after the rewrite. A number, of which the verifier can
/// forget which one it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SourcePort(u8);

impl SourcePort {
    /// The client's own, unless another conversation has it already.
    pub const KEPT: Self = Self(0);
    /// One of the host's.
    pub const TRANSLATED: Self = Self(1);

    /// The same, of which the verifier knows nothing any more.
    #[inline(always)]
    pub fn forgotten(self, skb: Skb) -> Self {
        Self(skb.forget(self.0))
    }
}

/// Whether answers to a packet of one task to another would be mistaken for those of another
/// conversation: one through a virtual address that has the same ports and the same backend.
#[inline(always)]
pub fn has_way_back(scratch: &mut Scratch) -> bool {
    scratch.reply_key = scratch.key.reversed(scratch.key.vni);
    flow::find(&scratch.reply_key).is_some()
}

/// Opens a conversation with the task that the packet names itself.
#[inline(always)]
pub fn direct(scratch: &mut Scratch, reply_path: ReplyPath) -> Outcome {
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
    scratch.reply_path = reply_path;
    Ok(OPEN)
}

/// Writes both directions of a new conversation, by which the packet is to be delivered.
///
/// `scratch.key` is the packet's, `scratch.forward` what shall become of it, `scratch.reply_path`
/// the way of its answers; its source port and its time are chosen here.
#[inline(never)]
pub fn open(packet: &Packet, scratch: &mut Scratch, source_port: SourcePort) -> i32 {
    verdict(try_open(packet, scratch, source_port))
}

#[inline(always)]
fn try_open(packet: &Packet, scratch: &mut Scratch, source_port: SourcePort) -> Outcome {
    // A part without ports, or one whose first part was refused.
    if packet.ip.part == Part::Later {
        return Err(DropReason::Fragment);
    }
    let now = now();
    let forward = &mut scratch.forward;
    forward.last_seen = now;
    forward.opened = now;
    let path = &scratch.reply_path;
    let straight = path.published != Be16::ZERO;
    let key = &scratch.key;
    scratch.reply = Flow {
        source: if straight { path.node } else { key.destination },
        destination: key.source,
        source_port: if straight {
            path.published
        } else {
            key.destination_port
        },
        destination_port: key.source_port,
        vni: key.vni,
        node: path.node,
        last_seen: now,
        opened: now,
        delivery: path.delivery,
        ifindex: path.ifindex,
        flags: flag(straight, Flow::DIRECT_RETURN) | flag(key.branch != Be16::ZERO, Flow::BRANCH),
        service: forward.service,
        ..Flow::default()
    };
    claim_source_port(scratch, source_port)?;
    flow::count(packet, &mut scratch.forward);
    if OPENING
        .insert(&scratch.key, &scratch.forward, BPF_ANY.into())
        .is_err()
    {
        return Err(DropReason::FlowTableFull);
    }
    // What the key stood for until now, if it was a conversation that has ended.
    _ = FLOWS.remove(&scratch.key);
    if let Some(counters) = maps::service_counters(scratch.forward.service) {
        counters.flows += 1;
    }
    event::tell(packet, scratch, Decision::Opened, scratch.forward.service);
    Ok(FORWARD)
}

#[inline(always)]
const fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

/// Finds a source port under which answers can be told from those of other conversations, and
/// writes the way back.
#[inline(always)]
fn claim_source_port(scratch: &mut Scratch, source_port: SourcePort) -> Result<(), DropReason> {
    for attempt in 0..PORT_ATTEMPTS {
        scratch.forward.source_port = if attempt == 0 && source_port == SourcePort::KEPT {
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
    let (key, reply) = (&scratch.reply_key, &scratch.reply);
    if let Some(held) = flow::entry(&FLOWS, key) {
        if !gives_way(held, reply, scratch.key.protocol) {
            return false;
        }
        _ = FLOWS.remove(key);
    }
    if OPENING.insert(key, reply, BPF_NOEXIST.into()).is_ok() {
        return true;
    }
    // Openings have not earned the time that connections have: no protocol is that of TCP.
    flow::entry(&OPENING, key).is_some_and(|held| gives_way(held, reply, 0))
        && OPENING.insert(key, reply, BPF_ANY.into()).is_ok()
}

/// Whether an entry that has a key may be replaced: it is of the same conversation, or an old one.
#[inline(always)]
fn gives_way(held: &Flow, reply: &Flow, protocol: u8) -> bool {
    let is_same = held.source == reply.source
        && held.destination == reply.destination
        && held.source_port == reply.source_port
        && held.destination_port == reply.destination_port
        && held.vni == reply.vni
        && held.node == reply.node;
    is_same || held.is_stale(protocol, reply.last_seen)
}
