//! `orchd`: turns a Linux host that runs a container engine into a node of a cluster.
//!
//! The binary only starts and stops things: it parses the command line, takes the lock on the
//! state folder, resumes the host's membership and serves the Engine API until it is told to
//! stop. Containers and the data plane outlive it.

mod agent;
mod api;
mod args;
mod daemon;
mod dns;
mod durable;
mod engine;
mod manager;
mod netplane;
mod pki;
mod plugin;
mod raft;
mod rpc;

use std::io::IsTerminal;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::Options;
use crate::daemon::{Daemon, StateDir};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    start_logging(&options.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(run(options))
}

/// Logs go to standard error, where systemd and containers collect them.
fn start_logging(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)
        .with_context(|| format!("--log-level: \"{level}\" is not a level or directive"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

async fn run(options: Options) -> anyhow::Result<()> {
    let state_dir = StateDir::open(&options.state_dir)?;
    let socket = options.api_socket();
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        state_dir = %options.state_dir.display(),
        socket = %socket.display(),
        "orchd starts"
    );
    let (daemon, lifecycle) = Daemon::start(options, state_dir, shutdown.clone());
    let served = api::serve(daemon, socket, shutdown).await;
    // The API may also end by itself, on an error: everything else must end with it.
    let lived = lifecycle.stop().await;
    if let (Err(_), Err(error)) = (&served, &lived) {
        tracing::error!(error = format!("{error:#}"), "the life cycle failed too");
    }
    tracing::info!("orchd stops; containers and the data plane go on");
    served.and(lived)
}

/// SIGTERM and SIGINT stop the daemon in good order.
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
        shutdown.cancel();
    });
    Ok(())
}
