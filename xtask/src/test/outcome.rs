//! What the lines of Rust's test runner say: how many tests held, and why the others did not.

use std::collections::VecDeque;
use std::fmt;

/// Of what a failed test printed, its last lines: the message comes at the end.
const KEPT: usize = 40;

/// Tests that ran, and what the failed ones said.
#[derive(Debug, Default)]
pub struct Outcome {
    passed: u64,
    failed: u64,
    reports: Vec<Report>,
    /// Whether the lines that come belong to the last report.
    inside: bool,
}

/// The end of what one failed test printed.
#[derive(Debug)]
struct Report {
    test: String,
    lines: VecDeque<String>,
}

impl Outcome {
    /// Takes down one line of the runner.
    pub fn line(&mut self, line: &str) {
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
        } else if let Some(test) = reported(line) {
            self.inside = true;
            self.reports.push(Report {
                test: test.to_owned(),
                lines: VecDeque::new(),
            });
        } else if line == "failures:" {
            self.inside = false;
        } else if let Some(report) = self.reports.last_mut().filter(|_| self.inside) {
            if report.lines.len() == KEPT {
                report.lines.pop_front();
            }
            report.lines.push_back(line.to_owned());
        }
    }

    /// Whether no test ran.
    pub fn is_empty(&self) -> bool {
        self.passed + self.failed == 0
    }
}

/// The reports of the failed tests, then the sums: the closing lines of a run.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.reports {
            writeln!(f, "== {} failed:", report.test)?;
            for line in report.lines.iter().filter(|line| !line.is_empty()) {
                writeln!(f, "{line}")?;
            }
        }
        writeln!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// The test that a line like `---- a::test stdout ----` opens the report of.
fn reported(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Passed and failed of a line like `test result: ok. 3 passed; 0 failed; ...`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        let (before, _) = counts.split_once(what)?;
        before.split_whitespace().last()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let mut outcome = Outcome::default();
        text.lines().for_each(|line| outcome.line(line));
        outcome.to_string()
    }

    #[test]
    fn results_of_several_programs_are_added() {
        let text = "test a ... ok\n\
            test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out\n\
            test result: ok. 3 passed; 0 failed; 0 ignored";
        assert_eq!(told(text), "15 passed, 0 failed\n");
        assert!(Outcome::default().is_empty());
    }

    #[test]
    fn the_closing_lines_say_why_tests_failed() {
        let text = "failures:\n\n---- a::b stdout ----\n\nError: no way\n\n\
            ---- c stdout ----\nleft: 1\n\nfailures:\n    a::b\n    c\n\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored";
        let closing = "== a::b failed:\nError: no way\n== c failed:\nleft: 1\n1 passed, 2 failed\n";
        assert_eq!(told(text), closing);
    }

    #[test]
    fn of_a_long_report_the_end_is_kept() {
        let lines: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let closing = told(&format!("---- a stdout ----\n{lines}"));
        assert!(closing.contains("line 99\n") && closing.contains("line 60\n"));
        assert!(!closing.contains("line 59\n"));
    }
}
