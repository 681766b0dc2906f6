//! IPv6 on every path, and tunnels over it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr};

use orch_core::network::Protocol;

use crate::cluster::{Cluster, PORT, PUBLISHED, VIP};
use crate::lab::{Container, Lab, TWIN_VNI, VNI, overlay, overlay_v6, underlay_v6};
use crate::sockets::{Server, UdpServer, connect, greeting, talk, udp_ask};

/// Servers at the published target port of a container, for as long as they are kept.
fn serve(container: &Container, name: &str) -> (Server, UdpServer) {
    (
        Server::start(&container.namespace, name, PORT),
        UdpServer::start(&container.namespace, name, PORT),
    )
}

/// That `client` gets through to `server` by TCP, UDP and echo, and is seen under its own address.
fn assert_reaches(client: &Container, server: IpAddr, port: u16, name: &str) {
    let own = if server.is_ipv4() {
        client.address
    } else {
        client.address_v6
    };
    let stream = connect(&client.namespace, server, port).unwrap();
    assert_eq!(greeting(&stream), format!("{name} {own}"), "{server}");
    talk(&stream, &"x".repeat(1 << 18));
    for connected in [true, false] {
        let answer = udp_ask(&client.namespace, server, port, connected).unwrap();
        assert_eq!(answer, format!("{name} {own}"), "{server}");
    }
    let ping = client.namespace.ping(&format!("-c 2 -i 0.1 -W 2 {server}"));
    assert!(ping.text.contains(" 0% packet loss"), "{}", ping.text);
}

/// That a packet of exactly `mtu` bytes gets through.
fn assert_full_packet(client: &Container, server: IpAddr, mtu: usize) {
    let headers = if server.is_ipv4() { 20 + 8 } else { 40 + 8 };
    let size = mtu - headers;
    let ping = client
        .namespace
        .ping(&format!("-c 1 -W 2 -M do -s {size} {server}"));
    assert!(ping.answered, "{mtu} bytes to {server}: {}", ping.text);
}

#[test]
fn tasks_reach_each_other_and_virtual_addresses() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, near, far) = (one.container(2), one.container(3), two.container(4));
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, one)
        .endpoint(&near, one)
        .endpoint(&far, two);
    for server in [&near, &far] {
        let _servers = serve(server, "server");
        cluster.vip(&[server]).apply();
        assert_reaches(&client, server.address_v6, PORT, "server");
        assert_full_packet(&client, server.address_v6, 1450);
        assert_reaches(&client, overlay_v6(VIP), PORT, "server");
        // A backend that asks its own service gets itself.
        let itself = connect(&server.namespace, overlay_v6(VIP), PORT).unwrap();
        assert!(greeting(&itself).starts_with("server "));
    }
    // The gateway is found by neighbour discovery, and is there.
    let gateway = overlay_v6(1);
    let ping = client.namespace.ping(&format!("-c 1 -W 2 {gateway}"));
    assert!(ping.answered, "{}", ping.text);
}

#[test]
fn a_virtual_address_without_backends_refuses() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let client = host.container(2);
    Cluster::new(&lab).endpoint(&client, host).vip(&[]).apply();
    let vip = overlay_v6(VIP);

    let ping = client.namespace.ping(&format!("-c 1 -W 2 {vip}"));
    assert!(!ping.answered, "{}", ping.text);
    assert!(ping.text.contains("Address unreachable"), "{}", ping.text);
    let refused = connect(&client.namespace, vip, PORT).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let refused = udp_ask(&client.namespace, vip, PORT, true).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn tasks_reach_the_outside_and_their_host() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    Cluster::new(&lab).endpoint(&task, host).apply();
    let _outside = Server::start(&lab.client, "outside", PORT);
    let _host = Server::start(&host.namespace, "host", PORT);

    let stream = connect(&task.namespace, underlay_v6(100), PORT).unwrap();
    assert_eq!(greeting(&stream), format!("outside {}", underlay_v6(1)));
    talk(&stream, &"x".repeat(1 << 18));
    let outside = underlay_v6(100);
    let ping = task.namespace.ping(&format!("-c 1 -W 2 {outside}"));
    assert!(ping.answered, "{}", ping.text);
    let stream = connect(&task.namespace, underlay_v6(1), PORT).unwrap();
    assert!(greeting(&stream).starts_with("host "));
}

/// What a published port must do for an outside client and for the hosts themselves.
fn assert_published(lab: &Lab) {
    let hosts: Vec<_> = (1..).map(underlay_v6).take(lab.hosts.len()).collect();
    for address in &hosts {
        let stream = connect(&lab.client, *address, PUBLISHED).unwrap();
        assert_eq!(greeting(&stream), format!("task {}", underlay_v6(100)));
        talk(&stream, &"x".repeat(1 << 18));
        let answer = udp_ask(&lab.client, *address, PUBLISHED, true).unwrap();
        assert_eq!(answer, format!("task {}", underlay_v6(100)));
    }
    for (host, own) in lab.hosts.iter().zip(&hosts) {
        for address in hosts.iter().copied().chain([Ipv6Addr::LOCALHOST.into()]) {
            let stream = connect(&host.namespace, address, PUBLISHED)
                .unwrap_or_else(|error| panic!("{own} to {address}: {error}"));
            assert_eq!(greeting(&stream), format!("task {own}"), "to {address}");
            talk(&stream, "hello");
        }
    }
}

#[test]
fn published_ports_serve_outside_clients_and_the_hosts() {
    let lab = Lab::new(2);
    let two = &lab.hosts[1];
    let task = two.container(2);
    let _servers = serve(&task, "task");
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&task, two)
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();

    assert_published(&lab);

    cluster.publish(Protocol::Tcp, &[]).apply();
    let refused = connect(&lab.client, underlay_v6(1), PUBLISHED).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn tunnels_run_between_hosts_that_have_ipv6_only() {
    let lab = Lab::over_ipv6(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let _servers = serve(&task, "task");
    Cluster::new(&lab)
        .endpoint(&client, one)
        .endpoint(&task, two)
        .vip(&[&task])
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();

    for (server, vip) in [
        (task.address, overlay(VIP)),
        (task.address_v6, overlay_v6(VIP)),
    ] {
        assert_reaches(&client, server, PORT, "task");
        assert_reaches(&client, vip, PORT, "task");
        assert_full_packet(&client, server, 1430);
    }
    assert_published(&lab);
}

#[test]
fn networks_with_the_same_ranges_do_not_meet() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let networks = [(VNI, "first"), (TWIN_VNI, "twin")];
    let clients = networks.map(|(vni, _)| one.container_on(vni, 2));
    let near = networks.map(|(vni, _)| one.container_on(vni, 3));
    let far = networks.map(|(vni, _)| two.container_on(vni, 4));
    let mut cluster = Cluster::new(&lab);
    for (tasks, host) in [(&clients, one), (&near, one), (&far, two)] {
        for task in tasks {
            cluster.endpoint(task, host);
        }
    }
    cluster.apply();
    for servers in [&near, &far] {
        let _servers: Vec<_> = servers
            .iter()
            .zip(networks)
            .map(|(server, (_, name))| serve(server, name))
            .collect();
        for ((client, server), (_, name)) in clients.iter().zip(servers).zip(networks) {
            assert_reaches(client, server.address, PORT, name);
            assert_reaches(client, server.address_v6, PORT, name);
        }
    }
}
