//! The scene: a lab with everything that routes lead to, and each route as a client's command.
//!
//! Two hosts. `caller` and `near` run on the first, `far` on the second; both servers are
//! published. Next to them plain namespaces, containers of the engine's own, and two more hosts
//! whose engines are a Docker swarm.
//!
//! The containers only sleep: clients and servers are processes of the machine that were put into
//! their network namespaces. A container's cgroups and system call filter cost time too, and a
//! route is to be compared with a bare one by the network alone.

use anyhow::{Context, Result, bail};

use super::many::{self, Many};
use super::measure::{BUSY_PORT, IPERF_PORT, SOCKPERF_PORT, serve};
use super::paths::Route;
use super::plain;
use crate::lab::place::{Place, inspect};
use crate::lab::{self, CLIENT, Daemon, Host, Lab, Options};
use crate::story::cluster::{Cluster, Task};

const NETWORK: &str = "bench";
const BRIDGED_CLIENT: &str = "bridged-client";
const BRIDGED_SERVER: &str = "bridged-server";
const OVERLAY_CLIENT: &str = "overlay-client";
const OVERLAY_SERVER: &str = "overlay-server";
/// Image and command of every container.
const SLEEP: &str = "busybox:1.35 sleep 1000000";
/// Added to a server's port where it is published; below the ports that clients get.
const NEAR_PUBLISHED: u16 = 10_000;
const FAR_PUBLISHED: u16 = 20_000;
const DOCKER_PUBLISHED: u16 = 2_000;

/// How a route is entered.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Where the client runs.
    pub place: Place,
    /// The address it connects to.
    pub address: String,
    /// Where the servers run.
    pub server: Place,
    /// Added to a server's port on this route.
    offset: u16,
}

impl Probe {
    /// A route from a place to an address, which leads to the servers of another place.
    pub fn new(place: Place, address: String, server: Place) -> Self {
        Self {
            place,
            address,
            server,
            offset: 0,
        }
    }

    /// The same with ports that are published so far above those of the servers.
    pub fn published(self, offset: u16) -> Self {
        Self { offset, ..self }
    }

    /// Where a server's port is found on this route.
    pub fn port(&self, port: u16) -> u16 {
        port + self.offset
    }
}

/// A lab on which every route can be measured. It ends when this is dropped.
#[derive(Debug)]
pub struct Scene {
    lab: Lab,
    first: Host,
    second: Host,
    /// Two hosts whose engines form a swarm of their own.
    docker: [Host; 2],
    _many: Many,
}

impl Scene {
    /// Builds it.
    pub fn build() -> Result<Self> {
        let lab = Lab::up(Options {
            bystanders: 2,
            ..Options::swarm(4)
        })?;
        let &[first, second, third, fourth] = lab.hosts() else {
            bail!("the lab should have four hosts");
        };
        plain::create()?;
        serve(&Place::Host(second))?;
        create_services(first, second)?;
        let cluster = Cluster::new(&[first, second]);
        for (service, host) in [("near", first), ("far", second)] {
            serve(&Place::container(host, &cluster.only(service)?.container)?)?;
        }
        create_containers(second)?;
        serve(&Place::container(second, BRIDGED_SERVER)?)?;
        let docker = [third, fourth];
        create_overlay(docker)?;
        serve(&Place::container(fourth, OVERLAY_SERVER)?)?;
        Ok(Self {
            lab,
            first,
            second,
            docker,
            _many: many::create()?,
        })
    }

