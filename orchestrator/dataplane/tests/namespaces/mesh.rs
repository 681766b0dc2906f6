//! Conversations that come in through one host and are served on another.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};

use orch_core::network::Protocol;
use orch_dataplane::{DropReason, FlowDecision, FlowEntry, FlowExit, FlowOrigin};

use crate::cluster::{Cluster, PORT, PUBLISHED};
use crate::lab::{Container, Host, Lab, underlay};
use crate::sockets::{PATIENCE, Server, UdpServer, connect, connect_from, greeting, talk, udp_ask};

fn servers(tasks: &[&Container]) -> Vec<(Server, UdpServer)> {
    let start = |task: &&Container| {
        let name = task.address.to_string();
        let tcp = Server::start(&task.namespace, &name, PORT);
        (tcp, UdpServer::start(&task.namespace, &name, PORT))
    };
    tasks.iter().map(start).collect()
}

fn flows(host: &Host, origin: FlowOrigin) -> Vec<FlowEntry> {
    let entries = host.run(|_, plane| {
        let tables = plane.as_ref().unwrap().flow_tables().unwrap();
        tables.entries().unwrap()
    });
    let wanted = entries.into_iter().filter(|entry| entry.origin == origin);
    wanted.collect()
}

#[test]
fn one_client_port_through_two_hosts_to_one_task() {
    let lab = Lab::new(3);
    let [one, two, three] = &lab.hosts[..] else {
        unreachable!()
    };
    let task = three.container(2);
    let _servers = servers(&[&task]);
    Cluster::new(&lab)
        .endpoint(&task, three)
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();

    let streams = [one, two].map(|host| {
        let stream = connect_from(&lab.client, 40123, host.address, PUBLISHED).unwrap();
        let expected = format!("{} {}", task.address, underlay(100));
        assert_eq!(greeting(&stream), expected, "through {}", host.address);
        stream
    });
    for round in 0..3 {
        for stream in &streams {
            talk(stream, &format!("round {round}"));
        }
    }

    let socket = lab.client.run(|| UdpSocket::bind("0.0.0.0:40124")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for host in [one, two, one, two] {
        let target = (host.address, PUBLISHED).into();
        socket.send_to(b"?", target).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 64]).unwrap();
        assert_eq!(
            from, target,
            "the answer comes through the host that was asked"
        );
    }
    let drops = three.run(|_, plane| plane.as_ref().unwrap().drops().unwrap());
    assert_eq!(drops[&DropReason::IngressCollision], 0);
}

#[test]
fn a_connection_goes_on_when_its_address_moves_to_another_host() {
    let lab = Lab::new(3);
    let [one, two, three] = &lab.hosts[..] else {
        unreachable!()
    };
    let tasks = [three.container(2), three.container(3), three.container(4)];
    let _servers = servers(&tasks.each_ref());
    let mut cluster = Cluster::new(&lab);
    for task in &tasks {
        cluster.endpoint(task, three);
    }
    cluster.publish(Protocol::Tcp, &tasks.each_ref()).apply();
    let floating = underlay(50);
    let give = |host: &Host| {
        host.namespace
            .ip(&format!("addr add {floating}/24 dev eth0"));
        host.refresh();
        lab.client.ip("neigh flush dev eth0");
    };
    give(one);
    let streams: Vec<_> = (0..8)
        .map(|_| connect(&lab.client, floating, PUBLISHED).unwrap())
        .collect();
    for stream in &streams {
        greeting(stream);
        talk(stream, "before");
    }

    one.namespace
        .ip(&format!("addr del {floating}/24 dev eth0"));
    one.refresh();
    give(two);

    for stream in &streams {
        talk(stream, "after");
    }
    assert_eq!(flows(two, FlowOrigin::Published).len(), streams.len());
}

#[test]
fn a_client_with_affinity_meets_one_backend_through_any_host() {
    let lab = Lab::new(3);
    let tasks: Vec<_> = (2..)
        .zip(&lab.hosts)
        .map(|(n, host)| host.container(n))
        .collect();
    let tasks: Vec<&Container> = tasks.iter().collect();
    let _servers = servers(&tasks);
    let mut cluster = Cluster::new(&lab);
    for (task, host) in tasks.iter().zip(&lab.hosts) {
        cluster.endpoint(task, host);
    }
    cluster
        .publish(Protocol::Tcp, &tasks)
        .publish(Protocol::Udp, &tasks);
    let met = || -> BTreeSet<String> {
        let hosts = lab.hosts.iter().cycle().take(12);
        hosts
            .map(|host| greeting(&connect(&lab.client, host.address, PUBLISHED).unwrap()))
            .collect()
    };
    cluster.apply();
    assert!(met().len() > 1, "without affinity ports spread");

    cluster.each_pool(|pool| pool.affinity = Some(300)).apply();
    assert_eq!(met().len(), 1);
}

