//! The maximum segment size between outside clients and tasks of other hosts.

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};
use orch_ebpf_common::{Be16, FrontendKey};
use std::net::{IpAddr, SocketAddr};

use crate::datagram::Addresses;
use crate::frames::{FROM_CLIENT, Link, TUNNEL};
use crate::world::{GATEWAY_MAC, LOCAL_MAC, REDIRECT, VNI, World};

const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const NODE_PORT: u16 = 8080;

/// A SYN, or its answer, with these options.
fn syn(link: Link, from: (IpAddr, u16), to: (IpAddr, u16), ack: bool, options: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(link.1, link.0);
    let ip = match (SocketAddr::from(from), SocketAddr::from(to)) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            ethernet.ipv4(from.ip().octets(), to.ip().octets(), 64)
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            ethernet.ipv6(from.ip().octets(), to.ip().octets(), 64)
        }
        mixed => panic!("two families: {mixed:?}"),
    };
    let tcp: PacketBuilderStep<TcpHeader> = ip.tcp(from.1, to.1, 1000, 64240).syn();
    let tcp = if ack { tcp.ack(5001) } else { tcp };
    let mut frame = Vec::new();
    let tcp = tcp.options_raw(options).unwrap();
    tcp.write(&mut frame, &[]).unwrap();
    frame
}

/// A world whose port leads to `backend`.
fn world(at: &Addresses, backend: IpAddr) -> World {
    let mut world = World::new();
    let frontend = FrontendKey::published(at.is_v4(), 6, Be16::new(NODE_PORT));
    world.lead(frontend, 1, &[(backend.into(), Some(80))]);
    world
}

/// What fits 1450 bytes.
const fn most(at: &Addresses) -> [u8; 2] {
    let size: u16 = if at.is_v4() { 1410 } else { 1390 };
    size.to_be_bytes()
}

#[test]
fn a_client_s_size_is_lowered_towards_a_task_of_another_host() {
    for at in Addresses::BOTH {
        let [high, low] = most(&at);
        let mut world = world(&at, at.remote);
        for (options, expected) in [
            // What Linux sends; at an odd place; the last of many.
            (
                vec![
                    2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
                ],
                vec![
                    2, 4, high, low, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
                ],
            ),
            (
                vec![1, 2, 4, 0xff, 0xff, 0, 0, 0],
                vec![1, 2, 4, high, low, 0, 0, 0],
            ),
            (
                [vec![1; 36], vec![2, 4, 5, 180]].concat(),
                [vec![1; 36], vec![2, 4, high, low]].concat(),
            ),
            // Small enough, none, none after the end, none that can be read.
            (vec![2, 4, high, low], vec![2, 4, high, low]),
            (vec![2, 4, 2, 24], vec![2, 4, 2, 24]),
            (vec![], vec![]),
            (
                vec![0, 0, 0, 0, 2, 4, 5, 180],
                vec![0, 0, 0, 0, 2, 4, 5, 180],
            ),
            (
                vec![8, 0, 0, 0, 2, 4, 5, 180],
                vec![8, 0, 0, 0, 2, 4, 5, 180],
            ),
        ] {
            let (client, node) = ((at.outside, 50000), (at.node, NODE_PORT));
            let frame = syn(FROM_OUTSIDE, client, node, false, &options);
            let expected = syn(TUNNEL, client, (at.remote, 80), false, &expected);
            let met = world.run("uplink_ingress", &frame);
            assert_eq!(met, (REDIRECT, expected), "{options:?}");
        }
    }
}

#[test]
fn a_task_s_size_is_lowered_where_its_answer_leaves_the_tunnel() {
    for at in Addresses::BOTH {
        let [high, low] = most(&at);
        let mut world = world(&at, at.remote);
        let (client, node) = ((at.outside, 50000), (at.node, NODE_PORT));
        let asked = syn(FROM_OUTSIDE, client, node, false, &[2, 4, 5, 180]);
        assert_eq!(world.run("uplink_ingress", &asked).0, REDIRECT);
        // The program for tasks takes the answer as coming from the tunnel.
        world.also_has(VNI, at.remote);
        for (vxlan_ifindex, expected) in [(1, [high, low]), (1001, [0x22, 0xce])] {
            world.change_config(|config| config.vxlan_ifindex = vxlan_ifindex);
            let answer = syn(
                FROM_CLIENT,
                (at.remote, 80),
                client,
                true,
                &[2, 4, 0x22, 0xce],
            );
            let options = [2, 4, expected[0], expected[1]];
            let expected = syn(FROM_CLIENT, node, client, true, &options);
            assert_eq!(world.run("task_ingress", &answer), (REDIRECT, expected));
        }
    }
}

#[test]
fn nothing_else_is_lowered() {
    for at in Addresses::BOTH {
        let options = [2, 4, 0x22, 0xce];
        let (client, node) = ((at.outside, 50000), (at.node, NODE_PORT));
        let met = world(&at, at.local).run(
            "uplink_ingress",
            &syn(FROM_OUTSIDE, client, node, false, &options),
        );
        let expected = syn(TO_LOCAL, client, (at.local, 80), false, &options);
        assert_eq!(met, (REDIRECT, expected), "to a task of the same host");
        let (client, remote) = ((at.client, 40000), (at.remote, 80));
        let frame = syn(FROM_CLIENT, client, remote, false, &options);
        let met = World::new().run("task_ingress", &frame);
        let expected = syn(TUNNEL, client, remote, false, &options);
        assert_eq!(met, (REDIRECT, expected), "between two tasks");
    }
}
