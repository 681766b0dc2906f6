//! Virtual addresses of services.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use orch_ebpf_common::{DropReason, Endpoint, EndpointKey};

use crate::frames::{
    FROM_CLIENT, Link, TO_CLIENT, TUNNEL, ping, pong, reset, segment, syn, udp,
    udp_without_checksum, unreachable,
};
use crate::world::{
    CLIENT, CLIENT_MAC, GATEWAY_MAC, LOCAL, LOCAL_MAC, REDIRECT, REMOTE, VIP, VNI, World, vip,
};

const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const CLIENT_SIDE: (Ipv4Addr, u16) = (CLIENT, 40000);
const VIP_SIDE: (Ipv4Addr, u16) = (VIP, 6379);

#[test]
fn an_echo_is_answered_while_a_backend_stands_behind() {
    let mut world = World::new();
    let frame = ping(FROM_CLIENT, CLIENT, VIP, 77);
    world.serve(vip(), 1, &[(REMOTE, None)]);
    let answered = world.run("task_ingress", &frame);
    assert_eq!(answered, (REDIRECT, pong(TO_CLIENT, VIP, CLIENT, 77)));
    world.serve(vip(), 2, &[]);
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 1)));
}

#[test]
fn a_connection_goes_to_the_backend_and_its_answers_come_from_the_vip() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(REMOTE, None)]);
    let forward = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    assert_eq!(
        forward,
        (REDIRECT, syn(TUNNEL, CLIENT_SIDE, (REMOTE, 6379)))
    );

    // The answer in the other direction is found under the backend's address; it is enough that
    // the sender of this run may have that address.
    world.also_has(VNI, REMOTE);
    let answer = segment(FROM_CLIENT, (REMOTE, 6379), CLIENT_SIDE, b"+PONG\r\n");
    let back = world.run("task_ingress", &answer);
    let expected = segment(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, b"+PONG\r\n");
    assert_eq!(back, (REDIRECT, expected));
}

#[test]
fn datagrams_are_translated_with_and_without_a_checksum() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None)]);
    for (build, payload) in [
        (udp as fn(Link, _, _, &[u8]) -> Vec<u8>, b"with".as_slice()),
        (udp_without_checksum, b"without".as_slice()),
    ] {
        let frame = build(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, payload);
        let expected = build(TO_LOCAL, CLIENT_SIDE, (LOCAL, 6379), payload);
        assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
    }
}

#[test]
fn a_client_that_is_its_own_backend_sees_the_vip_as_peer() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(CLIENT, None)]);
    let forward = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    let to_itself = Link(CLIENT_MAC, GATEWAY_MAC);
    assert_eq!(
        forward,
        (REDIRECT, syn(to_itself, (VIP, 40000), (CLIENT, 6379)))
    );
    let answer = segment(FROM_CLIENT, (CLIENT, 6379), (VIP, 40000), b"hi");
    let back = world.run("task_ingress", &answer);
    assert_eq!(
        back,
        (REDIRECT, segment(to_itself, VIP_SIDE, CLIENT_SIDE, b"hi"))
    );
}

#[test]
fn without_backends_connections_are_refused_at_once() {
    let mut world = World::new();
    world.serve(vip(), 1, &[]);
    let refused = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    let expected = reset(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, 0, Some(1001));
    assert_eq!(refused, (REDIRECT, expected));

    let frame = udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, &[9; 100]);
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 3)));

    let mut other = udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, &[9; 100]);
    other[23] = 47;
    world.assert_drop("task_ingress", &other, DropReason::UnsupportedProtocol);
}

#[test]
fn a_stray_reset_is_not_answered() {
    let mut world = World::new();
    world.serve(vip(), 1, &[]);
    let stray = reset(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, 7, None);
    world.assert_drop("task_ingress", &stray, DropReason::NoBackend);
}

#[test]
fn connections_spread_over_all_backends() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None), (REMOTE, None), (CLIENT, None)]);
    for port in 40000..40100 {
        world.run("task_ingress", &syn(FROM_CLIENT, (CLIENT, port), VIP_SIDE));
    }
    let chosen: BTreeSet<IpAddr> = world
        .flows()
        .into_iter()
        .filter(|(key, _)| key.destination == VIP.into() && key.destination_port.get() == 6379)
        .map(|(_, flow)| flow.destination.into())
        .collect();
    assert_eq!(
        chosen,
        BTreeSet::from([LOCAL.into(), REMOTE.into(), CLIENT.into()])
    );
}

