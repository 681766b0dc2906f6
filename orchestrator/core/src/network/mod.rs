//! What one node's data plane must hold, as one pure value.
//!
//! [`DesiredNetwork`] is computed from the committed store for one node, travels through the
//! dispatcher with its version, and is applied by the data plane, which diffs it against what it
//! holds. Nothing here knows about BPF maps, links or namespaces.

mod desired;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use desired::desired;
pub(crate) use desired::{drain_time, networks_of};

use crate::ids::NetworkId;

/// VXLAN network identifier of an overlay network: 24 bits, from 4096 up as in Swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vni(pub u32);

impl Vni {
    /// The lowest identifier given to a network; lower ones are reserved on Windows hosts.
    pub const MIN: Self = Self(4096);
    /// The highest identifier a VXLAN header can carry.
    pub const MAX: Self = Self((1 << 24) - 1);
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address family.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Its unspecified address: `0.0.0.0` or `::`.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// Transport protocol of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// One address range of an overlay network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The range, host bits zero.
    pub range: IpNet,
    /// The anycast gateway: every node answers for it, and it serves DNS to tasks.
    pub gateway: IpAddr,
}

/// An overlay network as a data plane sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayNetwork {
    /// The object it stems from.
    pub id: NetworkId,
    /// Its address ranges.
    pub subnets: Vec<Subnet>,
    /// Whether tasks on it must not reach the outside.
    pub internal: bool,
}

/// Where clients knock: an address and port that stands for a set of backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Frontend {
    /// A service's virtual address inside one network. Every port and protocol of it leads to the
    /// same port of a backend, as in Swarm.
    Vip {
        /// The network that the address belongs to.
        vni: Vni,
        /// The virtual address.
        address: IpAddr,
    },
    /// A port of this host.
    Published {
        /// Transport protocol.
        protocol: Protocol,
        /// Port on the host.
        port: u16,
        /// The only address of the host that answers; `0.0.0.0` or `::`: all of that family.
        /// The backends are of the same family.
        address: IpAddr,
    },
}

/// What stands behind a frontend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Name of the service, under which its frontends are counted together.
    pub service: String,
    /// Who serves. An empty set is an answer too: the frontend refuses.
    pub backends: BTreeSet<Backend>,
    /// For how many seconds after its last conversation a client comes to the same backend again;
    /// `None`: it need not.
    pub affinity: Option<u32>,
    /// Whether replies leave the backend's host straight to the client.
    pub direct_return: bool,
    /// Which clients may come.
    pub sources: Sources,
    /// Whether the address is one that a task had until lately: conversations that it has go on,
    /// and only new ones are led to the backends.
    pub retired: bool,
}

/// Which clients a published port takes. The longest range that holds a client's address decides;
/// if none does, a client may come exactly if nothing is allowed by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sources {
    /// Ranges whose clients may come, host bits zero.
    pub allow: BTreeSet<IpNet>,
    /// Ranges whose clients may not come, host bits zero.
    pub deny: BTreeSet<IpNet>,
}

/// A live, healthy task that serves a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Backend {
    /// Network over which the task is reached.
    pub vni: Vni,
    /// The task's address in that network; an entry of [`DesiredNetwork::endpoints`].
    pub address: IpAddr,
    /// The task's port; `None` keeps the port that the client used (VIPs).
    pub port: Option<u16>,
}

/// Everything that one node's data plane must hold.
///
/// Local task interfaces are not part of it: they come and go with the containers of the host,
/// through the engine's network driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredNetwork {
    /// Store version it was computed from; acknowledged by the node once applied.
    pub version: u64,
    /// Underlay addresses of the other nodes; tunnel packets from anyone else are dropped.
    pub peers: BTreeSet<IpAddr>,
    /// The overlay networks.
    pub networks: BTreeMap<Vni, OverlayNetwork>,
    /// Every task address of the cluster and the underlay address of the node that hosts it,
    /// this node's own tasks included.
    pub endpoints: BTreeMap<(Vni, IpAddr), IpAddr>,
    /// What stands behind each frontend.
    pub frontends: BTreeMap<Frontend, Pool>,
    /// Names per network, lower case without the final dot, and the addresses they stand for.
    /// An empty set is a name that exists and has no address, as opposed to one to ask others for.
    pub names: BTreeMap<(Vni, String), BTreeSet<IpAddr>>,
    /// Endpoints that take no new clients and go on for those they have: each node says how many
    /// conversations it still leads there.
    #[serde(default)]
    pub draining: BTreeSet<(Vni, IpAddr)>,
}
