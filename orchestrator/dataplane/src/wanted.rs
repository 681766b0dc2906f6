//! What the maps must hold: the cluster's desired state and this host's own, in the maps' terms.
//!
//! Pure. Sets of backends stay whole here; into which slots they go is decided by
//! [`crate::diff`], which knows what the kernel holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use orch_core::network::{self, DesiredNetwork, Pool, Protocol};
use orch_ebpf_common::{
    Address, Attachment, Backend, Be16, Endpoint, EndpointKey, Frontend, FrontendKey, MacAddress,
    NameAddresses, NameKey, Network, SandboxAddressKey, SourceKey, Subnet, SubnetKey, Vni,
};

use crate::attachment;
use crate::services::ServiceNumbers;
use crate::tables::{SourcePrefix, SubnetPrefix, Tables};

/// What only this host knows.
pub(crate) struct Host<'a> {
    /// Its underlay address.
    pub node: IpAddr,
    /// All of its addresses.
    pub addresses: &'a BTreeSet<IpAddr>,
    /// The attachments, by the index of the host's end.
    pub attachments: &'a BTreeMap<u32, attachment::Attachment>,
}

/// What the maps must hold.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Everything but `frontends`, `backends`, `members` and `maglev`, which are empty here.
    pub tables: Tables,
    /// What stands behind every frontend.
    pub sets: BTreeMap<FrontendKey, Set>,
    /// Version of the desired state.
    pub version: u64,
}

/// What stands behind a frontend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// Who serves.
    pub backends: BTreeSet<Backend>,
    /// How; without `generation` and `count`, which are zero here.
    pub frontend: Frontend,
}

impl Wanted {
    /// Puts together what the maps of one host must hold.
    pub fn new(desired: &DesiredNetwork, host: &Host<'_>, numbers: &ServiceNumbers) -> Self {
        let mut tables = Tables {
            local_addresses: local_addresses(desired, host),
            peers: desired
                .peers
                .iter()
                .map(|peer| (Address::from(*peer), 1))
                .collect(),
            endpoints: desired.endpoints.iter().map(remote_endpoint).collect(),
            names: desired.names.iter().filter_map(name).collect(),
            ..Tables::default()
        };
        for (vni, network) in &desired.networks {
            let flags = if network.internal {
                Network::INTERNAL
            } else {
                0
            };
            tables.networks.insert(common_vni(*vni), Network { flags });
            for range in &network.subnets {
                let ((bits, key), value) = subnet(*vni, range);
                tables.subnets.insert((bits, key), value);
                // Of networks with the same range the host sees the one that was made first.
                let seen_by_host = SubnetKey {
                    vni: Vni::HOST,
                    ..key
                };
                tables.subnets.entry((bits, seen_by_host)).or_insert(value);
            }
        }
        for (ifindex, attachment) in host.attachments {
            add_attachment(&mut tables, host.node, *ifindex, attachment);
        }
        let mut sets = BTreeMap::new();
        for (frontend, pool) in &desired.frontends {
            let key = frontend_key(frontend);
            tables.sources.extend(sources(key, pool));
            sets.insert(key, set(key, pool, numbers.number(&pool.service)));
        }
        Self {
            tables,
            sets,
            version: desired.version,
        }
    }
}

/// The host's addresses, and whether a port is published on one of them alone.
fn local_addresses(desired: &DesiredNetwork, host: &Host<'_>) -> BTreeMap<EndpointKey, u32> {
    let named: BTreeSet<IpAddr> = desired
        .frontends
        .keys()
        .filter_map(|frontend| match frontend {
            network::Frontend::Published { address, .. } => Some(*address),
            network::Frontend::Vip { .. } => None,
        })
        .collect();
    let value = |address| match named.contains(address) {
        true => 1 | FrontendKey::HAS_OWN_PORTS,
        false => 1,
    };
    let addresses = host.addresses.iter();
    addresses
        .map(|address| (endpoint_key(Vni::HOST, *address), value(address)))
        .collect()
}

/// The kernel's form of a network's number.
fn common_vni(vni: network::Vni) -> Vni {
    Vni::new(vni.0)
}

fn endpoint_key(vni: Vni, address: IpAddr) -> EndpointKey {
    EndpointKey {
        vni,
        address: address.into(),
    }
}

fn remote_endpoint(
    ((vni, address), node): (&(network::Vni, IpAddr), &IpAddr),
) -> (EndpointKey, Endpoint) {
    let endpoint = Endpoint {
        node: Address::from(*node),
        ..Endpoint::default()
    };
    (endpoint_key(common_vni(*vni), *address), endpoint)
}

fn subnet(vni: network::Vni, subnet: &network::Subnet) -> (SubnetPrefix, Subnet) {
    let range = subnet.range;
    let bits = SubnetKey::prefix_len(range.addr().is_ipv4(), range.prefix_len());
    let broadcast = match range {
        IpNet::V4(range) => Address::from(range.broadcast()),
        IpNet::V6(_) => Address::UNSPECIFIED,
    };
    let key = SubnetKey {
        vni: common_vni(vni),
        address: range.network().into(),
    };
    (
        (bits, key),
        Subnet {
            vni: common_vni(vni),
            gateway: subnet.gateway.into(),
            broadcast,
        },
    )
}