#[test]
fn an_open_connection_stays_with_its_backend_until_the_backend_is_gone() {
    let mut world = World::new();
    let data = segment(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"data");
    world.serve(vip(), 1, &[(LOCAL, None)]);
    world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));

    // Draining: no new connections go there, but this one does.
    world.serve(vip(), 2, &[(REMOTE, None)]);
    let kept = world.run("task_ingress", &data);
    assert_eq!(
        kept,
        (
            REDIRECT,
            segment(TO_LOCAL, CLIENT_SIDE, (LOCAL, 6379), b"data")
        )
    );

    // A new connection from the same port does not.
    let moved = world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    assert_eq!(moved, (REDIRECT, syn(TUNNEL, CLIENT_SIDE, (REMOTE, 6379))));

    // The task is gone: what was open ends at once.
    let key = EndpointKey {
        vni: VNI,
        address: REMOTE.into(),
    };
    world.delete::<EndpointKey, Endpoint>("ENDPOINTS", key);
    let ended = world.run("task_ingress", &data);
    assert_eq!(
        ended,
        (
            REDIRECT,
            reset(TO_CLIENT, VIP_SIDE, CLIENT_SIDE, 5001, None)
        )
    );
}

#[test]
fn a_swap_that_keeps_the_backend_keeps_the_flow() {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None)]);
    let frame = syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE);
    let expected = (REDIRECT, syn(TO_LOCAL, CLIENT_SIDE, (LOCAL, 6379)));
    assert_eq!(world.run("task_ingress", &frame), expected);
    world.serve(vip(), 2, &[(REMOTE, None), (LOCAL, None), (CLIENT, None)]);
    for _ in 0..20 {
        assert_eq!(world.run("task_ingress", &frame), expected);
    }
}

#[test]
fn datagrams_move_when_their_backend_left() {
    let mut world = World::new();
    let frame = udp(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE, b"x");
    world.serve(vip(), 1, &[(LOCAL, None)]);
    let first = world.run("task_ingress", &frame);
    assert_eq!(
        first,
        (REDIRECT, udp(TO_LOCAL, CLIENT_SIDE, (LOCAL, 6379), b"x"))
    );
    world.serve(vip(), 2, &[(REMOTE, None)]);
    let moved = world.run("task_ingress", &frame);
    assert_eq!(
        moved,
        (REDIRECT, udp(TUNNEL, CLIENT_SIDE, (REMOTE, 6379), b"x"))
    );
    world.serve(vip(), 3, &[]);
    let refused = world.run("task_ingress", &frame);
    assert_eq!(refused, (REDIRECT, unreachable(TO_CLIENT, &frame, 3)));
}

#[test]
fn two_services_with_one_backend_do_not_mix_up_their_answers() {
    let mut world = World::new();
    let second = Ipv4Addr::new(10, 0, 10, 101);
    world.serve(vip(), 1, &[(LOCAL, None)]);
    let key = orch_ebpf_common::FrontendKey::vip(VNI, second.into());
    world.serve(key, 1, &[(LOCAL, None)]);
    world.run("task_ingress", &syn(FROM_CLIENT, CLIENT_SIDE, VIP_SIDE));
    world.run(
        "task_ingress",
        &syn(FROM_CLIENT, CLIENT_SIDE, (second, 6379)),
    );
    let answers: BTreeSet<(u16, IpAddr)> = world
        .flows()
        .into_iter()
        .filter(|(key, _)| key.source == LOCAL.into())
        .map(|(key, flow)| (key.destination_port.get(), flow.source.into()))
        .collect();
    assert_eq!(
        answers.len(),
        2,
        "each has a way back of its own: {answers:?}"
    );
    assert!(
        answers.contains(&(40000, VIP.into())),
        "the first one keeps its port: {answers:?}"
    );
    assert!(
        answers
            .iter()
            .any(|(port, vip)| *port >= 61000 && *vip == IpAddr::from(second))
    );
}
