//! Steps 4, 6 and 7: an overlay network, its names, and guests on it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::names;
use super::stage::{Stage, ensure};
use crate::lab::{self, Daemon};

/// Five pings, one a second, and some time to start.
const PING_TIME: Duration = Duration::from_secs(8);

/// Two services on different hosts meet by name.
pub fn meet(stage: &Stage) -> Result<()> {
    let n1 = stage.host(1)?;
    let create = "network create --driver overlay --subnet 10.0.10.0/24 --attachable sandbox";
    stage.orchctl(n1, create)?;
    for service in ["redis1", "redis2"] {
        let words = format!("service create --name {service} --network sandbox redis:7");
        stage.orchctl(n1, &words)?;
        stage.running(service, 1)?;
    }
    let (redis1, redis2) = (stage.cluster.only("redis1")?, stage.cluster.only("redis2")?);
    stage.holds("redis1 and redis2 run on different hosts", {
        ensure(redis1.node != redis2.node, "both run on one")
    })?;

    let vip = stage.cluster.vip("redis2", "sandbox")?;
    let claim = format!("redis2 is the VIP {vip} of `service inspect`");
    names::resolves(stage, &redis1, "redis2", &claim, &BTreeSet::from([vip]))?;
    let addresses = stage.cluster.addresses("redis2", "sandbox")?;
    let claim = "tasks.redis2 is the address of its task";
    names::resolves(stage, &redis1, "tasks.redis2", claim, &addresses)?;

    let ping = stage.inside(&redis1, "ping -c 5 redis2")?;
    stage.says(
        "the VIP answers ping without loss, across hosts",
        &ping.shown(),
        &["5 packets transmitted, 5 received, 0% packet loss"],
    )?;
    stage.holds(
        "and without waiting for anything, such as a reverse lookup",
        {
            let took = ping.took;
            ensure(took < PING_TIME, format!("five pings took {took:.1?}"))
        },
    )?;
    let pong = stage.inside(&redis1, "redis-cli -h redis2 ping")?;
    stage.holds("redis2 answers through its VIP", {
        ensure(pong.stdout.trim() == "PONG", pong.shown())
    })
}

/// `docker run` on any host's own engine reaches the services, and is nobody's task.
pub fn one_off(stage: &Stage) -> Result<()> {
    let vip = stage.cluster.vip("redis2", "sandbox")?;
    for &host in stage.cluster.hosts() {
        let name = host.name();
        let script = "nslookup -type=a redis2; redis-cli -h redis2 ping; \
                      redis-cli -h redis1 incr one-offs";
        let container = format!("one-off-{name}");
        let output = stage.engine(
            host,
            &[
                "run",
                "--rm",
                "--name",
                &container,
                "--network",
                "sandbox",
                "redis:7",
                "sh",
                "-c",
                script,
            ],
        )?;
        stage.holds(&format!("the one-off on {name} ran to its end"), {
            ensure(output.success(), output.shown())
        })?;
        stage.says(
            "it resolved and reached redis2",
            &output.stdout,
            &[&vip, "PONG"],
        )?;
        let list = lab::docker(host, Daemon::Engine)
            .words("ps --all --format {{.Names}}")
            .ok()?;
        stage.holds("its container is gone", {
            ensure(!list.contains(&container), list)
        })?;
    }
    ran_once(stage)
}

/// Every one-off counted itself once; a second run would have been counted too.
pub fn ran_once(stage: &Stage) -> Result<()> {
    let counted = stage.inside(&stage.cluster.only("redis1")?, "redis-cli get one-offs")?;
    stage.holds("each of the three one-offs ran once", {
        ensure(
            counted.stdout.trim() == "3",
            format!("{} runs", counted.shown()),
        )
    })
}

/// With `--endpoint-mode dnsrr` the name stands for the tasks themselves.
pub fn dnsrr(stage: &Stage) -> Result<()> {
    let n1 = stage.host(1)?;
    stage.orchctl(
        n1,
        "service create --name plain --replicas 2 --endpoint-mode dnsrr --network sandbox redis:7",
    )?;
    stage.running("plain", 2)?;
    let addresses = stage.cluster.addresses("plain", "sandbox")?;
    stage.holds("its two tasks have an address each", {
        ensure(addresses.len() == 2, format!("{addresses:?}"))
    })?;
    let redis1 = stage.cluster.only("redis1")?;
    let claim = "plain is the addresses of its tasks";
    names::resolves(stage, &redis1, "plain", claim, &addresses)?;
    let pong = stage.inside(&redis1, "redis-cli -h plain ping")?;
    stage.holds(
        "and answers",
        ensure(pong.stdout.trim() == "PONG", pong.shown()),
    )
}
