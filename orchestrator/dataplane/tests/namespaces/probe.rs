//! What `orchctl doctor` finds out about the tunnels between hosts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use orch_dataplane::Reached;

use crate::cluster::Cluster;
use crate::lab::{Host, Lab};
use crate::sockets::PATIENCE;

/// What `host` finds out about its only peer.
fn reached(host: &Host) -> (IpAddr, Reached) {
    let all = host.run(|_, plane| plane.as_ref().unwrap().prober().run(7).unwrap());
    let [one] = all.into_iter().collect::<Vec<_>>()[..] else {
        panic!("not one peer")
    };
    one
}

#[test]
fn whole_packets_come_back_over_either_family() {
    for (lab, size) in [
        (Lab::new(2), 1450),
        (Lab::with_mtu(2, 9000), 8950),
        (Lab::over_ipv6(2), 1430),
    ] {
        Cluster::new(&lab).apply();
        let [one, two] = &lab.hosts[..] else {
            unreachable!()
        };
        assert_eq!(reached(one), (two.address, Reached::Whole(size)));
        assert_eq!(reached(two), (one.address, Reached::Whole(size)));
    }
}

#[test]
fn a_path_that_takes_smaller_packets_is_found() {
    let lab = Lab::new(2);
    Cluster::new(&lab).apply();
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    // The device that packets leave by is believed; the one that they arrive by is not asked.
    two.namespace.ip("link set eth0 mtu 1300");
    assert_eq!(reached(one), (two.address, Reached::OnlySmall(1450)));
}

#[test]
fn a_host_that_does_not_take_part_is_silent() {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    Cluster::new(&lab).apply();
    // It does not know the asker.
    Cluster::new(&lab).alone().apply_on(two);
    assert_eq!(reached(one), (two.address, Reached::Silent));
    let none = two.run(|_, plane| plane.as_ref().unwrap().prober().run(7).unwrap());
    assert!(none.is_empty());
}

#[test]
fn a_host_answers_without_its_daemon_until_it_is_cut_off() {
    let lab = Lab::new(3);
    Cluster::new(&lab).apply();
    let [one, two, three] = &lab.hosts[..] else {
        unreachable!()
    };
    let asked: BTreeSet<IpAddr> = [one.address, two.address, three.address].into();
    let silent = || {
        let asked = asked.clone();
        one.run(move |_, plane| {
            let prober = plane.as_ref().unwrap().prober();
            prober.silent(&asked, PATIENCE, 7).unwrap()
        })
    };
    assert_eq!(silent(), BTreeSet::new());
    two.die();
    assert_eq!(silent(), BTreeSet::new());
    three.namespace.ip("link set eth0 down");
    assert_eq!(silent(), [three.address].into());
    three.namespace.ip("link set eth0 up");
    assert_eq!(silent(), BTreeSet::new());
}
