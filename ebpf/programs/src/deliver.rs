//! The four ways out: a task, another host, the host's own stack, the outside.

use orch_ebpf_common::{
    Address, Delivery, DropReason, Endpoint, EndpointKey, Flow, MacAddress, Vni,
};

use crate::nat::rewrite;
use crate::open::{self, SourcePort};
use crate::packet::Packet;
use crate::scratch::Scratch;
use crate::{
    DROPPED, FORWARD, OPEN, OPEN_TRANSLATED, Outcome, PUBLISHED, family, icmp, maps, mss, mtu,
    service, verdict,
};

/// Carries out a decision, and leaves verdicts as they are. That is done when the functions have
/// returned that decided, for the stack's sake.
#[inline(always)]
pub fn settle(packet: &Packet, scratch: &mut Scratch, outcome: Outcome) -> Outcome {
    let verdict = match outcome? {
        PUBLISHED => service::published(packet, scratch),
        other => other,
    };
    let verdict = match verdict {
        OPEN | OPEN_TRANSLATED => {
            let source_port = match verdict {
                OPEN => SourcePort::KEPT,
                _ => SourcePort::TRANSLATED,
            };
            open::open(packet, scratch, source_port.forgotten(packet.skb))
        }
        other => other,
    };
    Ok(match verdict {
        FORWARD => by_flow(packet, &scratch.forward),
        other => other,
    })
}

/// Rewrites a packet as its flow says, and delivers it. Nothing is changed yet when it turns out
/// that the flow's task is not known, see [`lacks_task`].
#[inline(never)]
pub fn by_flow(packet: &Packet, flow: &Flow) -> i32 {
    verdict(try_by_flow(packet, flow))
}

/// Whether [`by_flow`] found no task.
#[inline(always)]
pub const fn lacks_task(verdict: i32) -> bool {
    verdict == DROPPED + DropReason::UnknownEndpoint as i32
}

#[inline(always)]
fn try_by_flow(packet: &Packet, flow: &Flow) -> Outcome {
    const TUNNEL: u8 = Delivery::Tunnel as u8;
    const UPLINK: u8 = Delivery::Uplink as u8;
    const ENDPOINT: u8 = Delivery::Endpoint as u8;
    let endpoint = if flow.delivery == ENDPOINT {
        let key = EndpointKey {
            vni: flow.vni,
            address: flow.destination,
        };
        Some(maps::endpoint(&key).ok_or(DropReason::UnknownEndpoint)?)
    } else {
        None
    };
    // In a box, so that the pointer itself is compared below, and not the delivery that it was
    // looked up for: verifiers of older kernels do not relate the two.
    let endpoint = core::hint::black_box(endpoint);
    // One rewrite for all ways out, because the verifier follows each anew.
    let is_remote = endpoint.is_some_and(|endpoint| endpoint.ifindex == 0);
    if is_remote || flow.delivery == TUNNEL {
        if let Some(refusal) = refuse_by_size(packet) {
            return refusal;
        }
    }
    mss::clamp(packet, flow, is_remote);
    rewritten(packet, flow)?;
    match endpoint {
        Some(endpoint) => {
            let verdict = to(packet, flow.vni, endpoint)?;
            if is_remote && flow.flags & Flow::DIRECT_RETURN != 0 {
                packet.skb.name_published_port(packet.destination_port)?;
            }
            return Ok(verdict);
        }
        None if flow.delivery == TUNNEL => return tunnel(packet, flow.vni, &flow.node),
        None => {}
    }
    if flow.delivery == UPLINK {
        return Ok(packet.skb.to_next_hop(flow.ifindex));
    }
    packet.skb.store_macs(packet.config.host_mac)?;
    Ok(packet.skb.to_stack(packet.config.host_ifindex))
}

/// Delivers a packet to the task that has its destination address, wherever it runs.
#[inline(always)]
pub fn to_endpoint(packet: &Packet, vni: Vni, endpoint: &Endpoint) -> Outcome {
    if endpoint.ifindex == 0
        && let Some(refusal) = refuse_by_size(packet)
    {
        return refusal;
    }
    to(packet, vni, endpoint)
}

#[inline(always)]
fn to(packet: &Packet, vni: Vni, endpoint: &Endpoint) -> Outcome {
    if endpoint.ifindex != 0 {
        return attached(packet, endpoint);
    }
    if endpoint.node == packet.config.node {
        return Err(DropReason::EndpointNotAttached);
    }
    tunnel(packet, vni, &endpoint.node)
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
    const DONE: u8 = 0;
    const FAMILY_KEPT: u8 = 1;
    const FAILED: u8 = 2;
    let status = match family::changes(packet, flow) {
        true if family::change(packet, flow) => DONE,
        true => FAMILY_KEPT,
        false if rewrite(packet, flow) => DONE,
        false => FAILED,
    };
    // So that the verifier follows what comes once, and not once for each way to here.
    match packet.skb.forget(status) {
        DONE => Ok(()),
        FAMILY_KEPT => Err(DropReason::FamilyNotChanged),
        _ => Err(DropReason::RewriteFailed),
    }
}

/// What becomes of a packet that is too big for the tunnel and must not be cut. Asked before the
/// packet is changed, so that the sender finds its own one in the answer.
#[inline(always)]
fn refuse_by_size(packet: &Packet) -> Option<Outcome> {
    if mtu::fits(packet) || packet.ip.may_be_cut {
        return None;
    }
    Some(Ok(icmp::too_big(packet)))
}

/// Sends a packet to another host.
#[inline(always)]
fn tunnel(packet: &Packet, vni: Vni, node: &Address) -> Outcome {
    if packet.came_by_tunnel() {
        // The sender knows where the task is, or will soon. Nothing may go in circles.
        return Err(DropReason::UnknownEndpoint);
    }
    Ok(encapsulate(packet, vni, node))
}

/// Only what the sender lets routers cut may be cut on the way. Out of line, because a tunnel key
/// takes much of a stack.
#[inline(never)]
pub fn encapsulate(packet: &Packet, vni: Vni, node: &Address) -> i32 {
    verdict(try_encapsulate(packet, vni, node))
}

#[inline(always)]
fn try_encapsulate(packet: &Packet, vni: Vni, node: &Address) -> Outcome {
    packet.skb.store_macs(MacAddress::GATEWAY)?;
    let (skb, config) = (packet.skb, packet.config);
    let may_be_cut = !mtu::fits(packet);
    skb.to_tunnel(config.vxlan_ifindex, vni, (&config.node, node), may_be_cut)
}
