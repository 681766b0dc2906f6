//! Questions of `orchctl doctor` whether the tunnel carries packets between two hosts, and their
//! answers: UDP to and from the echo port (RFC 862) of hosts, in the network that is none.
//!
//! Both ends must be hosts of the cluster, an answer is as long as its question, and no answer is
//! answered.

use orch_ebpf_common::headers::Part;
use orch_ebpf_common::{Address, Be16, DropReason, MacAddress, Vni};

use crate::nat::store_addresses;
use crate::packet::{Kind, L3, Packet};
use crate::{Outcome, deliver, maps};

const ECHO: Be16 = Be16::new(7);

/// Sends a question of this host to the one that it names; `None` if it is none.
#[inline(always)]
pub fn ask(packet: &Packet) -> Option<Outcome> {
    let ip = &*packet.ip;
    let is_question = is_probe(packet)
        && packet.destination_port == ECHO
        && ip.source == packet.config.node
        && maps::peer(&ip.destination).is_some();
    is_question.then(|| Ok(deliver::encapsulate(packet, Vni::HOST, &ip.destination)))
}

/// Answers a question that came through the tunnel from the host `node`, or shows an answer to the
/// asker.
#[inline(always)]
pub fn receive(packet: &Packet, node: &Address) -> Outcome {
    let (skb, ip) = (packet.skb, &*packet.ip);
    if !is_probe(packet) || ip.source != *node || ip.destination != packet.config.node {
        return Err(DropReason::UnknownNetwork);
    }
    if packet.source_port == ECHO {
        // The asker listens on the device. To the host's stack it is another host's frame.
        skb.store_macs(MacAddress::GATEWAY)?;
        return Ok(skb.to_stack(packet.config.host_ifindex));
    }
    if packet.destination_port != ECHO {
        return Err(DropReason::UnknownNetwork);
    }
    // Swapping the ends leaves all checksums as they are.
    store_addresses(skb, L3, ip.is_v4, &ip.destination, &ip.source)?;
    skb.store(ip.l4, &[ECHO, packet.source_port])?;
    Ok(deliver::encapsulate(packet, Vni::HOST, node))
}

#[inline(always)]
fn is_probe(packet: &Packet) -> bool {
    packet.kind == Kind::Udp && packet.ip.part == Part::Whole
}
