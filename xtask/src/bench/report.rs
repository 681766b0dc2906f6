//! What was measured as a table for people and as JSON for programs. Decides nothing but whether
//! an aim is met.

use serde::Serialize;

use super::machine::Machine;
use super::measure::Sample;
use super::paths::{Metric, Pair};
use super::plot::{self, Line};
use super::statistics::{Comparison, Summary};

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The day, as year-month-day.
    pub date: String,
    /// On what.
    pub machine: Machine,
    /// How long each program measured, in seconds.
    pub seconds: u32,
    /// What came out.
    pub results: Vec<PairResult>,
}

/// All rounds of a pair, and their sums.
#[derive(Debug, Serialize)]
pub struct PairResult {
    /// What is looked at.
    pub measured: String,
    /// What it is compared with.
    pub baseline: String,
    /// In the order in which they were measured.
    pub rounds: Vec<Round>,
    /// One for each metric.
    pub rows: Vec<Row>,
}

/// Two measurements right after each other.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Of the baseline.
    pub baseline: Sample,
    /// Of what is compared with it.
    pub measured: Sample,
}

/// One metric of a pair.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Which.
    pub metric: Metric,
    /// Its figures.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// What the median ratio should be; none where there is nothing to reach.
    pub aim: Option<f64>,
    /// Whether it is.
    pub hit: Option<bool>,
}

impl PairResult {
    /// Sums a pair's rounds up.
    pub fn new(pair: &Pair, rounds: Vec<Round>) -> Self {
        let rows = pair.metrics.iter().filter_map(|&metric| {
            let both = |round: &Round| {
                let of = |sample: &Sample| sample.figures.get(&metric).copied();
                of(&round.baseline).zip(of(&round.measured))
            };
            let figures: Vec<(f64, f64)> = rounds.iter().filter_map(both).collect();
            let comparison = Comparison::of(&figures)?;
            let aim = pair
                .aims
                .iter()
                .find_map(|&(of, aim)| (of == metric).then_some(aim));
            Some(Row {
                metric,
                comparison,
                aim,
                hit: aim.map(|aim| metric.meets(comparison.ratio.median, aim)),
            })
        });
        Self {
            measured: pair.measured.title(),
            baseline: pair.baseline.title(),
            rows: rows.collect(),
            rounds,
        }
    }
}

impl Row {
    fn cells(&self) -> String {
        let figures = &self.comparison;
        let aim = self.aim.map(|aim| self.metric.bound(aim));
        let hit = match self.hit {
            Some(true) => "hit",
            Some(false) => "**miss**",
            None => "",
        };
        format!(
            "{} | {} | {} | {} | {} | {hit}",
            self.metric,
            span(figures.baseline, 1),
            span(figures.measured, 1),
            span(figures.ratio, 2),
            aim.unwrap_or_default()
        )
    }
}

impl Report {
    /// The table with what has to be known to read it, in Markdown.
    pub fn markdown(&self) -> String {
        let loads = self.results.iter().flat_map(|result| &result.rounds);
        let loads = loads.flat_map(|round| [round.baseline.load, round.measured.load]);
        let load = Summary::of(loads).map_or_else(String::new, |load| {
            format!(
                "{:.2} (median; {:.2} to {:.2})",
                load.median, load.min, load.max
            )
        });
        let rounds = self.results.iter().map(|result| result.rounds.len()).min();
        let mut text = format!(
            "# Data path, {}\n\n{}\
             - Load average before each measurement: {load}\n\
             - {} pairs each, {} s per program. Client, servers and all hosts share this machine: \
             Gbit/s is cost in processor time, not wire.\n\n",
            self.date,
            self.machine.markdown(),
            rounds.unwrap_or_default(),
            self.seconds,
        );
        text.push_str(&self.table());
        text.push_str(&format!("\n{}\n", self.verdict()));
        text.push_str(&format!(
            "\n![the ratios as a picture](datapath-{}.svg)\n",
            self.date
        ));
        text
    }

