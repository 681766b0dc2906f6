//! What the maps must hold, of small desired states.

use orch_core::network::{Backend as CoreBackend, Frontend as CoreFrontend, OverlayNetwork, Pool};
use orch_ebpf_common::Sandbox;

use super::*;

const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn attached(address: &str, vni: u32, sandbox: &str) -> attachment::Attachment {
    attachment::Attachment {
        endpoint_id: "0123456789ab".into(),
        sandbox_id: sandbox.into(),
        vni: network::Vni(vni),
        v4: address.parse().ok(),
        v6: None,
        mac: [2, 0x42, 10, 0, 10, 7],
    }
}

fn wanted(desired: &DesiredNetwork, attachments: &BTreeMap<u32, attachment::Attachment>) -> Wanted {
    Wanted::new(
        desired,
        &Host {
            node: NODE,
            addresses: &BTreeSet::from([NODE]),
            attachments,
        },
        &ServiceNumbers::default(),
    )
}

#[test]
fn an_attachment_makes_its_endpoint_local() {
    let mut desired = DesiredNetwork::default();
    desired
        .endpoints
        .insert((network::Vni(4096), ip("10.0.10.7")), ip("192.0.2.9"));
    desired
        .endpoints
        .insert((network::Vni(4096), ip("10.0.10.8")), ip("192.0.2.9"));
    let attachments = BTreeMap::from([(17, attached("10.0.10.7", 4096, "box"))]);

    let tables = wanted(&desired, &attachments).tables;

    let at = |text| tables.endpoints[&endpoint_key(Vni::new(4096), ip(text))];
    assert_eq!(
        (at("10.0.10.7").ifindex, at("10.0.10.7").node),
        (17, NODE.into())
    );
    assert_eq!(
        (at("10.0.10.8").ifindex, at("10.0.10.8").node),
        (0, ip("192.0.2.9").into())
    );
    assert_eq!(tables.attachments[&17].v4, ip("10.0.10.7").into());
}

#[test]
fn an_attachment_has_its_addresses_of_both_families() {
    let v6 = "fd00:10::7";
    let both = attachment::Attachment {
        v6: v6.parse().ok(),
        ..attached("10.0.10.7", 4096, "box")
    };
    let attachments = BTreeMap::from([(17, both)]);

    let tables = wanted(&DesiredNetwork::default(), &attachments).tables;

    for address in [ip("10.0.10.7"), ip(v6)] {
        let endpoint = tables.endpoints[&endpoint_key(Vni::new(4096), address)];
        assert_eq!(endpoint.ifindex, 17);
        let key = SandboxAddressKey {
            sandbox: attachments[&17].sandbox_number(),
            address: address.into(),
        };
        assert_eq!(tables.sandbox_addresses[&key], Vni::new(4096));
    }
    let attachment = tables.attachments[&17];
    assert_eq!(attachment.address(true), ip("10.0.10.7").into());
    assert_eq!(attachment.address(false), ip(v6).into());
}

#[test]
fn a_container_on_two_networks_is_one_sandbox() {
    let attachments = BTreeMap::from([
        (17, attached("10.0.10.7", 4096, "box")),
        (18, attached("10.0.11.7", 4097, "box")),
        (19, attached("10.0.10.8", 4096, "other")),
    ]);

    let tables = wanted(&DesiredNetwork::default(), &attachments).tables;

    let sandbox = tables.sandboxes[&attachments[&17].sandbox_number()];
    assert_eq!(sandbox.count, 2);
    assert_eq!(sandbox.networks[..2], [Vni::new(4096), Vni::new(4097)]);
    assert_eq!(
        (tables.sandboxes.len(), tables.sandbox_addresses.len()),
        (2, 3)
    );
}

#[test]
fn more_networks_than_fit_do_no_harm() {
    let attachments = (0..12)
        .map(|n| (n, attached(&format!("10.0.{n}.7"), 4096 + n, "box")))
        .collect();
    let tables = wanted(&DesiredNetwork::default(), &attachments).tables;
    let sandbox = tables.sandboxes.values().next().unwrap();
    assert_eq!(sandbox.count as usize, Sandbox::NETWORKS);
}

#[test]
fn networks_bring_their_subnets() {
    let network = OverlayNetwork {
        id: orch_core::ids::NetworkId::from_random(1),
        subnets: vec![network::Subnet {
            range: "10.0.10.0/24".parse().unwrap(),
            gateway: ip("10.0.10.1"),
        }],
        internal: true,
    };
    let mut desired = DesiredNetwork::default();
    desired.networks.insert(network::Vni(4096), network);

    let tables = wanted(&desired, &BTreeMap::new()).tables;

    assert_eq!(tables.networks[&Vni::new(4096)].flags, Network::INTERNAL);
    let key = SubnetKey {
        vni: Vni::new(4096),
        address: ip("10.0.10.0").into(),
    };
    let subnet = tables.subnets[&(32 + 96 + 24, key)];
    assert_eq!(subnet.broadcast, ip("10.0.10.255").into());
    let seen_by_host = SubnetKey {
        vni: Vni::HOST,
        ..key
    };
    assert_eq!(tables.subnets[&(32 + 96 + 24, seen_by_host)], subnet);
}

