//! Published ports, from wherever clients may knock.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use orch_core::network::Protocol;

use crate::cluster::{Cluster, PORT, PUBLISHED};
use crate::lab::{Lab, underlay, underlay_v6};
use crate::sockets::{Server, UdpServer, connect, greeting, talk, udp_ask};

#[test]
fn a_published_port_shows_the_servers_their_clients_addresses() {
    let lab = Lab::new(3);
    let two = &lab.hosts[1];
    let task = two.container(2);
    let _server = Server::start(&task.namespace, "task", PORT);
    let _datagrams = UdpServer::start(&task.namespace, "task", PORT);
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&task, two)
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();

    for host in &lab.hosts {
        let stream = connect(&lab.client, host.address, PUBLISHED).unwrap();
        assert_eq!(greeting(&stream), format!("task {}", underlay(100)));
        talk(&stream, &"x".repeat(1 << 18));
        for connected in [true, false] {
            let answer = udp_ask(&lab.client, host.address, PUBLISHED, connected).unwrap();
            assert_eq!(answer, format!("task {}", underlay(100)));
        }
    }

    cluster.publish(Protocol::Tcp, &[]).apply();
    let refused = connect(&lab.client, two.address, PUBLISHED).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_published_port_is_reached_from_the_hosts_themselves() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let task = two.container(2);
    let _server = Server::start(&task.namespace, "task", PORT);
    let _datagrams = UdpServer::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&task, two)
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();

    let loopback = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ];
    for (host, other, last) in [(one, two, 1), (two, one, 2)] {
        for address in loopback.into_iter().chain([host.address, other.address]) {
            let own = if address.is_ipv4() {
                host.address
            } else {
                underlay_v6(last)
            };
            let stream = connect(&host.namespace, address, PUBLISHED)
                .unwrap_or_else(|error| panic!("{} to {address}: {error}", host.address));
            assert_eq!(greeting(&stream), format!("task {own}"), "to {address}");
            assert_eq!(stream.peer_addr().unwrap(), (address, PUBLISHED).into());
            talk(&stream, "hello");
            for connected in [true, false] {
                let answer = udp_ask(&host.namespace, address, PUBLISHED, connected)
                    .unwrap_or_else(|error| panic!("{} to {address}: {error}", host.address));
                assert_eq!(answer, format!("task {own}"), "to {address}");
            }
        }
    }
    // Ports that are not published are the hosts' own.
    let _own = Server::start(&one.namespace, "own", PORT);
    let stream = connect(&one.namespace, loopback[0], PORT).unwrap();
    assert_eq!(greeting(&stream), "own 127.0.0.1");
}

#[test]
fn a_task_reaches_published_ports_by_the_hosts_addresses() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let _server = Server::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&client, one)
        .endpoint(&task, two)
        .publish(Protocol::Tcp, &[&task])
        .apply();

    for host in [one, two] {
        let stream = connect(&client.namespace, host.address, PUBLISHED).unwrap();
        assert!(greeting(&stream).starts_with("task "));
    }
}
