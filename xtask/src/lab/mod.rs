//! The lab: several hosts on one machine, each with its own Docker Engine and its own orchd.
//!
//! Owns the hosts from `lab up` to `lab down`; must not know what is tried on them. A host is a
//! network namespace with a process tree and a file tree of its own ([`host`]), joined to the
//! others by a wire ([`links`]).

mod cluster;
mod daemons;
pub mod host;
pub mod http;
mod images;
mod layout;
pub mod links;
mod lock;
pub mod place;
pub mod probe;
mod sweep;

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cmd::Cmd;
use crate::workspace;
pub use host::{Daemon, Host};
use layout::Description;
pub use layout::{
    CLIENT, DEFAULT_MTU, MAX_NODES, RUN, STATE, SWITCH, address, address6, client_address,
    client_address6, kept_logs, netns, switch_address,
};
use lock::Lock;
pub use sweep::{leftovers, sweep};

/// IPv6 does not work on links with less (RFC 8200, section 5).
const IPV6_LEAST_MTU: u16 = 1280;

/// What a lab should look like.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many hosts.
    pub nodes: u8,
    /// How many of them are managers.
    pub managers: u8,
    /// Only run the daemons, make no swarm of them.
    pub no_init: bool,
    /// Run the engines alone, without orchd.
    pub engines_only: bool,
    /// How many of the hosts, the last ones, only run an engine and are no part of the swarm.
    pub bystanders: u8,
    /// Largest packet on the hosts' network, in bytes.
    pub mtu: u16,
    /// Containers outlive their engine.
    pub live_restore: bool,
}

impl Options {
    /// Hosts with both daemons, not yet a swarm.
    pub fn daemons(nodes: u8) -> Self {
        Self {
            nodes,
            managers: 1,
            no_init: true,
            engines_only: false,
            bystanders: 0,
            mtu: DEFAULT_MTU,
            live_restore: false,
        }
    }

    /// A swarm with one manager.
    pub fn swarm(nodes: u8) -> Self {
        Self {
            no_init: false,
            ..Self::daemons(nodes)
        }
    }
}

/// A lab that ends when this value is dropped, unless it is kept.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<Host>,
    keep: bool,
    _lock: Lock,
}

impl Lab {
    /// Starts a lab; first ends what a crashed one may have left.
    pub fn up(options: Options) -> Result<Self> {
        check(options)?;
        let lock = Lock::take()?;
        if Description::load().is_ok_and(|lab| lab.is_some_and(|lab| lab.kept)) {
            bail!("a lab is up already; `cargo xtask lab down` ends it");
        }
        sweep()?;
        images::prepare()?;
        Description {
            nodes: options.nodes,
            managers: 0,
            kept: false,
            live_restore: options.live_restore,
        }
        .save()?;
        let hosts = (1..=options.nodes).map(Host::new).collect();
        let lab = Self {
            hosts,
            keep: false,
            _lock: lock,
        };
        lab.start(options).with_context(|| {
            format!(
                "the lab does not start; its logs are in {}",
                kept_logs().display()
            )
        })?;
        Ok(lab)
    }

    /// The hosts, n1 first.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Lets the lab outlive this process.
    pub fn keep(mut self) -> Result<()> {
        let mut description = Description::load()?.context("the lab has lost its description")?;
        description.kept = true;
        description.save()?;
        self.keep = true;
        Ok(())
    }

    /// Ends the lab and says what went wrong with that, which dropping it cannot.
    pub fn down(mut self) -> Result<()> {
        self.keep = true;
        sweep()
    }

