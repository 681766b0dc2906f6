//! What the programs would do with the first packet of a conversation, host by host, and why.
//!
//! Pure: it follows the order in which the programs decide, on desired states instead of maps. So
//! it answers for every host of the cluster, and sends nothing. That both decide alike is held by
//! the fixtures' `trace`. What a flow says of a conversation that is under way is not asked.

mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use orch_core::network::{Backend, DesiredNetwork, Family, Protocol, Vni};
use orch_ebpf_common::{Address, DropReason};

/// A trace ends after this many hosts: nothing has a longer way.
const MAX_HOPS: usize = 256;

/// What the packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// An echo request.
    Ping,
    /// The first packet to a port.
    Port(Protocol, u16),
}

/// The packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// What it carries.
    pub transport: Transport,
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.source, self.destination);
        match self.transport {
            Transport::Ping => write!(f, "ping {from} -> {to}"),
            Transport::Port(protocol, port) if to.is_ipv6() => {
                write!(f, "{protocol} {from} -> [{to}]:{port}")
            }
            Transport::Port(protocol, port) => write!(f, "{protocol} {from} -> {to}:{port}"),
        }
    }
}

/// Who sends the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The task that has the source address in this network.
    Task(Vni),
    /// A process of the host.
    Process,
    /// Somebody outside, or another host of the cluster.
    Outside,
}

/// A host as far as its programs' decisions depend on it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// What its data plane holds.
    pub desired: DesiredNetwork,
    /// Its own addresses, the one for tunnels included.
    pub addresses: BTreeSet<IpAddr>,
    /// The addresses of containers that are attached there; `None` where that is not known: then
    /// those are taken for attached that should be.
    pub attached: Option<BTreeSet<(Vni, IpAddr)>>,
}

/// The hosts of a cluster, by their addresses for tunnels, and what people call things.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The hosts.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// Names of hosts.
    pub host_names: BTreeMap<IpAddr, String>,
    /// Names of networks.
    pub network_names: BTreeMap<Vni, String>,
}

/// What one host does with the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The host, by its address for tunnels.
    pub node: IpAddr,
    /// The program that sees the packet.
    pub program: &'static str,
    /// The packet as it comes in.
    pub packet: Packet,
    /// What is decided, one after the other, and why.
    pub steps: Vec<String>,
    /// What becomes of it: one outcome for each backend that may be chosen, else one.
    pub outcomes: Vec<Outcome>,
}

/// What becomes of a packet on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A task of this host gets it.
    Delivered(Vni, IpAddr),
    /// It goes through the tunnel to another host, for a task there.
    Tunnelled {
        /// The other host.
        node: IpAddr,
        /// The network.
        vni: Vni,
        /// The packet as it leaves.
        packet: Packet,
    },
    /// The host's own stack gets it.
    Host,
    /// It leaves the cluster's networks, by the host's routing table.
    Outside(Packet),
    /// The program answers itself.
    Answered(Answer),
    /// It is dropped, and counted under this reason.
    Dropped(DropReason),
}

/// An answer that a program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An echo reply.
    Echo,
    /// A TCP reset.
    Reset,
    /// An SCTP packet that ends the association.
    Abort,
    /// ICMP port unreachable.
    PortUnreachable,
    /// ICMP host unreachable.
    HostUnreachable,
}

impl Host {
    /// Its address of a family: that for tunnels, `node`, if it is one.
    fn address(&self, node: IpAddr, family: Family) -> Option<IpAddr> {
        let mut own = std::iter::once(&node).chain(&self.addresses);
        own.find(|address| Family::of(**address) == family).copied()
    }

    /// A packet of a process of the host `node`, which people name by one of its addresses,
    /// whatever family it speaks.
    fn sends(&self, node: IpAddr, packet: Packet) -> Packet {
        let family = Family::of(packet.destination);
        if Family::of(packet.source) == family {
            return packet;
        }
        let host_link = Address::host_link(family == Family::V4).into();
        Packet {
            source: self.address(node, family).unwrap_or(host_link),
            ..packet
        }
    }
}

