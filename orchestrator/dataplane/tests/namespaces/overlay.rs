//! Tasks, virtual addresses, names and the way out.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use orch_dataplane::DropReason;

use crate::cluster::{Cluster, PORT, VIP};
use crate::lab::{Lab, VNI, VXLAN_PORT, overlay, underlay};
use crate::sockets::{Server, UdpServer, connect, greeting, resolve, talk, udp_ask};

#[test]
fn tasks_reach_each_other_on_the_same_host_and_across_hosts() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, near, far) = (one.container(2), one.container(3), two.container(4));
    Cluster::new(&lab)
        .endpoint(&client, one)
        .endpoint(&near, one)
        .endpoint(&far, two)
        .apply();

    for server in [&near, &far] {
        let _tcp = Server::start(&server.namespace, "server", PORT);
        let _udp = UdpServer::start(&server.namespace, "server", PORT);
        let ping = client
            .namespace
            .ping(&format!("-c 3 -i 0.1 -W 2 {}", server.address));
        assert!(ping.text.contains(" 0% packet loss"), "{}", ping.text);
        let full = client
            .namespace
            .ping(&format!("-c 1 -W 2 -M do -s 1422 {}", server.address));
        assert!(
            full.answered,
            "a packet of exactly the MTU must pass: {}",
            full.text
        );

        let stream = connect(&client.namespace, server.address, PORT).unwrap();
        assert_eq!(greeting(&stream), format!("server {}", client.address));
        talk(&stream, &"x".repeat(1 << 20));
        let answer = udp_ask(&client.namespace, server.address, PORT, true).unwrap();
        assert_eq!(answer, format!("server {}", client.address));
    }
}

#[test]
fn a_task_cannot_use_the_address_of_another() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let (liar, victim) = (host.container(2), host.container(3));
    Cluster::new(&lab)
        .endpoint(&liar, host)
        .endpoint(&victim, host)
        .apply();
    liar.namespace.ip("addr add 10.0.10.9/24 dev eth0");

    assert!(
        liar.namespace
            .ping(&format!("-c 1 -W 2 {}", victim.address))
            .answered
    );
    let lie = liar
        .namespace
        .ping(&format!("-c 1 -W 1 -I 10.0.10.9 {}", victim.address));
    assert!(!lie.answered, "{}", lie.text);
    let drops = host.run(|_, plane| plane.as_ref().unwrap().drops().unwrap());
    assert!(drops[&DropReason::SpoofedSource] > 0, "{drops:?}");
}

#[test]
fn tunnel_packets_from_outside_the_cluster_are_dropped() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    Cluster::new(&lab).endpoint(&task, host).apply();
    let (intruder, remote) = (underlay(100), host.address);
    lab.client.ip(&format!(
        "link add vx0 type vxlan id {VNI} dstport {VXLAN_PORT} local {intruder} remote {remote}"
    ));
    lab.client.ip("addr add 10.0.10.66/24 dev vx0");
    lab.client.ip("link set vx0 up");
    let anyone = format!(
        "neigh add {} lladdr ff:ff:ff:ff:ff:ff dev vx0",
        task.address
    );
    lab.client.ip(&anyone);

    assert!(
        !lab.client
            .ping(&format!("-c 2 -i 0.1 -W 1 {}", task.address))
            .answered
    );
    let drops = host.run(|_, plane| plane.as_ref().unwrap().drops().unwrap());
    assert!(drops[&DropReason::UnknownPeer] > 0, "{drops:?}");
}

#[test]
fn a_vip_spreads_connections_over_its_backends() {
    let lab = Lab::new(3);
    let [one, two, three] = &lab.hosts[..] else {
        unreachable!()
    };
    let client = one.container(2);
    let backends = [one.container(3), two.container(4), three.container(5)];
    let _servers: Vec<_> = backends
        .iter()
        .map(|task| Server::start(&task.namespace, &task.address.to_string(), PORT))
        .collect();
    let _datagrams: Vec<_> = backends
        .iter()
        .map(|task| UdpServer::start(&task.namespace, &task.address.to_string(), PORT))
        .collect();
    let mut cluster = Cluster::new(&lab);
    cluster.endpoint(&client, one);
    for (task, host) in backends.iter().zip(&lab.hosts) {
        cluster.endpoint(task, host);
    }
    cluster.vip(&backends.each_ref()).apply();

    let mut served = BTreeSet::new();
    for _ in 0..60 {
        let stream = connect(&client.namespace, overlay(VIP), PORT).unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), overlay(VIP));
        let greeting = greeting(&stream);
        let (name, peer) = greeting.split_once(' ').unwrap();
        assert_eq!(peer, client.address.to_string());
        talk(&stream, "ping");
        served.insert(name.to_owned());
    }
    assert_eq!(
        served.len(),
        3,
        "each of the backends must get some of 60 connections"
    );
    let answer = udp_ask(&client.namespace, overlay(VIP), PORT, true).unwrap();
    assert!(
        answer.ends_with(&format!(" {}", client.address)),
        "{answer}"
    );
    // A backend reaches its own service too, whichever task answers.
    for _ in 0..20 {
        let stream = connect(&backends[0].namespace, overlay(VIP), PORT).unwrap();
        assert!(!greeting(&stream).is_empty());
    }
}

