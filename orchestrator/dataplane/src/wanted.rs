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
mod tests;
