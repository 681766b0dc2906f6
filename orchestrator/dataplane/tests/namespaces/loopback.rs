//! What sockets of a host see that name a published port by an address of their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use orch_core::network::Protocol;

use crate::cluster::{Cluster, PORT, PUBLISHED};
use crate::lab::{Lab, underlay_v6};
use crate::sockets::{Server, UdpServer, connect, connect_v6only, greeting, talk, udp_ask};

#[test]
fn a_socket_limited_to_ipv6_reaches_a_port_with_ipv6_behind_it() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    let _server = Server::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&task, host)
        .publish(Protocol::Tcp, &[&task])
        .apply();

    let own = underlay_v6(1);
    for address in [Ipv6Addr::LOCALHOST.into(), own] {
        let stream = connect_v6only(&host.namespace, address, PUBLISHED).unwrap();
        assert_eq!(greeting(&stream), format!("task {own}"), "to {address}");
        let target = SocketAddr::new(address, PUBLISHED);
        assert_eq!(stream.peer_addr().unwrap(), target);
        talk(&stream, "hello");
    }
}

#[test]
fn a_socket_of_both_families_reaches_the_port_by_a_mapped_address() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    let _server = Server::start(&task.namespace, "task", PORT);
    let _datagrams = UdpServer::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&task, host)
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();

    let mapped = IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let target = SocketAddr::new(mapped, PUBLISHED);
    let stream = connect(&host.namespace, mapped, PUBLISHED).unwrap();
    assert_eq!(greeting(&stream), format!("task {}", host.address));
    assert_eq!(stream.peer_addr().unwrap(), target);
    for connected in [true, false] {
        let answer = udp_ask(&host.namespace, mapped, PUBLISHED, connected).unwrap();
        assert_eq!(answer, format!("task {}", host.address));
    }
}
