//! What tasks send to outside their networks: the host's own services, and the world.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LOOKUP_SKIP_NEIGH,
    bpf_fib_lookup as FibLookup,
};
use aya_ebpf::helpers::generated::bpf_fib_lookup;
use orch_ebpf_common::{
    Address, Be32, Config, Delivery, DropReason, EndpointKey, Flow, Network, Origin, Vni,
};

use crate::open::ReplyPath;
use crate::packet::{Kind, Packet};
use crate::scratch::Scratch;
use crate::{OPEN_TRANSLATED, Outcome, PUBLISHED, icmp, maps, service, verdict};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Whether tasks of a network must not reach anything outside of it.
#[inline(always)]
pub fn is_internal(vni: Vni) -> Result<bool, DropReason> {
    let network = maps::network(&vni).ok_or(DropReason::UnknownNetwork)?;
    Ok(network.flags & Network::INTERNAL != 0)
}

/// The address of this host that stands for the packet's sender outside its network.
#[inline(always)]
pub fn source(packet: &Packet) -> Result<Address, DropReason> {
    source_of(packet.config, packet.ip.is_v4)
}

/// The one of a family.
#[inline(always)]
pub fn source_of(config: &Config, is_v4: bool) -> Result<Address, DropReason> {
    match config.outside(is_v4) {
        Address::UNSPECIFIED => Err(DropReason::NoSourceAddress),
        address => Ok(address),
    }
}

/// Lets a packet to an outside address leave its network.
#[inline(never)]
pub fn leave(packet: &Packet, scratch: &mut Scratch) -> i32 {
    verdict(try_leave(packet, scratch))
}

#[inline(always)]
fn try_leave(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    if is_internal(scratch.key.vni)? {
        return Err(DropReason::InternalNetwork);
    }
    match packet.kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::EchoRequest => {}
        Kind::Fragment => return Err(DropReason::Fragment),
        Kind::EchoReply | Kind::IcmpError | Kind::Neighbour | Kind::OtherIcmp => {
            return Err(DropReason::IcmpNotTranslated);
        }
        Kind::Other => return Err(DropReason::UnsupportedProtocol),
    }
    let ip = &*packet.ip;
    let destination = ip.destination;
    let local = EndpointKey {
        vni: Vni::HOST,
        address: destination,
    };
    let Some(local) = maps::local_address(&local) else {
        return to_outside(packet, scratch);
    };
    let (key, port) = (&mut scratch.frontend, packet.destination_port);
    match service::at_address(key, &destination, *local, ip.protocol, port) {
        Some(_) => {
            scratch.reply_path = ReplyPath::TASK;
            Ok(PUBLISHED)
        }
        None => to_host(packet, scratch, destination),
    }
}

/// To a service of the host, which knows tasks under one address of the host link.
#[inline(always)]
pub fn to_host(packet: &Packet, scratch: &mut Scratch, destination: Address) -> Outcome {
    scratch.forward = Flow {
        source: Address::tasks(packet.ip.is_v4),
        destination,
        destination_port: scratch.key.destination_port,
        vni: Vni::HOST,
        delivery: Delivery::Host as u8,
        origin: Origin::Direct as u8,
        ..Flow::default()
    };
    scratch.reply_path = ReplyPath::TASK;
    Ok(OPEN_TRANSLATED)
}

#[inline(always)]
fn to_outside(packet: &Packet, scratch: &mut Scratch) -> Outcome {
    let source = match source(packet) {
        Ok(source) => source,
        Err(reason) => return Ok(icmp::no_route(packet, scratch, reason)),
    };
    let ifindex = match route_to(packet, &scratch.key.destination) {
        0 => return Ok(icmp::no_route(packet, scratch, DropReason::NoRoute)),
        ifindex => ifindex,
    };
    scratch.forward = Flow {
        source,
        destination: scratch.key.destination,
        destination_port: scratch.key.destination_port,
        vni: Vni::HOST,
        delivery: Delivery::Uplink as u8,
        origin: Origin::Direct as u8,
        ifindex,
        ..Flow::default()
    };
    scratch.reply_path = ReplyPath::TASK;
    Ok(OPEN_TRANSLATED)
}

/// The device that leads to an address of the packet's family, or 0.
#[inline(never)]
pub fn route_to(packet: &Packet, destination: &Address) -> u32 {
    const SUCCESS: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
    const FORWARDING_DISABLED: i64 = BPF_FIB_LKUP_RET_FWD_DISABLED as i64;
    let (ip, host) = (&*packet.ip, packet.config.host_ifindex);
    // SAFETY: plain integers, for which all zeros is a value.
    let mut lookup: FibLookup = unsafe { core::mem::zeroed() };
    lookup.l4_protocol = ip.protocol;
    lookup.ifindex = host;
    let source = packet.config.outside(ip.is_v4);
    if ip.is_v4 {
        lookup.family = AF_INET;
        lookup.__bindgen_anon_3.ipv4_src = source.v4().raw();
        lookup.__bindgen_anon_4.ipv4_dst = destination.v4().raw();
    } else {
        lookup.family = AF_INET6;
        lookup.__bindgen_anon_3.ipv6_src = source.words().map(Be32::raw);
        lookup.__bindgen_anon_4.ipv6_dst = destination.words().map(Be32::raw);
    }
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
