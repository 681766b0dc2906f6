//! Starts, restarts, changes of the host, and what is left afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_links;
use orch_core::network::Protocol;
use orch_dataplane::{DataPlane, Purpose};

use crate::cluster::{Cluster, PORT, PUBLISHED, VIP};
use crate::lab::{Host, Lab, overlay};
use crate::sockets::{Server, connect, greeting, talk};

#[test]
fn a_restart_loses_no_packet_and_no_connection() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let _server = Server::start(&task.namespace, "task", PORT);
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, one)
        .endpoint(&task, two)
        .vip(&[&task])
        .publish(Protocol::Tcp, &[&task])
        .apply();
    let inside = connect(&client.namespace, overlay(VIP), PORT).unwrap();
    let outside = connect(&lab.client, one.address, PUBLISHED).unwrap();
    let local = connect(&one.namespace, Ipv4Addr::LOCALHOST.into(), PUBLISHED).unwrap();
    let streams = [inside, outside, local];
    for stream in &streams {
        assert!(greeting(stream).starts_with("task "));
    }

    let ping = client.namespace.clone();
    let target = task.address;
    let pings = thread::spawn(move || ping.ping(&format!("-c 1500 -i 0.002 -W 2 {target}")));
    for host in &lab.hosts {
        host.die();
        streams
            .iter()
            .for_each(|stream| talk(stream, "while no daemon runs"));
        let stream = connect(&client.namespace, overlay(VIP), PORT).unwrap();
        assert!(greeting(&stream).starts_with("task "));
        host.open();
        streams
            .iter()
            .for_each(|stream| talk(stream, "before it knows the desired state"));
        connect(&lab.client, one.address, PUBLISHED).unwrap();
    }
    let known = one.run(|_, plane| {
        plane
            .as_ref()
            .unwrap()
            .attachments()
            .cloned()
            .collect::<Vec<_>>()
    });
    assert_eq!(known, std::slice::from_ref(&client.attachment));
    cluster.apply();
    streams.iter().for_each(|stream| talk(stream, "afterwards"));
    connect(&client.namespace, overlay(VIP), PORT).unwrap();
    let ping = pings.join().unwrap();
    assert!(ping.text.contains(" 0% packet loss"), "{}", ping.text);
}

#[test]
fn a_container_that_vanished_does_not_hide_its_address() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let client = one.container(2);
    // As when the engine is killed: nobody detaches, the kernel takes the devices away.
    drop(one.container(3));
    let moved = two.container(3);
    let mut cluster = Cluster::new(&lab);
    cluster.endpoint(&client, one).endpoint(&moved, two);
    let reached = || {
        client
            .namespace
            .ping(&format!("-c 1 -W 1 {}", moved.address))
            .answered
    };
    // The kernel takes its time with a namespace.
    let deadline = Instant::now() + Duration::from_secs(20);
    while one.namespace.ip("-br link").matches("ov").count() > 1 {
        assert!(Instant::now() < deadline, "the pair stays");
        thread::yield_now();
    }

    cluster.apply();

    assert!(reached());
    let known = one.run(|_, plane| plane.as_ref().unwrap().attachments().count());
    assert_eq!(known, 1);
}

#[test]
fn a_refused_attachment_leaves_nothing() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    let before = host.namespace.ip("-br link");
    let mut clash = task.attachment.clone();
    // The same name of the device, but another endpoint.
    clash.endpoint_id.replace_range(20.., "0");
    let error = host.run(move |runtime, plane| {
        runtime
            .block_on(plane.as_mut().unwrap().attach(clash))
            .unwrap_err()
            .to_string()
    });
    assert!(error.contains("exists"), "{error}");
    assert_eq!(host.namespace.ip("-br link"), before);
}

#[test]
fn teardown_leaves_nothing() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    Cluster::new(&lab)
        .endpoint(&task, host)
        .publish(Protocol::Tcp, &[&task])
        .apply();
    let links = pinned_links(host);
    assert!(
        links.len() > 4,
        "programs of devices and of sockets: {links:?}"
    );

    host.run(|runtime, plane| runtime.block_on(plane.take().unwrap().teardown()).unwrap());

    let devices = host.namespace.ip("-br link");
    let names: Vec<_> = devices
        .lines()
        .filter_map(|line| line.split(['@', ' ']).next())
        .collect();
    assert_eq!(names, ["lo", "eth0"]);
    assert!(!host.bpf_dir.exists());
    let loaded: BTreeSet<u32> = loaded_links()
        .filter_map(|link| Some(link.ok()?.id()))
        .collect();
    assert!(links.is_disjoint(&loaded), "{links:?}");
    // A second start on the same host works, and so does sweeping without an instance.
    host.open();
    host.die();
    let bpf_dir = host.bpf_dir.clone();
    host.run(move |runtime, _| {
        runtime.block_on(DataPlane::sweep(&bpf_dir)).unwrap();
    });
    assert!(!host.bpf_dir.exists() && !host.namespace.ip("-br link").contains("orch"));
}

