//! What the host's processes send into the host link: to published ports, and answers to tasks.

use orch_ebpf_common::{Address, Delivery, DropReason, FrontendKey, Vni};

use crate::flow::{self, ReplyPath};
use crate::ip::Ip;
use crate::packet::{Kind, Packet};
use crate::scratch::scratch;
use crate::skb::Skb;
use crate::{Outcome, fragment, maps, service};

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
    fragment::follow_first(&mut packet, Vni::HOST);
    let scratch = scratch()?;
    scratch.key = packet.key(Vni::HOST);
    if let Some(outcome) = flow::follow(&packet, scratch) {
        return outcome;
    }
    let ip = &*packet.ip;
    if ip.destination != Address::mesh(ip.is_v4) || !packet.has_ports() {
        return Err(DropReason::HostUnexpected);
    }
    let key = FrontendKey::published(ip.is_v4, ip.protocol, packet.destination_port);
    let Some(frontend) = maps::frontend(&key) else {
        // Unpublished since the socket was translated.
        return service::refuse(&packet, scratch);
    };
    let reply_path = ReplyPath {
        delivery: Delivery::Host,
        ifindex: 0,
    };
    service::published(&packet, scratch, frontend, &reply_path)
}
