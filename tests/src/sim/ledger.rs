//! What the cluster has agreed on, as an omniscient looker-on writes it down, and what must hold
//! of it.

use std::collections::BTreeMap;

use orch_core::store::{Change, State};
use orch_core::time::Timestamp;

use super::{Violation, ensure, invariants};

/// States of the past that snapshots are compared with.
const KEPT: usize = 4096;

/// The one log, and the state that follows from it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The newest committed state.
    pub state: State,
    /// Index of the last entry.
    pub last: u64,
    /// Hash over all entries and the moments at which they were applied first.
    pub hash: u64,
    /// Term and hash of every entry.
    entries: BTreeMap<u64, (u64, u64)>,
    /// Index of the last entry with this content.
    contents: BTreeMap<u64, u64>,
    states: BTreeMap<u64, State>,
    /// Who led each term.
    leaders: BTreeMap<u64, u64>,
    /// Index of the last entry that somebody was told is committed.
    pub acknowledged: u64,
}

/// 64-bit FNV-1a.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn content(bytes: &[u8]) -> u64 {
    fnv(0xcbf2_9ce4_8422_2325, bytes)
}

impl Ledger {
    /// The first entry that a group is founded with.
    pub(super) fn founded() -> Self {
        Self {
            last: 1,
            hash: 0xcbf2_9ce4_8422_2325,
            ..Self::default()
        }
    }

    /// A manager applied an entry: it is the one that all others apply at this index.
    pub(super) fn applied(
        &mut self,
        now: Timestamp,
        index: u64,
        term: u64,
        data: &[u8],
    ) -> Result<(), Violation> {
        let entry = (term, content(data));
        if let Some(known) = self.entries.get(&index) {
            ensure!(
                *known == entry,
                "two managers apply different entries at {index}: {known:?} and {entry:?}"
            );
            return Ok(());
        }
        ensure!(
            index == self.last + 1,
            "entry {index} is applied after {}",
            self.last
        );
        self.last = index;
        self.entries.insert(index, entry);
        self.hash = fnv(self.hash, &now.as_nanos().to_be_bytes());
        self.hash = fnv(self.hash, data);
        if !data.is_empty() {
            self.contents.insert(content(data), index);
            let changes: Vec<Change> =
                rmp_serde::from_slice(data).map_err(|e| Violation(format!("decode: {e}")))?;
            invariants::anytime_moves_are_legal(&self.state, &changes)?;
            self.state
                .apply(index, &changes)
                .map_err(|e| Violation(e.to_string()))?;
            invariants::anytime(&self.state)?;
        }
        self.states.insert(index, self.state.clone());
        if self.states.len() > KEPT {
            self.states.pop_first();
        }
        Ok(())
    }

    /// A manager took over the state of a snapshot.
    pub(super) fn restored(&self, index: u64, state: &State) -> Result<(), Violation> {
        ensure!(
            index <= self.last,
            "a snapshot of {index} entries, of which only {} are committed",
            self.last
        );
        let known = self.states.get(&index);
        ensure!(
            known.is_none_or(|known| known == state),
            "the snapshot of entry {index} is not the state after it"
        );
        Ok(())
    }

    /// Somebody is told that what they wrote is committed.
    pub(super) fn acknowledge(&mut self, data: &[u8]) -> Result<(), Violation> {
        let index = self.contents.get(&content(data));
        ensure!(
            index.is_some(),
            "a write was acknowledged and is not committed"
        );
        self.acknowledged = self.acknowledged.max(index.copied().unwrap_or_default());
        Ok(())
    }

    /// How many terms somebody led.
    pub(super) fn terms(&self) -> usize {
        self.leaders.len()
    }

    /// A manager leads a term.
    pub(super) fn leads(&mut self, term: u64, id: u64) -> Result<(), Violation> {
        let known = *self.leaders.entry(term).or_insert(id);
        ensure!(known == id, "{known} and {id} both lead term {term}");
        Ok(())
    }
}
