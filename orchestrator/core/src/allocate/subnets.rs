//! Tunnel identifiers and address ranges of networks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::first_host;
use crate::control::ControlError;
use crate::network::{Family, Subnet, Vni};
use crate::objects::network::IpamConfig;
use crate::objects::{Cluster, NetworkSpec};
use crate::store::State;

/// An identifier that no network has: the one behind the highest in use, so that a network
/// does not inherit the tunnels of one just removed; the lowest free one when those are spent.
pub fn free_vni(state: &State) -> Result<Vni, ControlError> {
    let used: BTreeSet<u32> = state.networks().map(|n| n.vni.0).collect();
    let next = used.last().map_or(Vni::MIN.0, |highest| highest + 1);
    if next <= Vni::MAX.0 {
        return Ok(Vni(next));
    }
    let lowest = (Vni::MIN.0..=Vni::MAX.0).find(|vni| !used.contains(vni));
    lowest.map(Vni).ok_or_else(|| {
        ControlError::ResourceExhausted("all VXLAN network identifiers are in use".to_owned())
    })
}

/// The ranges of a new network: those asked for, and one cut from the cluster's pools for a
/// family that it must have and none was asked for. None of them overlaps a range of another
/// network.
pub fn subnets(state: &State, spec: &NetworkSpec) -> Result<Vec<Subnet>, ControlError> {
    let used: Vec<IpNet> = state
        .networks()
        .flat_map(|n| n.subnets.iter().map(|s| s.range))
        .collect();
    let mut subnets = Vec::new();
    for config in &spec.ipam {
        if used.iter().any(|range| overlap(*range, config.subnet)) {
            return Err(ControlError::PermissionDenied(
                "Pool overlaps with other one on this address space".to_owned(),
            ));
        }
        let gateway = config.gateway.unwrap_or_else(|| first_host(config.subnet));
        subnets.push(Subnet {
            range: config.subnet,
            gateway,
        });
    }
    for family in families(spec) {
        let asked = |config: &IpamConfig| Family::of(config.subnet.addr()) == family;
        if !spec.ipam.iter().any(asked) {
            let range = cut(state, family, &used)?;
            let gateway = first_host(range);
            subnets.push(Subnet { range, gateway });
        }
    }
    // What tools show as a network's first range is the one of IPv4.
    subnets.sort_by_key(|subnet| Family::of(subnet.gateway));
    Ok(subnets)
}

/// The families that a network must have.
fn families(spec: &NetworkSpec) -> impl Iterator<Item = Family> {
    let v6 = spec.ipv6.then_some(Family::V6);
    std::iter::once(Family::V4).chain(v6)
}

/// The first range of a family in the pools that is free and in which no host lives: tasks could
/// not reach a host that has an address of their own network.
fn cut(state: &State, family: Family, used: &[IpNet]) -> Result<IpNet, ControlError> {
    let hosts: Vec<IpAddr> = state.nodes().filter_map(|node| node.underlay()).collect();
    let cluster = state
        .cluster()
        .ok_or_else(|| ControlError::not_found("cluster", "default"))?;
    let mut candidates = pools(cluster, family)
        .into_iter()
        .filter_map(|pool| pool.subnets(cluster.subnet_size_in(pool)).ok())
        .flatten();
    candidates
        .find(|range| {
            !used.iter().any(|other| overlap(*range, *other))
                && !hosts.iter().any(|host| range.contains(host))
        })
        .ok_or_else(|| {
            ControlError::ResourceExhausted(
                "could not find an available, non-overlapping address pool among the defaults to \
             assign to the network"
                    .to_owned(),
            )
        })
}

/// The cluster's pools of a family.
fn pools(cluster: &Cluster, family: Family) -> Vec<IpNet> {
    let mut pools = cluster.address_pools.clone();
    pools.retain(|pool| Family::of(pool.addr()) == family);
    if pools.is_empty() && family == Family::V6 {
        pools.push(cluster.own_v6_pool());
    }
    pools
}

/// Whether two ranges share an address. Ranges nest or are apart.
pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}
