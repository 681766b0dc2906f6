//! How the two daemons of a host are started.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::host::{Daemon, Host};
use super::layout::{CGROUP, Description, switch_address};
use crate::setup;
use crate::wait;
use crate::workspace;

/// orchd's own unit of time, on a usual machine.
const TICK: Duration = Duration::from_millis(50);

/// Starts a daemon of a host and waits until it answers.
pub fn start(host: Host, daemon: Daemon) -> Result<()> {
    match daemon {
        Daemon::Engine => start_engine(host),
        Daemon::Orchd => start_orchd(host),
    }?;
    host.answers(daemon)
}

fn start_engine(host: Host) -> Result<()> {
    let dockerd = setup::find("dockerd").context("there is no dockerd (`cargo xtask setup`)")?;
    let socket = host.socket(Daemon::Engine);
    // A number left by a killed engine may by now be another process's, and dockerd would think
    // that it runs already.
    let pid_file = host.path("/run/docker.pid")?;
    if pid_file.exists() {
        std::fs::remove_file(&pid_file)?;
    }
    let mut args = vec![
        format!("--host=unix://{}", socket.display()),
        "--host=unix:///run/docker.sock".to_owned(),
        format!("--data-root={}", host.state().join("engine").display()),
        "--exec-root=/run/docker".to_owned(),
        "--pidfile=/run/docker.pid".to_owned(),
        format!("--cgroup-parent=/{CGROUP}/{}", host.name()),
        "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
        // Nothing in the lab wants the engine's own NAT, and the rules of its bridge would hide
        // that orchd needs none.
        "--iptables=false".to_owned(),
        format!("--insecure-registry={}:5000", switch_address()),
    ];
    if Description::load()?.is_some_and(|lab| lab.live_restore) {
        args.push("--live-restore".to_owned());
    }
    host.start(Daemon::Engine, &dockerd.to_string_lossy(), &args)
}

fn start_orchd(host: Host) -> Result<()> {
    let orchd = workspace::binary("orchd");
    if !orchd.exists() {
        bail!("{} is not there: cargo build -p orchd", orchd.display());
    }
    let args = [
        format!("--state-dir={}", host.state().join("orchd").display()),
        format!("--run-dir={}", host.run().join("orchd").display()),
        format!("--engine=unix://{}", host.socket(Daemon::Engine).display()),
        "--plugin-dir=/run/docker/plugins".to_owned(),
        format!("--bpf-dir={}", host.bpf_dir()),
        "--log-level=info".to_owned(),
        format!("--tick={}ms", wait::patient(TICK).as_millis()),
    ];
    host.start(Daemon::Orchd, &orchd.to_string_lossy(), &args)
}
