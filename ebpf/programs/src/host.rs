//! What the host's processes send into the host link: to published ports, and answers to tasks.

use orch_ebpf_common::{Address, DropReason, Vni};

use crate::ip::Ip;
use crate::open::ReplyPath;
use crate::packet::{Kind, Packet};
use crate::scratch::{Scratch, scratch};
use crate::skb::Skb;
use crate::{Outcome, PUBLISHED, deliver, flow, fragment, maps, service};

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
    let outcome = match flow::follow(&packet, scratch) {
        Some(outcome) => outcome,
        None => decide(&packet, scratch),
    };
    deliver::settle(&packet, scratch, outcome)
}

/// Where a packet without a flow goes.
#[inline(always)]
fn decide(packet: &Packet, scratch: &mut Scratch) -> Outcome {
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
