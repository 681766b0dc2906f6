//! What the outside sends: to published ports, and in answer to tasks.
//!
//! Everything else is the host's own and passes untouched.

use orch_ebpf_common::flow::NAT_PORTS;
use orch_ebpf_common::{EndpointKey, Vni};

use crate::ip::Ip;
use crate::open::ReplyPath;
use crate::packet::{Kind, Packet};
use crate::scratch::scratch;
use crate::skb::Skb;
use crate::{Outcome, PASS, PUBLISHED, deliver, flow, fragment, maps, service};

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
    let Some(local) = maps::local_address(&local) else {
        return Ok(PASS);
    };
    let scratch = scratch()?;
    fragment::find(&mut packet, Vni::HOST);
    let is_published = packet.has_ports() && {
        let (ip, port) = (&*packet.ip, packet.destination_port);
        let key = &mut scratch.frontend;
        service::at_address(key, &ip.destination, *local, ip.protocol, port).is_some()
    };
    // So that the verifier follows what comes once, and not once for each way to here.
    let is_published = skb.forget(is_published.into()) != 0;
    let may_have_flow = is_published
        || packet.kind == Kind::IcmpError
        || NAT_PORTS.contains(&packet.destination_port.get());
    if !may_have_flow {
        return Ok(PASS);
    }
    fragment::remember(&packet, Vni::HOST);
    scratch.key = packet.key(Vni::HOST);
    let outcome = match flow::follow(&packet, scratch) {
        Some(outcome) => outcome,
        None if is_published => {
            scratch.reply_path = ReplyPath::uplink(skb.ifindex());
            Ok(PUBLISHED)
        }
        None => return Ok(PASS),
    };
    deliver::settle(&packet, scratch, outcome)
}
