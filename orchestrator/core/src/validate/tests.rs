//! What makes no sense, or cannot be honoured, is refused.

use super::*;
use crate::fixture::{dual_stack_spec, network_spec, service_spec};
use crate::network::Protocol;
use crate::objects::service::{
    EndpointMode, FailureAction, PortConfig, PublishMode, ServiceMode, UpdateConfig,
};
use crate::objects::task::{Mount, MountSource, NetworkAttachmentConfig};
use crate::objects::{ClusterSpec, ServiceSpec};

fn port(target: u16, published: Option<u16>, protocol: Protocol) -> PortConfig {
    PortConfig {
        name: String::new(),
        protocol,
        target,
        published,
        mode: PublishMode::Ingress,
    }
}

#[test]
fn service_names_are_dns_labels() {
    for name in ["a", "redis", "my-app_1", "A1", "a--b", &"x".repeat(63)] {
        assert_eq!(service_spec_named(name), Ok(()), "{name}");
    }
    for name in ["", "-a", "a-", "_a", "a.b", "a b", "ä", &"x".repeat(64)] {
        assert!(service_spec_named(name).is_err(), "{name}");
    }
}

fn service_spec_named(name: &str) -> Verdict {
    super::service_spec(&service_spec(name, 1))
}

#[test]
fn service_specs_that_make_no_sense_are_refused() {
    type Spoil = fn(&mut ServiceSpec);
    let cases: [(&str, Spoil); 19] = [
        ("no image", |s| s.task.container.image.clear()),
        ("image with a space", |s| {
            s.task.container.image = "a b".to_owned()
        }),
        ("empty variable", |s| {
            s.task.container.env.push("=x".to_owned())
        }),
        ("relative mount", |s| {
            s.task.container.mounts.push(tmpfs("data"))
        }),
        ("mounted twice", |s| {
            s.task.container.mounts = vec![tmpfs("/d"), tmpfs("/d")]
        }),
        ("crumb of cpu", |s| s.task.resources.limits.nano_cpus = 1),
        ("crumb of memory", |s| {
            s.task.resources.reservations.memory_bytes = 1
        }),
        ("reserved pids", |s| s.task.resources.reservations.pids = 1),
        ("constraint", |s| {
            s.task.placement.constraints.push("x".to_owned())
        }),
        ("preference", |s| {
            s.task.placement.preferences.push("x".to_owned())
        }),
        ("too many replicas", |s| {
            s.mode = ServiceMode::Replicated { replicas: u64::MAX }
        }),
        ("no target port", |s| {
            s.endpoint.ports.push(port(0, None, Protocol::Tcp))
        }),
        ("published port 0", |s| {
            s.endpoint.ports.push(port(1, Some(0), Protocol::Tcp))
        }),
        ("option that is none", |s| label(s, "orch.endpoint.x", "y")),
        ("option of a port that is not published", |s| {
            label(s, "orch.endpoint.publish.80/tcp.deny", "10.0.0.0/8")
        }),
        ("published twice at one address", |s| {
            publish_at(s, ["192.0.2.1", "192.0.2.1"])
        }),
        ("published twice", |s| {
            s.endpoint.ports = vec![
                port(1, Some(9), Protocol::Tcp),
                port(2, Some(9), Protocol::Tcp),
            ];
        }),
        ("failure ratio above one", |s| {
            s.update = Some(UpdateConfig {
                max_failure_millionths: 1_000_001,
                ..Default::default()
            });
        }),
        ("rollback of a rollback", |s| {
            s.rollback = Some(UpdateConfig {
                failure_action: FailureAction::Rollback,
                ..Default::default()
            });
        }),
    ];
    for (what, spoil) in cases {
        let mut spec = service_spec("s", 1);
        spoil(&mut spec);
        assert!(super::service_spec(&spec).is_err(), "{what}");
    }
}

fn label(spec: &mut ServiceSpec, key: &str, value: &str) {
    spec.labels.insert(key.to_owned(), value.to_owned());
}

/// Port 9 of two addresses, leading to two ports of the tasks.
fn publish_at(spec: &mut ServiceSpec, addresses: [&str; 2]) {
    for (target, address) in (1..).zip(addresses) {
        spec.endpoint
            .ports
            .push(port(target, Some(9), Protocol::Tcp));
        let key = format!("orch.endpoint.publish.{target}/tcp.address");
        label(spec, &key, address);
    }
}

#[test]
fn one_port_may_lead_elsewhere_at_each_address() {
    let mut spec = service_spec("s", 1);
    publish_at(&mut spec, ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(super::service_spec(&spec), Ok(()));
}

#[test]
fn ingress_ports_need_no_virtual_address() {
    let mut spec = service_spec("s", 1);
    spec.endpoint.mode = EndpointMode::DnsRoundRobin;
    spec.endpoint.ports = vec![
        port(80, Some(8080), Protocol::Tcp),
        port(9, Some(10), Protocol::Sctp),
        port(10, None, Protocol::Sctp),
    ];
    assert_eq!(super::service_spec(&spec), Ok(()));
}

fn tmpfs(target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        source: MountSource::Tmpfs {
            size_bytes: None,
            mode: None,
        },
        read_only: false,
    }
}

#[test]
fn the_same_port_for_two_protocols_is_fine() {
    let mut spec = service_spec("dns", 1);
    spec.endpoint.ports = vec![
        port(53, Some(53), Protocol::Tcp),
        port(53, Some(53), Protocol::Udp),
    ];
    assert_eq!(super::service_spec(&spec), Ok(()));
}

