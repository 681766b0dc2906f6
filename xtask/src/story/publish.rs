//! Steps 2 and 3: a service is created and looked at, and its port published on every host.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::stage::{Stage, contains, ensure, within};
use crate::cmd::Cmd;
use crate::lab::{self, CLIENT, Daemon, client_address};

/// A real Redis, with progress and detached; the lists and details that users look at.
pub fn create(stage: &Stage) -> Result<()> {
    let n1 = stage.host(1)?;
    let shown = stage.orchctl(n1, "service create --replicas 1 --name redis redis:7")?;
    stage.says(
        "create shows progress until the service has converged",
        &shown,
        &["overall progress: 1 out of 1 tasks", "converged"],
    )?;
    let detached = within(Duration::from_secs(2), || {
        stage.orchctl(
            n1,
            "service create -d --name idle busybox:1.35 sleep 1000000",
        )
    });
    let id = stage.holds("with -d it returns at once, with the id", detached)?;
    let idle = stage.cluster.service("idle")?["ID"].clone();
    stage.holds(
        "that id is the service's",
        ensure(id.trim() == idle, format!("not {idle}")),
    )?;
    stage.running("idle", 1)?;
    stage.orchctl(n1, "service rm idle")?;

    let list = stage.orchctl(n1, "service ls")?;
    stage.says(
        "the list has it",
        &list,
        &["redis", "replicated", "1/1", "redis:7"],
    )?;
    let tasks = stage.orchctl(n1, "service ps redis")?;
    stage.says("its task runs", &tasks, &["redis.1", "Running"])?;
    let pretty = stage.orchctl(n1, "service inspect --pretty redis")?;
    stage.says(
        "its details are readable",
        &pretty,
        &["Name:", "redis", "Replicated", "Replicas:"],
    )?;
    let json: Value = serde_json::from_str(&stage.orchctl(n1, "service inspect redis")?)
        .context("service inspect prints JSON")?;
    stage.holds("its details are JSON as Docker's", {
        ensure(json[0]["Spec"]["Name"] == "redis", "Spec.Name is missing")
    })?;
    stage.until(
        "n1",
        "the stock docker CLI sees the same",
        || Ok(lab::docker(n1, Daemon::Orchd).words("service ls")),
        |output| contains(&output.stdout, &["redis", "replicated", "1/1"]),
    )?;
    Ok(())
}

/// The port answers at every address of every host, and the server sees who asks.
pub fn publish(stage: &Stage) -> Result<()> {
    let n1 = stage.host(1)?;
    let shown = stage.orchctl(n1, "service update redis --publish-add 6379:6379")?;
    stage.says("the update converges", &shown, &["converged"])?;
    stage.running("redis", 1)?;
    // The managers give out the port after they have taken the update.
    stage.orchctl_until(n1, "service ls", "the list shows the port", |shown| {
        contains(shown, &["*:6379->6379/tcp"])
    })?;

    let hosts = stage.cluster.hosts().to_vec();
    let everywhere: Vec<String> = hosts.iter().map(|host| host.address()).collect();
    for address in &everywhere {
        pong(stage, CLIENT, address)?;
    }
    for host in &hosts {
        for address in everywhere
            .iter()
            .map(String::as_str)
            .chain(["127.0.0.1", "::1"])
        {
            pong(stage, &host.name(), address)?;
        }
    }
    for address in &everywhere {
        client_is(stage, CLIENT, &client_address(), address)?;
    }
    for host in &hosts {
        let others = everywhere
            .iter()
            .filter(|address| **address != host.address());
        for address in others {
            client_is(stage, &host.name(), &host.address(), address)?;
        }
    }
    Ok(())
}

fn pong(stage: &Stage, place: &str, address: &str) -> Result<()> {
    stage
        .until(
            place,
            &format!("{place} is answered at {address}"),
            || redis_cli(place, address, "ping"),
            |output| ensure(output.stdout.trim() == "PONG", output.shown()),
        )
        .map(drop)
}

/// Asks the server which address it sees.
fn client_is(stage: &Stage, place: &str, expected: &str, address: &str) -> Result<()> {
    let output = redis_cli(place, address, "client info")?.output()?;
    let words = output.stdout.split_whitespace();
    let seen = words
        .filter_map(|word| word.strip_prefix("addr="))
        .next()
        .unwrap_or_default();
    let (seen, _port) = seen.rsplit_once(':').unwrap_or_default();
    let claim = format!("through {address} the server sees {place}'s own address {expected}");
    stage.holds(
        &claim,
        ensure(seen == expected, format!("it sees {:?}", output.shown())),
    )
}

fn redis_cli(place: &str, address: &str, words: &str) -> Result<Cmd> {
    let limited = lab::host::cmd_on(place, "timeout")?.arg("3").hide();
    Ok(limited.words("redis-cli -h").arg(address).words(words))
}
