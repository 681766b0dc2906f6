//! Several managers: any of them takes any request, and the swarm goes on when one is gone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xtask::lab::{self, Daemon, Host, Options};
use xtask::story::stage::{SOON, Stage};
use xtask::wait;

use crate::harness::{in_lab, in_watched_lab};

fn three_managers() -> Options {
    Options {
        managers: 3,
        ..Options::swarm(3)
    }
}

fn nodes(host: Host) -> Result<Vec<Value>> {
    let nodes = host.api(Daemon::Orchd).want("/nodes")?;
    Ok(nodes.as_array().cloned().unwrap_or_default())
}

/// What a host says of the managers: host name and `leader`, `reachable`, `unreachable`, or
/// `unknown` of those that have no vote yet.
fn managers(host: Host) -> Result<BTreeSet<(String, String)>> {
    let nodes = nodes(host)?;
    let managers = nodes.iter().filter_map(|node| {
        let status = node.get("ManagerStatus")?;
        let word = match status["Leader"].as_bool() {
            Some(true) => "leader",
            Some(false) | None => status["Reachability"].as_str()?,
        };
        let name = node["Description"]["Hostname"].as_str()?;
        Some((name.to_owned(), word.to_owned()))
    });
    Ok(managers.collect())
}

/// The host whose manager leads, as another one knows it.
fn leader(stage: &Stage, asked: Host) -> Result<Host> {
    let managers = managers(asked)?;
    let (name, _) = managers
        .iter()
        .find(|(_, word)| word == "leader")
        .with_context(|| format!("{} knows no leader", asked.name()))?;
    let hosts = stage.cluster.hosts();
    let found = hosts.iter().find(|host| host.name() == *name);
    found.copied().context("a host of the lab")
}

/// Waits until exactly these hosts are managers with a vote, in the eyes of one of them.
fn await_managers(stage: &Stage, asked: Host, wanted: &[Host]) -> Result<()> {
    let wanted: BTreeSet<String> = wanted.iter().map(|host| host.name()).collect();
    let claim = format!("{} sees the managers {wanted:?}, one leads", asked.name());
    let held = wait::until("them", SOON, || {
        let known = managers(asked)?;
        let names: BTreeSet<String> = known.iter().map(|(name, _)| name.clone()).collect();
        let leaders = known.iter().filter(|(_, word)| word == "leader").count();
        let voting = known.iter().all(|(_, word)| word != "unknown");
        ensure!(names == wanted && leaders == 1 && voting, "{known:?}");
        Ok(())
    });
    stage.holds(&claim, held)
}

/// The names of all services, as a host knows them.
fn services(host: Host) -> Result<BTreeSet<String>> {
    let services = host.api(Daemon::Orchd).want("/services")?;
    let services = services.as_array().into_iter().flatten();
    let names = services.filter_map(|service| Some(service["Spec"]["Name"].as_str()?.to_owned()));
    Ok(names.collect())
}