#[test]
fn network_attachments_are_unique_and_their_aliases_dns_names() {
    let attach = |n: u128, alias: &str| NetworkAttachmentConfig {
        target: crate::ids::NetworkId::from_random(n),
        aliases: vec![alias.to_owned()],
        driver_options: Default::default(),
    };
    for (networks, good) in [
        (vec![attach(1, "db"), attach(2, "db.local")], true),
        (vec![attach(1, "db"), attach(1, "db")], false),
        (vec![attach(1, "")], false),
        (vec![attach(1, "a b")], false),
    ] {
        let mut spec = service_spec("s", 1);
        spec.task.networks = networks;
        assert_eq!(
            super::service_spec(&spec).is_ok(),
            good,
            "{:?}",
            spec.task.networks
        );
    }
}

#[test]
fn name_and_top_level_networks_of_a_service_stay() {
    let old = service_spec("a", 1);
    assert!(service_update(&old, &service_spec("b", 1)).is_err());
    let mut new = service_spec("a", 1);
    new.networks.push(NetworkAttachmentConfig {
        target: crate::ids::NetworkId::from_random(1),
        aliases: Vec::new(),
        driver_options: Default::default(),
    });
    assert!(service_update(&old, &new).is_err());
    assert_eq!(service_update(&old, &service_spec("a", 3)), Ok(()));
}

#[test]
fn networks_that_make_no_sense_are_refused() {
    for name in ["", "-a", "a/b", "host", "bridge", "none"] {
        assert!(network_spec_of(name, None).is_err(), "{name}");
    }
    for subnet in [
        "10.0.0.1/24",
        "10.0.0.0/31",
        "127.0.0.0/8",
        "224.0.0.0/24",
        "169.254.7.0/24",
        "fd00::/64",
    ] {
        assert!(network_spec_of("n", Some(subnet)).is_err(), "{subnet}");
    }
    for subnet in [
        "fd00::1/64",
        "fd00::/127",
        "fe80::/64",
        "ff02::/64",
        "::/96",
        "fd6f:7263:6864::/96",
        "fd00::/7",
    ] {
        let spec = dual_stack_spec("n", &[subnet]);
        assert!(super::network_spec(&spec).is_err(), "{subnet}");
    }
    let several = [
        "10.0.10.0/24",
        "fd00:10::/64",
        "10.0.11.0/24",
        "fd00:11::/126",
    ];
    let spec = dual_stack_spec("n", &several);
    assert_eq!(super::network_spec(&spec), Ok(()));
    let twice = dual_stack_spec("n", &["fd00:10::/64", "fd00:10::/96"]);
    assert!(super::network_spec(&twice).is_err());
    assert_eq!(network_spec_of("a.b-c_d", Some("10.0.10.0/24")), Ok(()));
    let mut spec = network_spec("n", Some("10.0.10.0/24"));
    for gateway in ["10.0.10.0", "10.0.10.255", "10.0.11.1"] {
        spec.ipam[0].gateway = gateway.parse().ok();
        assert!(super::network_spec(&spec).is_err(), "{gateway}");
    }
    let mut spec = network_spec("n", Some("10.0.10.0/24"));
    spec.ipam[0].range = "10.0.11.0/25".parse().ok();
    assert!(super::network_spec(&spec).is_err());
    let mut spec = network_spec("n", None);
    spec.driver_options
        .insert("encrypted".to_owned(), String::new());
    let error = super::network_spec(&spec).unwrap_err();
    assert_eq!(
        error.to_string(),
        "network option \"encrypted\" is not supported"
    );
}

fn network_spec_of(name: &str, subnet: Option<&str>) -> Verdict {
    super::network_spec(&network_spec(name, subnet))
}

#[test]
fn cluster_settings_have_their_bounds() {
    let spoil: [fn(&mut ClusterSpec); 5] = [
        |s| s.name = "other".to_owned(),
        |s| s.heartbeat_period = std::time::Duration::from_millis(10),
        |s| s.node_cert_expiry = std::time::Duration::from_secs(60),
        |s| s.raft.heartbeat_tick = 0,
        |s| s.raft.election_tick = 1,
    ];
    assert_eq!(cluster_spec(&ClusterSpec::default()), Ok(()));
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut spec = ClusterSpec::default();
        spoil(&mut spec);
        assert!(cluster_spec(&spec).is_err(), "case {index}");
    }
}

#[test]
fn address_pools_are_apart_and_larger_than_a_network() {
    let pools = |texts: &[&str], size| {
        let pools: Vec<_> = texts.iter().map(|t| t.parse().unwrap()).collect();
        address_pools(&pools, size)
    };
    assert_eq!(pools(&["10.0.0.0/8"], 24), Ok(()));
    assert_eq!(pools(&["10.0.0.0/16", "10.1.0.0/16"], 29), Ok(()));
    assert_eq!(pools(&["10.0.0.0/8", "fd00::/48"], 24), Ok(()));
    for (texts, size) in [
        (&[][..], 24),
        (&["10.0.0.0/8"], 30),
        (&["10.0.0.0/8"], 7),
        (&["10.0.0.1/8"], 24),
        (&["10.0.0.0/8", "10.1.0.0/16"], 24),
        (&["fd00::/8"], 24),
        (&["10.0.0.0/8", "fd00::/65"], 24),
    ] {
        assert!(pools(texts, size).is_err(), "{texts:?} /{size}");
    }
}

#[test]
fn the_data_path_port_is_a_user_port() {
    for (port, good) in [
        (1023, false),
        (1024, true),
        (4789, true),
        (49151, true),
        (49152, false),
    ] {
        assert_eq!(data_path_port(port).is_ok(), good, "{port}");
    }
}