/// A name that does not fit is left to the DNS listener.
fn name(
    ((vni, name), addresses): (&(network::Vni, String), &BTreeSet<IpAddr>),
) -> Option<(NameKey, NameAddresses)> {
    let key = NameKey::new(common_vni(*vni), name)?;
    let mut value = NameAddresses::default();
    for address in addresses {
        value.add(Address::from(*address));
    }
    Some((key, value))
}

/// The kernel's form of a frontend.
pub(crate) fn frontend_key(frontend: &network::Frontend) -> FrontendKey {
    match *frontend {
        network::Frontend::Vip { vni, address } => {
            FrontendKey::vip(common_vni(vni), address.into())
        }
        network::Frontend::Published {
            protocol,
            port,
            address,
        } => FrontendKey::published_at(address.into(), protocol_number(protocol), Be16::new(port)),
    }
}

/// What stands behind one frontend.
fn set(key: FrontendKey, pool: &Pool, service: u32) -> Set {
    let is_published = key.vni == Vni::HOST;
    let sources = match (pool.sources.allow.is_empty(), pool.sources.deny.is_empty()) {
        (true, true) => 0,
        (true, false) => Frontend::SOURCES,
        (false, _) => Frontend::SOURCES | Frontend::SOURCES_ONLY,
    };
    let flag = |set: bool, flag| if set { flag } else { 0 };
    // Clients of the other family have a source port by chance, so a table that is the same on
    // every host would bring nobody back to the same task.
    let crosses = |backend: &network::Backend| backend.address.is_ipv4() != key.address.is_v4();
    let by_table = is_published && !pool.backends.iter().any(crosses);
    let flags = flag(by_table, Frontend::MAGLEV)
        | flag(is_published && pool.direct_return, Frontend::DIRECT_RETURN)
        | flag(is_published, sources)
        | flag(pool.retired, Frontend::RETIRED);
    Set {
        backends: pool.backends.iter().map(backend).collect(),
        frontend: Frontend {
            flags,
            service,
            affinity: pool.affinity.unwrap_or_default(),
            ..Frontend::default()
        },
    }
}

/// The client ranges of one published port, of its family.
fn sources(key: FrontendKey, pool: &Pool) -> impl Iterator<Item = (SourcePrefix, u32)> {
    let named = |ranges: &'_ BTreeSet<IpNet>, value| {
        let of_family = move |range: &&IpNet| {
            key.vni == Vni::HOST && range.addr().is_ipv4() == key.address.is_v4()
        };
        let entry = move |range: &IpNet| {
            let bits = SourceKey::prefix_len(range.addr().is_ipv4(), range.prefix_len());
            let client = range.network().into();
            let source = SourceKey {
                frontend: key,
                client,
            };
            ((bits, source), value)
        };
        ranges
            .iter()
            .filter(of_family)
            .map(entry)
            .collect::<Vec<_>>()
    };
    // Of a range that is in both, the refusal counts.
    let allow = named(&pool.sources.allow, SourceKey::ALLOW);
    let deny = named(&pool.sources.deny, SourceKey::DENY);
    allow.into_iter().chain(deny)
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn backend(backend: &network::Backend) -> Backend {
    Backend {
        vni: common_vni(backend.vni),
        address: backend.address.into(),
        port: Be16::new(backend.port.unwrap_or_default()),
        ..Backend::default()
    }
}

/// What is attached here is here, whatever the cluster's state says as yet.
fn add_attachment(
    tables: &mut Tables,
    node: IpAddr,
    ifindex: u32,
    attachment: &attachment::Attachment,
) {
    let vni = common_vni(attachment.vni);
    let sandbox = attachment.sandbox_number();
    let endpoint = Endpoint {
        node: node.into(),
        ifindex,
        mac: MacAddress(attachment.mac),
        ..Endpoint::default()
    };
    for address in attachment.addresses().map(Address::from) {
        tables
            .endpoints
            .insert(EndpointKey { vni, address }, endpoint);
        tables
            .sandbox_addresses
            .insert(SandboxAddressKey { sandbox, address }, vni);
    }
    tables.attachments.insert(
        ifindex,
        Attachment {
            sandbox,
            vni,
            v4: attachment.v4.map(Address::from).unwrap_or_default(),
            v6: attachment.v6.map(Address::from).unwrap_or_default(),
            ..Attachment::default()
        },
    );
    let networks = tables.sandboxes.entry(sandbox).or_default();
    // Names are looked for in the first few networks of a container only.
    if let Some(slot) = networks.networks.get_mut(networks.count as usize) {
        *slot = vni;
        networks.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use orch_core::network::{
        Backend as CoreBackend, Frontend as CoreFrontend, OverlayNetwork, Pool,
    };
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

    fn wanted(
        desired: &DesiredNetwork,
        attachments: &BTreeMap<u32, attachment::Attachment>,
    ) -> Wanted {
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
}
