//! The desired state of a small cluster, and its way to the hosts of a lab.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use orch_core::ids::NetworkId;
use orch_core::network::{
    Backend, DesiredNetwork, Family, Frontend, OverlayNetwork, Pool, Protocol, Subnet, Vni,
};

use crate::lab::{Container, Host, Lab, SECOND_VNI, TWIN_VNI, VNI, overlay, overlay_v6, second};

/// The virtual address that tests use.
pub const VIP: u8 = 200;
/// The port that servers listen on.
pub const PORT: u16 = 6379;
/// The port that is published for them.
pub const PUBLISHED: u16 = 8080;

/// A desired state under construction.
pub struct Cluster<'a> {
    lab: &'a Lab,
    desired: DesiredNetwork,
}

impl<'a> Cluster<'a> {
    /// Three networks and no tasks.
    pub fn new(lab: &'a Lab) -> Self {
        let subnet = |range: &str, gateway| Subnet {
            range: range.parse().unwrap(),
            gateway,
        };
        let network = |number, subnets| OverlayNetwork {
            id: NetworkId::from_random(number),
            subnets,
            internal: false,
        };
        let both = vec![
            subnet("10.0.10.0/24", overlay(1)),
            subnet("fd00:10::/64", overlay_v6(1)),
        ];
        let networks = [
            (VNI, network(1, both.clone())),
            (
                SECOND_VNI,
                network(2, vec![subnet("10.0.11.0/24", second(1))]),
            ),
            (TWIN_VNI, network(3, both)),
        ];
        let desired = DesiredNetwork {
            version: 0,
            peers: lab.hosts.iter().map(|host| host.address).collect(),
            networks: BTreeMap::from(networks),
            ..DesiredNetwork::default()
        };
        Self { lab, desired }
    }

    /// Closes all networks to the outside.
    pub fn internal(&mut self) -> &mut Self {
        for network in self.desired.networks.values_mut() {
            network.internal = true;
        }
        self
    }

    /// Adds a task's address in the second network.
    pub fn second_endpoint(&mut self, address: IpAddr, host: &Host) -> &mut Self {
        self.desired
            .endpoints
            .insert((SECOND_VNI, address), host.address);
        self
    }

    /// Publishes the port for a task's address in the second network.
    pub fn publish_second(&mut self, protocol: Protocol, address: IpAddr) -> &mut Self {
        let backend = Backend {
            vni: SECOND_VNI,
            address,
            port: Some(PORT),
        };
        self.publish_to_all(protocol, &BTreeSet::from([backend]))
    }

    /// Publishes the port for tasks that have IPv4 addresses only.
    pub fn publish_v4(&mut self, protocol: Protocol, backends: &[&Container]) -> &mut Self {
        let backend = |container: &&Container| Backend {
            vni: VNI,
            address: container.address,
            port: Some(PORT),
        };
        self.publish_to_all(protocol, &backends.iter().map(backend).collect())
    }

    /// Leads clients of both families to the same addresses.
    fn publish_to_all(&mut self, protocol: Protocol, backends: &BTreeSet<Backend>) -> &mut Self {
        for family in Family::ALL {
            let frontend = Frontend::Published {
                protocol,
                port: PUBLISHED,
                address: family.unspecified(),
            };
            let pool = Pool {
                backends: backends.clone(),
                ..Pool::default()
            };
            self.desired.frontends.insert(frontend, pool);
        }
        self
    }

    /// Adds a task's addresses.
    pub fn endpoint(&mut self, container: &Container, host: &Host) -> &mut Self {
        let vni = container.attachment.vni;
        for address in [container.address, container.address_v6] {
            self.desired.endpoints.insert((vni, address), host.address);
        }
        self
    }

    /// Sets the backends of the virtual addresses.
    pub fn vip(&mut self, backends: &[&Container]) -> &mut Self {
        for address in [overlay(VIP), overlay_v6(VIP)] {
            let frontend = Frontend::Vip { vni: VNI, address };
            self.frontend(frontend, backends, None);
        }
        self
    }

    /// Sets the backends of the published port.
    pub fn publish(&mut self, protocol: Protocol, backends: &[&Container]) -> &mut Self {
        for family in Family::ALL {
            let frontend = Frontend::Published {
                protocol,
                port: PUBLISHED,
                address: family.unspecified(),
            };
            self.frontend(frontend, backends, Some(PORT));
        }
        self
    }

    /// Sets the backends of the published TCP port on one address alone.
    pub fn publish_at(&mut self, address: IpAddr, backends: &[&Container]) -> &mut Self {
        let frontend = Frontend::Published {
            protocol: Protocol::Tcp,
            port: PUBLISHED,
            address,
        };
        self.frontend(frontend, backends, Some(PORT))
    }

    /// Changes what stands behind every frontend.
    pub fn each_pool(&mut self, change: impl Fn(&mut Pool)) -> &mut Self {
        self.desired.frontends.values_mut().for_each(change);
        self
    }

    fn frontend(
        &mut self,
        frontend: Frontend,
        backends: &[&Container],
        port: Option<u16>,
    ) -> &mut Self {
        let (Frontend::Vip { address, .. } | Frontend::Published { address, .. }) = frontend;
        let backend = |container: &&Container| Backend {
            vni: VNI,
            address: match Family::of(address) {
                Family::V4 => container.address,
                Family::V6 => container.address_v6,
            },
            port,
        };
        let pool = Pool {
            backends: backends.iter().map(backend).collect(),
            ..Pool::default()
        };
        self.desired.frontends.insert(frontend, pool);
        self
    }

    /// Sets the addresses of a name.
    pub fn name(&mut self, name: &str, addresses: &[IpAddr]) -> &mut Self {
        self.name_in(VNI, name, addresses)
    }

    /// Sets the addresses of a name in one network.
    pub fn name_in(&mut self, vni: Vni, name: &str, addresses: &[IpAddr]) -> &mut Self {
        let addresses = addresses.iter().copied().collect();
        self.desired.names.insert((vni, name.to_owned()), addresses);
        self
    }

    /// Lets no host take part but the one that it is applied on.
    pub fn alone(&mut self) -> &mut Self {
        self.desired.peers.clear();
        self
    }

    /// Applies it on every host.
    pub fn apply(&mut self) {
        self.desired.version += 1;
        for host in &self.lab.hosts {
            self.apply_on(host);
        }
    }

    /// Applies it on one host.
    pub fn apply_on(&self, host: &Host) {
        let mut desired = self.desired.clone();
        desired.peers.remove(&host.address);
        host.apply(&desired);
    }
}
