//! Frontends: which one a packet knocks at, and what it does with it.

use orch_ebpf_common::headers::Part;
use orch_ebpf_common::{
    Address, Backend, Be16, Be32, Config, Decision, Delivery, DropReason, EndpointKey, Flow,
    Frontend, FrontendKey, Origin, Vni,
};

use crate::packet::{Kind, Packet};
use crate::scratch::Scratch;
use crate::{
    OPEN, OPEN_TRANSLATED, Outcome, choice, deliver, egress, event, icmp, maps, sctp, tcp_reset,
    verdict,
};

/// The first of the ports that Linux gives to sockets which did not ask for one.
const EPHEMERAL: u16 = 32768;
const LOOPBACK_V4: Address = Address::from_v4(Be32::new(0x7f00_0001));
const LOOPBACK_V6: Address =
    Address::from_words([Be32::ZERO, Be32::ZERO, Be32::ZERO, Be32::new(1)]);

/// What is published on a port of this host, as seen from the outside at one of its addresses.
/// `local` is that address' entry of `LOCAL_ADDRESSES`. Sets `key` to the frontend's key.
#[inline(always)]
pub fn at_address(
    key: &mut FrontendKey,
    address: &Address,
    local: u32,
    protocol: u8,
    port: Be16,
) -> Option<&'static Frontend> {
    if local & FrontendKey::HAS_OWN_PORTS != 0 {
        *key = FrontendKey::published_at(*address, protocol, port);
        if let Some(frontend) = maps::frontend(key) {
            return Some(frontend);
        }
    }
    *key = FrontendKey::published(address.is_v4(), protocol, port);
    maps::frontend(key)
}

/// The same as the host's own processes see it, at the address of the mesh: what is published on
/// the loopback address alone comes before what is on the host's address alone, and on all.
#[inline(always)]
pub fn at_mesh(
    config: &Config,
    key: &mut FrontendKey,
    is_v4: bool,
    protocol: u8,
    port: Be16,
) -> Option<&'static Frontend> {
    let loopback = if is_v4 { LOOPBACK_V4 } else { LOOPBACK_V6 };
    *key = FrontendKey::published_at(loopback, protocol, port);
    if let Some(frontend) = maps::frontend(key) {
        return Some(frontend);
    }
    let host = if config.node.is_v4() == is_v4 {
        config.node
    } else {
        config.outside(is_v4)
    };
    at_address(key, &host, FrontendKey::HAS_OWN_PORTS, protocol, port)
}

/// Whether the backend of a flow, if it has one, is still in the set of the frontend that it was
/// chosen from.
#[inline(never)]
pub fn still_serves(config: &Config, scratch: &mut Scratch, flow: &mut Flow) -> bool {
    const VIP: u8 = Origin::Vip as u8;
    const PUBLISHED: u8 = Origin::Published as u8;
    let (key, member) = (&scratch.key, &mut scratch.choice.member);
    let (protocol, port) = (key.protocol, key.destination_port);
    let is_v4 = key.destination.is_v4();
    let frontend = match flow.origin {
        VIP => {
            member.frontend = FrontendKey::vip(key.vni, key.destination);
            maps::frontend(&member.frontend)
        }
        PUBLISHED if flow.flags & Flow::ONE_ADDRESS == 0 => {
            member.frontend = FrontendKey::published(is_v4, protocol, port);
            maps::frontend(&member.frontend)
        }
        PUBLISHED if key.destination == Address::mesh(is_v4) => {
            at_mesh(config, &mut member.frontend, is_v4, protocol, port)
        }
        PUBLISHED => {
            member.frontend = FrontendKey::published_at(key.destination, protocol, port);
            maps::frontend(&member.frontend)
        }
        _ => return true,
    };
    let Some(frontend) = frontend else {
        return false;
    };
    if frontend.generation == flow.generation {
        return true;
    }
    member.backend = Backend {
        vni: flow.vni,
        address: flow.destination,
        port: if flow.origin == VIP {
            Be16::ZERO
        } else {
            flow.destination_port
        },
        reserved: 0,
    };
    let serves = choice::is_current(member, frontend);
    if serves {
        flow.generation = frontend.generation;
    }
    serves
}

/// Serves a packet to a service's virtual address; answers leave by `scratch.reply_path`.
#[inline(never)]
pub fn virtual_address(packet: &Packet, scratch: &mut Scratch, frontend: &Frontend) -> i32 {
    verdict(try_virtual_address(packet, scratch, frontend))
}

#[inline(always)]
fn try_virtual_address(packet: &Packet, scratch: &mut Scratch, frontend: &Frontend) -> Outcome {
    let key = &scratch.key;
    if frontend.flags & Frontend::RETIRED != 0
        && !begins(packet)
        && let Some(endpoint) = maps::endpoint(&EndpointKey {
            vni: key.vni,
            address: key.destination,
        })
    {
        return deliver::to_endpoint(packet, key.vni, endpoint);
    }
    if packet.kind == Kind::EchoRequest {
        return Ok(if frontend.count > 0 {
            icmp::echo_reply(packet)
        } else {
            icmp::host_unreachable(packet, scratch)
        });
    }
    may_be_led(packet)?;
    let within = matches!(packet.kind, Kind::Tcp | Kind::Sctp) && !packet.opens();
    scratch.frontend = FrontendKey::vip(key.vni, key.destination);
    scratch.client = key.source;
    if within || !choice::choose(packet, scratch, frontend)? {
        return refuse(packet, scratch, frontend.service);
    }
    forward(scratch, frontend, Origin::Vip);
    if scratch.backend.address == scratch.key.source && scratch.backend.vni == scratch.key.vni {
        // The client is its own backend and would take its own source address for a mistake.
        scratch.forward.source = scratch.key.destination;
    }
    Ok(OPEN)
}

