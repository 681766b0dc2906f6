//! Names that are answered in the kernel.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use orch_ebpf_common::Vni;

use crate::frames::{FROM_CLIENT, TO_CLIENT, udp, udp_without_checksum};
use crate::world::{CLIENT, LOCAL, OUTSIDE, REDIRECT, REMOTE, VIP, VNI, World};

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
fn answer(name: &str, kind: u16, addresses: &[Ipv4Addr]) -> Vec<u8> {
    let count = u8::try_from(addresses.len()).unwrap();
    let mut message = vec![0xbe, 0xef, 0x85, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
    message.extend(&query(name, kind)[12..]);
    for address in addresses {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        message.extend(address.octets());
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
    assert_eq!(asked, answered(&answer("redis2", A, &[VIP])));
    let capitals = ask(&mut world, &query("ReDis2", A));
    assert_eq!(
        capitals,
        answered(&answer("ReDis2", A, &[VIP])),
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
        answered(&answer("redis2", A, &[VIP]))
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

#[test]
fn of_many_addresses_sixteen_are_answered() {
    let mut world = World::new();
    let tasks: Vec<_> = (10..42)
        .map(|last| Ipv4Addr::new(10, 0, 10, last))
        .collect();
    let long = format!("{}.{}", "x".repeat(63), "y".repeat(61));
    world.name(VNI, &long, &tasks);
    let (verdict, frame) = ask(&mut world, &query(&long, A));
    assert_eq!(verdict, REDIRECT);
    assert_eq!(frame.len(), 42 + query(&long, A).len() + 16 * 16);
    let first = Ipv4Addr::from(<[u8; 4]>::try_from(&frame[42 + 12 + 131 + 12..][..4]).unwrap());
    let start = tasks.iter().position(|task| *task == first).unwrap();
    let rotated: Vec<_> = (0..16).map(|step| tasks[(start + step) % 32]).collect();
    assert_eq!((verdict, frame), answered(&answer(&long, A, &rotated)));
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
        answered(&answer("db", A, &[OUTSIDE]))
    );
    let own_first = ask(&mut world, &query("redis2", A));
    assert_eq!(own_first, answered(&answer("redis2", A, &[VIP])));
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
