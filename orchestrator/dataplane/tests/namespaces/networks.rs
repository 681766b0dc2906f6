//! Containers on two networks, and networks without a way out.

use std::net::Ipv4Addr;

use orch_core::network::Protocol;

use crate::cluster::{Cluster, PORT, PUBLISHED, VIP};
use crate::lab::{Container, Host, Lab, SECOND_VNI, overlay, second, underlay};
use crate::sockets::{Server, UdpServer, connect, greeting, resolve, talk, udp_ask};

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Servers at the published target port of a container, for as long as they are kept.
fn serve(container: &Container) -> (Server, UdpServer) {
    (
        Server::start(&container.namespace, "task", PORT),
        UdpServer::start(&container.namespace, "task", PORT),
    )
}

/// What a published port must do for an outside client, whichever host it knocks at.
fn assert_published(lab: &Lab) {
    for host in &lab.hosts {
        let stream = connect(&lab.client, host.address, PUBLISHED).unwrap();
        assert_eq!(greeting(&stream), format!("task {}", underlay(100)));
        talk(&stream, &"x".repeat(1 << 16));
        let answer = udp_ask(&lab.client, host.address, PUBLISHED, true).unwrap();
        assert_eq!(answer, format!("task {}", underlay(100)));
    }
}

#[test]
fn a_container_on_two_networks_serves_and_asks_in_both() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (both, first, other) = (one.container(2), two.container(3), two.container(4));
    let (of_both, of_other) = (one.connect(&both, 2), two.connect(&other, 4));
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&both, one)
        .endpoint(&first, two)
        .endpoint(&other, two)
        .second_endpoint(of_both, one)
        .second_endpoint(of_other, two)
        .name("first", &[first.address])
        .name_in(SECOND_VNI, "other", &[of_other])
        .apply();
    let _servers = [serve(&both), serve(&first), serve(&other)];

    // Each peer is reached in the network that is shared with it, and sees the address there.
    for (peer, own) in [(first.address, both.address), (of_other, of_both)] {
        let stream = connect(&both.namespace, peer, PORT).unwrap();
        assert_eq!(greeting(&stream), format!("task {own}"));
        talk(&stream, &"x".repeat(1 << 16));
        let answer = udp_ask(&both.namespace, peer, PORT, true).unwrap();
        assert_eq!(answer, format!("task {own}"));
    }
    for (peer, of_peer, own) in [
        (&first, first.address, both.address),
        (&other, of_other, of_both),
    ] {
        let stream = connect(&peer.namespace, own, PORT).unwrap();
        assert_eq!(greeting(&stream), format!("task {of_peer}"));
    }
    // Names of both networks, whichever gateway is asked.
    for gateway in [overlay(1), second(1)] {
        let ask = |name| resolve(&both.namespace, gateway, name).unwrap();
        assert_eq!(ask("first"), (0, vec![Ipv4Addr::new(10, 0, 10, 3)]));
        assert_eq!(ask("other"), (0, vec![Ipv4Addr::new(10, 0, 11, 4)]));
    }
    // A published port leads to either address, also to that of the network that is not the
    // container's way out: the answer leaves through the other interface than the question came.
    // Not so for datagrams: the container's stack would answer from the way out's address.
    cluster.publish_second(Protocol::Tcp, of_both).apply();
    for host in &lab.hosts {
        let stream = connect(&lab.client, host.address, PUBLISHED).unwrap();
        assert_eq!(greeting(&stream), format!("task {}", underlay(100)));
        talk(&stream, &"x".repeat(1 << 16));
    }
    for protocol in PROTOCOLS {
        cluster.publish(protocol, &[&both]);
    }
    cluster.apply();
    assert_published(&lab);
}

#[test]
fn an_internal_network_has_no_way_out_but_is_served_and_serves() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let mut cluster = Cluster::new(&lab);
    cluster
        .internal()
        .endpoint(&client, one)
        .endpoint(&task, two)
        .vip(&[&task])
        .name("redis", &[overlay(VIP)]);
    for protocol in PROTOCOLS {
        cluster.publish(protocol, &[&task]);
    }
    cluster.apply();
    let _servers = serve(&task);
    let _outside = Server::start(&lab.client, "outside", PORT);
    let _host = Server::start(&one.namespace, "host", PORT);

    let name = resolve(&client.namespace, overlay(1), "redis").unwrap();
    assert_eq!(name, (0, vec![Ipv4Addr::new(10, 0, 10, VIP)]));
    let stream = connect(&client.namespace, overlay(VIP), PORT).unwrap();
    assert_eq!(greeting(&stream), format!("task {}", client.address));
    udp_ask(&client.namespace, overlay(VIP), PORT, true).unwrap();
    assert_published(&lab);

    for outside in [underlay(100), one.address, two.address] {
        let ping = client.namespace.ping(&format!("-c 1 -W 1 {outside}"));
        assert!(!ping.answered, "{outside}: {}", ping.text);
    }
    for outside in [underlay(100), one.address] {
        assert!(connect(&client.namespace, outside, PORT).is_err());
    }
    // The listener would ask outside, so the question is refused at once.
    let listener = resolve(&client.namespace, overlay(1), "secret.example");
    assert_eq!(
        listener.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn datagrams_reach_virtual_addresses_and_published_ports_from_everywhere() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let _server = UdpServer::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&client, one)
        .endpoint(&task, two)
        .vip(&[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();

    for connected in [true, false] {
        let answer = udp_ask(&client.namespace, overlay(VIP), PORT, connected).unwrap();
        assert_eq!(answer, format!("task {}", client.address));
        for Host { address, .. } in [one, two] {
            let answer = udp_ask(&client.namespace, *address, PUBLISHED, connected).unwrap();
            assert!(answer.starts_with("task "), "{address}: {answer}");
        }
        for address in [Ipv4Addr::LOCALHOST.into(), one.address, two.address] {
            let answer = udp_ask(&one.namespace, address, PUBLISHED, connected).unwrap();
            assert_eq!(answer, format!("task {}", one.address), "{address}");
        }
    }
}

#[test]
fn a_direct_connection_is_not_taken_for_one_through_the_virtual_address() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let client = one.container(2);
    for (host, last) in [(one, 3), (two, 4)] {
        let task = host.container(last);
        let _servers = serve(&task);
        Cluster::new(&lab)
            .endpoint(&client, one)
            .endpoint(&task, host)
            .vip(&[&task])
            .apply();
        let ask = |to| {
            client.namespace.run(|| {
                let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 40000)).unwrap();
                socket
                    .set_read_timeout(Some(std::time::Duration::from_secs(5)))
                    .unwrap();
                socket.send_to(b"?", (to, PORT)).unwrap();
                socket.recv_from(&mut [0; 64]).unwrap().1.ip()
            })
        };
        for to in [overlay(VIP), task.address, overlay(VIP)] {
            assert_eq!(ask(to), to);
        }
    }
}