/// Follows a packet from where it is first seen, the host `node`.
pub fn trace(cluster: &Cluster, node: IpAddr, sender: Sender, packet: Packet) -> Vec<Hop> {
    let packet = match (sender, cluster.hosts.get(&node)) {
        (Sender::Process, Some(host)) => host.sends(node, packet),
        _ => packet,
    };
    let mut waiting = vec![(node, Entry::of(sender), packet)];
    let mut hops: Vec<Hop> = Vec::new();
    while let Some((node, entry, packet)) = waiting.pop() {
        let Some(host) = cluster.hosts.get(&node) else {
            continue;
        };
        let (steps, outcomes) = programs::decide(cluster, node, host, entry, packet);
        let next = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Tunnelled {
                node: to,
                vni,
                packet,
            } => Some((*to, Entry::Overlay(*vni, node), *packet)),
            Outcome::Outside(packet) => cluster
                .host_of(packet.destination)
                .filter(|host| *host != node)
                .map(|host| (host, Entry::Uplink, *packet)),
            Outcome::Delivered(..) | Outcome::Host | Outcome::Answered(_) | Outcome::Dropped(_) => {
                None
            }
        });
        // The hosts come in the order of the backends.
        let next: Vec<_> = next.collect();
        waiting.extend(next.into_iter().rev());
        hops.push(Hop {
            node,
            program: entry.program(),
            packet,
            steps,
            outcomes,
        });
        if hops.len() == MAX_HOPS {
            break;
        }
    }
    hops
}

/// Where a packet meets the programs of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Task(Vni),
    Overlay(Vni, IpAddr),
    Uplink,
    Process,
}

impl Entry {
    fn of(sender: Sender) -> Self {
        match sender {
            Sender::Task(vni) => Self::Task(vni),
            Sender::Process => Self::Process,
            Sender::Outside => Self::Uplink,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Task(_) => "task_ingress",
            Self::Overlay(..) => "overlay_ingress",
            Self::Uplink => "uplink_ingress",
            Self::Process => "host_ingress",
        }
    }
}

impl Cluster {
    /// The host that has an address of its own, not of a task.
    pub fn host_of(&self, address: IpAddr) -> Option<IpAddr> {
        let mut hosts = self.hosts.iter();
        hosts
            .find(|(node, host)| **node == address || host.addresses.contains(&address))
            .map(|(node, _)| *node)
    }

    /// What people call a host.
    pub fn host_name(&self, node: IpAddr) -> String {
        match self.host_names.get(&node) {
            Some(name) => format!("{name} ({node})"),
            None => node.to_string(),
        }
    }

    /// What people call a network.
    pub fn network_name(&self, vni: Vni) -> String {
        match self.network_names.get(&vni) {
            Some(name) => format!("network {name}"),
            None => format!("network {vni}"),
        }
    }

    /// An outcome in words.
    pub fn words(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Delivered(vni, address) => format!(
                "delivered to the task at {address} in {}",
                self.network_name(*vni)
            ),
            Outcome::Tunnelled { node, packet, .. } => format!(
                "through the tunnel to {}, for the task at {}",
                self.host_name(*node),
                packet.destination
            ),
            Outcome::Host => "given to the host's own stack".to_owned(),
            Outcome::Outside(packet) => format!(
                "leaves for {} from {}, by the host's routing table",
                packet.destination, packet.source
            ),
            Outcome::Answered(Answer::Echo) => "answered: echo reply".to_owned(),
            Outcome::Answered(Answer::Reset) => "refused: TCP reset".to_owned(),
            Outcome::Answered(Answer::Abort) => "refused: SCTP abort".to_owned(),
            Outcome::Answered(Answer::PortUnreachable) => {
                "refused: ICMP port unreachable".to_owned()
            }
            Outcome::Answered(Answer::HostUnreachable) => {
                "refused: ICMP host unreachable".to_owned()
            }
            Outcome::Dropped(reason) => format!("dropped: {}", reason.name()),
        }
    }
}

impl Outcome {
    /// A word for it, for programs that read it.
    pub fn verdict(&self) -> &'static str {
        match self {
            Self::Delivered(..) => "delivered",
            Self::Tunnelled { .. } => "tunnelled",
            Self::Host => "host",
            Self::Outside(_) => "outside",
            Self::Answered(Answer::Echo) => "answered",
            Self::Answered(_) => "refused",
            Self::Dropped(_) => "dropped",
        }
    }
}

/// The packet, led to a backend.
fn to_backend(packet: Packet, backend: &Backend) -> Packet {
    let transport = match (packet.transport, backend.port) {
        (Transport::Port(protocol, _), Some(port)) => Transport::Port(protocol, port),
        (kept, _) => kept,
    };
    Packet {
        destination: backend.address,
        transport,
        ..packet
    }
}

#[cfg(test)]
mod tests;
