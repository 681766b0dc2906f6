//! One pass over the whole state: what the managers decide of their own accord.
//!
//! Orchestrators make and stop tasks, the allocator gives addresses, the scheduler gives nodes,
//! the reaper forgets. The order within a pass is fixed and the pass is complete, so that a new
//! leader needs no memory: the same state, moment and seed give the same changes, and a pass
//! right after them gives none.

use crate::store::{Change, Entropy, State, Tx};
use crate::time::Timestamp;
use crate::{allocate, orchestrate, schedule};

/// What a pass decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Changes to commit as one entry; empty when the state is as it should be.
    pub changes: Vec<Change>,
    /// When time alone will call for another pass.
    pub wake_at: Option<Timestamp>,
}

/// Decides what follows from the state at the moment `now`.
pub fn step(state: &State, now: Timestamp, entropy: &mut Entropy) -> Outcome {
    let mut tx = Tx::new(state, now, entropy);
    let mut alarm = Alarm::default();
    orchestrate::run(&mut tx, &mut alarm);
    allocate::run(&mut tx);
    allocate::retire(&mut tx, &mut alarm);
    schedule::run(&mut tx);
    orchestrate::reap(&mut tx);
    Outcome {
        changes: tx.into_changes(),
        wake_at: alarm.earliest,
    }
}

/// Collects the moments at which something must be looked at again.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    earliest: Option<Timestamp>,
}

impl Alarm {
    /// Look again at `at`, which lies in the future.
    pub(crate) fn set(&mut self, at: Timestamp) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }
}
