//! The desired state of a small cluster, and its way to the hosts of a lab.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use orch_core::ids::NetworkId;
use orch_core::network::{
    Backend, DesiredNetwork, Frontend, OverlayNetwork, Pool, Protocol, Subnet, Vni,
};

use crate::lab::{Container, Host, Lab, SECOND_VNI, VNI, overlay, second};

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
    /// Two networks and no tasks.
    pub fn new(lab: &'a Lab) -> Self {
        let network = |number, range: &str, gateway| OverlayNetwork {
            id: NetworkId::from_random(number),
            subnets: vec![Subnet {
                range: range.parse().unwrap(),
                gateway,
            }],
            internal: false,
        };
        let networks = [
            (VNI, network(1, "10.0.10.0/24", overlay(1))),
            (SECOND_VNI, network(2, "10.0.11.0/24", second(1))),
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
        let frontend = Frontend::Published {
            protocol,
            port: PUBLISHED,
            address: Ipv4Addr::UNSPECIFIED.into(),
        };
        let backend = Backend {
            vni: SECOND_VNI,
            address,
            port: Some(PORT),
        };
        let pool = Pool {
            backends: BTreeSet::from([backend]),
            ..Pool::default()
        };
        self.desired.frontends.insert(frontend, pool);
        self
    }

    /// Adds a task's address.
    pub fn endpoint(&mut self, container: &Container, host: &Host) -> &mut Self {
        self.desired
            .endpoints
            .insert((VNI, container.address), host.address);
        self
    }

    /// Sets the backends of the virtual address.
    pub fn vip(&mut self, backends: &[&Container]) -> &mut Self {
        let frontend = Frontend::Vip {
            vni: VNI,
            address: overlay(VIP),
        };
        self.frontend(frontend, backends, None)
    }

    /// Sets the backends of the published port.
    pub fn publish(&mut self, protocol: Protocol, backends: &[&Container]) -> &mut Self {
        let frontend = Frontend::Published {
            protocol,
            port: PUBLISHED,
            address: Ipv4Addr::UNSPECIFIED.into(),
        };
        self.frontend(frontend, backends, Some(PORT))
    }

    fn frontend(
        &mut self,
        frontend: Frontend,
        backends: &[&Container],
        port: Option<u16>,
    ) -> &mut Self {
        let backend = |container: &&Container| Backend {
            vni: VNI,
            address: container.address,
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
