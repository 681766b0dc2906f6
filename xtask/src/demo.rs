//! `cargo xtask demo`: the user's story, played on three hosts of a fresh lab.

use anyhow::{Context, Result, bail};

use crate::ebpf;
use crate::lab::{self, Lab, Options};
use crate::setup;
use crate::story::{self, STEPS};
use crate::test;

/// Plays the story; an error when any step did not hold or anything was left behind. With `keep`
/// the last step, which takes everything down, is left to the user.
pub fn run(keep: bool) -> Result<()> {
    setup::run()?;
    println!("demo: building");
    ebpf::build()?;
    test::build_binaries()?;
    println!("demo: starting three hosts, each with a Docker Engine and orchd");
    let lab = Lab::up(Options::daemons(3))?;
    let count = if keep { STEPS.len() - 1 } else { STEPS.len() };
    let played = story::play(lab.hosts(), 0..count);
    if keep {
        lab.keep()?;
        println!("\nThe lab is up. Look around, for example:");
        println!("  eval \"$(cargo xtask lab env n1)\"");
        println!("  docker service ls");
        println!("  cargo xtask lab exec n2 -- orchctl node ls");
        println!("  cargo xtask lab down        ends it");
        return played;
    }
    let ended = lab.down().and_then(|()| {
        let left = lab::leftovers()?;
        if left.is_empty() {
            Ok(())
        } else {
            bail!("left behind: {}", left.join(", "))
        }
    });
    played.with_context(|| format!("logs are in {}", lab::kept_logs().display()))?;
    ended?;
    println!("\n✓ all {count} steps hold, and the lab has left nothing behind");
    Ok(())
}
