//! Reads that wait until this member has applied what was committed when they came.

use std::collections::BTreeMap;

use orch_core::store::State;
use tokio::sync::oneshot;

/// Ticks after which a read is asked for anew: the leader may have changed, or the question got
/// lost.
const PATIENCE_TICKS: u64 = 5;

type Done = oneshot::Sender<State>;

/// The reads on their way.
#[derive(Default)]
pub(super) struct Reads {
    now: u64,
    /// Those that no leader has answered, and when they were asked for last.
    asked: BTreeMap<u64, (u64, Done)>,
    /// Those that wait for an entry to be applied.
    confirmed: Vec<(u64, Done)>,
}

impl Reads {
    /// A read has come; its tag goes to the leader.
    pub fn begin(&mut self, tag: u64, done: Done) {
        self.asked.insert(tag, (self.now, done));
    }

    /// A tick has passed: the reads to be asked for anew. Those that nobody waits for are dropped.
    pub fn overdue(&mut self) -> Vec<u64> {
        self.now += 1;
        let now = self.now;
        self.asked.retain(|_, (_, done)| !done.is_closed());
        let overdue = self.asked.iter_mut();
        overdue
            .filter(|(_, (at, _))| now - *at >= PATIENCE_TICKS)
            .map(|(tag, (at, _))| {
                *at = now;
                *tag
            })
            .collect()
    }

    /// The leader has answered: everything up to `index` was committed.
    pub fn confirm(&mut self, tag: u64, index: u64) {
        if let Some((_, done)) = self.asked.remove(&tag) {
            self.confirmed.push((index, done));
        }
    }

    /// Answers those who wait for no more than `applied`.
    pub fn finish(&mut self, applied: u64, state: &State) {
        for (_, done) in self
            .confirmed
            .extract_if(.., |(index, _)| *index <= applied)
        {
            if done.send(state.clone()).is_err() {
                tracing::debug!("the reader did not wait");
            }
        }
    }
}
