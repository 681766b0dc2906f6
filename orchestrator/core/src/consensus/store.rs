//! What consensus needs of a durable log, and the adapter to the raft crate's trait.

use std::cell::Cell;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};

/// What a member finds on its disk when it starts.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The members as of the newest snapshot.
    pub members: ConfState,
}

/// What must become durable in one transaction, all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Replaces everything before it.
    pub snapshot: Option<Snapshot>,
    /// To append; an entry replaces one of the same index and all that follow it.
    pub entries: Vec<Entry>,
    /// Term, vote and commit index.
    pub hard_state: Option<HardState>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_none() && self.entries.is_empty() && self.hard_state.is_none()
    }
}

/// Why the log has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The entry is part of a snapshot now.
    #[error("the entry was compacted")]
    Compacted,
    /// The log does not reach so far.
    #[error("the log ends before that entry")]
    Unavailable,
    /// The log is damaged or cannot be read.
    #[error("{0}")]
    Broken(String),
}

/// The durable log as consensus reads it. Whatever a [`Batch`] held must be visible here from
/// the moment that it is durable.
pub trait LogStore {
    /// Hard state and membership to start from.
    fn restored(&self) -> Result<Restored, LogError>;

    /// Entries of `low..high`, as many as fit `max_bytes`, one at least.
    fn entries(&self, low: u64, high: u64, max_bytes: Option<u64>) -> Result<Vec<Entry>, LogError>;

    /// Term of the entry at `index`, also of the last compacted one.
    fn term(&self, index: u64) -> Result<u64, LogError>;

    /// Index of the first entry that can be read; one past the last compacted one.
    fn first_index(&self) -> Result<u64, LogError>;

    /// Index of the last entry.
    fn last_index(&self) -> Result<u64, LogError>;

    /// The newest snapshot.
    fn snapshot(&self) -> Result<Snapshot, LogError>;
}

/// Shows a [`LogStore`] to the raft crate.
pub(super) struct Adapter<L> {
    log: L,
    /// Whether a snapshot was asked for that the log does not have.
    lacks: Cell<bool>,
}

impl<L> Adapter<L> {
    pub(super) fn new(log: L) -> Self {
        let lacks = Cell::new(false);
        Self { log, lacks }
    }

    /// Whether somebody waits for a snapshot that is newer than the newest.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.lacks.take()
    }
}

impl From<LogError> for raft::Error {
    fn from(error: LogError) -> Self {
        Self::Store(match error {
            LogError::Compacted => StorageError::Compacted,
            LogError::Unavailable => StorageError::Unavailable,
            LogError::Broken(_) => StorageError::Other(Box::new(error)),
        })
    }
}

impl<L: LogStore> raft::Storage for Adapter<L> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let Restored {
            hard_state,
            members,
        } = self.log.restored()?;
        Ok(RaftState {
            hard_state,
            conf_state: members,
        })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        Ok(self.log.entries(low, high, max_size.into())?)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        Ok(self.log.term(index)?)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.first_index()?)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last_index()?)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let snapshot = self.log.snapshot()?;
        let metadata = snapshot.get_metadata();
        // A member does not take a snapshot of before it was one.
        let members = metadata.get_conf_state();
        let knows = members.voters.contains(&to) || members.learners.contains(&to);
        if metadata.index < request_index || !knows {
            self.lacks.set(true);
            return Err(raft::Error::Store(
                StorageError::SnapshotTemporarilyUnavailable,
            ));
        }
        Ok(snapshot)
    }
}
