//! An engine is restarted under its containers, or takes them along.

use std::fs;

use anyhow::{Context, Result, ensure};
use xtask::lab::place::Place;
use xtask::lab::{self, CLIENT, Daemon, Host, Options, probe};
use xtask::story::cluster::Task;
use xtask::story::stage::{SOON, Stage};
use xtask::wait;

use crate::harness::{in_lab, in_watched_lab};

const SLEEP: &str = "busybox:1.35 sleep 1000000";
/// Where the task's server listens, and the port that is published for it.
const PORT: u16 = 7000;
const PUBLISHED: u16 = 8001;

/// A service with one task on a host.
fn create(stage: &Stage, name: &str, host: Host, options: &str) -> Result<Task> {
    let words = format!(
        "service create --detach --name {name} --network net {options} \
         --constraint node.hostname=={} {SLEEP}",
        host.name()
    );
    stage.orchctl(stage.host(1)?, &words)?;
    stage.running(name, 1)?;
    stage.cluster.only(name)
}

/// What a task is asked for by every protocol.
fn targets(address: &str, port: u16) -> Vec<String> {
    let protocols = ["tcp", "udp", "icmp"];
    let targets = protocols.map(|protocol| format!("{protocol},{address},{port}"));
    targets.into()
}

/// How often orchd has noticed that its engine went away.
fn times_away(host: Host) -> Result<usize> {
    let log = host.log(Daemon::Orchd);
    let text = fs::read_to_string(&log).with_context(|| format!("{}", log.display()))?;
    Ok(text.matches("the container engine is away").count())
}

/// Ends the engine, waits until orchd misses it, and starts it again.
fn restart_engine(host: Host, signal: &str) -> Result<()> {
    let before = times_away(host)?;
    host.end(Daemon::Engine, signal)?;
    wait::until("orchd to miss its engine", SOON, || {
        ensure!(times_away(host)? > before, "not yet");
        Ok(())
    })?;
    lab::start(host, Daemon::Engine)
}

#[test]
fn tasks_keep_their_network_while_their_engine_is_restarted() -> Result<()> {
    let options = Options {
        live_restore: true,
        ..Options::swarm(2)
    };
    in_watched_lab(options, |stage, mut watch| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        stage.orchctl(n1, "network create --driver overlay net")?;
        let publish = format!("--publish {PUBLISHED}:{PORT}/tcp --publish {PUBLISHED}:{PORT}/udp");
        let web = create(stage, "web", n2, &publish)?;
        let near = create(stage, "near", n2, "")?;
        let caller = create(stage, "caller", n1, "")?;
        probe::serve(&Place::container(n2, &web.container)?, "web", PORT, &[])?;

        let vip = stage.cluster.vip("web", "net")?;
        let network = stage.cluster.network("net")?;
        let own = web.addresses.get(&network).context("web has no address")?;
        let within = [targets(&vip, PORT), targets(own, PORT)].concat();
        for (host, task) in [(n1, &caller), (n2, &near)] {
            watch.hold(&Place::container(host, &task.container)?, &within)?;
        }
        let outside: Vec<String> = [n1, n2]
            .iter()
            .flat_map(|host| targets(&host.address(), PUBLISHED))
            .filter(|target| !target.starts_with("icmp"))
            .collect();
        watch.hold(&Place::Namespace(CLIENT.to_owned()), &outside)?;

        for signal in ["TERM", "KILL"] {
            restart_engine(n2, signal)?;
            let after = create(stage, &format!("after-{}", signal.to_lowercase()), n2, "")?;
            stage.holds("a new task runs on the restarted engine", {
                ensure!(after.state == "running", "{}", after.summary());
                Ok(())
            })?;
            for (name, before) in [("web", &web), ("near", &near)] {
                let now = stage.cluster.tasks(name)?;
                stage.holds(&format!("{name} is the task that it was"), {
                    let same = now.len() == 1 && now[0].id == before.id;
                    ensure!(same && now[0].state == "running", "{now:?}");
                    Ok(())
                })?;
            }
        }
        watch.end()
    })
}

#[test]
fn tasks_that_ended_with_their_engine_are_replaced() -> Result<()> {
    in_lab(Options::swarm(2), |stage| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        stage.orchctl(n1, "network create --driver overlay net")?;
        let web = create(stage, "web", n2, "")?;
        restart_engine(n2, "TERM")?;
        let replaced = wait::until("another task", SOON, || {
            let now = stage.cluster.only("web")?;
            ensure!(now.id != web.id, "it is the same: {}", now.summary());
            Ok(now)
        });
        stage.holds("another task runs in its place", replaced)?;
        Ok(())
    })
}
