//! `cargo xtask bench`: measures in a lab of its own and writes down what came out.
//!
//! No figure decides over pass or fail: a shared machine is too noisy for that. An aim that is
//! missed is said to be missed.

mod machine;
mod measure;
mod paths;
mod plain;
mod plot;
mod programs;
mod report;
mod scene;
mod statistics;

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use clap::ValueEnum;

use crate::ebpf;
use crate::setup;
use crate::test;
use crate::workspace;
use machine::Machine;
use measure::{Sample, measure};
use paths::{PAIRS, Pair, Route};
use report::{PairResult, Report, Round};
use scene::Scene;

/// With fewer pairs a run is a try-out: it is shown, but not written down.
const LEAST_PAIRS: u32 = 5;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Every route of the data path against a bare one
    Datapath,
    /// Nanoseconds per packet of the BPF programs
    Programs,
}

/// How to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What to measure
    #[arg(value_enum, default_value_t = Subject::Datapath)]
    pub subject: Subject,
    /// How often each pair is measured; fewer than 5 are only shown, not written down
    #[arg(long, default_value_t = LEAST_PAIRS, value_parser = clap::value_parser!(u32).range(1..))]
    pub pairs: u32,
    /// How long each program measures, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub seconds: u32,
    /// The day in the files' names, as year-month-day; today when not given
    #[arg(long)]
    pub date: Option<jiff::civil::Date>,
}

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<()> {
    let date = options.date.unwrap_or_else(|| jiff::Zoned::now().date());
    match options.subject {
        Subject::Datapath => datapath(options, &date.to_string()),
        Subject::Programs => programs::run(&date.to_string()),
    }
}

fn datapath(options: &Options, date: &str) -> Result<()> {
    setup::run()?;
    setup::bench()?;
    println!("bench: building");
    ebpf::build()?;
    test::build_binaries()?;
    let machine = Machine::look(&["sockperf", "iperf3", "dockerd"])?;
    println!("bench: starting two hosts and what they are compared with");
    let scene = Scene::build()?;
    let results = play(&scene, options)?;
    scene.end()?;
    let report = Report {
        date: date.to_owned(),
        machine,
        seconds: options.seconds,
        results,
    };
    println!("\n{}", report.markdown());
    if options.pairs < LEAST_PAIRS {
        println!("bench: not written down: fewer than {LEAST_PAIRS} pairs");
        return Ok(());
    }
    let base = format!("datapath-{date}");
    write(
        &base,
        "json",
        &(serde_json::to_string_pretty(&report)? + "\n"),
    )?;
    write(&base, "md", &report.markdown())
}

/// All pairs once, then all pairs again: what changes slowly meets every pair.
fn play(scene: &Scene, options: &Options) -> Result<Vec<PairResult>> {
    let mut probes = BTreeMap::new();
    for route in Route::ALL {
        let probe = scene.probe(route)?;
        measure::ready(&probe, route.title())?;
        probes.insert(route, probe);
    }
    let mut rounds: Vec<Vec<Round>> = PAIRS.iter().map(|_| Vec::new()).collect();
    for number in 0..options.pairs {
        println!("bench: round {} of {}", number + 1, options.pairs);
        for (pair, rounds) in PAIRS.iter().zip(&mut rounds) {
            // Which of the two goes first changes, so that going first helps neither.
            let round = one_round(pair, number.is_multiple_of(2), |route| {
                measure(&probes[&route], options.seconds)
            })?;
            show(pair, &round);
            rounds.push(round);
        }
    }
    let results = PAIRS.iter().zip(rounds);
    Ok(results
        .map(|(pair, rounds)| PairResult::new(pair, rounds))
        .collect())
}

fn one_round(
    pair: &Pair,
    baseline_first: bool,
    measure: impl Fn(Route) -> Result<Sample>,
) -> Result<Round> {
    if baseline_first {
        let baseline = measure(pair.baseline)?;
        let measured = measure(pair.measured)?;
        Ok(Round { baseline, measured })
    } else {
        let measured = measure(pair.measured)?;
        let baseline = measure(pair.baseline)?;
        Ok(Round { baseline, measured })
    }
}

fn show(pair: &Pair, round: &Round) {
    let figures = |sample: &Sample| {
        format!(
            "{:.1} µs, {:.1} µs, {:.1} Gbit/s",
            sample.p50_us, sample.p99_us, sample.gbit_per_s
        )
    };
    println!(
        "  {}: {}; {}: {}",
        pair.baseline.title(),
        figures(&round.baseline),
        pair.measured.title(),
        figures(&round.measured)
    );
}

/// Writes one file of a report.
fn write(base: &str, extension: &str, text: &str) -> Result<()> {
    let folder = workspace::root().join("docs/benchmarks");
    fs::create_dir_all(&folder)?;
    let file = folder.join(base).with_extension(extension);
    fs::write(&file, text)?;
    println!("bench: wrote {}", file.display());
    Ok(())
}
