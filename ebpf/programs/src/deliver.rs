//! The four ways out: a task, another host, the host's own stack, the outside.

use orch_ebpf_common::{
    Address, Delivery, DropReason, Endpoint, EndpointKey, Flow, MacAddress, Vni,
};

use crate::nat::rewrite;
use crate::packet::Packet;
use crate::{Outcome, maps, verdict};

/// Rewrites a packet as its flow says, and delivers it.
#[inline(always)]
pub fn by_flow(packet: &Packet, flow: &Flow) -> Outcome {
    const TUNNEL: u8 = Delivery::Tunnel as u8;
    const HOST: u8 = Delivery::Host as u8;
    const UPLINK: u8 = Delivery::Uplink as u8;
    match flow.delivery {
        TUNNEL => {
            rewritten(packet, flow)?;
            Ok(tunnel(packet, flow.vni, &flow.node))
        }
        HOST => {
            rewritten(packet, flow)?;
            packet.skb.store_macs(packet.config.host_mac)?;
            Ok(packet.skb.to_stack(packet.config.host_ifindex))
        }
        UPLINK => {
            rewritten(packet, flow)?;
            Ok(packet.skb.to_next_hop(flow.ifindex))
        }
        _ => {
            let endpoint = EndpointKey {
                vni: flow.vni,
                address: flow.destination,
            };
            let endpoint = maps::endpoint(&endpoint).ok_or(DropReason::UnknownEndpoint)?;
            rewritten(packet, flow)?;
            to_endpoint(packet, flow.vni, endpoint)
        }
    }
}

/// Delivers a packet to the task that has its destination address, wherever it runs.
#[inline(always)]
pub fn to_endpoint(packet: &Packet, vni: Vni, endpoint: &Endpoint) -> Outcome {
    if endpoint.ifindex != 0 {
        return attached(packet, endpoint);
    }
    if endpoint.node == packet.config.node {
        return Err(DropReason::EndpointNotAttached);
    }
    Ok(tunnel(packet, vni, &endpoint.node))
}

/// Delivers a packet to a task of this host.
#[inline(always)]
fn attached(packet: &Packet, endpoint: &Endpoint) -> Outcome {
    packet.skb.store_macs(endpoint.mac)?;
    if endpoint.ifindex == packet.skb.ifindex() {
        // To itself: a redirect to the peer must not end where it began.
        return Ok(packet.skb.to_device(endpoint.ifindex));
    }
    packet.skb.to_peer(endpoint.ifindex)
}

#[inline(always)]
fn rewritten(packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
    if rewrite(packet, flow) {
        Ok(())
    } else {
        Err(DropReason::RewriteFailed)
    }
}

/// Out of line, because a tunnel key takes much of a stack.
#[inline(never)]
fn tunnel(packet: &Packet, vni: Vni, node: &Address) -> i32 {
    verdict(try_tunnel(packet, vni, node))
}

#[inline(always)]
fn try_tunnel(packet: &Packet, vni: Vni, node: &Address) -> Outcome {
    packet.skb.store_macs(MacAddress::GATEWAY)?;
    packet
        .skb
        .to_tunnel(packet.config.vxlan_ifindex, vni, &packet.config.node, node)
}
