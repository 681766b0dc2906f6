//! The story that `cargo xtask demo` tells.

use anyhow::Result;
use xtask::lab::Options;
use xtask::story::{self, STEPS};

use crate::harness::in_watched_lab;

#[test]
fn all_nine_steps_hold() -> Result<()> {
    in_watched_lab(Options::daemons(3), |stage, watch| {
        let hosts = stage.cluster.hosts();
        // The last step takes the counters away with everything else.
        let last = STEPS.len() - 1;
        story::play(hosts, 0..last)?;
        watch.end()?;
        story::play(hosts, last..STEPS.len())
    })
}
