//! What a task sends.

use orch_ebpf_common::headers::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use orch_ebpf_common::{
    Address, Attachment, DropReason, EndpointKey, FrontendKey, SandboxAddressKey, Subnet, Vni, dns,
};

use crate::ip::Ip;
use crate::open::ReplyPath;
use crate::packet::{Kind, Packet};
use crate::scratch::{Scratch, scratch};
use crate::skb::Skb;
use crate::{
    Outcome, arp, deliver, dns as names, egress, flow, fragment, icmp, maps, ndp, open, service,
    verdict,
};

/// Handles one frame from a task's veth.
#[inline(always)]
pub fn ingress(skb: Skb) -> Outcome {
    let config = maps::config()?;
    let attachment = maps::attachment(&skb.ifindex()).ok_or(DropReason::UnknownInterface)?;
    match skb.ether_type() {
        ETHERTYPE_ARP => Ok(arp::answer(skb, attachment)),
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => {
            let mut packet = Packet::new(skb, config, Ip::outer()?);
            packet.read()?;
            if packet.kind == Kind::Neighbour {
                return Ok(ndp::answer(&packet, attachment));
            }
            if packet.ip.destination.is_to_many() {
                return Err(DropReason::Multicast);
            }
            let vni = source_network(&packet, attachment)?;
            let scratch = scratch()?;
            if packet.asks_dns()
                && let Some(outcome) = names::answer(&packet, scratch, attachment, vni)
            {
                return outcome;
            }
            fragment::follow_first(&mut packet, vni);
            scratch.key = packet.key(vni);
            let outcome = match flow::follow(&packet, scratch) {
                Some(outcome) => outcome,
                None => Ok(decide(&packet, scratch)),
            };
            deliver::settle(&packet, scratch, outcome)
        }
        _ => Err(DropReason::UnsupportedEtherType),
    }
}

/// The network that the source address is of. A container with several interfaces may answer
/// through another one than it was asked through; nobody else's address is accepted.
#[inline(always)]
fn source_network(packet: &Packet, attachment: &Attachment) -> Result<Vni, DropReason> {
    let address = packet.ip.source;
    if address == attachment.address(packet.ip.is_v4) && address != Address::UNSPECIFIED {
        return Ok(attachment.vni);
    }
    let key = SandboxAddressKey {
        sandbox: attachment.sandbox,
        address,
    };
    maps::sandbox_address(&key)
        .copied()
        .ok_or(DropReason::SpoofedSource)
}

/// Where the first packet of a conversation goes.
#[inline(never)]
fn decide(packet: &Packet, scratch: &mut Scratch) -> i32 {
    verdict(try_decide(packet, scratch))
}

#[inline(always)]
fn try_decide(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    let vni = scratch.key.vni;
    let destination = scratch.key.destination;
    if let Some(frontend) = maps::frontend(&FrontendKey::vip(vni, destination)) {
        scratch.reply_path = ReplyPath::TASK;
        return Ok(service::virtual_address(packet, scratch, frontend));
    }
    if let Some(endpoint) = maps::endpoint(&EndpointKey {
        vni,
        address: destination,
    }) {
        if packet.may_open() && open::has_way_back(scratch) {
            // Beside another one that has the same answers, so that it gets another source port.
            return open::direct(scratch, ReplyPath::TASK);
        }
        return deliver::to_endpoint(packet, vni, endpoint);
    }
    match maps::subnet(vni, destination) {
        Some(subnet) => inside(packet, scratch, subnet),
        None => Ok(egress::leave(packet, scratch)),
    }
}

/// An address of the network that is neither a service's nor a task's.
#[inline(always)]
fn inside(packet: &Packet, scratch: &mut Scratch, subnet: &Subnet) -> Outcome {
    let destination = packet.ip.destination;
    if destination == subnet.broadcast {
        return Err(DropReason::Multicast);
    }
    if destination != subnet.gateway {
        return Ok(icmp::host_unreachable(packet, scratch));
    }
    if packet.kind == Kind::EchoRequest {
        return Ok(icmp::echo_reply(packet));
    }
    // The listener asks the outside, which is a way out too.
    if packet.has_ports()
        && packet.destination_port == dns::PORT
        && !egress::is_internal(scratch.key.vni)?
    {
        return egress::to_host(packet, scratch, Address::host_link(packet.ip.is_v4));
    }
    service::refuse(packet, scratch, 0)
}
