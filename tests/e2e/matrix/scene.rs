//! The scene of the matrix: two hosts, services on both, and where each cell begins and ends.
//!
//! `caller` and `near` run on the first host, `far` on the second; those with `-rr` are dnsrr, and
//! those with `-v4` have no IPv6. All clients but the outside one are on the first host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use xtask::lab::place::Place;
use xtask::lab::probe;
use xtask::lab::{self, CLIENT, Daemon, Host, client_address, client_address6};
use xtask::story::cluster::Task;
use xtask::story::stage::Stage;

use super::cells::{Cell, Destination, Family, Ingress, Protocol, Side, Source};
use crate::watch;

const NETWORK: &str = "matrix";
/// One without IPv6.
const NETWORK_V4: &str = "matrix-v4";
const GUEST: &str = "guest";
/// Image and command of every container; servers and clients are put into their networks.
const SLEEP: &str = "busybox:1.35 sleep 1000000";
/// Where the servers of tasks listen.
const PORT: u16 = 7000;
/// Where `near` and `far` are published.
const NEAR_PUBLISHED: u16 = 8001;
const FAR_PUBLISHED: u16 = 8002;
/// The same of `near-v4` and `far-v4`.
const NEAR_V4_PUBLISHED: u16 = 8003;
const FAR_V4_PUBLISHED: u16 = 8004;

