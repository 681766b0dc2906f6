//! Options of a service's endpoint, addresses of tasks that left, names of guests, and ports that
//! processes of the hosts hold.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use xtask::lab::place::Place;
use xtask::lab::{self, CLIENT, Daemon, client_address, host, probe};
use xtask::story::cluster::Task;
use xtask::story::names;
use xtask::story::stage::{Stage, ensure};

use crate::harness::{in_swarm, in_watched_lab};

/// What a host's process listens on in these scenarios.
const TAKEN: u16 = 18_080;

/// Which Redis answers on a published port; each has an identifier of its own.
fn answering(place: &str, address: &str) -> Result<String> {
    let asked = host::cmd_on(place, "timeout")?
        .words("3 redis-cli -h")
        .arg(address)
        .words("info server")
        .output()?;
    let mut lines = asked.stdout.lines();
    match lines.find_map(|line| line.strip_prefix("run_id:")) {
        Some(id) => Ok(id.to_owned()),
        None => bail!("nobody answers {place} at {address}: {}", asked.shown()),
    }
}

fn answers(stage: &Stage, place: &str, address: &str) -> Result<()> {
    let reached = xtask::wait::until("an answer", xtask::story::stage::SOON, || {
        answering(place, address)
    });
    stage.holds(&format!("{place} is answered at {address}"), reached)?;
    Ok(())
}

fn refuses(stage: &Stage, place: &str, address: &str) -> Result<()> {
    let refused = xtask::wait::until("a refusal", xtask::story::stage::SOON, || {
        match answering(place, address) {
            Ok(id) => bail!("{id} answers"),
            Err(_) => Ok(()),
        }
    });
    stage.holds(&format!("{place} is refused at {address}"), refused)
}

#[test]
fn a_client_keeps_its_task_and_who_may_not_come_is_refused() -> Result<()> {
    in_watched_lab(lab::Options::swarm(2), |stage, watch| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        stage.orchctl(
            n1,
            "service create --name redis --replicas 4 -p 6379:6379 --endpoint-opt \
             affinity=client-ip:600 redis:7",
        )?;
        stage.running("redis", 4)?;
        for host in [n1, n2] {
            answers(stage, CLIENT, &host.address())?;
        }
        let seen = (0..8).map(|_| answering(CLIENT, &n1.address()));
        let seen = seen.collect::<Result<BTreeSet<_>>>()?;
        stage.holds("with affinity a client meets one task", {
            ensure(seen.len() == 1, format!("{seen:?}"))
        })?;
        stage.orchctl(n1, "service update --endpoint-opt-rm affinity redis")?;
        let mut met = BTreeSet::new();
        let several = xtask::wait::until("two tasks", xtask::story::stage::SOON, || {
            met.insert(answering(CLIENT, &n1.address())?);
            ensure(met.len() > 1, format!("{met:?}"))
        });
        stage.holds("and without it others too", several)?;
        watch.end()?;

        let deny = format!(
            "service update --endpoint-opt publish.6379/tcp.deny={} redis",
            client_address()
        );
        stage.orchctl(n1, &deny)?;
        refuses(stage, CLIENT, &n1.address())?;
        answers(stage, &n2.name(), &n1.address())?;
        let only = format!(
            "service update --endpoint-opt-rm publish.6379/tcp.deny --endpoint-opt \
             publish.6379/tcp.allow={} redis",
            client_address()
        );
        stage.orchctl(n1, &only)?;
        answers(stage, CLIENT, &n1.address())?;
        refuses(stage, &n2.name(), &n1.address())?;

        let there = format!(
            "service update --publish-rm 6379 --publish-add {}:6379:6379 redis",
            n2.address()
        );
        stage.orchctl(n1, &there)?;
        answers(stage, CLIENT, &n2.address())?;
        refuses(stage, CLIENT, &n1.address())
    })
}

#[test]
fn bad_options_are_refused_by_name() -> Result<()> {
    in_swarm(1, |stage| {
        let n1 = stage.host(1)?;
        for (option, words) in [
            ("--endpoint-opt affinty=client-ip", "affinty is not known"),
            ("--label orch.endpoint.dsr=yes", "\"true\" or \"false\""),
            (
                "--endpoint-opt publish.80/tcp.deny=10.0.0.0/8",
                "not published",
            ),
        ] {
            let create = format!("service create --name web {option} redis:7");
            crate::harness::refused(stage, n1, &create, &[words])?;
        }
        Ok(())
    })
}

#[test]
fn in_dns_round_robin_the_address_of_a_task_that_left_leads_to_its_sibling() -> Result<()> {
    in_swarm(2, |stage| {
        let n1 = stage.host(1)?;
        let create = "network create --driver overlay --subnet 10.0.10.0/24 --attachable sandbox";
        stage.orchctl(n1, create)?;
        stage.orchctl(n1, "service create --name asker --network sandbox redis:7")?;
        let stock = lab::docker(n1, Daemon::Orchd).words(
            "service create -d --name plain --replicas 2 --endpoint-mode dnsrr --network sandbox \
             -p 6379:6379 redis:7",
        );
        stage.holds("docker publishes a dnsrr service", stock.ok())?;
        stage.running("plain", 2)?;
        answers(stage, CLIENT, &n1.address())?;
        let asker = stage.running("asker", 1)?.remove(0);
        let before = stage.cluster.addresses("plain", "sandbox")?;
        stage.orchctl(n1, "service scale plain=1")?;
        stage.running("plain", 1)?;
        let left = stage.cluster.addresses("plain", "sandbox")?;
        let gone: Vec<_> = before.difference(&left).collect();
        let [gone] = gone[..] else {
            bail!("{before:?} became {left:?}");
        };
        names::resolves(stage, &asker, "plain", "its name is the other task", &left)?;
        let ping = format!("timeout 3 redis-cli -h {gone} ping");
        stage.inside_until(
            &asker,
            &ping,
            "a client with the old address is answered",
            |output| ensure(output.stdout.trim() == "PONG", output.shown()),
        )?;
        Ok(())
    })
}