/// Makes services on hosts in turn until `stop`; returns the names of those that were acknowledged.
fn write_on(hosts: &[Host], stop: &AtomicBool, acknowledged: &AtomicUsize) -> Vec<String> {
    let mut names = Vec::new();
    for (number, host) in hosts.iter().cycle().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w{number}");
        let words = format!("service create --detach --name {name} --replicas 0 busybox:1.35 true");
        let output = lab::orchctl(*host).words(&words).output();
        if output.is_ok_and(|output| output.success()) {
            names.push(name);
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    names
}

fn at_least(count: &AtomicUsize, wanted: usize) -> Result<()> {
    wait::until("acknowledged writes", SOON, || {
        let count = count.load(Ordering::Relaxed);
        ensure!(count >= wanted, "{count} of {wanted}");
        Ok(())
    })
}

#[test]
fn no_acknowledged_write_is_lost_when_the_leader_is_killed() -> Result<()> {
    in_lab(three_managers(), |stage| {
        let all = [stage.host(1)?, stage.host(2)?, stage.host(3)?];
        for host in all {
            await_managers(stage, host, &all)?;
        }
        let killed = leader(stage, all[0])?;
        let others: Vec<Host> = all.into_iter().filter(|host| *host != killed).collect();
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let names = thread::scope(|scope| {
            let writer = scope.spawn(|| write_on(&others, &stop, &count));
            let killing = at_least(&count, 5)
                .and_then(|()| killed.kill(Daemon::Orchd))
                .and_then(|()| at_least(&count, count.load(Ordering::Relaxed) + 5));
            stop.store(true, Ordering::Relaxed);
            let names = writer
                .join()
                .map_err(|_| anyhow::anyhow!("the writer died"))?;
            killing.map(|()| names)
        })?;
        let wanted: BTreeSet<String> = names.into_iter().collect();
        lab::start(killed, Daemon::Orchd)?;
        for host in all {
            let held = wait::until("all of them", SOON, || {
                let known = services(host)?;
                let lost: Vec<_> = wanted.difference(&known).collect();
                ensure!(lost.is_empty(), "{lost:?}");
                Ok(())
            });
            let claim = format!(
                "{} has all {} acknowledged services",
                host.name(),
                wanted.len()
            );
            stage.holds(&claim, held)?;
            await_managers(stage, host, &all)?;
        }
        let now = leader(stage, others[0])?;
        stage.holds("the one that returned does not lead", {
            if now == killed {
                Err(anyhow::anyhow!("it does"))
            } else {
                Ok(())
            }
        })
    })
}

#[test]
fn a_leader_that_is_cut_off_serves_nothing_new_and_returns_without_an_election() -> Result<()> {
    in_watched_lab(three_managers(), |stage, watch| {
        // A cable that is pulled interrupts what the watch holds.
        watch.end()?;
        let all = [stage.host(1)?, stage.host(2)?, stage.host(3)?];
        await_managers(stage, all[0], &all)?;
        let cut = leader(stage, all[0])?;
        let others: Vec<Host> = all.into_iter().filter(|host| *host != cut).collect();
        lab::host::set_link(cut, false)?;
        stage.orchctl(
            others[0],
            "service create --detach --name during --replicas 0 busybox:1.35 true",
        )?;
        let led = leader(stage, others[1])?;
        stage.holds("another one leads", {
            if led == cut {
                Err(anyhow::anyhow!("{}", led.name()))
            } else {
                Ok(())
            }
        })?;
        let words = "service create --detach --name lost --replicas 0 busybox:1.35 true";
        let refused = stage.refused(cut, words)?;
        stage.says(
            "the one that is cut off says why",
            &refused,
            &["does not have a leader"],
        )?;
        let listed = lab::orchctl(cut).words("service ls").output()?;
        stage.says(
            "its answers may be old, and say so",
            &listed.shown(),
            &["may be old"],
        )?;
        ensure!(!listed.stdout.contains("during"), "it cannot know");
        lab::host::set_link(cut, true)?;
        let held = wait::until("it", SOON, || match services(cut)?.contains("during") {
            true => Ok(()),
            false => bail!("it does not know yet"),
        });
        stage.holds("it catches up", held)?;
        ensure!(
            !services(others[0])?.contains("lost"),
            "what was refused is there"
        );
        await_managers(stage, cut, &all)?;
        let still = leader(stage, others[0])?;
        ensure!(still == led, "{} leads now", still.name());
        Ok(())
    })
}

#[test]
fn a_leader_that_was_stopped_for_a_while_serves_nothing_old() -> Result<()> {
    in_lab(three_managers(), |stage| {
        let all = [stage.host(1)?, stage.host(2)?, stage.host(3)?];
        await_managers(stage, all[0], &all)?;
        let words = "service create --detach --name web --replicas 3 busybox:1.35 sleep 1000000";
        stage.orchctl(all[0], words)?;
        let before = stage.running("web", 3)?;
        let stopped = leader(stage, all[0])?;
        let others: Vec<Host> = all.into_iter().filter(|host| *host != stopped).collect();
        stopped.signal(Daemon::Orchd, "STOP")?;
        let written = stage.orchctl(
            others[0],
            "service create --detach --name during --replicas 0 busybox:1.35 true",
        );
        // Whatever came of it, the lab must be able to end it.
        stopped.signal(Daemon::Orchd, "CONT")?;
        written?;
        let listed = lab::orchctl(stopped).words("service ls").output()?.shown();
        ensure!(
            listed.contains("during") || listed.contains("may be old"),
            "it serves what is old: {listed}"
        );
        for host in all {
            await_managers(stage, host, &all)?;
        }
        let after = stage.running("web", 3)?;
        let kept = after
            .iter()
            .all(|task| before.iter().any(|b| b.id == task.id));
        ensure!(kept, "tasks were moved: {after:?}");
        Ok(())
    })
}

#[test]
fn managers_come_and_go_while_their_tasks_run() -> Result<()> {
    in_lab(Options::swarm(3), |stage| {
        let (n1, n2, n3) = (stage.host(1)?, stage.host(2)?, stage.host(3)?);
        stage.orchctl(
            n1,
            "service create --detach --name web --replicas 3 busybox:1.35 sleep 1000000",
        )?;
        let before = stage.running("web", 3)?;
        let last = stage.refused(n1, "node demote n1")?;
        stage.says("the last manager stays", &last, &["the last manager"])?;
        stage.orchctl(n1, "node promote n2 n3")?;
        for host in [n1, n2, n3] {
            await_managers(stage, host, &[n1, n2, n3])?;
        }
        // The leader itself, by itself.
        stage.orchctl(n1, "node demote n1")?;
        await_managers(stage, n2, &[n2, n3])?;
        let held = wait::until("it", SOON, || {
            let refused = lab::orchctl(n1).words("node ls").output()?.shown();
            ensure!(refused.contains("Worker nodes can't be used"), "{refused}");
            Ok(())
        });
        stage.holds("a worker answers as Docker's do", held)?;
        let refused = stage.refused(n3, "node rm --force n2")?;
        stage.says("managers are not removed", &refused, &["must be demoted"])?;
        stage.orchctl(n3, "node demote n2")?;
        await_managers(stage, n3, &[n3])?;
        stage.orchctl(n3, "node promote n1")?;
        await_managers(stage, n1, &[n1, n3])?;
        let now: BTreeSet<String> = host_tasks(n1)?;
        let same = before.iter().all(|task| now.contains(&task.container));
        stage.holds("no container was replaced", {
            if same {
                Ok(())
            } else {
                Err(anyhow::anyhow!("{now:?}"))
            }
        })?;
        // A manager that leaves is out of the group before it goes.
        stage.orchctl(n3, "swarm leave --force")?;
        await_managers(stage, n1, &[n1])?;
        stage.orchctl(n1, "node rm n3").map(drop)
    })
}

#[test]
fn a_manager_that_is_demoted_and_promoted_while_it_is_away_takes_another_place() -> Result<()> {
    in_watched_lab(three_managers(), |stage, watch| {
        // A cable that is pulled interrupts what the watch holds.
        watch.end()?;
        let all = [stage.host(1)?, stage.host(2)?, stage.host(3)?];
        await_managers(stage, all[0], &all)?;
        let away = all[2];
        let others = [all[0], all[1]];
        lab::host::set_link(away, false)?;
        await_managers(stage, others[0], &all)?;
        stage.orchctl(others[0], "node demote n3")?;
        await_managers(stage, others[0], &others)?;
        stage.orchctl(others[0], "node promote n3")?;
        lab::host::set_link(away, true)?;
        for host in all {
            await_managers(stage, host, &all)?;
        }
        // It has a vote again: with it the swarm does without another one.
        others[1].kill(Daemon::Orchd)?;
        let words = "service create --detach --name after --replicas 0 busybox:1.35 true";
        stage.orchctl(others[0], words)?;
        ensure!(services(away)?.contains("after"), "it knows nothing");
        lab::start(others[1], Daemon::Orchd)
    })
}

#[test]
fn one_of_three_managers_goes_on_alone() -> Result<()> {
    in_lab(three_managers(), |stage| {
        let all = [stage.host(1)?, stage.host(2)?, stage.host(3)?];
        let [n1, n2, n3] = all;
        await_managers(stage, n1, &all)?;
        let words = "service create --detach --name web --replicas 3 busybox:1.35 sleep 1000000";
        stage.orchctl(n1, words)?;
        let before = stage.running("web", 3)?;
        for lost in [n2, n3] {
            lost.kill(Daemon::Orchd)?;
        }
        let words = "service create --detach --name after --replicas 0 busybox:1.35 true";
        let refused = stage.refused(n1, words)?;
        stage.says(
            "without the others nothing goes",
            &refused,
            &["does not have a leader"],
        )?;
        let refused = stage.refused(
            n1,
            "swarm init --force-new-cluster --advertise-addr 192.0.2.99",
        )?;
        stage.says("it keeps its address", &refused, &["cannot be changed"])?;
        stage.orchctl(n1, "swarm init --force-new-cluster")?;
        await_managers(stage, n1, &[n1])?;
        stage.orchctl(n1, words)?;
        ensure!(services(n1)?.contains("web"), "the services are gone");
        let now = stage.running("web", 3)?;
        let kept = now
            .iter()
            .any(|task| before.iter().any(|b| b.id == task.id));
        ensure!(kept, "not even its own task was kept: {now:?}");
        // The others are its workers when they come back one by one, and managers again if asked.
        lab::start(n2, Daemon::Orchd)?;
        stage.orchctl_until(n1, "node ls", "n2 is back", |output| {
            let line = output.lines().find(|line| line.contains(" n2 "));
            let line = line.context("it is listed")?;
            ensure!(line.contains("Ready"), "{line}");
            Ok(())
        })?;
        stage.orchctl(n1, "node promote n2")?;
        for host in [n1, n2] {
            await_managers(stage, host, &[n1, n2])?;
        }
        Ok(())
    })
}

/// The containers of all tasks that run, as a manager knows them.
fn host_tasks(manager: Host) -> Result<BTreeSet<String>> {
    let tasks = manager.api(Daemon::Orchd).want("/tasks")?;
    let tasks = tasks.as_array().into_iter().flatten();
    let running = tasks.filter(|task| task["Status"]["State"] == "running");
    let ids = running.filter_map(|task| {
        let id = task["Status"]["ContainerStatus"]["ContainerID"].as_str()?;
        Some(id.to_owned())
    });
    Ok(ids.collect())
}
