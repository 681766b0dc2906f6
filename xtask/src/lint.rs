//! `cargo xtask lint`: formatting, clippy without warnings, and the house rules of [`tidy`].

mod tidy;

use anyhow::{Result, bail};

use crate::ebpf;
use crate::wait::secs;
use crate::workspace;

/// Runs every check; the first that fails ends it.
pub fn run() -> Result<()> {
    let programs = workspace::root().join("ebpf/programs");
    println!("lint: rustfmt");
    workspace::cargo().words("fmt --all --check").through_ok()?;
    workspace::cargo()
        .words("fmt --check")
        .dir(&programs)
        .through_ok()?;
    println!("lint: house rules");
    let findings = tidy::check(workspace::root())?;
    for finding in &findings {
        println!("{finding}");
    }
    if findings.iter().any(|finding| finding.fails) {
        bail!("the house rules are not kept");
    }
    println!("lint: clippy");
    // The workspace embeds the BPF object, so it has to be there.
    ebpf::build()?;
    workspace::cargo()
        .words("clippy --quiet --workspace --all-targets -- -D warnings")
        .limit(secs(1800))
        .through_ok()
}
