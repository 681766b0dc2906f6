//! The last events of a run, for who wants to know how it came to a violation.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use orch_core::time::Timestamp;

use super::{Event, ForManager};

/// As much of an event as is told of it.
const WIDTH: usize = 160;

/// The last events.
#[derive(Debug)]
pub(super) struct Trace {
    kept: usize,
    lines: VecDeque<String>,
}

impl Trace {
    /// Keeps so many; none cost nothing.
    pub(super) fn new(kept: usize) -> Self {
        Self {
            kept,
            lines: VecDeque::new(),
        }
    }

    pub(super) fn event(&mut self, now: Timestamp, event: &Event) {
        // They come by the thousand, and say little.
        let dull = matches!(
            event,
            Event::Manager(_, _, ForManager::Tick | ForManager::Message(_)) | Event::Read
        );
        if self.kept > 0 && !dull {
            self.note(now, &format!("{event:?}"));
        }
    }

    pub(super) fn note(&mut self, now: Timestamp, words: &str) {
        if self.kept == 0 {
            return;
        }
        if self.lines.len() == self.kept {
            self.lines.pop_front();
        }
        let since = now
            .since(Timestamp::default())
            .saturating_sub(Duration::from_secs(1_000_000));
        let words: String = words.chars().take(WIDTH).collect();
        self.lines
            .push_back(format!("{:9.3} {words}", since.as_secs_f64()));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