/// Whether a packet begins a conversation, as far as one packet shows it: a datagram from a
/// service's port to a client's is an answer.
#[inline(always)]
fn begins(packet: &Packet) -> bool {
    match packet.kind {
        Kind::Tcp | Kind::Sctp => packet.opens(),
        Kind::Udp => {
            packet.source_port.get() >= EPHEMERAL || packet.destination_port.get() < EPHEMERAL
        }
        kind => kind == Kind::EchoRequest,
    }
}

/// Serves a packet to the published port `scratch.frontend` of this host; answers leave by
/// `scratch.reply_path`. A connection whose flow
/// was lost goes on: the same client is led to the same backend.
#[inline(never)]
pub fn published(packet: &Packet, scratch: &mut Scratch) -> i32 {
    verdict(try_published(packet, scratch))
}

#[inline(always)]
fn try_published(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    let Some(frontend) = maps::frontend(&scratch.frontend) else {
        // Unpublished at this moment.
        return refuse(packet, scratch, 0);
    };
    may_be_led(packet)?;
    let is_task = scratch.key.vni != Vni::HOST;
    // A task's address means nothing in the backend's network: the host's stands for it.
    scratch.client = if is_task {
        egress::source(packet)?
    } else {
        scratch.key.source
    };
    if !choice::takes(scratch, frontend) {
        count_refused(frontend.service);
        return Err(DropReason::SourceDenied);
    }
    if !choice::choose(packet, scratch, frontend)? {
        return refuse(packet, scratch, frontend.service);
    }
    forward(scratch, frontend, Origin::Published);
    let is_v4 = packet.ip.is_v4;
    // In the other family the client has no address at all.
    let crosses = packet
        .skb
        .forget((scratch.backend.address.is_v4() != is_v4).into())
        != 0;
    scratch.forward.source = if crosses {
        egress::source_of(packet.config, !is_v4)?
    } else {
        scratch.client
    };
    if scratch.frontend.address != Address::any(is_v4) {
        scratch.forward.flags |= Flow::ONE_ADDRESS;
    }
    let asked = scratch.key.destination;
    if frontend.flags & Frontend::DIRECT_RETURN != 0
        && scratch.reply_path.delivery == Delivery::Uplink as u8
        && asked == packet.config.node
        && !crosses
    {
        scratch.forward.flags |= Flow::DIRECT_RETURN;
    }
    Ok(if is_task || crosses {
        OPEN_TRANSLATED
    } else {
        OPEN
    })
}

/// Answers that nobody is there, for a service if there is one.
#[inline(always)]
pub fn refuse(packet: &Packet, scratch: &mut Scratch, service: u32) -> Outcome {
    count_refused(service);
    event::tell(packet, scratch, Decision::Refused, service);
    match packet.kind {
        _ if packet.ip.part == Part::Later => Err(DropReason::Fragment),
        Kind::Tcp => Ok(tcp_reset::refuse(packet)),
        Kind::Sctp => Ok(sctp::refuse(packet)),
        Kind::Udp => Ok(icmp::port_unreachable(packet, scratch)),
        Kind::EchoRequest => Ok(icmp::host_unreachable(packet, scratch)),
        _ => Err(DropReason::NoBackend),
    }
}

#[inline(always)]
fn count_refused(service: u32) {
    if let Some(counters) = maps::service_counters(service) {
        counters.refused += 1;
    }
}

/// Whether a packet is of a kind that a backend can serve.
#[inline(always)]
fn may_be_led(packet: &Packet) -> Result<(), DropReason> {
    match packet.kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp => Ok(()),
        Kind::Fragment => Err(DropReason::Fragment),
        Kind::EchoReply
        | Kind::EchoRequest
        | Kind::IcmpError
        | Kind::Neighbour
        | Kind::OtherIcmp => Err(DropReason::IcmpNotTranslated),
        Kind::Other => Err(DropReason::UnsupportedProtocol),
    }
}

/// Aims `scratch.forward` at `scratch.backend`; only the destination changes.
#[inline(always)]
fn forward(scratch: &mut Scratch, frontend: &Frontend, origin: Origin) {
    let (key, backend) = (&scratch.key, &scratch.backend);
    scratch.forward = Flow {
        source: key.source,
        destination: backend.address,
        source_port: key.source_port,
        destination_port: if backend.port.get() == 0 {
            key.destination_port
        } else {
            backend.port
        },
        vni: backend.vni,
        delivery: Delivery::Endpoint as u8,
        origin: origin as u8,
        service: frontend.service,
        generation: frontend.generation,
        ..Flow::default()
    };
}
