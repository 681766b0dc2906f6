//! Tokens, joining and leaving when something is wrong about them.

use anyhow::{Context, Result, ensure};
use xtask::lab::{Daemon, Host};
use xtask::story::stage::Stage;

use crate::harness::{in_swarm, on_hosts, refused};

fn worker_token(stage: &Stage, manager: Host) -> Result<String> {
    Ok(stage
        .orchctl(manager, "swarm join-token -q worker")?
        .trim()
        .to_owned())
}

fn join(token: &str, manager: Host) -> String {
    format!("swarm join --token {token} {}:2377", manager.address())
}

fn in_no_swarm(host: Host) -> Result<()> {
    let info = host.api(Daemon::Orchd).want("/info")?;
    let state = &info["Swarm"]["LocalNodeState"];
    ensure!(state == "inactive", "{} is {state}", host.name());
    Ok(())
}

#[test]
fn a_token_that_is_damaged_or_foreign_lets_nobody_in() -> Result<()> {
    on_hosts(3, |stage| {
        let (n1, n2, n3) = (stage.host(1)?, stage.host(2)?, stage.host(3)?);
        for host in [n1, n3] {
            let words = format!("swarm init --advertise-addr {}", host.address());
            stage.orchctl(host, &words)?;
        }
        let token = worker_token(stage, n1)?;

        let truncated = &token[..token.len() - 10];
        refused(stage, n2, &join(truncated, n1), &["token"])?;

        let (rest, _secret) = token.rsplit_once('-').context("a token has parts")?;
        let wrong = format!("{rest}-{}", "0".repeat(25));
        refused(stage, n2, &join(&wrong, n1), &["token"])?;

        let foreign = worker_token(stage, n3)?;
        refused(stage, n2, &join(&foreign, n1), &["CA"])?;

        in_no_swarm(n2)
    })
}

#[test]
fn a_host_joins_one_swarm_once() -> Result<()> {
    in_swarm(2, |stage| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        let token = worker_token(stage, n1)?;
        refused(stage, n2, &join(&token, n1), &["already part of a swarm"])?;
        let init = format!("swarm init --advertise-addr {}", n1.address());
        refused(stage, n1, &init, &["already part of a swarm"])
    })
}

#[test]
fn the_last_manager_leaves_only_when_forced() -> Result<()> {
    in_swarm(1, |stage| {
        let n1 = stage.host(1)?;
        refused(stage, n1, "swarm leave", &["--force"])?;
        stage.orchctl(n1, "swarm leave --force")?;
        in_no_swarm(n1)
    })
}

#[test]
fn a_host_in_no_swarm_says_so() -> Result<()> {
    on_hosts(1, |stage| {
        let message = stage.refused(stage.host(1)?, "service ls")?;
        ensure!(message.contains("not a swarm manager"), message);
        Ok(())
    })
}
