//! What the outside sends: to published ports, and in answer to tasks.
//!
//! Everything else is the host's own and passes untouched.

use orch_ebpf_common::flow::NAT_PORTS;
use orch_ebpf_common::{Delivery, EndpointKey, FrontendKey, Vni};

use crate::flow::{self, ReplyPath};
use crate::ip::Ip;
use crate::packet::{Kind, Packet};
use crate::scratch::scratch;
use crate::skb::Skb;
use crate::{Outcome, PASS, fragment, maps, service};

/// Handles one frame from an uplink.
#[inline(always)]
pub fn ingress(skb: Skb) -> Outcome {
    if !skb.is_ip() {
        return Ok(PASS);
    }
    let Ok(config) = maps::config() else {
        return Ok(PASS);
    };
    let mut packet = Packet::new(skb, config, Ip::outer()?);
    if packet.read().is_err() {
        return Ok(PASS);
    }
    let local = EndpointKey {
        vni: Vni::HOST,
        address: packet.ip.destination,
    };
    if maps::local_address(&local).is_none() {
        return Ok(PASS);
    }
    fragment::find(&mut packet, Vni::HOST);
    let frontend = if packet.has_ports() {
        let ip = &*packet.ip;
        let key = FrontendKey::published(ip.is_v4, ip.protocol, packet.destination_port);
        maps::frontend(&key)
    } else {
        None
    };
    let may_have_flow = frontend.is_some()
        || packet.kind == Kind::IcmpError
        || NAT_PORTS.contains(&packet.destination_port.get());
    if !may_have_flow {
        return Ok(PASS);
    }
    fragment::remember(&packet, Vni::HOST);
    let scratch = scratch()?;
    scratch.key = packet.key(Vni::HOST);
    if let Some(outcome) = flow::follow(&packet, scratch) {
        return outcome;
    }
    let Some(frontend) = frontend else {
        return Ok(PASS);
    };
    let reply_path = ReplyPath {
        delivery: Delivery::Uplink,
        ifindex: skb.ifindex(),
    };
    service::published(&packet, scratch, frontend, &reply_path)
}