    fn start(&self, options: Options) -> Result<()> {
        links::create(options.nodes, options.mtu)?;
        let members = match options.engines_only {
            true => &[],
            false => &self.hosts[..usize::from(options.nodes - options.bystanders)],
        };
        self.on_all(|host| {
            host.boot(options.nodes)?;
            daemons::start(host, Daemon::Engine)?;
            images::import(host)?;
            if members.contains(&host) {
                daemons::start(host, Daemon::Orchd)?;
            }
            Ok(())
        })?;
        if !options.no_init && !options.engines_only {
            cluster::form(members, usize::from(options.managers))?;
            Description {
                nodes: options.nodes,
                managers: options.managers,
                kept: false,
                live_restore: options.live_restore,
            }
            .save()?;
        }
        Ok(())
    }

    /// Does something on all hosts at the same time; the first error of any.
    pub fn on_all(&self, work: impl Fn(Host) -> Result<()> + Sync) -> Result<()> {
        thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = self
                .hosts
                .iter()
                .map(|&host| (host, scope.spawn(move || work(host))))
                .collect();
            let ended = running
                .into_iter()
                .map(|(host, thread)| match thread.join() {
                    Ok(result) => result.with_context(|| format!("on {}", host.name())),
                    Err(_) => bail!("the work on {} panicked", host.name()),
                });
            ended.collect::<Vec<_>>().into_iter().collect()
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = sweep()
        {
            println!("the lab could not be ended wholly: {error:#}");
        }
    }
}

/// `lab down`: ends the machine's lab, whoever made it.
pub fn down() -> Result<()> {
    let _lock = Lock::take()?;
    sweep()?;
    let left = leftovers()?;
    if left.is_empty() {
        Ok(())
    } else {
        bail!("left behind: {}", left.join(", "))
    }
}

/// Starts a daemon that was killed.
pub fn start(host: Host, daemon: Daemon) -> Result<()> {
    daemons::start(host, daemon)
}

/// What a shell needs to talk to a host: names and values of variables.
pub fn variables(host: Host) -> Vec<(&'static str, String)> {
    let unix = |daemon| format!("unix://{}", host.socket(daemon).display());
    vec![
        ("DOCKER_HOST", unix(Daemon::Orchd)),
        ("ORCH_HOST", unix(Daemon::Orchd)),
        ("ENGINE_HOST", unix(Daemon::Engine)),
        ("NETNS", netns(&host.name())),
        ("NODE_IP", host.address()),
        ("NODE_IP6", host.address6()),
    ]
}

/// `orchctl` against a host's orchd.
pub fn orchctl(host: Host) -> Cmd {
    towards(host, Cmd::new(workspace::binary("orchctl")))
}

/// The same, ended after a time: for what ends by itself only when somebody ends it.
pub fn orchctl_for(host: Host, time: Duration) -> Cmd {
    let timeout = Cmd::new("timeout").arg(time.as_secs().to_string());
    towards(host, timeout.arg(workspace::binary("orchctl")))
}

fn towards(host: Host, orchctl: Cmd) -> Cmd {
    let socket = host.socket(Daemon::Orchd);
    orchctl
        .env("ORCH_HOST", format!("unix://{}", socket.display()))
        .env("NO_COLOR", "1")
}

/// The stock `docker` CLI against one of a host's daemons.
pub fn docker(host: Host, daemon: Daemon) -> Cmd {
    Cmd::new("docker")
        .env(
            "DOCKER_HOST",
            format!("unix://{}", host.socket(daemon).display()),
        )
        .env_remove("DOCKER_CONTEXT")
}

fn check(options: Options) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the lab makes network namespaces and runs Docker Engines: run this as root");
    }
    if !(1..=MAX_NODES).contains(&options.nodes) {
        bail!(
            "--nodes must be between 1 and {MAX_NODES}, not {}",
            options.nodes
        );
    }
    if options.mtu < IPV6_LEAST_MTU {
        bail!(
            "--mtu must be at least {IPV6_LEAST_MTU}, not {}",
            options.mtu
        );
    }
    if !(1..=options.nodes).contains(&options.managers) {
        bail!(
            "--managers must be between 1 and the number of nodes, not {}",
            options.managers
        );
    }
    Ok(())
}
