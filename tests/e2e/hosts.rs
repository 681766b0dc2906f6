//! Hosts that are cut off: clients are led elsewhere, their tasks run elsewhere, and nothing runs
//! twice once they are back.

use anyhow::{Context, Result, ensure};
use xtask::lab::{self, Daemon, Host, Options};
use xtask::story::cluster::Task;
use xtask::story::names;
use xtask::story::stage::{SOON, Stage};
use xtask::wait;

use crate::harness::in_watched_lab;

/// What the managers hold a host for: `ready`, `unknown` or `down`.
fn state(stage: &Stage, host: Host) -> Result<String> {
    let nodes = stage.cluster.api()?.want("/nodes")?;
    let nodes = nodes.as_array().into_iter().flatten();
    let mut named = nodes.filter(|node| node["Description"]["Hostname"] == *host.name());
    let node = named.next().context("the host is a node")?;
    let state = node["Status"]["State"].as_str();
    Ok(state.context("a node has a state")?.to_owned())
}

fn await_state(stage: &Stage, host: Host, wanted: &str) -> Result<()> {
    let held = wait::until("it", SOON, || {
        let state = state(stage, host)?;
        ensure!(state == wanted, "{state}");
        Ok(())
    });
    stage.holds(&format!("{} is {wanted}", host.name()), held)
}

/// Which of the containers run, on whichever host.
fn running<'t>(stage: &Stage, tasks: &'t [Task]) -> Result<Vec<&'t Task>> {
    let mut running = Vec::new();
    for host in stage.cluster.hosts() {
        let listed = lab::docker(*host, Daemon::Engine)
            .words("ps --quiet --no-trunc")
            .ok()?;
        running.extend(tasks.iter().filter(|t| listed.contains(&t.container)));
    }
    Ok(running)
}

/// A service with a task on each of three hosts, and one that asks for it, on the first.
fn begin(stage: &Stage) -> Result<(Task, Vec<Task>)> {
    let n1 = stage.host(1)?;
    stage.orchctl(n1, "network create --driver overlay net")?;
    let pinned = "--detach --network net --constraint node.hostname==n1";
    stage.orchctl(
        n1,
        &format!("service create {pinned} --name client redis:7"),
    )?;
    stage.orchctl(
        n1,
        "service create --detach --network net --replicas 3 --name web redis:7",
    )?;
    let client = stage.running("client", 1)?.remove(0);
    Ok((client, stage.running("web", 3)?))
}

fn on(stage: &Stage, tasks: &[Task], host: Host) -> Result<Task> {
    let mut found = tasks.iter();
    let found = found.find(|task| stage.cluster.host_of(task).is_ok_and(|h| h == host));
    found
        .cloned()
        .with_context(|| format!("no task on {}", host.name()))
}

#[test]
fn tasks_of_a_host_that_is_cut_off_run_elsewhere_and_once() -> Result<()> {
    in_watched_lab(Options::swarm(3), |stage, watch| {
        // A cable that is pulled interrupts what the watch holds.
        watch.end()?;
        let n3 = stage.host(3)?;
        let (client, before) = begin(stage)?;
        let lost = on(stage, &before, n3)?;
        let address = lost.addresses.values().next().context("an address")?;

        lab::host::set_link(n3, false)?;
        stage.inside_until(
            &client,
            "nslookup -type=a tasks.web",
            "its address is in no answer any more",
            |output| {
                let known = names::addresses(&output.stdout);
                ensure!(!known.is_empty() && !known.contains(address), "{known:?}");
                Ok(())
            },
        )?;
        let held = wait::until("it", SOON, || {
            let running = stage.cluster.running("web")?;
            let elsewhere = running.iter().filter(|task| task.node != lost.node);
            ensure!(elsewhere.count() == 3, "{running:?}");
            Ok(())
        });
        stage.holds("all its tasks run elsewhere", held)?;
        await_state(stage, n3, "down")?;
        ensure!(
            running(stage, std::slice::from_ref(&lost))?.len() == 1,
            "the host that is cut off does not keep its task"
        );

        lab::host::set_link(n3, true)?;
        await_state(stage, n3, "ready")?;
        let held = wait::until("it", SOON, || {
            let twice = running(stage, std::slice::from_ref(&lost))?;
            ensure!(twice.is_empty(), "it runs on");
            Ok(())
        });
        stage.holds("what was replaced ends when its host is back", held)?;
        let after = stage.running("web", 3)?;
        let count = running(stage, &after)?.len();
        ensure!(count == 3, "{count} containers run");
        Ok(())
    })
}

#[test]
fn a_host_is_waited_for_as_long_as_the_swarm_is_told() -> Result<()> {
    in_watched_lab(Options::swarm(3), |stage, watch| {
        watch.end()?;
        let (n1, n3) = (stage.host(1)?, stage.host(3)?);
        let refused = stage.refused(n1, "swarm update --host-loss-delay 25h")?;
        stage.says("a day is the limit", &refused, &["24h at most"])?;
        stage.orchctl(n1, "swarm update --host-loss-delay 1h")?;
        let (_, before) = begin(stage)?;
        lab::host::set_link(n3, false)?;
        await_state(stage, n3, "unknown")?;
        lab::host::set_link(n3, true)?;
        await_state(stage, n3, "ready")?;
        let after = stage.running("web", 3)?;
        let kept = after
            .iter()
            .all(|task| before.iter().any(|b| b.id == task.id));
        ensure!(kept, "tasks were replaced: {after:?}");
        ensure!(running(stage, &before)?.len() == 3, "not all of them run");
        Ok(())
    })
}
