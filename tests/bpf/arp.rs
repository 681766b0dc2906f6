//! Neighbour resolution of tasks.

use std::net::Ipv4Addr;

use orch_ebpf_common::DropReason;

use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, arp};
use crate::world::{CLIENT, CLIENT_MAC, GATEWAY_MAC, REDIRECT, REMOTE, World};

const TO_ALL: Link = Link([0xff; 6], CLIENT_MAC);

#[test]
fn every_address_of_the_subnet_is_at_the_gateway() {
    let mut world = World::new();
    for address in [
        REMOTE,
        Ipv4Addr::new(10, 0, 10, 1),
        Ipv4Addr::new(10, 0, 10, 254),
    ] {
        let question = arp(TO_ALL, 1, (CLIENT_MAC, CLIENT), ([0; 6], address));
        let answer = arp(TO_CLIENT, 2, (GATEWAY_MAC, address), (CLIENT_MAC, CLIENT));
        assert_eq!(world.run("task_ingress", &question), (REDIRECT, answer));
    }
}

#[test]
fn own_and_foreign_addresses_get_no_answer() {
    let mut world = World::new();
    for address in [CLIENT, Ipv4Addr::new(10, 0, 11, 1)] {
        let question = arp(TO_ALL, 1, (CLIENT_MAC, CLIENT), ([0; 6], address));
        world.assert_drop("task_ingress", &question, DropReason::ArpUnanswered);
    }
    let answer = arp(FROM_CLIENT, 2, (CLIENT_MAC, CLIENT), (GATEWAY_MAC, REMOTE));
    world.assert_drop("task_ingress", &answer, DropReason::ArpUnanswered);
}