    /// How a route is entered.
    pub fn probe(&self, route: Route) -> Result<Probe> {
        let (first, second) = (self.first, self.second);
        let cluster = Cluster::new(&[first, second]);
        let task = |host, service| Place::container(host, &cluster.only(service)?.container);
        let near = || task(first, "near");
        let far = || task(second, "far");
        let from_task = |address, server| Ok(Probe::new(task(first, "caller")?, address, server));
        let from_outside = |host: Host| {
            let client = Place::Namespace(CLIENT.to_owned());
            Ok(Probe::new(client, host.address(), far()?).published(FAR_PUBLISHED))
        };
        let own = || "127.0.0.1".to_owned();
        match route {
            Route::Underlay => Ok(plain::underlay()),
            Route::Veth => Ok(plain::veth()),
            Route::Loopback => Ok(plain::loopback()),
            Route::NftDnat => Ok(plain::dnat()),
            Route::HaProxy => Ok(plain::haproxy()),
            Route::Ours(count) => Ok(many::ours(count)),
            Route::Nft(count) => Ok(many::nft(count)),
            Route::HostToHost => {
                let server = Place::Host(second);
                Ok(Probe::new(Place::Host(first), second.address(), server))
            }
            Route::TaskHere => from_task(address(&cluster, &cluster.only("near")?)?, near()?),
            Route::TaskThere => from_task(address(&cluster, &cluster.only("far")?)?, far()?),
            Route::VipHere => from_task(cluster.vip("near", NETWORK)?, near()?),
            Route::VipThere => from_task(cluster.vip("far", NETWORK)?, far()?),
            Route::PublishedDirect => from_outside(second),
            Route::PublishedThrough => from_outside(first),
            Route::PublishedLoopback => {
                let probe = Probe::new(Place::Host(first), own(), near()?);
                Ok(probe.published(NEAR_PUBLISHED))
            }
            Route::DockerProxy => {
                let server = Place::container(second, BRIDGED_SERVER)?;
                let probe = Probe::new(Place::Host(second), own(), server);
                Ok(probe.published(DOCKER_PUBLISHED))
            }
            Route::DockerBridge => between([second; 2], BRIDGED_CLIENT, BRIDGED_SERVER),
            Route::DockerOverlay => between(self.docker, OVERLAY_CLIENT, OVERLAY_SERVER),
        }
    }

    /// Ends the lab and says what went wrong with that.
    pub fn end(self) -> Result<()> {
        self.lab.down()
    }
}

/// From a container to one that is on its only network too.
fn between(hosts: [Host; 2], client: &str, server: &str) -> Result<Probe> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    Ok(Probe::new(
        Place::container(hosts[0], client)?,
        inspect(hosts[1], server, format)?,
        Place::container(hosts[1], server)?,
    ))
}

fn address(cluster: &Cluster, task: &Task) -> Result<String> {
    let network = cluster.network(NETWORK)?;
    let address = task.addresses.get(&network).cloned();
    address.with_context(|| format!("{} has no address on {NETWORK}", task.name))
}

fn create_services(first: Host, second: Host) -> Result<()> {
    lab::orchctl(first)
        .words("network create --driver overlay")
        .arg(NETWORK)
        .ok()?;
    let services = [
        ("caller", first, None),
        ("near", first, Some(NEAR_PUBLISHED)),
        ("far", second, Some(FAR_PUBLISHED)),
    ];
    for (name, host, offset) in services {
        let constraint = format!("node.hostname=={}", host.name());
        let published = offset.map(|offset| publish("--publish", offset));
        lab::orchctl(first)
            .words("service create --network")
            .args([NETWORK, "--name", name, "--constraint", &constraint])
            .args(published.into_iter().flatten())
            .words(SLEEP)
            .ok()?;
    }
    Ok(())
}

/// A client and a server on the engine's own bridge, the server's ports mapped by the engine.
fn create_containers(host: Host) -> Result<()> {
    let no_ports = Vec::new();
    let ports = publish("-p", DOCKER_PUBLISHED);
    for (name, ports) in [(BRIDGED_CLIENT, no_ports), (BRIDGED_SERVER, ports)] {
        lab::docker(host, Daemon::Engine)
            .args(["run", "--detach", "--name", name])
            .args(ports)
            .words(SLEEP)
            .ok()?;
    }
    Ok(())
}

/// Docker's own swarm of two engines, with a client on one and a server on the other.
fn create_overlay([manager, worker]: [Host; 2]) -> Result<()> {
    let engine = |host, words: &str| lab::docker(host, Daemon::Engine).words(words).ok();
    engine(
        manager,
        &format!("swarm init --advertise-addr {}", manager.address()),
    )?;
    let token = engine(manager, "swarm join-token --quiet worker")?;
    let join = format!("swarm join --token {} {}", token.trim(), manager.address());
    engine(worker, &join)?;
    engine(
        manager,
        &format!("network create --driver overlay --attachable {NETWORK}"),
    )?;
    for (host, name) in [(manager, OVERLAY_CLIENT), (worker, OVERLAY_SERVER)] {
        let run = format!("run --detach --name {name} --network {NETWORK} {SLEEP}");
        engine(host, &run)?;
    }
    Ok(())
}

fn publish(flag: &str, offset: u16) -> Vec<String> {
    [SOCKPERF_PORT, BUSY_PORT, IPERF_PORT]
        .into_iter()
        .flat_map(|port| [flag.to_owned(), format!("{}:{port}", port + offset)])
        .collect()
}
