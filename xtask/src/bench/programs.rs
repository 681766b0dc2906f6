//! `cargo xtask bench programs`: nanoseconds per packet of each path through the BPF programs.
//!
//! The packets and what they meet are those of the BPF tests, whose bench target runs them.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::plot::{self, Line};
use super::statistics::Summary;
use crate::ebpf;
use crate::setup;
use crate::wait::secs;
use crate::workspace;

/// What a packet of a known conversation may take.
const FLOW_HIT_AIM: f64 = 100.0;

/// One path, as the bench target prints it.
#[derive(Debug, Deserialize)]
struct Times {
    path: String,
    way: String,
    nanoseconds: Vec<f64>,
}

/// One path, summed up.
#[derive(Debug, Serialize)]
struct Row {
    path: String,
    /// `warm` or `cold`.
    way: String,
    /// Every round.
    rounds: Vec<f64>,
    nanoseconds: Summary,
    aim: Option<f64>,
}

/// A whole run.
#[derive(Debug, Serialize)]
struct Report {
    date: String,
    machine: Machine,
    rows: Vec<Row>,
}

/// Measures, prints and writes.
pub fn run(date: &str) -> Result<()> {
    setup::run()?;
    ebpf::build()?;
    println!("bench: running the programs");
    let report = Report {
        date: date.to_owned(),
        machine: Machine::look(&[])?,
        rows: measure()?,
    };
    println!("\n{}", report.markdown());
    let json = serde_json::to_string_pretty(&report)? + "\n";
    let base = format!("programs-{date}");
    super::write(&base, "json", &json)?;
    super::write(&base, "svg", &report.plot())?;
    super::write(&base, "md", &report.markdown())
}

fn measure() -> Result<Vec<Row>> {
    let printed = workspace::cargo()
        .words("bench --quiet --package orch-tests --bench programs --profile dev")
        .limit(secs(900))
        .ok()?;
    let times: Vec<Times> =
        serde_json::from_str(&printed).with_context(|| format!("it printed {printed:?}"))?;
    times.into_iter().map(Row::new).collect()
}

impl Row {
    fn new(times: Times) -> Result<Self> {
        let summary = Summary::of(times.nanoseconds.iter().copied());
        Ok(Self {
            nanoseconds: summary.with_context(|| format!("no times: {}", times.path))?,
            aim: times.path.contains("flow hit").then_some(FLOW_HIT_AIM),
            path: times.path,
            way: times.way,
            rounds: times.nanoseconds,
        })
    }

    fn cells(&self) -> String {
        let Summary { median, min, max } = self.nanoseconds;
        let aim = self
            .aim
            .map_or_else(String::new, |aim| format!("≤ {aim:.0}"));
        let hit = match self.aim {
            None => "",
            Some(aim) if median <= aim => "hit",
            Some(_) => "**miss**",
        };
        let (path, way) = (&self.path, &self.way);
        format!("| {path} | {way} | {median:.0} ({min:.0}–{max:.0}) | {aim} | {hit} |")
    }
}

impl Report {
    fn markdown(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(Row::cells).collect();
        format!(
            "# Programs, {}\n\n{}\n| path | caches | ns per packet | aim | |\n\
             |---|---|---|---|---|\n{}\n\n![the table as a picture](programs-{0}.svg)\n",
            self.date,
            self.machine.markdown(),
            rows.join("\n")
        )
    }

    fn plot(&self) -> String {
        let lines = self.rows.iter().map(|row| Line {
            label: row.path.clone(),
            span: row.nanoseconds,
            aim: row.aim,
        });
        plot::svg("ns per packet", &lines.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_a_flow_hit_is_fast_enough() {
        let times = |path: &str, nanoseconds| Times {
            path: path.to_owned(),
            way: "warm".to_owned(),
            nanoseconds,
        };
        let slow = Row::new(times("task: flow hit", vec![90.0, 120.0, 130.0])).unwrap();
        assert_eq!(
            slow.cells(),
            "| task: flow hit | warm | 120 (90–130) | ≤ 100 | **miss** |"
        );
        let other = Row::new(times("task: ARP", vec![60.0])).unwrap();
        assert_eq!(other.cells(), "| task: ARP | warm | 60 (60–60) |  |  |");
        assert!(Row::new(times("task: none", vec![])).is_err());
    }
}