/// Kernel ids of all links that a host has pinned.
fn pinned_links(host: &Host) -> BTreeSet<u32> {
    let layouts = fs::read_dir(&host.bpf_dir).unwrap();
    let links =
        layouts.flat_map(|layout| fs::read_dir(layout.unwrap().path().join("links")).unwrap());
    links
        .map(|link| FdLink::from(PinnedLink::from_pin(link.unwrap().path()).unwrap()))
        .map(|link| link.info().unwrap().id())
        .collect()
}

#[test]
fn the_doctor_finds_this_host_fit() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let bpf_dir = host.bpf_dir.clone();
    let purpose = Purpose {
        vxlan_port: 4789,
        manager_port: Some(2377),
        bpf_dir: &bpf_dir,
        ranges: &["10.0.0.0/16".parse().unwrap()],
    };
    let checks = lab.client.run(|| orch_dataplane::doctor(&purpose));
    let failed: Vec<_> = checks.iter().filter(|check| check.failed()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    for name in ["kernel", "cgroup2", "VXLAN", "BPF program task_ingress"] {
        assert!(
            checks.iter().any(|check| check.name == name),
            "{name}: {checks:?}"
        );
    }
    let links = lab.client.ip("-br link");
    assert!(!links.contains("orch"), "probes leave nothing: {links}");
}

#[test]
fn another_layout_goes_on_until_its_successor_is_filled() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let _server = Server::start(&task.namespace, "task", PORT);
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, one)
        .endpoint(&task, two)
        .vip(&[&task])
        .apply();
    let try_vip = || connect(&client.namespace, overlay(VIP), PORT).unwrap();
    one.die();
    let layout = fs::read_dir(&one.bpf_dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let older = one.bpf_dir.join("v0");
    fs::rename(&layout, &older).unwrap();

    one.open();
    try_vip();
    assert!(older.exists());
    cluster.apply();
    try_vip();
    assert!(!older.exists());
}

#[test]
fn maps_that_cannot_be_used_are_replaced() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let mut cluster = Cluster::new(&lab);
    cluster.endpoint(&client, one).endpoint(&task, two).apply();
    one.die();
    let layout = fs::read_dir(&one.bpf_dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let peers = layout.join("maps/PEERS");
    fs::remove_file(&peers).unwrap();
    let other: HashMap<MapData, u32, u32> = HashMap::create(1, 0).unwrap();
    other.pin(&peers).unwrap();

    one.open();
    cluster.apply();

    let ping = client
        .namespace
        .ping(&format!("-c 1 -W 2 {}", task.address));
    assert!(ping.answered, "{}", ping.text);
}

#[test]
fn a_device_that_comes_later_serves_published_ports_too() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let task = host.container(2);
    let _server = Server::start(&task.namespace, "task", PORT);
    Cluster::new(&lab)
        .endpoint(&task, host)
        .publish(Protocol::Tcp, &[&task])
        .apply();
    let namespace = host.namespace.name();
    lab.client.ip(&format!(
        "link add eth1 type veth peer name eth1 netns {namespace}"
    ));
    for (namespace, last) in [(&lab.client, 2), (&host.namespace, 1)] {
        namespace.ip(&format!("addr add 10.232.0.{last}/24 dev eth1"));
        namespace.ip("link set eth1 up");
    }

    // The address is the last of several changes, which come one by one.
    let address = IpAddr::from([10, 232, 0, 1]);
    let stream = (0..10).find_map(|_| {
        host.run(|runtime, plane| {
            let plane = plane.as_mut().unwrap();
            runtime.block_on(async {
                let patience = Duration::from_secs(5);
                tokio::time::timeout(patience, plane.changed())
                    .await
                    .unwrap();
                plane.refresh().await.unwrap();
            });
        });
        connect(&lab.client, address, PUBLISHED).ok()
    });

    assert_eq!(greeting(&stream.unwrap()), "task 10.232.0.2");
}
