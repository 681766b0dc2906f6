//! An overlay network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Labels, Meta};
use crate::ids::NetworkId;
use crate::network::{Subnet, Vni};

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
    /// The address given out last. The search for a free one goes on behind it, so that an
    /// address rests before it is used again.
    #[serde(default)]
    pub last_address: Option<IpAddr>,
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
    /// Ranges asked for; empty takes one from the cluster's pools.
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
