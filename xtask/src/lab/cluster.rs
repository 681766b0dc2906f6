//! Making one swarm of the lab's hosts, with the commands a user would type.

use anyhow::{Result, bail};

use super::host::{Daemon, Host};
use super::orchctl;
use crate::wait::{self, secs};

/// Initialises the swarm on the first host and lets the others join it.
pub fn form(hosts: &[Host], managers: usize) -> Result<()> {
    let Some((&first, others)) = hosts.split_first() else {
        return Ok(());
    };
    orchctl(first)
        .args(["swarm", "init", "--advertise-addr", &first.address()])
        .ok()?;
    let token = |role| {
        orchctl(first)
            .args(["swarm", "join-token", "-q", role])
            .ok()
    };
    let (manager, worker) = (token("manager")?, token("worker")?);
    for (position, &host) in others.iter().enumerate() {
        let token = if position + 1 < managers {
            &manager
        } else {
            &worker
        };
        join(host, token.trim(), first)?;
    }
    wait::until("every node to be ready", secs(30), || {
        let ready = ready_nodes(first)?;
        if ready == hosts.len() {
            Ok(())
        } else {
            bail!("{ready} of {} are", hosts.len())
        }
    })
}

fn join(host: Host, token: &str, manager: Host) -> Result<()> {
    let address = format!("{}:2377", manager.address());
    orchctl(host)
        .args([
            "swarm",
            "join",
            "--advertise-addr",
            &host.address(),
            "--token",
            token,
        ])
        .arg(address)
        .ok()
        .map(drop)
}

fn ready_nodes(manager: Host) -> Result<usize> {
    let nodes = manager.api(Daemon::Orchd).want("/nodes")?;
    let states = nodes
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| &node["Status"]["State"]);
    Ok(states.filter(|state| *state == "ready").count())
}
