//! What tasks of other hosts send, and outside clients through them.

use orch_ebpf_common::{Address, DropReason, EndpointKey, Vni};

use crate::ip::Ip;
use crate::packet::Packet;
use crate::scratch::{Scratch, scratch};
use crate::skb::Skb;
use crate::{Outcome, deliver, flow, fragment, ingress, maps, probe};

/// Handles one frame from the tunnel.
#[inline(always)]
pub fn ingress(skb: Skb) -> Outcome {
    let config = maps::config()?;
    let (vni, node) = skb
        .tunnel_source(config.node.is_v4())
        .ok_or(DropReason::UnknownPeer)?;
    maps::peer(&node).ok_or(DropReason::UnknownPeer)?;
    if !skb.is_ip() {
        return Err(DropReason::UnsupportedEtherType);
    }
    let mut packet = Packet::new(skb, config, Ip::outer()?);
    packet.read()?;
    if vni == Vni::HOST {
        return probe::receive(&packet, &node);
    }
    let scratch = scratch()?;
    fragment::follow_first(&mut packet, vni);
    scratch.key = packet.key(vni);
    let outcome = match flow::follow_from(&packet, scratch, &node) {
        Some(outcome) => outcome,
        None => decide(&packet, scratch, &node),
    };
    deliver::settle(&packet, scratch, outcome)
}

/// Where a packet without a flow goes.
#[inline(always)]
fn decide(packet: &Packet, scratch: &mut Scratch, node: &Address) -> Outcome {
    let vni = scratch.key.vni;
    let to = EndpointKey {
        vni,
        address: packet.ip.destination,
    };
    let Some(endpoint) = maps::endpoint(&to) else {
        maps::network(&vni).ok_or(DropReason::UnknownNetwork)?;
        return Err(DropReason::UnknownEndpoint);
    };
    if endpoint.node != packet.config.node {
        // Only its own host may send to a task of another one.
        return Err(DropReason::UnknownEndpoint);
    }
    let from = EndpointKey {
        vni,
        address: packet.ip.source,
    };
    if packet.has_flow() && maps::endpoint(&from).is_none() {
        return Ok(ingress::enter(packet, scratch, node));
    }
    deliver::to_endpoint(packet, vni, endpoint)
}
