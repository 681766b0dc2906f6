//! Steps 1 and 9: the swarm is formed, and dissolved without a trace.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::stage::{SOON, Stage, contains, ensure};
use crate::cmd::Output;
use crate::lab::{self, Daemon, Host};
use crate::wait;

/// Init, tokens and their rotation, joins, the list of nodes, and Swarm's defaults.
pub fn form(stage: &Stage) -> Result<()> {
    let (n1, n2, n3) = (stage.host(1)?, stage.host(2)?, stage.host(3)?);
    let manager = format!("{}:2377", n1.address());
    let init = stage.orchctl(n1, &format!("swarm init --advertise-addr {}", n1.address()))?;
    let token = token_in(&init);
    stage.holds(
        "init prints the join command with a worker's token",
        token.and_then(|token| {
            contains(
                &init,
                &[
                    &format!("swarm join --token {token} {manager}"),
                    "is now a manager",
                ],
            )
        }),
    )?;
    tokens(stage, n1, n2, &manager)?;

    let worker = stage.orchctl(n1, "swarm join-token -q worker")?;
    for host in [n2, n3] {
        let words = format!(
            "swarm join --advertise-addr {} --token {} {manager}",
            host.address(),
            worker.trim()
        );
        let joined = stage.orchctl(host, &words)?;
        let claim = format!("{} has joined", host.name());
        stage.says(&claim, &joined, &["This node joined a swarm as a worker."])?;
    }
    let claim = "three nodes are ready, n1 leads, and is marked as the one that was asked";
    stage.orchctl_until(n1, "node ls", claim, three_ready)?;
    defaults(stage, n1)
}

fn tokens(stage: &Stage, n1: Host, n2: Host, manager: &str) -> Result<()> {
    let old = stage.orchctl(n1, "swarm join-token -q worker")?;
    let for_managers = stage.orchctl(n1, "swarm join-token manager")?;
    stage.holds("workers and managers have different tokens", {
        token_in(&for_managers)
            .and_then(|token| ensure(token != old.trim(), "both are the same token"))
    })?;
    let new = stage.orchctl(n1, "swarm join-token -q --rotate worker")?;
    stage.holds("rotation makes a new token", {
        token_in(&new).and_then(|token| ensure(token != old.trim(), "it is the old token"))
    })?;
    let refusal = stage.refused(n2, &format!("swarm join --token {} {manager}", old.trim()))?;
    stage.says("the old token is refused", &refusal, &["token"])?;
    let info = n2.api(Daemon::Orchd).want("/info")?;
    let state = info["Swarm"]["LocalNodeState"].clone();
    stage.holds("n2 is still in no swarm", {
        ensure(state == "inactive", format!("n2 is {state}"))
    })
}

fn three_ready(list: &str) -> Result<()> {
    let row = |name: &str| {
        let row = list
            .lines()
            .find(|line| line.split_whitespace().any(|word| word == name));
        row.with_context(|| format!("{name} is not in the list"))
    };
    for name in ["n1", "n2", "n3"] {
        contains(row(name)?, &["Ready", "Active"])?;
    }
    contains(row("n1")?, &["Leader", "*"])?;
    ensure(list.matches('*').count() == 1, "one node is marked")
}

fn defaults(stage: &Stage, n1: Host) -> Result<()> {
    let info = stage.orchctl(n1, "info")?;
    stage.says(
        "info shows Swarm's block with its defaults",
        &info,
        &[
            "Swarm: active",
            "Is Manager: true",
            "Managers: 1",
            "Nodes: 3",
            "Default Address Pool: 10.0.0.0/8",
            "SubnetSize: 24",
            "Task History Retention Limit: 5",
            "Snapshot Interval: 10000",
            "Heartbeat Tick: 1",
            "Heartbeat Period: 5 seconds",
            "Expiry Duration: 3 months",
        ],
    )?;
    let swarm = n1.api(Daemon::Orchd).want("/swarm")?;
    let expiry = swarm["Spec"]["CAConfig"]["NodeCertExpiry"].as_u64();
    let ninety_days = 90 * 24 * 3600 * 1_000_000_000;
    stage.holds("node certificates last 90 days", {
        ensure(expiry == Some(ninety_days), format!("{expiry:?} ns"))
    })
}

