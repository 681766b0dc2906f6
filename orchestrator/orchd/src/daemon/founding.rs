//! `swarm init` as planned for this host, before anything is done.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::address::{self, Interfaces};
use super::{InitRequest, LifecycleError};
use crate::rpc;

/// Docker's default pool.
const DEFAULT_POOL: &str = "10.0.0.0/8";
/// Prefix length of the networks cut from it.
const DEFAULT_SUBNET_SIZE: u8 = 24;

/// What `swarm init` was asked for, on this host.
pub(super) struct Founding {
    /// Where to listen for node-to-node calls.
    pub listen: SocketAddr,
    /// What other nodes are told.
    pub advertise: SocketAddr,
    /// Where tunnel packets go.
    pub data_path: IpAddr,
    /// UDP port of tunnels.
    pub data_path_port: u16,
    /// Ranges that networks are cut from.
    pub pools: Vec<IpNet>,
    /// Prefix length of such a network.
    pub subnet_size: u8,
}

impl Founding {
    /// Checks the request against this host.
    pub fn plan(request: &InitRequest, interfaces: &Interfaces) -> Result<Self, LifecycleError> {
        let mut listen = address::listen(&request.listen_addr, rpc::PORT, interfaces)?;
        let advertise = address::advertise(&request.advertise_addr, listen, interfaces)?;
        address::listen_for(&mut listen, advertise);
        let mut pools = request.default_addr_pool.clone();
        if !pools.iter().any(|pool| pool.addr().is_ipv4()) {
            pools.extend(DEFAULT_POOL.parse::<IpNet>());
        }
        let subnet_size = match request.subnet_size {
            0 => DEFAULT_SUBNET_SIZE,
            size => u8::try_from(size).map_err(|_| {
                LifecycleError::BadAddress(format!("invalid default subnet size {size}"))
            })?,
        };
        Ok(Self {
            listen,
            advertise,
            data_path: address::data_path(&request.data_path_addr, advertise.ip(), interfaces)?,
            data_path_port: address::data_path_port(request.data_path_port)?,
            pools,
            subnet_size,
        })
    }
}

/// How a manager's own node reaches it without leaving the host.
pub(super) fn own_address(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        address.set_ip(match listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use orch_core::objects::ClusterSpec;
    use orch_core::objects::node::Availability;

    use super::*;

    /// What the docker CLI asks for on a host with an address of each family.
    fn plan(advertise: &str, pools: &[&str]) -> Founding {
        let request = InitRequest {
            listen_addr: "0.0.0.0:2377".to_owned(),
            advertise_addr: advertise.to_owned(),
            data_path_addr: String::new(),
            data_path_port: 0,
            default_addr_pool: pools.iter().map(|pool| pool.parse().unwrap()).collect(),
            subnet_size: 0,
            availability: Availability::Active,
            spec: ClusterSpec::default(),
        };
        let addresses = ["192.0.2.5", "2001:db8::5"].map(|address| address.parse().unwrap());
        let interfaces = Interfaces::from([("eth0".to_owned(), addresses.to_vec())]);
        Founding::plan(&request, &interfaces).unwrap()
    }

    #[test]
    fn a_manager_listens_for_the_family_that_it_tells_others() {
        for (advertise, listen) in [("192.0.2.5", "0.0.0.0:2377"), ("2001:db8::5", "[::]:2377")] {
            let plan = plan(advertise, &[]);
            assert_eq!(plan.listen.to_string(), listen);
            assert_eq!(plan.data_path.to_string(), advertise);
        }
    }

    #[test]
    fn a_pool_of_ipv6_leaves_the_one_of_ipv4() {
        let pools = plan("192.0.2.5", &["fd12::/48"]).pools;
        let pools: Vec<_> = pools.iter().map(ToString::to_string).collect();
        assert_eq!(pools, ["fd12::/48", "10.0.0.0/8"]);
    }
}
