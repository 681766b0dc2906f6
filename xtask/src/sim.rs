//! `cargo xtask sim`: simulated clusters by seed, for as many runs or as long as one wants.

use anyhow::{Result, ensure};
use clap::Args;

use crate::wait::secs;
use crate::workspace;

/// Which clusters.
#[derive(Debug, Clone, Copy, Args)]
pub struct Options {
    /// First seed [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many seeds [default: 300, or 1 with --seed]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Go on with further seeds for so many minutes
    #[arg(long, value_name = "N", conflicts_with = "runs", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: Option<u64>,
    /// So many of the last events are told of a seed that fails [default: 60]
    #[arg(long, value_name = "N")]
    trace: Option<u64>,
}

/// Runs them; an error when a cluster did what it must not.
pub fn run(options: Options) -> Result<()> {
    let variables = [
        ("ORCH_SIM_SEED", options.seed),
        ("ORCH_SIM_SEEDS", options.runs),
        ("ORCH_SIM_MINUTES", options.minutes),
        ("ORCH_SIM_TRACE", options.trace),
    ];
    let cargo = workspace::cargo()
        .env("RUST_BACKTRACE", "0")
        .words("test --quiet --package orch-tests --test sim -- --nocapture clusters");
    let cargo = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .fold(cargo, |cargo, (name, value)| {
            cargo.env(name, value.to_string())
        });
    let limit = options.minutes.unwrap_or(60) * 60 + 3600;
    let status = cargo.limit(secs(limit)).follow(|line| println!("{line}"))?;
    ensure!(status == 0, "a simulated cluster failed");
    Ok(())
}