/// The join token in some text: version, digest of the root certificate, secret.
fn token_in(text: &str) -> Result<String> {
    let word = text
        .split_whitespace()
        .find(|word| word.starts_with("SWMTKN-1-"));
    let token = word.context("there is no token SWMTKN-1-... in it")?;
    let parts: Vec<usize> = token.split('-').skip(2).map(str::len).collect();
    ensure(
        parts == [50, 25],
        format!("{token} has not the shape of a token"),
    )?;
    Ok(token.to_owned())
}

/// Services, network and swarm are removed; the hosts are as before the story.
pub fn dissolve(stage: &Stage) -> Result<()> {
    let (n1, n2, n3) = (stage.host(1)?, stage.host(2)?, stage.host(3)?);
    for host in [n1, n2, n3] {
        // Otherwise finding none at the end would only mean looking in the wrong place.
        let pins = files_under(&host.path(&host.bpf_dir())?)?.len();
        let claim = format!("{pins} BPF maps and links are pinned on {}", host.name());
        stage.holds(&claim, ensure(pins > 0, "so far there are none"))?;
    }
    stage.orchctl(n1, "service rm redis redis1 redis2 plain")?;
    for host in [n1, n2, n3] {
        no_containers(stage, host)?;
    }
    stage.orchctl(n1, "network rm sandbox")?;
    for host in [n2, n3] {
        let left = stage.orchctl(host, "swarm leave")?;
        let claim = format!("{} has left", host.name());
        stage.says(&claim, &left, &["Node left the swarm."])?;
    }
    let refusal = stage.refused(n1, "swarm leave")?;
    stage.says(
        "the last manager only leaves when forced",
        &refusal,
        &["--force"],
    )?;
    stage.orchctl(n1, "swarm leave --force")?;
    for host in [n1, n2, n3] {
        untouched(stage, host)?;
    }
    Ok(())
}

fn no_containers(stage: &Stage, host: Host) -> Result<()> {
    let claim = format!("no container is left on {}", host.name());
    let list = || Ok(lab::docker(host, Daemon::Engine).words("ps --all --quiet"));
    let empty = |output: &Output| ensure(output.shown().is_empty(), output.shown());
    stage.until(&host.name(), &claim, list, empty).map(drop)
}

fn untouched(stage: &Stage, host: Host) -> Result<()> {
    let name = host.name();
    no_containers(stage, host)?;
    stage.until(
        &name,
        &format!("the engine of {name} has only its own networks"),
        || Ok(lab::docker(host, Daemon::Engine).words("network ls --format {{.Name}}")),
        |output| {
            let mut networks: Vec<&str> = output.stdout.lines().collect();
            networks.sort_unstable();
            ensure(
                networks == ["bridge", "host", "none"],
                format!("{networks:?}"),
            )
        },
    )?;
    stage.until(
        &name,
        &format!("{name} has only the links it was born with"),
        || Ok(host.cmd("ip")?.words("-brief link")),
        |output| {
            let names = output
                .stdout
                .lines()
                .filter_map(|line| line.split_whitespace().next());
            let mut links: Vec<&str> = names
                .map(|name| name.split('@').next().unwrap_or(name))
                .collect();
            links.sort_unstable();
            ensure(links == ["docker0", "eth0", "lo"], format!("{links:?}"))
        },
    )?;
    let pins = wait::until("pins to be removed", SOON, || {
        let found = files_under(&host.path(&host.bpf_dir())?)?;
        if found.is_empty() {
            Ok(())
        } else {
            bail!(found.join(", "))
        }
    });
    stage.holds(&format!("no BPF map or link is pinned on {name}"), pins)?;
    let links = wait::until("BPF links to be closed", SOON, || {
        let links = host.bpf_links(Daemon::Orchd)?;
        if links.is_empty() {
            Ok(())
        } else {
            bail!(links.join(", "))
        }
    });
    stage.holds(
        &format!("orchd on {name} has no program attached anywhere"),
        links,
    )
}

fn files_under(folder: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_under(&path)?);
        } else {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}
