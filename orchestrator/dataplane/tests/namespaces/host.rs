//! Processes of a host that speak to tasks by the addresses of their network.

use std::net::IpAddr;

use crate::cluster::{Cluster, PORT, VIP};
use crate::lab::{Container, Host, Lab, overlay, overlay_v6, underlay_v6};
use crate::sockets::{Server, UdpServer, connect, greeting, talk, udp_ask};

/// The address that a host is seen under.
fn own(host: &Host, last: u8, of: IpAddr) -> IpAddr {
    if of.is_ipv4() {
        host.address
    } else {
        underlay_v6(last)
    }
}

/// That `host`, the first of its lab, gets through to `server` by TCP, UDP and echo in packets of
/// every size, and is seen under its own address.
fn assert_reaches(host: &Host, server: IpAddr) {
    let own = own(host, 1, server);
    let stream = connect(&host.namespace, server, PORT).unwrap();
    assert_eq!(greeting(&stream), format!("task {own}"), "{server}");
    talk(&stream, &"x".repeat(1 << 18));
    for connected in [true, false] {
        let answer = udp_ask(&host.namespace, server, PORT, connected).unwrap();
        assert_eq!(answer, format!("task {own}"), "{server}");
    }
    let headers = if server.is_ipv4() { 20 + 8 } else { 40 + 8 };
    for size in [8, 1450 - headers, 4000] {
        let ping = host
            .namespace
            .ping(&format!("-c 1 -W 2 -s {size} {server}"));
        assert!(ping.answered, "{size} bytes to {server}: {}", ping.text);
    }
}

fn addresses(task: &Container) -> [IpAddr; 4] {
    [task.address, task.address_v6, overlay(VIP), overlay_v6(VIP)]
}

#[test]
fn a_host_reaches_tasks_and_virtual_addresses() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    for (host, last) in [(one, 2), (two, 3)] {
        let task = host.container(last);
        let _servers = (
            Server::start(&task.namespace, "task", PORT),
            UdpServer::start(&task.namespace, "task", PORT),
        );
        Cluster::new(&lab)
            .endpoint(&task, host)
            .vip(&[&task])
            .apply();
        for address in addresses(&task) {
            assert_reaches(one, address);
        }
    }
}

#[test]
fn routes_come_and_go_with_the_networks_and_hide_none_of_the_host_s() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let through = |device: &str| -> Vec<String> {
        let routes = host.namespace.ip("route show table main");
        let lines = routes.lines().filter(|line| line.contains(device));
        lines
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    host.namespace.ip("route add 10.0.11.0/24 dev lo");
    Cluster::new(&lab).apply();
    assert!(through("dev orch0").contains(&"10.0.10.0/24".to_owned()));
    assert!(!through("dev orch0").contains(&"10.0.11.0/24".to_owned()));

    host.namespace.ip("route del 10.0.11.0/24 dev lo");
    host.refresh();
    assert!(through("dev orch0").contains(&"10.0.11.0/24".to_owned()));

    host.apply(&orch_core::network::DesiredNetwork::default());
    assert_eq!(through("dev orch0"), ["169.254.42.0/24"]);
}

#[test]
fn a_task_has_no_way_into_another_network_by_its_host() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let (client, other) = (host.container(2), host.container(3));
    let address = host.connect(&other, 3);
    Cluster::new(&lab)
        .endpoint(&client, host)
        .endpoint(&other, host)
        .second_endpoint(address, host)
        .apply();
    let asked = host.namespace.ping(&format!("-c 1 -W 2 {address}"));
    assert!(asked.answered, "the host does: {}", asked.text);
    let asked = client.namespace.ping(&format!("-c 1 -W 2 {address}"));
    assert!(!asked.answered, "{}", asked.text);
    assert!(asked.text.contains("Net Unreachable"), "{}", asked.text);
}
