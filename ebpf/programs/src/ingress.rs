//! Outside clients that came in through a published port of another host.
//!
//! The task's host remembers which host that was, so that the answers leave through it, or with
//! direct return in its name. Two hosts may lead one client to the same task from the same port:
//! the second conversation has keys of a branch of its own here, and another client port towards
//! the task, so that the answers of the two can be told apart.

use orch_ebpf_common::{Address, Be16, Delivery, EndpointKey, Flow, Origin, Phase, Vni};

use crate::flow;
use crate::open::ReplyPath;
use crate::packet::{Kind, Packet};
use crate::scratch::Scratch;
use crate::{OPEN, egress, maps};

/// Opens a conversation that the host `node` leads to a task of this host.
#[inline(never)]
pub fn enter(packet: &Packet, scratch: &mut Scratch, node: &Address) -> i32 {
    let (published, ifindex) = direct_return(packet);
    let key = &scratch.key;
    scratch.forward = Flow {
        source: key.source,
        destination: key.destination,
        destination_port: key.destination_port,
        vni: key.vni,
        node: *node,
        delivery: Delivery::Endpoint as u8,
        origin: Origin::Ingress as u8,
        ..Flow::default()
    };
    scratch.reply_path = ReplyPath {
        node: *node,
        ifindex,
        published,
        delivery: if ifindex != 0 {
            Delivery::Uplink as u8
        } else {
            Delivery::Tunnel as u8
        },
    };
    OPEN
}

/// The port that the client knows, and the device that leads to it, if answers are to go straight
/// there. A client on a host of the cluster, this one among them, is answered as it came: its host
/// need not expect answers from another one.
#[inline(always)]
fn direct_return(packet: &Packet) -> (Be16, u32) {
    const NONE: (Be16, u32) = (Be16::ZERO, 0);
    let port = packet.skb.published_port();
    if port == Be16::ZERO {
        return NONE;
    }
    let client = packet.ip.source;
    let local = EndpointKey {
        vni: Vni::HOST,
        address: client,
    };
    if maps::peer(&client).is_some() || maps::local_address(&local).is_some() {
        return NONE;
    }
    match egress::route_to(packet, &client) {
        0 => NONE,
        ifindex => (port, ifindex),
    }
}

/// Deals with a packet from `node` whose flow is of a conversation that came through another host.
///
/// `true` if the flow is of `node` from now on: a segment within a connection shows that its client
/// has moved over, as it does when an address moves between hosts; so does any packet after a long
/// silence. Else `scratch.key` is of the branch that `node` has.
#[inline(never)]
pub fn takes_over(packet: &Packet, scratch: &mut Scratch, held: &mut Flow, node: &Address) -> bool {
    scratch.key.branch = branch(node);
    let within = matches!(packet.kind, Kind::Tcp | Kind::Sctp) && !packet.opens();
    if within && flow::find(&scratch.key).is_some() {
        return false;
    }
    let moves = within && held.phase != Phase::Closing as u8;
    if !(moves || held.is_stale(scratch.key.protocol, flow::now())) {
        return false;
    }
    scratch.key.branch = Be16::ZERO;
    flow::set_other_key(scratch, held);
    if let Some(reply) = flow::find(&scratch.reply_key) {
        reply.node = *node;
        if reply.flags & Flow::DIRECT_RETURN != 0 {
            reply.source = *node;
        }
    }
    held.node = *node;
    true
}

/// What tells the conversations of one host from those of others; never zero.
#[inline(always)]
pub fn branch(node: &Address) -> Be16 {
    let words = node.words();
    let word = words[0].get() ^ words[1].get() ^ words[2].get() ^ words[3].get();
    let folded = (word ^ (word >> 16)) as u16;
    Be16::new(if folded == 0 { 1 } else { folded })
}
