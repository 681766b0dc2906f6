//! Entries of the maps that somebody else deletes, alters or adds.

use aya::maps::{HashMap, Map, MapData};
use orch_core::network::Protocol;
use orch_ebpf_common::{Address, Endpoint, EndpointKey, Vni};

use crate::cluster::{Cluster, PORT, PUBLISHED, VIP};
use crate::lab::{Host, Lab, overlay};
use crate::sockets::{Server, connect, greeting};

/// A map of a host, opened by its pin as any other program could.
fn foreign<K: aya::Pod, V: aya::Pod>(host: &Host, name: &str) -> HashMap<MapData, K, V> {
    let pins = std::fs::read_dir(&host.bpf_dir).unwrap();
    let layout = pins.map(|entry| entry.unwrap().path()).next().unwrap();
    let map = MapData::from_pin(layout.join("maps").join(name)).unwrap();
    HashMap::try_from(Map::HashMap(map)).unwrap()
}

/// Maps, kinds and keys of what a host's data plane finds, in any order.
fn differences(host: &Host, heal: bool) -> Vec<(&'static str, &'static str, String)> {
    let inspection = host.run(move |_, plane| plane.as_mut().unwrap().inspect(heal).unwrap());
    let found = inspection.differences.into_iter();
    found
        .map(|found| (found.map, found.kind(), found.key))
        .collect()
}

#[test]
fn what_somebody_else_changed_is_found_and_put_right() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let (client, task) = (host.container(2), host.container(3));
    let _server = Server::start(&task.namespace, "task", PORT);
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, host)
        .endpoint(&task, host)
        .vip(&[&task])
        .publish(Protocol::Tcp, &[&task])
        .apply();
    let works = || {
        [
            connect(&client.namespace, overlay(VIP), PORT),
            connect(&lab.client, host.address, PUBLISHED),
        ]
        .map(|stream| greeting(&stream.unwrap()).starts_with("task "))
    };
    assert_eq!(works(), [true, true]);
    assert_eq!(differences(host, true), []);

    let key = |address: std::net::IpAddr| EndpointKey {
        vni: Vni::new(crate::lab::VNI.0),
        address: address.into(),
    };
    let mut endpoints = foreign::<EndpointKey, Endpoint>(host, "ENDPOINTS");
    endpoints.remove(&key(task.address)).unwrap();
    endpoints
        .insert(key(overlay(77)), Endpoint::default(), 0)
        .unwrap();
    let mut altered = endpoints.get(&key(client.address), 0).unwrap();
    altered.node = Address::MESH;
    endpoints.insert(key(client.address), altered, 0).unwrap();

    let shown = |address: std::net::IpAddr| format!("{}/{address}", crate::lab::VNI);
    let mut wrong = vec![
        ("ENDPOINTS", "altered", shown(client.address)),
        ("ENDPOINTS", "missing", shown(task.address)),
        ("ENDPOINTS", "unexpected", shown(overlay(77))),
    ];
    for heal in [false, true] {
        let mut found = differences(host, heal);
        found.sort();
        wrong.sort();
        assert_eq!(found, wrong, "heal: {heal}");
    }
    assert_eq!(differences(host, true), []);
    assert_eq!(works(), [true, true]);
}

#[test]
fn a_set_of_backends_that_somebody_else_tore_is_whole_again() {
    let lab = Lab::new(1);
    let host = &lab.hosts[0];
    let (client, task) = (host.container(2), host.container(3));
    let _server = Server::start(&task.namespace, "task", PORT);
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, host)
        .endpoint(&task, host)
        .vip(&[&task])
        .apply();
    let mut backends =
        foreign::<orch_ebpf_common::BackendKey, orch_ebpf_common::Backend>(host, "BACKENDS");
    let keys: Vec<_> = backends.keys().map(Result::unwrap).collect();
    for key in &keys {
        backends.remove(key).unwrap();
    }
    assert!(connect(&client.namespace, overlay(VIP), PORT).is_err());

    assert_eq!(differences(host, true).len(), keys.len());

    let stream = connect(&client.namespace, overlay(VIP), PORT).unwrap();
    assert!(greeting(&stream).starts_with("task "));
}
