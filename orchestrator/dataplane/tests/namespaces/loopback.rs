//! What sockets of a host see that name a published port by an address of their own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn6, connect, setsockopt, socket, sockopt,
};
use orch_core::network::{Family, Protocol};

use crate::cluster::{Cluster, PORT, PUBLISHED};
use crate::lab::{Lab, underlay_v6};
use crate::sockets::{self, Server, UdpServer, greeting, talk, udp_ask};

const PATIENCE: Duration = Duration::from_secs(5);
const LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Connects a socket that takes no IPv4, not even mapped.
fn connect_v6_only(address: IpAddr) -> io::Result<TcpStream> {
    let IpAddr::V6(address) = address else {
        unreachable!()
    };
    let (family, kind) = (AddressFamily::Inet6, SockType::Stream);
    let fd: OwnedFd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    let target = SockaddrIn6::from(SocketAddrV6::new(address, PUBLISHED, 0, 0));
    connect(fd.as_raw_fd(), &target)?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

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
    for address in [LOOPBACK, own] {
        let stream = host.namespace.run(|| connect_v6_only(address)).unwrap();
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
    let stream = sockets::connect(&host.namespace, mapped, PUBLISHED).unwrap();
    assert_eq!(greeting(&stream), format!("task {}", host.address));
    assert_eq!(stream.peer_addr().unwrap(), target);
    for connected in [true, false] {
        let answer = udp_ask(&host.namespace, mapped, PUBLISHED, connected).unwrap();
        assert_eq!(answer, format!("task {}", host.address));
    }
}

#[test]
fn a_port_with_ipv4_only_behind_it_is_reached_by_connections_to_the_ipv6_loopback() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    let _server = Server::start(&task.namespace, "task", PORT);
    let _datagrams = UdpServer::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&task, host)
        .publish_for(Family::V4, Protocol::Tcp, &[&task])
        .publish_for(Family::V4, Protocol::Udp, &[&task])
        .apply();

    let target = SocketAddr::new(LOOPBACK, PUBLISHED);
    let stream = sockets::connect(&host.namespace, LOOPBACK, PUBLISHED).unwrap();
    assert_eq!(greeting(&stream), format!("task {}", host.address));
    assert_eq!(stream.peer_addr().unwrap(), target);
    let answer = udp_ask(&host.namespace, LOOPBACK, PUBLISHED, true).unwrap();
    assert_eq!(answer, format!("task {}", host.address));
    // No mapped address for this one.
    let only = host.namespace.run(|| connect_v6_only(LOOPBACK));
    assert_eq!(only.unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
}
