//! Chance, from the seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The one source of chance of a run.
#[derive(Debug)]
pub(super) struct Dice(StdRng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0.random_range(range)
    }

    pub(super) fn bits(&mut self) -> u128 {
        self.0.random()
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.number(0..=99) < chance
    }

    pub(super) fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }

    /// One of these, if there is any.
    pub(super) fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let last = items.len().checked_sub(1)?;
        items.get(self.0.random_range(0..=last)).cloned()
    }
}
