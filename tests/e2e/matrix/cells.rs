//! The cells of the matrix: who speaks to what, how, and who should answer.
//!
//! Pure data. Must not know how a place is entered or an address found.

use std::fmt;

/// A host, as seen from the one that clients are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The same.
    Here,
    /// The other.
    There,
}

impl Side {
    pub const ALL: [Self; 2] = [Self::Here, Self::There];
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A task of a service.
    Task,
    /// A container of `docker run --network`.
    Guest,
    /// A process of a host.
    Host,
    /// A machine that is no host of the cluster.
    Outside,
}

impl Source {
    pub const ALL: [Self; 4] = [Self::Task, Self::Guest, Self::Host, Self::Outside];

    fn is_on_network(self) -> bool {
        matches!(self, Self::Task | Self::Guest)
    }
}

/// At which address of a host a published port is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ingress {
    /// 127.0.0.1 or ::1.
    Loopback,
    /// An address on the network between the hosts.
    Address(Side),
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// The address of a task.
    Task(Side),
    /// The address of the service that asks, whose only task is the one that asks.
    OwnVip,
    /// The virtual address of a service whose only task is on a side.
    Vip(Side),
    /// A published port of a service whose only task is on the side that is named second.
    Published(Ingress, Side),
    /// The same of a service whose network has no IPv6.
    PublishedV4(Ingress, Side),
    /// `tasks.NAME`.
    TasksName(Side),
    /// The name of a dnsrr service.
    DnsrrName(Side),
    /// A process of a host itself.
    HostProcess(Side),
    /// A machine that is no host of the cluster.
    Outside,
}

impl Destination {
    fn all() -> Vec<Self> {
        let of_sides = [
            Self::Task,
            Self::Vip,
            Self::TasksName,
            Self::DnsrrName,
            Self::HostProcess,
        ];
        let mut all = vec![Self::OwnVip, Self::Outside];
        for side in Side::ALL {
            all.extend(of_sides.map(|of| of(side)));
            for published in [Self::Published, Self::PublishedV4] {
                all.push(published(Ingress::Loopback, side));
                all.extend(Side::ALL.map(|at| published(Ingress::Address(at), side)));
            }
        }
        all
    }

    /// The server that should answer.
    pub fn server(self) -> &'static str {
        match self {
            Self::OwnVip => "caller",
            Self::Outside => "client",
            Self::Task(side)
            | Self::Vip(side)
            | Self::Published(_, side)
            | Self::TasksName(side) => match side {
                Side::Here => "near",
                Side::There => "far",
            },
            Self::PublishedV4(_, Side::Here) => "near-v4",
            Self::PublishedV4(_, Side::There) => "far-v4",
            Self::DnsrrName(Side::Here) => "near-rr",
            Self::DnsrrName(Side::There) => "far-rr",
            Self::HostProcess(Side::Here) => "n1",
            Self::HostProcess(Side::There) => "n2",
        }
    }
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

/// The version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

/// One conversation that should work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub source: Source,
    pub destination: Destination,
    pub protocol: Protocol,
    pub family: Family,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            protocol,
            family,
        } = self;
        write!(
            f,
            "{source:?} to {destination:?} by {protocol:?} {family:?}"
        )
    }
}

/// All cells that make sense.
pub fn cells() -> Vec<Cell> {
    let mut all = Vec::new();
    for source in Source::ALL {
        for destination in Destination::all() {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
                for family in [Family::V4, Family::V6] {
                    all.push(Cell {
                        source,
                        destination,
                        protocol,
                        family,
                    });
                }
            }
        }
    }
    all.retain(makes_sense);
    all
}

fn makes_sense(cell: &Cell) -> bool {
    match cell.destination {
        // Overlay addresses are for those on the network, and for hosts.
        Destination::Task(_) | Destination::Vip(_) => cell.source != Source::Outside,
        // Names are for those on the network.
        Destination::TasksName(_) | Destination::DnsrrName(_) | Destination::HostProcess(_) => {
            cell.source.is_on_network()
        }
        Destination::OwnVip => cell.source == Source::Task,
        // An echo request has no port; the loopback is the host's own.
        Destination::Published(ingress, _) | Destination::PublishedV4(ingress, _) => {
            cell.protocol != Protocol::Icmp
                && (ingress != Ingress::Loopback || cell.source == Source::Host)
        }
        // Between machines no program of ours has a part; scenarios watch that anyhow.
        Destination::Outside => cell.source.is_on_network(),
    }
}

#[test]
fn every_source_and_destination_has_cells_of_both_families() {
    let cells = cells();
    for family in [Family::V4, Family::V6] {
        let of_family = || cells.iter().filter(|cell| cell.family == family);
        for source in Source::ALL {
            assert!(of_family().any(|cell| cell.source == source), "{source:?}");
        }
        for destination in Destination::all() {
            let mut with = of_family().filter(|cell| cell.destination == destination);
            assert!(with.next().is_some(), "{destination:?}");
        }
    }
}