#[test]
fn a_guest_is_found_by_its_name_and_alias() -> Result<()> {
    in_swarm(2, |stage| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        let create = "network create --driver overlay --subnet 10.0.10.0/24 --attachable sandbox";
        stage.orchctl(n1, create)?;
        let asker = "service create --name asker --network sandbox --constraint \
                     node.hostname==n1 redis:7";
        stage.orchctl(n1, asker)?;
        let asker = stage.running("asker", 1)?.remove(0);
        let known = || Ok(lab::docker(n2, Daemon::Engine).words("network inspect sandbox"));
        let claim = "the network has come to n2's own engine";
        stage.until(&n2.name(), claim, known, |output| {
            ensure(output.success(), output.shown())
        })?;
        let run = "run -d --name tool --network sandbox --network-alias box redis:7";
        let args: Vec<&str> = run.split_whitespace().collect();
        let started = stage.engine(n2, &args)?;
        stage.holds("a guest runs on n2", {
            ensure(started.success(), started.shown())
        })?;
        let id: String = started.stdout.chars().take(12).collect();
        for name in ["tool", "box", &id] {
            found(stage, &asker, name)?;
        }
        stage.engine(n2, &["rm", "-f", "tool"])?;
        let claim = "when it is gone, so is its name";
        names::resolves(stage, &asker, "tool", claim, &BTreeSet::new())
    })
}

fn found(stage: &Stage, asker: &Task, name: &str) -> Result<()> {
    let ping = format!("timeout 3 redis-cli -h {name} ping");
    let claim = format!("the guest answers as {name}");
    let pong = |output: &xtask::cmd::Output| ensure(output.stdout.trim() == "PONG", output.shown());
    stage.inside_until(asker, &ping, &claim, pong).map(drop)
}

#[test]
fn a_port_that_a_process_holds_is_reported() -> Result<()> {
    in_swarm(2, |stage| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        probe::serve(&Place::Host(n2), "holder", TAKEN, &[n2.address()])?;
        let ingress = format!("service create --name ingress -p {TAKEN}:6379 redis:7");
        stage.orchctl(n1, &ingress)?;
        let held = format!("warning: n2: port {TAKEN}/tcp is also held by probe (pid ");
        stage.orchctl_until(n1, "service ps ingress", "its tasks' list warns", |shown| {
            ensure(
                shown.contains(&held),
                format!("{held:?} is not in {shown:?}"),
            )
        })?;
        stage.orchctl(n1, "service rm ingress")?;

        let on_host = format!(
            "service create -d --name onhost --restart-condition none --constraint \
             node.hostname==n2 -p published={TAKEN},target=6379,mode=host redis:7"
        );
        stage.orchctl(n1, &on_host)?;
        let words = format!("host port {TAKEN}/tcp is taken by probe (pid ");
        stage.orchctl_until(
            n1,
            "service ps --no-trunc onhost",
            "in host mode the task is rejected",
            |shown| {
                let both = shown.contains("Rejected") && shown.contains(&words);
                ensure(both, format!("{words:?} is not in {shown:?}"))
            },
        )?;
        Ok(())
    })
}

#[test]
fn a_task_drains_until_its_last_conversation_ends() -> Result<()> {
    in_swarm(2, |stage| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        // Longer than anything here waits for.
        stage.orchctl(
            n1,
            "service create --name redis -p 6379:6379 --constraint node.hostname==n1 \
             --endpoint-opt drain=10m redis:7",
        )?;
        stage.running("redis", 1)?;
        answers(stage, CLIENT, &n2.address())?;
        // It ends with its input.
        let talk = host::cmd_on(CLIENT, "redis-cli")?.words("-h");
        let talk = talk.arg(n2.address()).words("subscribe news");
        let mut talk = talk.background()?;
        talk.line()?;
        stage.orchctl(n1, "service scale -d redis=0")?;
        refuses(stage, CLIENT, &n2.address())?;
        let tasks = stage.cluster.tasks("redis")?;
        stage.holds("the task goes on for the one who talks", {
            let goes_on = tasks.len() == 1 && tasks[0].state == "running";
            ensure(goes_on, format!("{tasks:?}"))
        })?;
        drop(talk);
        let stopped = xtask::wait::until("its end", xtask::story::stage::SOON, || {
            let tasks = stage.cluster.tasks("redis")?;
            ensure(tasks.is_empty(), format!("{tasks:?}"))
        });
        stage.holds("and stops when that is over", stopped)
    })
}
