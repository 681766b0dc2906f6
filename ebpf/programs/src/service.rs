//! Frontends: choosing a backend, and refusing when there is none.

use orch_ebpf_common::headers::Part;
use orch_ebpf_common::{
    Backend, BackendKey, Delivery, DropReason, Flow, FlowKey, Frontend, FrontendKey, MemberKey,
    Origin,
};

use crate::flow::{self, ReplyPath, SourcePort};
use crate::packet::{Kind, Packet};
use crate::scratch::Scratch;
use crate::{Outcome, egress, icmp, maps, sctp, skb, tcp_reset};

/// Whether the backend of a flow, if it has one, is still in the set of the frontend that it was
/// chosen from.
#[inline(always)]
pub fn still_serves(key: &FlowKey, flow: &Flow) -> bool {
    if flow.origin == Origin::Direct as u8 {
        return true;
    }
    let is_vip = flow.origin == Origin::Vip as u8;
    let frontend_key = if is_vip {
        FrontendKey::vip(key.vni, key.destination)
    } else {
        FrontendKey::published(key.destination.is_v4(), key.protocol, key.destination_port)
    };
    let Some(frontend) = maps::frontend(&frontend_key) else {
        return false;
    };
    let port = if is_vip {
        Default::default()
    } else {
        flow.destination_port
    };
    let backend = Backend {
        vni: flow.vni,
        address: flow.destination,
        port,
        reserved: 0,
    };
    maps::member(&MemberKey {
        frontend: frontend_key,
        backend,
    })
    .is_some_and(|generation| *generation >= frontend.generation)
}

/// Serves a packet to a service's virtual address.
#[inline(always)]
pub fn virtual_address(packet: &Packet, scratch: &mut Scratch, frontend: &Frontend) -> Outcome {
    if packet.kind == Kind::EchoRequest {
        return Ok(if frontend.count > 0 {
            icmp::echo_reply(packet)
        } else {
            icmp::host_unreachable(packet, scratch)
        });
    }
    let frontend_key = FrontendKey::vip(scratch.key.vni, scratch.key.destination);
    let Some(backend) = choose(packet, &frontend_key, frontend)? else {
        return refuse(packet, scratch);
    };
    forward(scratch, &backend, Origin::Vip);
    if backend.address == scratch.key.source && backend.vni == scratch.key.vni {
        // The client is its own backend and would take its own source address for a mistake.
        scratch.forward.source = scratch.key.destination;
    }
    let reply_path = ReplyPath {
        delivery: Delivery::Endpoint,
        ifindex: 0,
    };
    Ok(flow::open(packet, scratch, &reply_path, SourcePort::Kept))
}

/// Serves a packet to a published port of this host.
#[inline(always)]
pub fn published(
    packet: &Packet,
    scratch: &mut Scratch,
    frontend: &Frontend,
    reply_path: &ReplyPath,
) -> Outcome {
    let key = &scratch.key;
    let is_v4 = key.destination.is_v4();
    let frontend_key = FrontendKey::published(is_v4, key.protocol, key.destination_port);
    let Some(backend) = choose(packet, &frontend_key, frontend)? else {
        return refuse(packet, scratch);
    };
    forward(scratch, &backend, Origin::Published);
    if scratch.key.vni == orch_ebpf_common::Vni::HOST {
        return Ok(flow::open(packet, scratch, reply_path, SourcePort::Kept));
    }
    // A task's address means nothing in the backend's network: the host's stands for it.
    scratch.forward.source = egress::source(packet)?;
    Ok(flow::open(
        packet,
        scratch,
        reply_path,
        SourcePort::Translated,
    ))
}

/// Answers that nobody is there.
#[inline(always)]
pub fn refuse(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    match packet.kind {
        _ if packet.ip.part == Part::Later => Err(DropReason::Fragment),
        Kind::Tcp => Ok(tcp_reset::refuse(packet)),
        Kind::Sctp => Ok(sctp::refuse(packet)),
        Kind::Udp => Ok(icmp::port_unreachable(packet, scratch)),
        Kind::EchoRequest => Ok(icmp::host_unreachable(packet, scratch)),
        _ => Err(DropReason::NoBackend),
    }
}

/// A backend for a new conversation; `None` if the frontend has none.
#[inline(always)]
fn choose(
    packet: &Packet,
    key: &FrontendKey,
    frontend: &Frontend,
) -> Result<Option<Backend>, DropReason> {
    match packet.kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp => {}
        Kind::Fragment => return Err(DropReason::Fragment),
        Kind::EchoReply
        | Kind::EchoRequest
        | Kind::IcmpError
        | Kind::Neighbour
        | Kind::OtherIcmp => {
            return Err(DropReason::IcmpNotTranslated);
        }
        Kind::Other => return Err(DropReason::UnsupportedProtocol),
    }
    if frontend.count == 0 {
        return Ok(None);
    }
    if let Some(backend) = pick(key, frontend) {
        return Ok(Some(*backend));
    }
    // The set was swapped since the frontend was read.
    let Some(frontend) = maps::frontend(key) else {
        return Ok(None);
    };
    if frontend.count == 0 {
        return Ok(None);
    }
    pick(key, frontend)
        .map(|backend| Some(*backend))
        .ok_or(DropReason::NoBackend)
}

#[inline(always)]
fn pick(key: &FrontendKey, frontend: &Frontend) -> Option<&'static Backend> {
    let slot = skb::random() % frontend.count;
    maps::backend(&BackendKey {
        frontend: *key,
        generation: frontend.generation,
        slot,
    })
}

/// Aims `scratch.forward` at a backend; only the destination changes.
#[inline(always)]
fn forward(scratch: &mut Scratch, backend: &Backend, origin: Origin) {
    let key = &scratch.key;
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
        ..Flow::default()
    };
}
