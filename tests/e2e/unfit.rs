//! Hosts that lack something: orchd says what, and how to mend it, before it becomes a node.

use anyhow::{Result, ensure};
use xtask::lab::{self, Daemon, Host};
use xtask::story::stage::Stage;

use crate::harness::on_hosts;

/// `swarm init` must be refused with these words, and work once the host is mended.
fn unfit(stage: &Stage, host: Host, wanted: &[&str], mend: impl Fn() -> Result<()>) -> Result<()> {
    let init = format!("swarm init --advertise-addr {}", host.address());
    let message = stage.refused(host, &init)?;
    for word in wanted {
        ensure!(message.contains(word), "{word:?} is not in {message:?}");
    }
    mend()?;
    stage.orchctl(host, &init).map(drop)
}

#[test]
fn a_host_without_its_engine() -> Result<()> {
    on_hosts(1, |stage| {
        let n1 = stage.host(1)?;
        n1.kill(Daemon::Engine)?;
        let wanted = ["container engine", "engine.sock", "--engine"];
        unfit(stage, n1, &wanted, || lab::start(n1, Daemon::Engine))
    })
}

#[test]
fn a_host_without_cgroup2() -> Result<()> {
    on_hosts(1, |stage| {
        let n1 = stage.host(1)?;
        let mounts = std::fs::read_to_string(n1.path("/proc/1/mounts")?)?;
        let place = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|words| words.get(2) == Some(&"cgroup2"))
            .and_then(|words| words.get(1).map(ToString::to_string));
        let Some(place) = place else {
            anyhow::bail!("this machine has no cgroup2")
        };
        n1.cmd("umount")?.args(["--lazy", &place]).ok()?;
        unfit(stage, n1, &["cgroup2", "mount"], || {
            n1.cmd("mount")?
                .args(["-t", "cgroup2", "none", &place])
                .ok()
                .map(drop)
        })
    })
}
