//! `cargo xtask test`: the parts of the test suite, one after the other.
//!
//! Every part is a plain `cargo test` over the whole workspace, so that all parts share one build;
//! only the chosen targets differ.

mod outcome;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use crate::cmd::Cmd;
use crate::ebpf;
use crate::interrupt;
use crate::lab;
use crate::setup;
use crate::vm;
use crate::wait::secs;
use crate::workspace;
use outcome::Outcome;

/// A part of the test suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Libraries and binaries, property tests among them
    Unit,
    /// The simulated cluster
    Sim,
    /// BPF programs in the kernel, by test run and between namespaces; wants root
    Bpf,
    /// The lab: several hosts with Docker Engines; wants root
    E2e,
    /// The BPF part and the lab's matrix on Debian 12's kernel, emulated; wants root and Debian 12
    Vm,
}

/// Integration test targets that have a part of their own; all others belong to `unit`.
const SIM: &[&str] = &["sim"];
/// The simulator with faults in it, which nothing else may be built with.
const PLANTED: &str = "planted";
const BPF: &[&str] = &["bpf", "namespaces"];
const E2E: &[&str] = &["e2e"];
/// The lab's test that the other kernel is asked as well.
const MATRIX: &str = "every_cell_of_the_matrix";

/// Runs one part, or all of them; an error when any test failed.
pub fn run(part: Option<Part>, filter: Option<&str>) -> Result<()> {
    let parts: &[Part] = match &part {
        Some(part) => std::slice::from_ref(part),
        // The emulated machine takes longer than all of them.
        None => &[Part::Unit, Part::Sim, Part::Bpf, Part::E2e],
    };
    let privileged = parts
        .iter()
        .any(|part| matches!(part, Part::Bpf | Part::E2e | Part::Vm));
    if privileged && !nix::unistd::geteuid().is_root() {
        bail!("the parts bpf, e2e and vm load BPF programs and run engines: run them as root");
    }
    setup::run()?;
    ebpf::build()?;
    build_binaries()?;
    let mut outcome = Outcome::default();
    let mut broken = Vec::new();
    for &part in parts {
        if !run_part(part, filter, &mut outcome)? {
            broken.push(format!("{part:?}").to_lowercase());
        }
    }
    print!("{outcome}");
    if !broken.is_empty() {
        bail!("failed: {}", broken.join(", "));
    }
    if outcome.is_empty() {
        bail!("no test ran; is the filter right?");
    }
    Ok(())
}

/// The binaries that the lab runs, built as the tests build them.
pub fn build_binaries() -> Result<()> {
    workspace::cargo()
        .words("build --quiet --workspace --bins")
        .limit(secs(2400))
        .through_ok()
        .context("the workspace does not build")
}

/// The same, as users would build them; the lab runs these from then on.
pub fn build_released() -> Result<()> {
    workspace::cargo()
        .words("build --quiet --release --workspace --bins")
        .limit(secs(2400))
        .through_ok()
        .context("the workspace does not build")?;
    workspace::use_released();
    Ok(())
}

/// Runs one part and takes down what its tests say; whether all of it held.
fn run_part(part: Part, filter: Option<&str>, outcome: &mut Outcome) -> Result<bool> {
    println!("== {part:?}");
    let mut on_line = |line: &str| {
        println!("{line}");
        outcome.line(line);
    };
    if part == Part::Vm {
        return run_emulated(filter, on_line);
    }
    let cargo = tests().words("--workspace --no-fail-fast");
    let cargo = targets(part)?
        .iter()
        .fold(cargo, |cargo, target| cargo.words(target));
    let cargo = filter.into_iter().fold(cargo, Cmd::arg);
    // Scenarios take turns with the machine's one lab.
    let cargo = if part == Part::E2e {
        cargo.words("-- --test-threads=1")
    } else {
        cargo
    };
    let status = cargo.limit(secs(3000)).follow(&mut on_line);
    if part == Part::E2e && interrupt::raised() {
        lab::down()?;
    }
    let mut held = status? == 0;
    if part == Part::Sim && filter.is_none() {
        let cargo = tests()
            .words("--package orch-tests --features planted --test")
            .arg(PLANTED);
        held &= cargo.limit(secs(3000)).follow(&mut on_line)? == 0;
    }
    Ok(held)
}

/// `cargo test`. Messages say what happened; backtraces would push them out of a log that is cut.
fn tests() -> Cmd {
    workspace::cargo().env("RUST_BACKTRACE", "0").words("test")
}

/// Runs the programs' tests on another kernel, and the lab's matrix, or what the filter chooses.
fn run_emulated(filter: Option<&str>, mut on_line: impl FnMut(&str)) -> Result<bool> {
    let programs = build_tests(BPF)?;
    let lab = build_tests(E2E)?;
    let mut held = vm::run(&programs, filter, &mut on_line)?;
    for test in &lab {
        held &= vm::run_lab(test, filter.unwrap_or(MATRIX), &mut on_line)?;
    }
    Ok(held)
}

/// Builds integration test targets; returns their programs.
fn build_tests(names: &[&str]) -> Result<Vec<PathBuf>> {
    let cargo = workspace::cargo().words("test --workspace --no-run --message-format json");
    let cargo = names
        .iter()
        .fold(cargo, |cargo, name| cargo.args(["--test", name]));
    let messages = cargo.limit(secs(3000)).ok()?;
    let programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message["target"]["kind"][0] == "test";
        Some(PathBuf::from(
            message["executable"].as_str().filter(|_| is_test)?,
        ))
    });
    Ok(programs.collect())
}

/// Cargo's words for the targets of a part.
fn targets(part: Part) -> Result<Vec<String>> {
    let all = integration_tests()?;
    let chosen = |names: &[&str]| -> Vec<String> {
        let present = all.iter().filter(|name| names.contains(&name.as_str()));
        present.map(|name| format!("--test {name}")).collect()
    };
    let words = match part {
        Part::Sim => chosen(SIM),
        Part::Bpf => chosen(BPF),
        Part::E2e => chosen(E2E),
        Part::Vm => chosen(BPF),
        Part::Unit => {
            let own = [SIM, &[PLANTED], BPF, E2E].concat();
            let others = all.iter().filter(|name| !own.contains(&name.as_str()));
            let others = others.map(|name| format!("--test {name}"));
            ["--lib".to_owned(), "--bins".to_owned()]
                .into_iter()
                .chain(others)
                .collect()
        }
    };
    if words.is_empty() {
        bail!("the workspace has no test target for the part {part:?}");
    }
    Ok(words)
}

/// The names of all integration test targets of the workspace.
fn integration_tests() -> Result<Vec<String>> {
    let text = workspace::cargo()
        .words("metadata --no-deps --format-version 1")
        .ok()?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| target["kind"][0] == "test");
    Ok(tests
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect())
}
