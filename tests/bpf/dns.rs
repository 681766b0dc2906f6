//! Names that are answered in the kernel.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use orch_ebpf_common::Vni;

use crate::frames::{FROM_CLIENT, TO_CLIENT, udp, udp_without_checksum};
use crate::world::{
    CLIENT, CLIENT_V6, GATEWAY_V6, LOCAL, OUTSIDE, REDIRECT, REMOTE, REMOTE_V6, VIP, VIP_V6, VNI,
    World,
};

const CLIENT_SIDE: (Ipv4Addr, u16) = (CLIENT, 33333);
/// Any address counts as a name server.
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(8, 8, 8, 8), 53);
const A: u16 = 1;
const AAAA: u16 = 28;

/// The wire form of a name.
fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.bytes());
    }
    wire.push(0);
    wire
}

/// A query; its identifier is 0xbeef, recursion is desired.
fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0xbe, 0xef, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(wire(name));
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// The answer to [`query`].
fn answer(name: &str, kind: u16, addresses: &[IpAddr]) -> Vec<u8> {
    let count = u8::try_from(addresses.len()).unwrap();
    let mut message = vec![0xbe, 0xef, 0x85, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
    message.extend(&query(name, kind)[12..]);
    for address in addresses {
        match address {
            IpAddr::V4(address) => {
                message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
                message.extend(address.octets());
            }
            IpAddr::V6(address) => {
                message.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 5, 0, 16]);
                message.extend(address.octets());
            }
        }
    }
    message
}

fn ask(world: &mut World, message: &[u8]) -> (i32, Vec<u8>) {
    world.run(
        "task_ingress",
        &udp(FROM_CLIENT, CLIENT_SIDE, SERVER, message),
    )
}

fn answered(message: &[u8]) -> (i32, Vec<u8>) {
    (
        REDIRECT,
        udp_without_checksum(TO_CLIENT, SERVER, CLIENT_SIDE, message),
    )
}

#[test]
fn a_service_s_name_is_its_vip() {
    let mut world = World::new();
    world.name(VNI, "redis2", &[VIP]);
    let asked = ask(&mut world, &query("redis2", A));
    assert_eq!(asked, answered(&answer("redis2", A, &[VIP.into()])));
    let capitals = ask(&mut world, &query("ReDis2", A));
    assert_eq!(
        capitals,
        answered(&answer("ReDis2", A, &[VIP.into()])),
        "asked as written, case kept"
    );
}

#[test]
fn an_edns_record_is_tolerated() {
    let mut world = World::new();
    world.name(VNI, "redis2", &[VIP]);
    let mut message = query("redis2", A);
    message[11] = 1;
    message.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        ask(&mut world, &message),
        answered(&answer("redis2", A, &[VIP.into()]))
    );
}

#[test]
fn a_known_name_without_such_a_record_has_no_data() {
    let mut world = World::new();
    world.name(VNI, "redis2", &[VIP]);
    world.name(VNI, "stopped", &[]);
    let v6 = ask(&mut world, &query("redis2", AAAA));
    assert_eq!(v6, answered(&answer("redis2", AAAA, &[])));
    let none = ask(&mut world, &query("stopped", A));
    assert_eq!(none, answered(&answer("stopped", A, &[])));
}

#[test]
fn task_addresses_are_rotated() {
    let mut world = World::new();
    let tasks = [CLIENT, LOCAL, REMOTE];
    world.name(VNI, "tasks.redis2", &tasks);
    let rotations: Vec<_> = (0..3)
        .map(|start| {
            let mut rotated = tasks;
            rotated.rotate_left(start);
            let rotated = rotated.map(IpAddr::from);
            answered(&answer("tasks.redis2", A, &rotated))
        })
        .collect();
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let got = ask(&mut world, &query("tasks.redis2", A));
        let at = rotations.iter().position(|expected| *expected == got);
        seen.insert(at.unwrap_or_else(|| panic!("no rotation of the addresses: {got:?}")));
    }
    assert_eq!(seen, BTreeSet::from([0, 1, 2]));
}

/// The answer to [`query`] when only `addresses` of more fit.
fn truncated(name: &str, kind: u16, addresses: &[IpAddr]) -> Vec<u8> {
    let mut message = answer(name, kind, addresses);
    message[2] |= 0x02;
    message
}

