//! Makes a raft group of one from what a single member of a larger one has left.

use std::path::Path;

use orch_core::consensus::{EntryType, LogStore as _};
use orch_core::store::{Change, State};

use super::RaftError;
use super::log::Log;
use super::record::{self, Position};

/// Rewrites the log in `dir`, in one step: its member is the only one from now on, by the id
/// `member`, and what it has is committed. `change` says how the state becomes one for that.
///
/// What no other member may have seen counts as well: a write that nobody heard of again may have
/// been committed, and one that was acknowledged must not be lost.
pub fn refound(
    dir: &Path,
    member: u64,
    change: impl FnOnce(&State) -> Result<Vec<Change>, RaftError>,
) -> Result<(), RaftError> {
    let log = Log::open(dir)?;
    let snapshot = log.newest_snapshot()?;
    let mut state: State = record::decode(&snapshot.data)?;
    let first = snapshot.get_metadata().index + 1;
    let unreadable = |reason: orch_core::consensus::LogError, index| RaftError::BadEntry {
        index,
        reason: reason.to_string(),
    };
    let last = log.last_index().map_err(|e| unreadable(e, first))?;
    let entries = log.entries(first, last + 1, None);
    for entry in entries.map_err(|e| unreadable(e, first))? {
        if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
            let changes: Vec<Change> =
                rmp_serde::from_slice(&entry.data).map_err(|e| RaftError::BadEntry {
                    index: entry.index,
                    reason: e.to_string(),
                })?;
            state.apply(entry.index, &changes)?;
        }
    }
    let index = last + 1;
    state.apply(index, &change(&state)?)?;
    let restored = log.restored().map_err(|e| unreadable(e, index))?;
    // A term of its own: whatever an earlier leader may still send is of the past.
    let term = restored.hard_state.term + 1;
    let data = record::encode(&state)?;
    let position = Position { index, term };
    log.begin_anew(member, &record::sole_snapshot(member, position, data))?;
    Ok(())
}
