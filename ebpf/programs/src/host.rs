//! What the host's processes send into the host link: to published ports, to the networks, and
//! answers to tasks.
//!
//! In a network the host is a client like its tasks, with an address that is none of the network's:
//! every conversation has a flow, by which the answers find the host again.

use orch_ebpf_common::{Address, DropReason, EndpointKey, FrontendKey, Subnet, Vni};

use crate::ip::Ip;
use crate::open::{self, ReplyPath};
use crate::packet::{Kind, Packet};
use crate::scratch::{Scratch, scratch};
use crate::skb::Skb;
use crate::{Outcome, PUBLISHED, deliver, flow, fragment, icmp, maps, probe, service};

/// Handles one frame from the host.
#[inline(always)]
pub fn ingress(skb: Skb) -> Outcome {
    let config = maps::config()?;
    if !skb.is_ip() {
        return Err(DropReason::UnsupportedEtherType);
    }
    let mut packet = Packet::new(skb, config, Ip::outer()?);
    packet.read()?;
    if packet.kind == Kind::Neighbour {
        return Err(DropReason::NeighbourUnanswered);
    }
    let subnet = maps::subnet(Vni::HOST, packet.ip.destination);
    let vni = subnet.map_or(Vni::HOST, |subnet| subnet.vni);
    fragment::follow_first(&mut packet, vni);
    let scratch = scratch()?;
    scratch.key = packet.key(vni);
    let outcome = match flow::follow(&packet, scratch) {
        Some(outcome) => outcome,
        None => match subnet {
            Some(subnet) => enter_network(&packet, scratch, subnet),
            None => decide(&packet, scratch),
        },
    };
    deliver::settle(&packet, scratch, outcome)
}

/// Where a packet without a flow goes that is for no network.
#[inline(always)]
fn decide(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    if let Some(outcome) = probe::ask(packet) {
        return outcome;
    }
    let (ip, config) = (&*packet.ip, packet.config);
    if ip.destination != Address::mesh(ip.is_v4) || !packet.has_ports() {
        return Err(DropReason::HostUnexpected);
    }
    let (protocol, port) = (ip.protocol, packet.destination_port);
    match service::at_mesh(config, &mut scratch.frontend, ip.is_v4, protocol, port) {
        Some(_) => {
            scratch.reply_path = ReplyPath::HOST;
            Ok(PUBLISHED)
        }
        // Unpublished since the socket was translated.
        None => service::refuse(packet, scratch, 0),
    }
}

/// To a virtual address or a task of a network.
#[inline(always)]
fn enter_network(packet: &Packet, scratch: &mut Scratch, subnet: &Subnet) -> Outcome {
    if !is_own(packet) {
        return Err(DropReason::HostUnexpected);
    }
    let (vni, address) = (subnet.vni, packet.ip.destination);
    if let Some(frontend) = maps::frontend(&FrontendKey::vip(vni, address)) {
        scratch.reply_path = ReplyPath::HOST;
        return Ok(service::virtual_address(packet, scratch, frontend));
    }
    if maps::endpoint(&EndpointKey { vni, address }).is_some() {
        if !packet.has_flow() || packet.kind == Kind::EchoReply {
            return Err(DropReason::HostUnexpected);
        }
        return open::direct(scratch, ReplyPath::HOST);
    }
    if address == subnet.broadcast {
        return Err(DropReason::Multicast);
    }
    if address != subnet.gateway {
        return Ok(icmp::host_unreachable(packet, scratch));
    }
    if packet.kind == Kind::EchoRequest {
        return Ok(icmp::echo_reply(packet));
    }
    service::refuse(packet, scratch, 0)
}

/// Whether the host itself sends it: what it forwards for others must not enter a network.
#[inline(always)]
fn is_own(packet: &Packet) -> bool {
    let source = packet.ip.source;
    let local = EndpointKey {
        vni: Vni::HOST,
        address: source,
    };
    source == Address::host_link(packet.ip.is_v4) || maps::local_address(&local).is_some()
}
