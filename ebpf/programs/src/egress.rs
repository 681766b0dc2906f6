//! What tasks send to outside their networks: the host's own services, and the world.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LOOKUP_SKIP_NEIGH,
    bpf_fib_lookup as FibLookup,
};
use aya_ebpf::helpers::generated::bpf_fib_lookup;
use orch_ebpf_common::{
    Address, Delivery, DropReason, EndpointKey, Flow, FrontendKey, Network, Origin, Vni,
};

use crate::flow::{self, ReplyPath, SourcePort};
use crate::packet::{Kind, Packet};
use crate::scratch::Scratch;
use crate::{Outcome, maps, service};

const AF_INET: u8 = 2;

/// Answers of all that leave here go back to the task.
const TO_TASK: &ReplyPath = &ReplyPath {
    delivery: Delivery::Endpoint,
    ifindex: 0,
};

/// Whether tasks of a network must not reach anything outside of it.
#[inline(always)]
pub fn is_internal(vni: Vni) -> Result<bool, DropReason> {
    let network = maps::network(&vni).ok_or(DropReason::UnknownNetwork)?;
    Ok(network.flags & Network::INTERNAL != 0)
}

/// Lets a packet to an outside address leave its network.
#[inline(always)]
pub fn leave(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    if is_internal(scratch.key.vni)? {
        return Err(DropReason::InternalNetwork);
    }
    match packet.kind {
        Kind::Tcp | Kind::Udp | Kind::EchoRequest => {}
        Kind::Fragment => return Err(DropReason::Fragment),
        Kind::EchoReply | Kind::IcmpError | Kind::OtherIcmp => {
            return Err(DropReason::IcmpNotTranslated);
        }
        Kind::Other => return Err(DropReason::UnsupportedProtocol),
    }
    let destination = packet.destination();
    let local = EndpointKey {
        vni: Vni::HOST,
        address: destination,
    };
    if maps::local_address(&local).is_none() {
        return to_outside(packet, scratch);
    }
    let published = FrontendKey::published(true, packet.ip.protocol, packet.destination_port);
    match maps::frontend(&published) {
        Some(frontend) => service::published(packet, scratch, frontend, TO_TASK),
        None => to_host(packet, scratch, destination),
    }
}

/// To a service of the host, which knows tasks under one address of the host link.
#[inline(always)]
pub fn to_host(packet: &Packet, scratch: &mut Scratch, destination: Address) -> Outcome {
    scratch.forward = Flow {
        source: Address::TASKS,
        destination,
        destination_port: scratch.key.destination_port,
        vni: Vni::HOST,
        delivery: Delivery::Host as u8,
        origin: Origin::Direct as u8,
        ..Flow::default()
    };
    Ok(flow::open(packet, scratch, TO_TASK, SourcePort::Translated))
}

#[inline(always)]
fn to_outside(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    let ifindex = match route(packet) {
        0 => return Err(DropReason::NoRoute),
        ifindex => ifindex,
    };
    scratch.forward = Flow {
        source: packet.config.node,
        destination: scratch.key.destination,
        destination_port: scratch.key.destination_port,
        vni: Vni::HOST,
        delivery: Delivery::Uplink as u8,
        origin: Origin::Direct as u8,
        ifindex,
        ..Flow::default()
    };
    Ok(flow::open(packet, scratch, TO_TASK, SourcePort::Translated))
}

/// The device that leads to the packet's destination, or 0.
#[inline(never)]
fn route(packet: &Packet) -> u32 {
    const SUCCESS: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
    const FORWARDING_DISABLED: i64 = BPF_FIB_LKUP_RET_FWD_DISABLED as i64;
    let host = packet.config.host_ifindex;
    // SAFETY: plain integers, for which all zeros is a value.
    let mut lookup: FibLookup = unsafe { core::mem::zeroed() };
    lookup.family = AF_INET;
    lookup.l4_protocol = packet.ip.protocol;
    lookup.ifindex = host;
    lookup.__bindgen_anon_3.ipv4_src = packet.config.node.v4().raw();
    lookup.__bindgen_anon_4.ipv4_dst = packet.ip.destination.raw();
    let size = size_of::<FibLookup>() as i32;
    // SAFETY: the context is the kernel's, and `lookup` is as long as is said.
    let found = unsafe {
        bpf_fib_lookup(
            packet.skb.as_ptr(),
            &raw mut lookup,
            size,
            BPF_FIB_LOOKUP_SKIP_NEIGH,
        )
    };
    match found {
        SUCCESS if lookup.ifindex != host => lookup.ifindex,
        FORWARDING_DISABLED => packet.config.uplink_ifindex,
        // The host's own loopback and link addresses, and what the table forbids.
        _ => 0,
    }
}
