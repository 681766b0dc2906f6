//! An overlay network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Labels, Meta};
use crate::ids::NetworkId;
use crate::network::{Family, Subnet, Vni};

/// Name of the network of tasks that name no network of their own.
pub const INGRESS: &str = "ingress";

/// An overlay network of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Versions and times.
    pub meta: Meta,
    /// What the user asked for; never changes.
    pub spec: NetworkSpec,
    /// Its tunnel identifier.
    pub vni: Vni,
    /// The ranges in use, as asked for or cut from the cluster's pools.
    pub subnets: Vec<Subnet>,
    /// The IPv4 address given out last. The search for a free one goes on behind it, so that an
    /// address rests before it is used again.
    #[serde(default)]
    pub last_address: Option<IpAddr>,
    /// The same for IPv6.
    #[serde(default)]
    pub last_address_v6: Option<IpAddr>,
}

impl Network {
    /// The families of its ranges.
    pub fn families(&self) -> BTreeSet<Family> {
        let gateways = self.subnets.iter().map(|subnet| subnet.gateway);
        gateways.map(Family::of).collect()
    }
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Unique name.
    pub name: String,
    /// User labels.
    pub labels: Labels,
    /// Whether `docker run --network` may use it.
    pub attachable: bool,
    /// Whether it has no way outside.
    pub internal: bool,
    /// Whether it is the network of tasks that name none. One at most.
    pub ingress: bool,
    /// Whether it has IPv6 beside IPv4.
    #[serde(default)]
    pub ipv6: bool,
    /// Ranges asked for; of a family without one, one is taken from the cluster's pools.
    pub ipam: Vec<IpamConfig>,
    /// Driver options, kept for the round trip.
    pub driver_options: BTreeMap<String, String>,
}

/// One range asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamConfig {
    /// The range, host bits zero.
    pub subnet: IpNet,
    /// Gateway inside it; `None` takes the first address.
    pub gateway: Option<IpAddr>,
    /// Part of the range that task addresses are taken from.
    pub range: Option<IpNet>,
}