type Addresses = BTreeMap<(&'static str, Family), String>;

/// Everything that cells lead from and to.
pub struct Scene {
    hosts: [Host; 2],
    places: BTreeMap<Source, Place>,
    /// Addresses of tasks, by service and family.
    tasks: Addresses,
    vips: Addresses,
}

impl Scene {
    /// Creates the services and starts all servers.
    pub fn build(stage: &Stage) -> Result<Self> {
        let hosts = [stage.host(1)?, stage.host(2)?];
        for options in [&format!("--ipv6 --attachable {NETWORK}"), NETWORK_V4] {
            let words = format!("network create --driver overlay {options}");
            stage.orchctl(hosts[0], &words)?;
        }
        let services = [
            ("caller", hosts[0], ""),
            ("near", hosts[0], &publish(NEAR_PUBLISHED)),
            ("far", hosts[1], &publish(FAR_PUBLISHED)),
            ("near-rr", hosts[0], "--endpoint-mode dnsrr"),
            ("far-rr", hosts[1], "--endpoint-mode dnsrr"),
            ("near-v4", hosts[0], &publish(NEAR_V4_PUBLISHED)),
            ("far-v4", hosts[1], &publish(FAR_V4_PUBLISHED)),
        ];
        for (name, host, options) in services {
            let words = format!(
                "service create --detach --name {name} --network {} {options} \
                 --constraint node.hostname=={} {SLEEP}",
                network_of(name),
                host.name()
            );
            stage.orchctl(hosts[0], &words)?;
        }
        let mut scene = Self {
            hosts,
            places: BTreeMap::new(),
            tasks: BTreeMap::new(),
            vips: BTreeMap::new(),
        };
        for (name, host, _) in services {
            scene.start(stage, name, host)?;
        }
        scene.place_clients(stage)?;
        Ok(scene)
    }

    fn start(&mut self, stage: &Stage, service: &'static str, host: Host) -> Result<()> {
        stage.running(service, 1)?;
        let task = stage.cluster.only(service)?;
        let place = Place::container(host, &task.container)?;
        probe::serve(&place, service, PORT, &[])?;
        if network_of(service) == NETWORK {
            self.note_addresses(stage, service, &task)?;
        }
        if service == "caller" {
            self.places.insert(Source::Task, place);
        }
        Ok(())
    }

    fn note_addresses(&mut self, stage: &Stage, service: &'static str, task: &Task) -> Result<()> {
        let network = stage.cluster.network(NETWORK)?;
        let none = || format!("{service} has not both addresses");
        for (family, addresses) in [
            (Family::V4, &task.addresses),
            (Family::V6, &task.addresses6),
        ] {
            let address = addresses.get(&network).with_context(none)?;
            self.tasks.insert((service, family), address.clone());
        }
        if !service.ends_with("-rr") {
            let (v4, v6) = (
                stage.cluster.vip(service, NETWORK)?,
                stage.cluster.vip6(service, NETWORK)?,
            );
            self.vips.insert((service, Family::V4), v4);
            self.vips.insert((service, Family::V6), v6);
        }
        Ok(())
    }

    fn place_clients(&mut self, stage: &Stage) -> Result<()> {
        let first = self.hosts[0];
        let client = Place::Namespace(CLIENT.to_owned());
        let own = [client_address(), client_address6()];
        probe::serve(&client, "client", watch::PORT, &own)?;
        lab::docker(first, Daemon::Engine)
            .words(&format!(
                "run --detach --name {GUEST} --network {NETWORK} {SLEEP}"
            ))
            .ok()?;
        stage.holds("everything runs", Ok(()))?;
        self.places
            .insert(Source::Guest, Place::container(first, GUEST)?);
        self.places.insert(Source::Host, Place::Host(first));
        self.places.insert(Source::Outside, client);
        Ok(())
    }

    /// Where a cell's client runs.
    pub fn place(&self, source: Source) -> &Place {
        &self.places[&source]
    }

    /// What a cell's client is told to ask.
    pub fn target(&self, cell: &Cell) -> Result<String> {
        let protocol = match cell.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
        };
        let family = match cell.family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        let (host, port) = self.end(cell)?;
        Ok(format!("{protocol},{host},{port},{family}"))
    }

    fn end(&self, cell: &Cell) -> Result<(String, u16)> {
        let server = cell.destination.server();
        let of = |addresses: &Addresses| {
            let address = addresses.get(&(server, cell.family)).cloned();
            Ok((address.context("no such address")?, PORT))
        };
        match cell.destination {
            Destination::Task(_) => of(&self.tasks),
            Destination::OwnVip | Destination::Vip(_) => of(&self.vips),
            Destination::TasksName(_) => Ok((format!("tasks.{server}"), PORT)),
            Destination::DnsrrName(_) => Ok((server.to_owned(), PORT)),
            Destination::Published(ingress, backend) => {
                let port = match backend {
                    Side::Here => NEAR_PUBLISHED,
                    Side::There => FAR_PUBLISHED,
                };
                Ok((self.ingress(ingress, cell.family), port))
            }
            Destination::PublishedV4(ingress, backend) => {
                let port = match backend {
                    Side::Here => NEAR_V4_PUBLISHED,
                    Side::There => FAR_V4_PUBLISHED,
                };
                Ok((self.ingress(ingress, cell.family), port))
            }
            Destination::HostProcess(side) => {
                Ok((self.host_address(side, cell.family), watch::PORT))
            }
            Destination::Outside => Ok((outside(cell.family), watch::PORT)),
        }
    }

    fn ingress(&self, ingress: Ingress, family: Family) -> String {
        match (ingress, family) {
            (Ingress::Loopback, Family::V4) => "127.0.0.1".to_owned(),
            (Ingress::Loopback, Family::V6) => "::1".to_owned(),
            (Ingress::Address(side), _) => self.host_address(side, family),
        }
    }

    fn host_address(&self, side: Side, family: Family) -> String {
        let host = self.hosts[side as usize];
        match family {
            Family::V4 => host.address(),
            Family::V6 => host.address6(),
        }
    }

    /// The address that a cell's server should see, where that is promised.
    pub fn seen(&self, cell: &Cell) -> Result<Option<IpAddr>> {
        let seen = match (cell.source, cell.destination) {
            // A task without IPv6 sees the host that leads the client to it.
            (Source::Outside, Destination::PublishedV4(Ingress::Address(side), _))
                if cell.family == Family::V6 =>
            {
                self.host_address(side, Family::V4)
            }
            (Source::Outside, _) => outside(cell.family),
            (
                Source::Host,
                Destination::Task(_)
                | Destination::Vip(_)
                | Destination::Published(Ingress::Address(Side::There), _),
            )
            | (_, Destination::Outside) => self.host_address(Side::Here, cell.family),
            (
                Source::Task,
                Destination::Task(_)
                | Destination::Vip(_)
                | Destination::TasksName(_)
                | Destination::DnsrrName(_),
            ) => self.tasks[&("caller", cell.family)].clone(),
            _ => return Ok(None),
        };
        Ok(Some(seen.parse()?))
    }
}

/// The network of a service's tasks.
fn network_of(service: &str) -> &'static str {
    if service.ends_with("-v4") {
        NETWORK_V4
    } else {
        NETWORK
    }
}

fn publish(port: u16) -> String {
    format!("--publish {port}:{PORT}/tcp --publish {port}:{PORT}/udp")
}

fn outside(family: Family) -> String {
    match family {
        Family::V4 => client_address(),
        Family::V6 => client_address6(),
    }
}
