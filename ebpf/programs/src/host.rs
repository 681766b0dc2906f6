//! What the host's processes send into the host link: to published ports, and answers to tasks.

use orch_ebpf_common::headers::ETHERTYPE_IPV4;
use orch_ebpf_common::{Address, Delivery, DropReason, FrontendKey, Vni};

use crate::flow::{self, ReplyPath};
use crate::packet::{Kind, Packet};
use crate::scratch::scratch;
use crate::skb::Skb;
use crate::{Outcome, maps, service};

/// Handles one frame from the host.
#[inline(always)]
pub fn ingress(skb: Skb) -> Outcome {
    let config = maps::config()?;
    if skb.ether_type() != ETHERTYPE_IPV4 {
        return Err(DropReason::UnsupportedEtherType);
    }
    let mut packet = Packet::new(skb, config);
    packet.read()?;
    let scratch = scratch()?;
    scratch.key = packet.key(Vni::HOST);
    if let Some(outcome) = flow::follow(&packet, scratch) {
        return outcome;
    }
    if packet.destination() != Address::MESH || !matches!(packet.kind, Kind::Tcp | Kind::Udp) {
        return Err(DropReason::HostUnexpected);
    }
    let key = FrontendKey::published(true, packet.ip.protocol, packet.destination_port);
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
