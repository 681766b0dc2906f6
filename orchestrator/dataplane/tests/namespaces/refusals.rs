//! Datagrams to ports that nobody listens on: whoever asks is told so at once.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use orch_core::network::Protocol;

use crate::cluster::{Cluster, PORT, PUBLISHED, VIP};
use crate::lab::{Lab, Namespace, overlay, underlay};
use crate::sockets::{UdpServer, udp_ask};

fn assert_refused(namespace: &Namespace, address: IpAddr, port: u16) {
    let start = Instant::now();
    let refused = udp_ask(namespace, address, port, true).unwrap_err();
    let kind = refused.kind();
    assert_eq!(kind, ErrorKind::ConnectionRefused, "{address}:{port}");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{address}:{port}: {took:?}");
}

#[test]
fn a_task_learns_that_nobody_listens_outside_or_on_the_host() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    Cluster::new(&lab).endpoint(&task, host).apply();

    assert_refused(&task.namespace, underlay(100), PORT);
    assert_refused(&task.namespace, host.address, PORT);
    // The host's resolver, behind the gateway's address.
    assert_refused(&task.namespace, overlay(1), 53);

    let _outside = UdpServer::start(&lab.client, "outside", PORT);
    let answer = udp_ask(&task.namespace, underlay(100), PORT, true).unwrap();
    assert_eq!(answer, format!("outside {}", host.address));
}

#[test]
fn a_client_learns_that_no_backend_listens() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let client = one.container(2);
    let (near, far) = (one.container(3), two.container(4));
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, one)
        .endpoint(&near, one)
        .endpoint(&far, two);
    for backend in [&near, &far] {
        cluster
            .vip(&[backend])
            .publish(Protocol::Udp, &[backend])
            .apply();
        assert_refused(&client.namespace, overlay(VIP), PORT);
        for host in &lab.hosts {
            assert_refused(&lab.client, host.address, PUBLISHED);
            assert_refused(&host.namespace, Ipv4Addr::LOCALHOST.into(), PUBLISHED);
        }
        assert_refused(&client.namespace, one.address, PUBLISHED);
    }
}
