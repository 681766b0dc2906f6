//! Questions of `orchctl doctor` to other hosts. Answers come through the tunnel, which a test run
//! cannot show: they are tried between namespaces.

use std::net::Ipv4Addr;

use orch_ebpf_common::DropReason;

use crate::frames::{Link, TUNNEL, syn, udp};
use crate::world::{HOST_MAC, NODE, OTHER_NODE, OUTSIDE, REDIRECT, World};

/// From the host's own stack, or from a socket on the device.
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
const ASKER: (Ipv4Addr, u16) = (NODE, 7007);

#[test]
fn a_question_leaves_for_the_host_that_it_names() {
    let mut world = World::new();
    let question = udp(FROM_HOST, ASKER, (OTHER_NODE, 7), b"are you there?");
    let expected = udp(TUNNEL, ASKER, (OTHER_NODE, 7), b"are you there?");
    assert_eq!(world.run("host_ingress", &question), (REDIRECT, expected));
    assert_eq!(world.flows(), []);
}

#[test]
fn nothing_else_is_carried_to_hosts() {
    let mut world = World::new();
    for frame in [
        udp(FROM_HOST, ASKER, (OTHER_NODE, 8), b"another port"),
        udp(FROM_HOST, ASKER, (OUTSIDE, 7), b"no host of the cluster"),
        udp(FROM_HOST, (OUTSIDE, 7007), (OTHER_NODE, 7), b"not ours"),
        syn(FROM_HOST, ASKER, (OTHER_NODE, 7)),
    ] {
        world.assert_drop("host_ingress", &frame, DropReason::HostUnexpected);
    }
}
