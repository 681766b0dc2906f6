//! `cargo xtask bench`: measures in a lab of its own and writes down what came out.
//!
//! No figure decides over pass or fail: a shared machine is too noisy for that. An aim that is
//! missed is said to be missed.

mod cluster;
mod machine;
mod many;
mod measure;
mod paths;
mod plain;
mod plot;
mod programs;
mod report;
mod scene;
mod statistics;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
    /// Managers against Docker Swarm's
    Cluster,
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
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub seconds: u32,
    /// Only pairs with this in one of their two names; then nothing is written down
    #[arg(long)]
    pub only: Option<String>,
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
        Subject::Cluster => managers(options, &date.to_string()),
    }
}

fn managers(options: &Options, date: &str) -> Result<()> {
    setup::run()?;
    println!("bench: building");
    ebpf::build()?;
    test::build_released()?;
    let machine = Machine::look(&["dockerd"])?;
    let lines = cluster::measure(options.pairs)?;
    let table = cluster::markdown(date, &machine, &lines)?;
    println!("\n{table}");
    if options.pairs < LEAST_PAIRS {
        println!("bench: not written down: less than {LEAST_PAIRS} times");
        return Ok(());
    }
    let base = format!("cluster-{date}");
    write(
        &base,
        "json",
        &(serde_json::to_string_pretty(&lines)? + "\n"),
    )?;
    write(&base, "md", &table)
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
    if options.pairs < LEAST_PAIRS || options.only.is_some() {
        println!("bench: not written down: not all pairs, or less than {LEAST_PAIRS} times");
        return Ok(());
    }
    let base = format!("datapath-{date}");
    write(
        &base,
        "json",
        &(serde_json::to_string_pretty(&report)? + "\n"),
    )?;
    write(&base, "svg", &report.plot())?;
    write(&base, "md", &report.markdown())
}

/// All pairs once, then all pairs again: what changes slowly meets every pair.
fn play(scene: &Scene, options: &Options) -> Result<Vec<PairResult>> {
    let pairs: Vec<&Pair> = PAIRS
        .iter()
        .filter(|pair| is_wanted(pair, options))
        .collect();
    let mut probes = BTreeMap::new();
    for route in pairs.iter().flat_map(|pair| [pair.baseline, pair.measured]) {
        if let Entry::Vacant(entry) = probes.entry(route) {
            let probe = scene.probe(route)?;
            measure::ready(&probe, &route.title())?;
            entry.insert(probe);
        }
    }
    let mut rounds: Vec<Vec<Round>> = pairs.iter().map(|_| Vec::new()).collect();
    for number in 0..options.pairs {
        println!("bench: round {} of {}", number + 1, options.pairs);
        for (pair, rounds) in pairs.iter().zip(&mut rounds) {
            // Which of the two goes first changes, so that going first helps neither.
            let round = one_round(pair, number.is_multiple_of(2), |route| {
                measure(&probes[&route], pair.metrics, options.seconds)
            })?;
            show(pair, &round);
            rounds.push(round);
        }
    }
    Ok(pairs
        .into_iter()
        .zip(rounds)
        .map(|(pair, rounds)| PairResult::new(pair, rounds))
        .collect())
}

fn is_wanted(pair: &Pair, options: &Options) -> bool {
    let names = [pair.measured.title(), pair.baseline.title()];
    options
        .only
        .as_ref()
        .is_none_or(|part| names.iter().any(|name| name.contains(part)))
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
        let figures = sample.figures.iter();
        let shown: Vec<String> = figures
            .map(|(metric, f)| format!("{metric} {f:.1}"))
            .collect();
        shown.join(", ")
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
