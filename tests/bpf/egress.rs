//! What tasks send to outside their networks.

use std::net::Ipv4Addr;

use orch_ebpf_common::{DropReason, Network};

use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, ping, pong, segment, syn, udp, unreachable};
use crate::world::{
    CLIENT, CLIENT_MAC, GATEWAY, GATEWAY_MAC, HOST_MAC, NODE, OUTSIDE, REDIRECT, VNI, World,
};

const TASKS: Ipv4Addr = Ipv4Addr::new(169, 254, 42, 3);
const HOST_LINK: Ipv4Addr = Ipv4Addr::new(169, 254, 42, 1);
const CLIENT_SIDE: (Ipv4Addr, u16) = (CLIENT, 40000);
const TO_HOST: Link = Link(HOST_MAC, GATEWAY_MAC);
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);

/// The port of the host that stands for the only conversation there is.
pub fn translated_port(world: &World) -> u16 {
    let flows = world.flows();
    let (_, flow) = flows
        .iter()
        .find(|(key, _)| key.vni == VNI)
        .expect("the conversation");
    assert!(flow.source_port.get() >= 61000, "{flow:?}");
    flow.source_port.get()
}

#[test]
fn a_service_of_the_host_sees_a_link_address_and_its_answer_comes_from_the_host_s() {
    let mut world = World::new();
    let (verdict, frame) = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, (NODE, 2375)));
    let port = translated_port(&world);
    assert_eq!(
        (verdict, frame),
        (REDIRECT, syn(TO_HOST, (TASKS, port), (NODE, 2375)))
    );

    let answer = segment(FROM_HOST, (NODE, 2375), (TASKS, port), b"OK");
    let back = world.run("host_ingress", &answer);
    let to_task = Link(CLIENT_MAC, GATEWAY_MAC);
    assert_eq!(
        back,
        (REDIRECT, segment(to_task, (NODE, 2375), CLIENT_SIDE, b"OK"))
    );
}

#[test]
fn questions_to_the_gateway_reach_the_host_s_listener() {
    let mut world = World::new();
    let question = b"not a question that the kernel answers";
    let (verdict, frame) = world.run(
        "task_ingress",
        &udp(FROM_CLIENT, CLIENT_SIDE, (GATEWAY, 53), question),
    );
    let port = translated_port(&world);
    assert_eq!(
        (verdict, frame),
        (
            REDIRECT,
            udp(TO_HOST, (TASKS, port), (HOST_LINK, 53), question)
        )
    );

    let answer = udp(FROM_HOST, (HOST_LINK, 53), (TASKS, port), b"an answer");
    let back = world.run("host_ingress", &answer);
    let expected = udp(TO_CLIENT, (GATEWAY, 53), CLIENT_SIDE, b"an answer");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn the_outside_sees_the_host_s_address() {
    let mut world = World::new();
    let (verdict, frame) = world.run(
        "task_ingress",
        &syn(FROM_CLIENT, CLIENT_SIDE, (OUTSIDE, 443)),
    );
    let port = translated_port(&world);
    let expected = syn(FROM_CLIENT, (NODE, port), (OUTSIDE, 443));
    assert_eq!((verdict, frame), (REDIRECT, expected));

    let answer = segment(Link([2; 6], [4; 6]), (OUTSIDE, 443), (NODE, port), b"data");
    let back = world.run("uplink_ingress", &answer);
    assert_eq!(
        back,
        (
            REDIRECT,
            segment(TO_CLIENT, (OUTSIDE, 443), CLIENT_SIDE, b"data")
        )
    );
}

#[test]
fn pings_to_outside_are_told_apart_by_their_identifier() {
    let mut world = World::new();
    let (verdict, frame) = world.run("task_ingress", &ping(FROM_CLIENT, CLIENT, OUTSIDE, 5));
    let id = translated_port(&world);
    assert_eq!(
        (verdict, frame),
        (REDIRECT, ping(FROM_CLIENT, NODE, OUTSIDE, id))
    );

    let answer = pong(Link([2; 6], [4; 6]), OUTSIDE, NODE, id);
    let back = world.run("uplink_ingress", &answer);
    assert_eq!(back, (REDIRECT, pong(TO_CLIENT, OUTSIDE, CLIENT, 5)));
}

#[test]
fn tasks_of_an_internal_network_stay_inside() {
    let mut world = World::new();
    world.set(
        "NETWORKS",
        VNI,
        Network {
            flags: Network::INTERNAL,
        },
    );
    for to in [OUTSIDE, NODE] {
        let frame = syn(FROM_CLIENT, CLIENT_SIDE, (to, 443));
        world.assert_drop("task_ingress", &frame, DropReason::InternalNetwork);
    }
    // Names of the outside would be a way out, too.
    let question = udp(FROM_CLIENT, CLIENT_SIDE, (GATEWAY, 53), b"secret.example?");
    let refused = world.run("task_ingress", &question);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &question, 3)));
}