#[test]
fn frontends_keep_their_whole_sets_and_ports() {
    let backend = |address: &str, port| CoreBackend {
        vni: network::Vni(4096),
        address: ip(address),
        port,
    };
    let vip = CoreFrontend::Vip {
        vni: network::Vni(4096),
        address: ip("10.0.10.2"),
    };
    let published = CoreFrontend::Published {
        protocol: Protocol::Udp,
        port: 53,
        address: ip("0.0.0.0"),
    };
    let mut desired = DesiredNetwork::default();
    desired.frontends.insert(vip, Pool::default());
    desired.frontends.insert(
        published,
        Pool {
            backends: BTreeSet::from([
                backend("10.0.10.7", Some(5353)),
                backend("10.0.10.8", None),
            ]),
            ..Pool::default()
        },
    );

    let sets = wanted(&desired, &BTreeMap::new()).sets;

    let vip = FrontendKey::vip(Vni::new(4096), ip("10.0.10.2").into());
    assert!(sets[&vip].backends.is_empty());
    let ports: Vec<_> = sets[&FrontendKey::published(true, 17, Be16::new(53))]
        .backends
        .iter()
        .map(|backend| backend.port.get())
        .collect();
    assert_eq!(ports, [5353, 0]);
}

#[test]
fn options_of_a_service_become_flags_and_ranges() {
    let frontend = CoreFrontend::Published {
        protocol: Protocol::Tcp,
        port: 80,
        address: ip("0.0.0.0"),
    };
    let mut pool = Pool {
        affinity: Some(300),
        direct_return: true,
        ..Pool::default()
    };
    pool.sources.allow = ["10.0.0.0/8", "fd00::/8"]
        .map(|r| r.parse().unwrap())
        .into();
    pool.sources.deny = ["10.9.0.0/16".parse().unwrap()].into();
    let mut desired = DesiredNetwork::default();
    desired.frontends.insert(frontend, pool);

    let wanted = wanted(&desired, &BTreeMap::new());

    let key = FrontendKey::published(true, 6, Be16::new(80));
    let frontend = wanted.sets[&key].frontend;
    let flags =
        Frontend::MAGLEV | Frontend::DIRECT_RETURN | Frontend::SOURCES | Frontend::SOURCES_ONLY;
    assert_eq!((frontend.flags, frontend.affinity), (flags, 300));
    let ranges: Vec<_> = wanted
        .tables
        .sources
        .iter()
        .map(|((bits, key), value)| (*bits, key.frontend, IpAddr::from(key.client), *value))
        .collect();
    let v4 = 8 * 24 + 96;
    assert_eq!(
        BTreeSet::from_iter(ranges),
        BTreeSet::from([
            (v4 + 8, key, ip("10.0.0.0"), SourceKey::ALLOW),
            (v4 + 16, key, ip("10.9.0.0"), SourceKey::DENY),
        ])
    );
}

#[test]
fn clients_that_change_their_family_need_no_table() {
    for (address, flags) in [("0.0.0.0", Frontend::MAGLEV), ("::", 0)] {
        let frontend = CoreFrontend::Published {
            protocol: Protocol::Tcp,
            port: 80,
            address: ip(address),
        };
        let backend = CoreBackend {
            vni: network::Vni(4096),
            address: ip("10.0.10.7"),
            port: Some(80),
        };
        let pool = Pool {
            backends: [backend].into(),
            ..Pool::default()
        };
        let mut desired = DesiredNetwork::default();
        desired.frontends.insert(frontend, pool);
        let sets = wanted(&desired, &BTreeMap::new()).sets;
        assert_eq!(sets[&frontend_key(&frontend)].frontend.flags, flags);
    }
}

#[test]
fn an_address_says_whether_it_has_ports_of_its_own() {
    let own = |address| {
        let frontend = CoreFrontend::Published {
            protocol: Protocol::Tcp,
            port: 80,
            address: ip(address),
        };
        let mut desired = DesiredNetwork::default();
        desired.frontends.insert(frontend, Pool::default());
        let local = wanted(&desired, &BTreeMap::new()).tables.local_addresses;
        local[&endpoint_key(Vni::HOST, NODE)]
    };
    assert_eq!(own("192.0.2.1"), 1 | FrontendKey::HAS_OWN_PORTS);
    assert_eq!((own("0.0.0.0"), own("127.0.0.1")), (1, 1));
}

#[test]
fn names_are_cut_to_what_the_kernel_answers() {
    let mut desired = DesiredNetwork::default();
    let addresses: BTreeSet<_> = (1..=40).map(|n| IpAddr::from([10, 0, 10, n])).collect();
    desired
        .names
        .insert((network::Vni(4096), "tasks.redis".into()), addresses);
    desired
        .names
        .insert((network::Vni(4096), "x".repeat(64)), BTreeSet::new());

    let names = wanted(&desired, &BTreeMap::new()).tables.names;

    let key = NameKey::new(Vni::new(4096), "tasks.redis").unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(names[&key].count_v4, 32);
    assert_eq!(names[&key].v4[31].bytes(), [10, 0, 10, 32]);
}
