//! The story that `cargo xtask demo` tells.

use anyhow::Result;
use xtask::story::{self, STEPS};

use crate::harness::on_hosts;

#[test]
fn all_nine_steps_hold() -> Result<()> {
    on_hosts(3, |stage| story::play(stage.cluster.hosts(), STEPS.len()))
}