#[test]
fn a_backend_that_leaves_gets_no_new_connections_and_keeps_its_old_ones() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let client = one.container(2);
    let (leaving, staying) = (two.container(3), two.container(4));
    let _servers = [("leaving", &leaving), ("staying", &staying)]
        .map(|(name, task)| Server::start(&task.namespace, name, PORT));
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, one)
        .endpoint(&leaving, two)
        .endpoint(&staying, two);
    cluster.vip(&[&leaving]).apply();
    let old = connect(&client.namespace, overlay(VIP), PORT).unwrap();
    assert!(greeting(&old).starts_with("leaving "));

    cluster.vip(&[&staying]).apply();

    for _ in 0..20 {
        let new = connect(&client.namespace, overlay(VIP), PORT).unwrap();
        assert!(greeting(&new).starts_with("staying "));
    }
    talk(&old, "still here");
}

#[test]
fn a_vip_answers_ping_exactly_while_a_backend_is_there() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, backend) = (one.container(2), two.container(3));
    let _server = Server::start(&backend.namespace, "backend", PORT);
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, one)
        .endpoint(&backend, two)
        .vip(&[&backend])
        .apply();

    let ping = client
        .namespace
        .ping(&format!("-c 3 -i 0.1 -W 2 {}", overlay(VIP)));
    assert!(ping.text.contains(" 0% packet loss"), "{}", ping.text);
    connect(&client.namespace, overlay(VIP), PORT).unwrap();

    cluster.vip(&[]).apply();
    let ping = client
        .namespace
        .ping(&format!("-c 2 -i 0.1 -W 2 {}", overlay(VIP)));
    assert!(
        !ping.answered && ping.text.contains("Host Unreachable"),
        "{}",
        ping.text
    );
    let start = Instant::now();
    let refused = connect(&client.namespace, overlay(VIP), PORT).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let refused = udp_ask(&client.namespace, overlay(VIP), PORT, true).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "refusals come at once"
    );

    cluster.vip(&[&backend]).apply();
    assert!(
        client
            .namespace
            .ping(&format!("-c 1 -W 2 {}", overlay(VIP)))
            .answered
    );
    connect(&client.namespace, overlay(VIP), PORT).unwrap();
}

#[test]
fn names_are_answered_in_the_kernel() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    Cluster::new(&lab)
        .endpoint(&task, host)
        .name("redis", &[overlay(VIP)])
        .name("tasks.redis", &[overlay(5), overlay(6), overlay(7)])
        .name("idle", &[])
        .apply();

    let ask = |name| resolve(&task.namespace, overlay(1), name).unwrap();
    assert_eq!(ask("redis"), (0, vec![Ipv4Addr::new(10, 0, 10, VIP)]));
    assert_eq!(ask("REDIS"), (0, vec![Ipv4Addr::new(10, 0, 10, VIP)]));
    let (_, mut tasks) = ask("tasks.redis");
    tasks.sort();
    assert_eq!(tasks, [5, 6, 7].map(|last| Ipv4Addr::new(10, 0, 10, last)));
    assert_eq!(ask("idle"), (0, vec![]));
}

#[test]
fn tasks_reach_the_outside_and_the_host() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    Cluster::new(&lab).endpoint(&task, host).apply();
    let _outside = Server::start(&lab.client, "outside", PORT);

    let stream = connect(&task.namespace, underlay(100), PORT).unwrap();
    assert_eq!(greeting(&stream), format!("outside {}", host.address));
    talk(&stream, &"x".repeat(1 << 18));
    let ping = task.namespace.ping(&format!("-c 1 -W 2 {}", underlay(100)));
    assert!(ping.answered, "{}", ping.text);
}
