//! IPv6 clients of tasks that have IPv4 addresses only.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use orch_core::network::Protocol;

use crate::cluster::{Cluster, PORT, PUBLISHED};
use crate::lab::{Lab, Namespace, underlay_v6};
use crate::sockets::{
    PATIENCE, Server, UdpServer, connect, connect_v6only, greeting, talk, udp_ask,
};

#[test]
fn a_client_outside_is_led_to_them_through_every_host() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (near, far) = (one.container(2), two.container(3));
    let mut cluster = Cluster::new(&lab);
    cluster.endpoint(&near, one).endpoint(&far, two);
    for task in [&near, &far] {
        let server = Server::start(&task.namespace, "task", PORT);
        let datagrams = UdpServer::start(&task.namespace, "task", PORT);
        cluster
            .publish_v4(Protocol::Tcp, &[task])
            .publish_v4(Protocol::Udp, &[task])
            .apply();
        for (host, last) in [(one, 1), (two, 2)] {
            let address = underlay_v6(last);
            let stream = connect(&lab.client, address, PUBLISHED).unwrap();
            // The client has no address that the task could answer to.
            assert_eq!(greeting(&stream), format!("task {}", host.address));
            assert_eq!(stream.peer_addr().unwrap(), (address, PUBLISHED).into());
            // More than one segment at a time in both directions.
            talk(&stream, &"x".repeat(1 << 18));
            for connected in [true, false] {
                let answer = udp_ask(&lab.client, address, PUBLISHED, connected).unwrap();
                assert_eq!(answer, format!("task {}", host.address));
            }
        }
        drop((server, datagrams));
        // The task itself refuses now.
        for last in [1, 2] {
            let refused = connect(&lab.client, underlay_v6(last), PUBLISHED).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let refused = udp_ask(&lab.client, underlay_v6(last), PUBLISHED, true).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
    }
}

#[test]
fn the_hosts_and_their_tasks_reach_them_by_ipv6() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let _server = Server::start(&task.namespace, "task", PORT);
    let _datagrams = UdpServer::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&client, one)
        .endpoint(&task, two)
        .publish_v4(Protocol::Tcp, &[&task])
        .publish_v4(Protocol::Udp, &[&task])
        .apply();

    let loopback = IpAddr::from(Ipv6Addr::LOCALHOST);
    for (host, last) in [(one, 1), (two, 2)] {
        let seen = format!("task {}", host.address);
        for address in [loopback, underlay_v6(last)] {
            let stream = connect_v6only(&host.namespace, address, PUBLISHED).unwrap();
            assert_eq!(greeting(&stream), seen, "{address}");
            assert_eq!(stream.peer_addr().unwrap(), (address, PUBLISHED).into());
            talk(&stream, &"x".repeat(1 << 18));
            for connected in [true, false] {
                let answer = udp_ask(&host.namespace, address, PUBLISHED, connected).unwrap();
                assert_eq!(answer, seen, "{address}");
            }
        }
    }
    for (host, last) in [(one, 1), (two, 2)] {
        let stream = connect(&client.namespace, underlay_v6(last), PUBLISHED).unwrap();
        assert_eq!(greeting(&stream), format!("task {}", host.address));
        talk(&stream, &"x".repeat(1 << 18));
    }
}

#[test]
fn a_task_in_a_second_network_is_reached_there() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let task = two.container(2);
    let _server = Server::start(&task.namespace, "task", PORT);
    let second = two.connect(&task, 2);
    Cluster::new(&lab)
        .endpoint(&task, two)
        .second_endpoint(second, two)
        .publish_second(Protocol::Tcp, second)
        .apply();
    for (from, address) in [
        (&one.namespace, Ipv6Addr::LOCALHOST.into()),
        (&lab.client, underlay_v6(1)),
    ] {
        let stream = connect(from, address, PUBLISHED).unwrap();
        assert_eq!(greeting(&stream), format!("task {}", one.address));
    }
}

/// The length of one datagram of those that are sent at once.
const SEGMENT: usize = 1000;
/// Datagrams that are sent at once.
const SEGMENTS: usize = 8;

/// A UDP socket whose kernel cuts what is written into datagrams as late as it can.
fn segmenting(namespace: &Namespace, port: u16) -> UdpSocket {
    let bind = || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port));
    let socket = namespace.run(bind).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = i32::try_from(SEGMENT).unwrap();
    setsockopt(&socket, UdpGsoSegment, &length).unwrap();
    socket
}

/// Reads datagrams that were sent at once.
fn assert_segments(socket: &UdpSocket, sent: &[u8]) {
    let mut buffer = [0; 2 * SEGMENT];
    for wanted in sent.chunks(SEGMENT) {
        let length = socket.recv(&mut buffer).expect("a datagram comes");
        assert!(buffer[..length] == *wanted, "{length} bytes");
    }
}

#[test]
fn datagrams_that_are_cut_late_change_their_family_too() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(SEGMENTS * SEGMENT).collect();
    let (near, far) = (one.container(2), two.container(3));
    let mut cluster = Cluster::new(&lab);
    cluster.endpoint(&near, one).endpoint(&far, two);
    for task in [&near, &far] {
        let server = segmenting(&task.namespace, PORT);
        cluster.publish_v4(Protocol::Udp, &[task]).apply();
        for (namespace, last) in [
            (&lab.client, 1),
            (&lab.client, 2),
            (&one.namespace, 1),
            (&one.namespace, 2),
        ] {
            let client = segmenting(namespace, 0);
            client.connect((underlay_v6(last), PUBLISHED)).unwrap();
            client.send(&sent).unwrap();
            let (_, seen) = server.peek_from(&mut [0]).expect("a datagram comes");
            assert_segments(&server, &sent);
            server.send_to(&sent, seen).unwrap();
            assert_segments(&client, &sent);
        }
    }
}
