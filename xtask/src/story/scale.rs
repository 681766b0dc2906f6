//! Step 5: more tasks, a killed task, and no task at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cluster::Task;
use super::stage::{SOON, Stage, ensure};
use crate::cmd::Output;
use crate::wait;

/// A killed backend may refuse connections for so long: until its engine told orchd about it.
const NOTICED: Duration = Duration::from_secs(1);

/// Connections spread, a killed task is replaced, an empty service refuses at once.
pub fn scale(stage: &Stage) -> Result<()> {
    let n1 = stage.host(1)?;
    let redis1 = stage.cluster.only("redis1")?;
    stage.orchctl(n1, "service scale redis2=3")?;
    stage.running("redis2", 3)?;
    spread(stage, &redis1)?;
    kill_one(stage, &redis1)?;
    empty(stage, &redis1)?;
    stage.orchctl(n1, "service scale redis2=2")?;
    stage.running("redis2", 2)?;
    let back = |output: &Output| ensure(output.stdout.trim() == "PONG", output.shown());
    let claim = "with tasks again, redis2 answers again";
    stage
        .inside_until(&redis1, "redis-cli -h redis2 ping", claim, back)
        .map(drop)
}

/// Every Redis has an id of its run: 60 connections have to see all three.
fn spread(stage: &Stage, from: &Task) -> Result<()> {
    let script = "for i in $(seq 60); do redis-cli -h redis2 info server | grep run_id; done";
    let seen = wait::until("60 connections to spread over three tasks", SOON, || {
        let output = stage.script(from, script)?;
        let mut seen = BTreeMap::new();
        for id in output.stdout.split_whitespace() {
            *seen.entry(id.to_owned()).or_insert(0) += 1;
        }
        let total: u32 = seen.values().sum();
        ensure(seen.len() == 3 && total == 60, format!("{seen:?}"))?;
        Ok(seen.into_values().collect::<Vec<u32>>())
    });
    let counts = seen
        .as_ref()
        .map(|counts| format!("{counts:?}"))
        .unwrap_or_default();
    stage
        .holds(
            &format!("60 connections spread over all three tasks {counts}"),
            seen,
        )
        .map(drop)
}

/// `docker kill` behind the cluster's back.
fn kill_one(stage: &Stage, from: &Task) -> Result<()> {
    let before = stage.cluster.running("redis2")?;
    let victim = before.first().context("redis2 has tasks")?;
    let host = stage.cluster.host_of(victim)?;
    // By its path: busybox's shell would take its own ping.
    let ping = "/usr/local/bin/ping -n -c 60 -i 0.1 redis2 >/tmp/ping 2>&1 &";
    stage.script(from, ping)?;
    stage.engine(host, &["kill", &victim.container])?;
    let killed = Instant::now();
    let mut late_failures = Vec::new();
    let replacement = wait::until("a new task in its slot", SOON, || {
        let output = stage.script(from, "timeout 3 redis-cli -h redis2 ping")?;
        if output.stdout.trim() != "PONG" && killed.elapsed() > NOTICED {
            late_failures.push(format!("{:.1?}: {}", killed.elapsed(), output.shown()));
        }
        let now = stage.cluster.running("redis2")?;
        let new = now
            .iter()
            .find(|task| task.slot == victim.slot && task.id != victim.id);
        match new {
            Some(task) if now.len() == 3 => Ok(task.clone()),
            _ => bail!("{} tasks run", now.len()),
        }
    });
    stage.holds("a new task takes the killed one's slot", replacement)?;
    stage.holds("meanwhile the VIP answered every connection", {
        ensure(late_failures.is_empty(), late_failures.join("; "))
    })?;
    let report = wait::until("ping to end", Duration::from_secs(15), || {
        let report = stage.script(from, "cat /tmp/ping")?.stdout;
        ensure(report.contains("packet loss"), report.clone())?;
        Ok(report)
    })?;
    stage.says("and every ping", &report, &["60 received, 0% packet loss"])
}

/// Without a task, the VIP says so instead of leaving the client to wait.
fn empty(stage: &Stage, from: &Task) -> Result<()> {
    stage.orchctl(stage.host(1)?, "service scale redis2=0")?;
    stage.running("redis2", 0)?;
    let claim = "ping says unreachable";
    stage.inside_until(from, "ping -c 1 -W 2 redis2", claim, |output| {
        ensure(!output.success(), "it answers still")?;
        ensure(output.shown().contains("Host Unreachable"), output.shown())
    })?;
    let refused = stage.inside(from, "redis-cli -h redis2 ping")?;
    stage.says(
        "connect is refused",
        &refused.shown(),
        &["Connection refused"],
    )?;
    stage.holds("and at once", {
        ensure(
            refused.took < Duration::from_secs(1),
            format!("after {:?}", refused.took),
        )
    })
}
