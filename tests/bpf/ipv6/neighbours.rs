//! Neighbour discovery of tasks.

use std::net::Ipv6Addr;

use orch_ebpf_common::DropReason;

use crate::frames::neighbour::{
    ADVERTISEMENT, SOLICITATION, body, message, solicitation, solicited_node,
};
use crate::frames::{FROM_CLIENT, Link, TO_CLIENT};
use crate::world::{
    CLIENT_MAC, CLIENT_V6, GATEWAY_MAC, GATEWAY_V6, LOCAL_V6, PASS, REDIRECT, REMOTE_V6, VIP_V6,
    World,
};

/// To those nodes of the link whose address ends like the wanted one.
const TO_SOME: Link = Link([0x33, 0x33, 0xff, 0, 0, 9], CLIENT_MAC);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// An advertisement by the gateway; 0xe0 says: a router, asked, replace what you know.
fn advertisement(from: Ipv6Addr, to: Ipv6Addr, flags: u8) -> Vec<u8> {
    let body = body(from, 2, GATEWAY_MAC);
    message(TO_CLIENT, (from, to, 255), (ADVERTISEMENT, flags), &body)
}

#[test]
fn every_address_of_the_subnet_is_at_the_gateway() {
    let mut world = World::new();
    for target in [REMOTE_V6, LOCAL_V6, VIP_V6] {
        for source in [CLIENT_V6, LINK_LOCAL] {
            let asked = solicitation(TO_SOME, source, solicited_node(target), target);
            let told = advertisement(target, source, 0x60);
            assert_eq!(world.run("task_ingress", &asked), (REDIRECT, told));
        }
    }
    let asked = solicitation(TO_SOME, CLIENT_V6, solicited_node(GATEWAY_V6), GATEWAY_V6);
    let told = advertisement(GATEWAY_V6, CLIENT_V6, 0xe0);
    assert_eq!(world.run("task_ingress", &asked), (REDIRECT, told));
}

#[test]
fn a_probe_whether_a_neighbour_is_still_there_is_answered() {
    let mut world = World::new();
    // Straight to the neighbour, without naming oneself.
    let asked = message(
        FROM_CLIENT,
        (CLIENT_V6, REMOTE_V6, 255),
        (SOLICITATION, 0),
        &REMOTE_V6.octets(),
    );
    let told = advertisement(REMOTE_V6, CLIENT_V6, 0x60);
    assert_eq!(world.run("task_ingress", &asked), (REDIRECT, told));
}

#[test]
fn duplicates_are_found_but_the_own_address_is_free() {
    let mut world = World::new();
    let probe = |target: Ipv6Addr| {
        let to = solicited_node(target);
        message(
            TO_SOME,
            (NOBODY, to, 255),
            (SOLICITATION, 0),
            &target.octets(),
        )
    };
    let taken = advertisement(REMOTE_V6, ALL_NODES, 0x20);
    assert_eq!(
        world.run("task_ingress", &probe(REMOTE_V6)),
        (REDIRECT, taken)
    );
    for own in [CLIENT_V6, LINK_LOCAL] {
        world.assert_drop("task_ingress", &probe(own), DropReason::NeighbourUnanswered);
    }
}

#[test]
fn what_is_no_question_for_an_address_of_the_subnet_gets_no_answer() {
    let mut world = World::new();
    let foreign = Ipv6Addr::new(0xfd00, 11, 0, 0, 0, 0, 0, 1);
    let question = |hops, code| {
        let addresses = (CLIENT_V6, REMOTE_V6, hops);
        let mut frame = message(
            FROM_CLIENT,
            addresses,
            (SOLICITATION, 0),
            &REMOTE_V6.octets(),
        );
        frame[55] = code;
        frame
    };
    for frame in [
        solicitation(TO_SOME, CLIENT_V6, solicited_node(foreign), foreign),
        question(254, 0),
        question(255, 1),
        // Router solicitation, neighbour advertisement, redirect, multicast listener report.
        message(TO_SOME, (LINK_LOCAL, ALL_ROUTERS, 255), (133, 0), &[]),
        message(TO_SOME, (CLIENT_V6, ALL_NODES, 255), (136, 0), &[0; 16]),
        message(TO_SOME, (LINK_LOCAL, CLIENT_V6, 255), (137, 0), &[0; 32]),
        message(TO_SOME, (LINK_LOCAL, ALL_ROUTERS, 1), (143, 0), &[0; 20]),
        // Too short for the address asked for.
        message(FROM_CLIENT, (CLIENT_V6, REMOTE_V6, 255), (135, 0), &[0; 15]),
    ] {
        world.assert_drop("task_ingress", &frame, DropReason::NeighbourUnanswered);
    }
}

#[test]
fn other_links_have_neighbour_discovery_of_their_own() {
    let mut world = World::new();
    let asked = solicitation(TO_SOME, LINK_LOCAL, solicited_node(REMOTE_V6), REMOTE_V6);
    world.assert_drop("host_ingress", &asked, DropReason::NeighbourUnanswered);
    assert_eq!(world.run("uplink_ingress", &asked), (PASS, asked));
}