#[test]
fn direct_return_goes_past_the_ingress_host() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let task = two.container(2);
    let _servers = servers(&[&task]);
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&task, two)
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .each_pool(|pool| {
            pool.direct_return = true;
            pool.service = "web".into();
        })
        .apply();

    let expected = format!("{} {}", task.address, underlay(100));
    let stream = connect(&lab.client, one.address, PUBLISHED).unwrap();
    assert_eq!(greeting(&stream), expected);
    talk(&stream, &"x".repeat(1 << 18));
    assert_eq!(
        udp_ask(&lab.client, one.address, PUBLISHED, true).unwrap(),
        expected
    );

    let forward = flows(one, FlowOrigin::Published);
    assert!(
        forward
            .iter()
            .all(|flow| flow.packets > 0 && flow.direct_return)
    );
    assert_eq!(forward.len(), 2);
    let back = flows(one, FlowOrigin::Reply);
    assert!(back.iter().all(|flow| flow.packets == 0), "{back:?}");
    let back = flows(two, FlowOrigin::Reply);
    assert!(
        back.iter()
            .all(|flow| matches!(flow.exit, FlowExit::Uplink(_))),
        "{back:?}"
    );

    // A host of the cluster is answered as it came, and so is a task.
    for namespace in [&one.namespace, &two.namespace, &one.container(3).namespace] {
        let stream = connect(namespace, one.address, PUBLISHED).unwrap();
        greeting(&stream);
        talk(&stream, "hello");
    }
    let counted = one.run(|_, plane| plane.as_ref().unwrap().service_counters().unwrap());
    assert_eq!(counted["web"].flows, 5);
    let live = one.run(|_, plane| {
        let tables = plane.as_ref().unwrap().flow_tables().unwrap();
        tables.live_per_backend().unwrap()
    });
    assert!(live[&(crate::lab::VNI, task.address)] >= 2, "{live:?}");
}

#[test]
fn events_name_the_service_and_the_backend() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    let _servers = servers(&[&task]);
    Cluster::new(&lab)
        .endpoint(&task, host)
        .publish(Protocol::Tcp, &[&task])
        .each_pool(|pool| pool.service = "web".into())
        .apply();
    let mut events = host.run(|runtime, plane| {
        let _runtime = runtime.enter();
        let plane = plane.as_mut().unwrap();
        plane.tell_events(true).unwrap();
        plane.flow_events().unwrap()
    });

    let stream = connect(&lab.client, host.address, PUBLISHED).unwrap();
    greeting(&stream);

    // The kernels of this lab say things of their own, which may be dropped and told of as well.
    let opened = async move {
        loop {
            let event = events.next().await.unwrap();
            if event.decision == FlowDecision::Opened {
                return event;
            }
        }
    };
    let event = host.run(move |runtime, _| {
        runtime.block_on(async { tokio::time::timeout(PATIENCE, opened).await })
    });
    let event = event.expect("an event of the opening comes");
    assert_eq!(event.service.as_deref(), Some("web"));
    assert_eq!(event.source.ip(), underlay(100));
    assert_eq!(event.destination, (host.address, PUBLISHED).into());
    assert_eq!(event.backend, Some((task.address, PORT).into()));
}

/// Connects, and says whether anybody was there.
fn reached(lab: &Lab, address: IpAddr) -> bool {
    connect(&lab.client, address, PUBLISHED).is_ok()
}

#[test]
fn a_port_of_the_loopback_address_is_reached_from_the_host_alone() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    let _servers = servers(&[&task]);
    let mut cluster = Cluster::new(&lab);
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    cluster
        .endpoint(&task, host)
        .publish_at(loopback, &[&task])
        .apply();

    let stream = connect(&host.namespace, loopback, PUBLISHED).unwrap();
    assert!(greeting(&stream).starts_with(&task.address.to_string()));
    assert!(connect(&host.namespace, host.address, PUBLISHED).is_err());
    assert!(!reached(&lab, host.address));

    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&task, host)
        .publish_at(host.address, &[&task])
        .apply();
    assert!(reached(&lab, host.address));
    assert!(connect(&host.namespace, host.address, PUBLISHED).is_ok());
    assert!(connect(&host.namespace, loopback, PUBLISHED).is_err());
}
