//! Settings of the cluster and of nodes.

use std::time::Duration;

use ipnet::IpNet;

use super::{Verdict, invalid, unimplemented};
use crate::allocate;
use crate::objects::{Cluster, ClusterOptions, ClusterSpec, NodeSpec};

const MIN_HEARTBEAT: Duration = Duration::from_secs(1);
const MIN_CERT_EXPIRY: Duration = Duration::from_secs(3600);
/// A network smaller than this has hardly an address to give.
const MAX_SUBNET_SIZE: u8 = 29;

/// Checks the settings of `swarm init` and `swarm update`.
pub fn cluster_spec(spec: &ClusterSpec) -> Verdict {
    if spec.name != "default" {
        return invalid("swarm spec must be named \"default\"");
    }
    if let Err(error) = ClusterOptions::from_labels(&spec.labels) {
        return invalid(error.to_string());
    }
    if spec.heartbeat_period < MIN_HEARTBEAT {
        return invalid("heartbeat period cannot be less than 1s");
    }
    if spec.node_cert_expiry < MIN_CERT_EXPIRY {
        return invalid("minimum certificate expiry time is: 1h0m0s");
    }
    if spec.raft.heartbeat_tick == 0 {
        return invalid("heartbeat tick must be at least 1");
    }
    if spec.raft.election_tick <= spec.raft.heartbeat_tick {
        return invalid("election tick must be greater than heartbeat tick");
    }
    Ok(())
}

/// Checks that a running cluster can take these settings.
pub fn cluster_update(old: &ClusterSpec, new: &ClusterSpec) -> Verdict {
    let ticks = |s: &ClusterSpec| (s.raft.election_tick, s.raft.heartbeat_tick);
    if ticks(old) != ticks(new) {
        return unimplemented("raft ticks cannot be changed in a running cluster");
    }
    Ok(())
}

/// Checks the address pools of `swarm init`.
pub fn address_pools(pools: &[IpNet], subnet_size: u8) -> Verdict {
    if !pools.iter().any(|pool| pool.addr().is_ipv4()) {
        return invalid("at least one default address pool of IPv4 is needed");
    }
    if subnet_size > MAX_SUBNET_SIZE {
        return invalid(format!(
            "invalid subnet size /{subnet_size}: networks must be /{MAX_SUBNET_SIZE} or larger"
        ));
    }
    for (index, pool) in pools.iter().enumerate() {
        if pool.trunc() != *pool {
            return invalid(format!(
                "invalid default address pool {pool}: host bits are set"
            ));
        }
        let size = match pool {
            IpNet::V4(_) => subnet_size,
            IpNet::V6(_) => Cluster::SUBNET_SIZE_V6,
        };
        if pool.prefix_len() > size {
            return invalid(format!(
                "invalid subnet size /{size}: larger than the default address pool {pool}"
            ));
        }
        if pools[..index]
            .iter()
            .any(|other| allocate::overlap(*pool, *other))
        {
            return invalid(format!(
                "default address pool {pool} overlaps with another one"
            ));
        }
    }
    Ok(())
}

/// Checks the UDP port of the tunnels.
pub fn data_path_port(port: u16) -> Verdict {
    if !(1024..=49151).contains(&port) {
        return invalid(format!(
            "invalid data path port number {port}: must be between 1024 and 49151"
        ));
    }
    Ok(())
}

/// Checks the settings of `node update`.
pub fn node_spec(spec: &NodeSpec) -> Verdict {
    if spec.labels.keys().any(String::is_empty) {
        return invalid("a node label needs a key");
    }
    Ok(())
}