    /// Medians with the smallest and the largest, in Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| what | against | | baseline | measured | ratio of the pairs | aim | |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for result in &self.results {
            for (position, row) in result.rows.iter().enumerate() {
                let (measured, baseline) = if position == 0 {
                    (result.measured.as_str(), result.baseline.as_str())
                } else {
                    ("", "")
                };
                text.push_str(&format!("| {measured} | {baseline} | {} |\n", row.cells()));
            }
        }
        text
    }

    /// The ratios of all pairs as a picture.
    pub fn plot(&self) -> String {
        let lines = self.results.iter().flat_map(|result| {
            result.rows.iter().map(|row| Line {
                label: format!("{}: {}", result.measured, row.metric),
                span: row.comparison.ratio,
                aim: row.aim,
            })
        });
        plot::svg("ratio", &lines.collect::<Vec<_>>())
    }

    /// How many aims were hit.
    pub fn verdict(&self) -> String {
        let verdicts = self.results.iter().flat_map(|result| &result.rows);
        let verdicts: Vec<bool> = verdicts.filter_map(|row| row.hit).collect();
        let hit = verdicts.iter().filter(|hit| **hit).count();
        format!(
            "{hit} of {} aims hit, {} missed",
            verdicts.len(),
            verdicts.len() - hit
        )
    }
}

fn span(summary: Summary, digits: usize) -> String {
    let Summary { median, min, max } = summary;
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::paths::Route;

    fn sample(p50_us: f64, gbit_per_s: f64) -> Sample {
        let figures = [
            (Metric::P50, p50_us),
            (Metric::P99, 2.0 * p50_us),
            (Metric::Throughput, gbit_per_s),
        ];
        Sample {
            load: 0.5,
            figures: figures.into(),
        }
    }

    fn report() -> Report {
        let pair = Pair {
            baseline: Route::Underlay,
            measured: Route::TaskThere,
            metrics: &[Metric::P50, Metric::P99, Metric::Throughput],
            aims: &[(Metric::P50, 1.12), (Metric::Throughput, 0.90)],
        };
        let rounds = [(11.0, 8.0), (12.0, 7.0), (10.5, 6.0)].map(|(p50, gbit)| Round {
            baseline: sample(10.0, 10.0),
            measured: sample(p50, gbit),
        });
        Report {
            date: "2026-01-02".to_owned(),
            machine: Machine {
                processor: "a processor".to_owned(),
                processors: 2,
                memory_gib: 4.0,
                kernel: "6.1".to_owned(),
                congestion_control: "cubic".to_owned(),
                programs: vec!["one 1".to_owned(), "two 2".to_owned()],
                commit: "abc".to_owned(),
            },
            seconds: 3,
            results: vec![PairResult::new(&pair, rounds.to_vec())],
        }
    }

    #[test]
    fn the_table_says_what_was_reached_and_what_was_not() {
        let expected = "\
| what | against | | baseline | measured | ratio of the pairs | aim | |
|---|---|---|---|---|---|---|---|
| task to task, other host | bare underlay | p50 µs | 10.0 (10.0–10.0) | 11.0 (10.5–12.0) | \
1.10 (1.05–1.20) | ≤ 1.12 | hit |
|  |  | p99 µs | 20.0 (20.0–20.0) | 22.0 (21.0–24.0) | 1.10 (1.05–1.20) |  |  |
|  |  | Gbit/s | 10.0 (10.0–10.0) | 7.0 (6.0–8.0) | 0.70 (0.60–0.80) | ≥ 0.90 | **miss** |
";
        assert_eq!(report().table(), expected);
        assert_eq!(report().verdict(), "1 of 2 aims hit, 1 missed");
    }

    #[test]
    fn the_page_names_machine_commit_and_load() {
        let page = report().markdown();
        for wanted in [
            "# Data path, 2026-01-02",
            "Commit abc; Linux 6.1",
            "0.50 (median; 0.50 to 0.50)",
            "3 pairs each, 3 s",
        ] {
            assert!(page.contains(wanted), "{wanted} is not in {page}");
        }
    }

    #[test]
    fn json_has_every_single_measurement() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["results"][0]["rounds"][1]["measured"]["p50"], 12.0);
        assert_eq!(json["results"][0]["rows"][2]["metric"], "throughput");
        assert_eq!(json["results"][0]["rows"][2]["hit"], false);
        assert_eq!(
            json["results"][0]["rows"][1]["aim"],
            serde_json::Value::Null
        );
    }
}
