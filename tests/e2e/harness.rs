//! A lab per scenario, ended whatever happens, and nothing left of it.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use xtask::lab::{self, Host, Lab, Options};
use xtask::story::stage::Stage;

use crate::watch::Watch;

/// The machine can have one lab at a time.
static ONE_LAB: Mutex<()> = Mutex::new(());

/// Plays a scenario on hosts whose daemons run but are no swarm.
pub fn on_hosts(count: u8, play: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    in_lab(Options::daemons(count), play)
}

/// Plays a scenario in a swarm with one manager.
pub fn in_swarm(count: u8, play: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    in_lab(Options::swarm(count), play)
}

/// Plays a scenario in any lab.
pub fn in_lab(options: Options, play: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    in_watched_lab(options, |stage, watch| {
        play(stage)?;
        watch.end()
    })
}

/// Plays a scenario in any lab that decides itself what is watched, and until when.
pub fn in_watched_lab(
    options: Options,
    play: impl FnOnce(&Stage, Watch) -> Result<()>,
) -> Result<()> {
    // A scenario that panicked has still ended its lab.
    let _one = ONE_LAB.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::up(options)?;
    let played = Watch::begin(lab.hosts()).and_then(|watch| play(&Stage::new(lab.hosts()), watch));
    lab.down()?;
    played?;
    let left = lab::leftovers()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// A command that must be refused with all of `wanted` in its message, and change nothing.
pub fn refused(stage: &Stage, host: Host, words: &str, wanted: &[&str]) -> Result<()> {
    let before = stage.cluster.memory()?;
    let message = stage.refused(host, words)?.to_lowercase();
    for word in wanted {
        ensure!(
            message.contains(&word.to_lowercase()),
            "{word:?} is not in {message:?}"
        );
    }
    let same = xtask::story::cluster::same(&before, &stage.cluster.memory()?);
    stage.holds("and nothing has changed", same)
}
