//! The scene: a lab with everything that routes lead to, and each route as a client's command.
//!
//! Two hosts. `caller` and `near` run on the first, `far` on the second; both servers are
//! published. Next to them plain namespaces and containers of the engine's own.
//!
//! The containers only sleep: clients and servers are processes of the machine that were put into
//! their network namespaces. A container's cgroups and system call filter cost time too, and a
//! route is to be compared with a bare one by the network alone.

use anyhow::{Context, Result, bail};

use super::measure::{IPERF_PORT, SOCKPERF_PORT, serve};
use super::paths::Route;
use super::plain;
use crate::lab::place::{Place, inspect};
use crate::lab::{self, CLIENT, Daemon, Host, Lab, Options};
use crate::story::cluster::{Cluster, Task};

const NETWORK: &str = "bench";
const BRIDGED_CLIENT: &str = "bridged-client";
const BRIDGED_SERVER: &str = "bridged-server";
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
    /// The port that leads to sockperf's server.
    pub sockperf_port: u16,
    /// The port that leads to iperf3's server.
    pub iperf_port: u16,
}

impl Probe {
    fn new(place: Place, address: String) -> Self {
        Self {
            place,
            address,
            sockperf_port: SOCKPERF_PORT,
            iperf_port: IPERF_PORT,
        }
    }

    fn published(self, offset: u16) -> Self {
        Self {
            sockperf_port: SOCKPERF_PORT + offset,
            iperf_port: IPERF_PORT + offset,
            ..self
        }
    }
}

/// A lab on which every route can be measured. It ends when this is dropped.
#[derive(Debug)]
pub struct Scene {
    lab: Lab,
    first: Host,
    second: Host,
}

impl Scene {
    /// Builds it.
    pub fn build() -> Result<Self> {
        let lab = Lab::up(Options::swarm(2))?;
        let &[first, second] = lab.hosts() else {
            bail!("the lab should have two hosts");
        };
        plain::create()?;
        serve(&Place::Host(second))?;
        create_services(first, second)?;
        let cluster = Cluster::new(lab.hosts());
        for (service, host) in [("near", first), ("far", second)] {
            serve(&Place::container(host, &cluster.only(service)?.container)?)?;
        }
        create_containers(second)?;
        serve(&Place::container(second, BRIDGED_SERVER)?)?;
        Ok(Self { lab, first, second })
    }

    /// How a route is entered.
    pub fn probe(&self, route: Route) -> Result<Probe> {
        let (first, second) = (self.first, self.second);
        let cluster = Cluster::new(self.lab.hosts());
        let from_task = |address| {
            let caller = cluster.only("caller")?;
            let place = Place::container(first, &caller.container)?;
            Ok(Probe::new(place, address))
        };
        let from_outside = |host: Host| {
            Probe::new(Place::Namespace(CLIENT.to_owned()), host.address()).published(FAR_PUBLISHED)
        };
        let from_host = |host, address| Probe::new(Place::Host(host), address);
        let own = || "127.0.0.1".to_owned();
        match route {
            Route::Underlay => Ok(plain::underlay()),
            Route::Veth => Ok(plain::veth()),
            Route::Loopback => Ok(plain::loopback()),
            Route::NftDnat => Ok(plain::dnat()),
            Route::HostToHost => Ok(from_host(first, second.address())),
            Route::TaskHere => from_task(address(&cluster, &cluster.only("near")?)?),
            Route::TaskThere => from_task(address(&cluster, &cluster.only("far")?)?),
            Route::VipHere => from_task(cluster.vip("near", NETWORK)?),
            Route::VipThere => from_task(cluster.vip("far", NETWORK)?),
            Route::PublishedDirect => Ok(from_outside(second)),
            Route::PublishedThrough => Ok(from_outside(first)),
            Route::PublishedLoopback => Ok(from_host(first, own()).published(NEAR_PUBLISHED)),
            Route::DockerProxy => Ok(from_host(second, own()).published(DOCKER_PUBLISHED)),
            Route::DockerBridge => Ok(Probe::new(
                Place::container(second, BRIDGED_CLIENT)?,
                inspect(second, BRIDGED_SERVER, "{{.NetworkSettings.IPAddress}}")?,
            )),
        }
    }

    /// Ends the lab and says what went wrong with that.
    pub fn end(self) -> Result<()> {
        self.lab.down()
    }
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

fn publish(flag: &str, offset: u16) -> Vec<String> {
    [SOCKPERF_PORT, IPERF_PORT]
        .into_iter()
        .flat_map(|port| [flag.to_owned(), format!("{}:{port}", port + offset)])
        .collect()
}
