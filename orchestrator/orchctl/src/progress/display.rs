//! Shows progress: redrawn in place on a terminal, one line per change elsewhere.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::converge::{Progress, TaskLine};
use crate::output;

/// The width of a full bar.
const BAR: usize = 50;

/// Where progress goes.
#[derive(Debug)]
pub enum Display {
    /// `--quiet`.
    Silent,
    /// A terminal: each line is a bar whose message is the text.
    Terminal(MultiProgress, Vec<ProgressBar>),
    /// A pipe or a file: what was printed last under each label.
    Plain(BTreeMap<String, String>),
}

impl Display {
    /// Chooses by what stdout is.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Self::Silent
        } else if io::stdout().is_terminal() {
            let target = ProgressDrawTarget::stdout();
            Self::Terminal(MultiProgress::with_draw_target(target), Vec::new())
        } else {
            Self::Plain(BTreeMap::new())
        }
    }

    /// Shows one look.
    pub fn show(&mut self, progress: &Progress) -> io::Result<()> {
        match self {
            Self::Silent => Ok(()),
            Self::Terminal(area, bars) => {
                let mut lines = vec![format!("overall progress: {}", progress.overall)];
                lines.extend(progress.tasks.iter().map(with_bar));
                lines.extend(progress.notes.iter().cloned());
                redraw(area, bars, &lines);
                Ok(())
            }
            Self::Plain(printed) => {
                print_changed(printed, "overall progress", &progress.overall)?;
                for line in progress.tasks.iter().filter(|line| !line.text.is_empty()) {
                    print_changed(printed, &line.label, &line.text)?;
                }
                for note in &progress.notes {
                    let (label, text) = note.split_once(": ").unwrap_or((note, ""));
                    print_changed(printed, label, text)?;
                }
                Ok(())
            }
        }
    }

    /// Ends the display, with some last lines.
    pub fn finish(&mut self, last: &[String]) -> io::Result<()> {
        match self {
            Self::Silent => Ok(()),
            Self::Terminal(_, bars) => {
                bars.drain(..).for_each(|bar| bar.abandon());
                last.iter().try_for_each(|line| output::line(line))
            }
            Self::Plain(_) => last.iter().try_for_each(|line| output::line(line)),
        }
    }
}

fn redraw(area: &MultiProgress, bars: &mut Vec<ProgressBar>, lines: &[String]) {
    // The pattern is ours; should indicatif refuse it, its default shows the message too.
    let style = ProgressStyle::with_template("{wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    while bars.len() < lines.len() {
        bars.push(area.add(ProgressBar::new_spinner().with_style(style.clone())));
    }
    for surplus in bars.drain(lines.len()..) {
        surplus.finish_and_clear();
        area.remove(&surplus);
    }
    for (bar, line) in bars.iter().zip(lines) {
        if bar.message() != *line {
            bar.set_message(line.clone());
        }
    }
}

fn with_bar(line: &TaskLine) -> String {
    match line.bar {
        None => format!("{}: {}", line.label, line.text),
        Some(ninths) => {
            let filled = (ninths * BAR / 9).min(BAR);
            format!(
                "{}: {:<9} [{}>{}]",
                line.label,
                line.text,
                "=".repeat(filled),
                " ".repeat(BAR - filled)
            )
        }
    }
}

fn print_changed(
    printed: &mut BTreeMap<String, String>,
    label: &str,
    text: &str,
) -> io::Result<()> {
    if printed.get(label).is_some_and(|before| before == text) {
        return Ok(());
    }
    printed.insert(label.to_owned(), text.to_owned());
    output::line(&format!("{label}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_task_fills_its_bar() {
        let line = |ninths| TaskLine {
            label: "1/1".into(),
            text: "running".into(),
            bar: ninths,
        };
        assert_eq!(
            with_bar(&line(Some(9))),
            format!("1/1: running   [{}>]", "=".repeat(50))
        );
        assert_eq!(with_bar(&line(None)), "1/1: running");
    }
}