#[test]
fn of_many_addresses_those_are_answered_that_fit() {
    let mut world = World::new();
    let v4 = (10..42).map(|last| IpAddr::from([10, 0, 10, last]));
    let v6 = (10..42).map(|last| IpAddr::from([0xfd00, 10, 0, 0, 0, 0, 0, last]));
    let tasks: Vec<_> = v4.chain(v6).collect();
    let long = format!("{}.{}", "x".repeat(63), "y".repeat(61));
    for (name, fit_v4, fit_v6) in [("tasks.redis2", 30, 17), (&long, 23, 13)] {
        world.name_all(VNI, name, &tasks);
        for (kind, fit, of_family) in [(A, fit_v4, &tasks[..32]), (AAAA, fit_v6, &tasks[32..])] {
            let got = ask(&mut world, &query(name, kind));
            let rotated = |start| of_family.iter().cycle().skip(start).take(fit).copied();
            let expected = |start| {
                let addresses: Vec<_> = rotated(start).collect();
                answered(&truncated(name, kind, &addresses))
            };
            assert!(got.1.len() <= 42 + 512);
            assert!(
                (0..32).any(|start| got == expected(start)),
                "{name} {kind}: {got:?}"
            );
        }
    }
}

#[test]
fn a_name_has_addresses_of_both_families() {
    let mut world = World::new();
    world.name_all(VNI, "redis2", &[VIP.into(), VIP_V6.into()]);
    world.name_all(VNI, "six", &[VIP_V6.into()]);
    let v6 = answer("redis2", AAAA, &[VIP_V6.into()]);
    assert_eq!(
        ask(&mut world, &query("redis2", A)),
        answered(&answer("redis2", A, &[VIP.into()]))
    );
    assert_eq!(ask(&mut world, &query("redis2", AAAA)), answered(&v6));
    assert_eq!(
        ask(&mut world, &query("six", A)),
        answered(&answer("six", A, &[]))
    );
    for kind in [12, 15, 16, 33, 255] {
        let no_data = answered(&answer("redis2", kind, &[]));
        assert_eq!(
            ask(&mut world, &query("redis2", kind)),
            no_data,
            "type {kind}"
        );
    }
}

#[test]
fn questions_over_ipv6_are_answered_with_a_checksum() {
    let mut world = World::new();
    world.name_all(VNI, "redis2", &[VIP.into(), VIP_V6.into()]);
    world.name_all(VNI, "odd", &[VIP_V6.into(), REMOTE_V6.into()]);
    let (client, server) = ((CLIENT_V6, 33333), (GATEWAY_V6, 53));
    for (name, kind, addresses) in [
        ("redis2", A, vec![VIP.into()]),
        ("redis2", AAAA, vec![VIP_V6.into()]),
        ("odd", A, vec![]),
    ] {
        let question = udp(FROM_CLIENT, client, server, &query(name, kind));
        let expected = udp(TO_CLIENT, server, client, &answer(name, kind, &addresses));
        assert_eq!(world.run("task_ingress", &question), (REDIRECT, expected));
    }
}

#[test]
fn names_of_the_container_s_other_networks_are_answered_too() {
    let mut world = World::new();
    let other = Vni::new(4099);
    world.name(other, "db", &[OUTSIDE]);
    world.name(other, "redis2", &[OUTSIDE]);
    world.name(VNI, "redis2", &[VIP]);
    world.also_has(other, Ipv4Addr::new(10, 0, 30, 7));
    assert_eq!(
        ask(&mut world, &query("db", A)),
        answered(&answer("db", A, &[OUTSIDE.into()]))
    );
    let own_first = ask(&mut world, &query("redis2", A));
    assert_eq!(own_first, answered(&answer("redis2", A, &[VIP.into()])));
}

#[test]
fn other_names_and_messages_go_on_as_ordinary_traffic() {
    let mut world = World::new();
    world.name(VNI, "redis2", &[VIP]);
    world.name(Vni::new(4099), "foreign", &[VIP]);
    let mut two_questions = query("redis2", A);
    two_questions[5] = 2;
    let mut response = query("redis2", A);
    response[2] |= 0x80;
    let mut no_end = query("redis2", A);
    no_end.truncate(15);
    for message in [
        query("example.com", A),
        query("redis", A),
        query("foreign", A),
        two_questions,
        response,
        no_end,
    ] {
        let to_task = udp(FROM_CLIENT, CLIENT_SIDE, (REMOTE, 53), &message);
        let expected = udp(crate::frames::TUNNEL, CLIENT_SIDE, (REMOTE, 53), &message);
        assert_eq!(world.run("task_ingress", &to_task), (REDIRECT, expected));
    }
}
