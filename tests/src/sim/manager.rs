//! A manager's place on a host: its disk, and its process while it runs.

use std::time::Duration;

use orch_core::consensus::Batch;
use orch_core::lead::Moment;
use orch_core::time::Timestamp;

use super::disk::Disk;
use super::process::Process;

/// A manager. One that was demoted is gone for good: its id is never used again.
pub(super) struct Manager {
    /// Its id in the raft group.
    pub id: u64,
    /// A version of the state in which it has that id.
    pub since: u64,
    /// Index of its host.
    pub host: usize,
    pub disk: Disk,
    pub process: Option<Process>,
    /// Lives of its process so far: what was meant for an earlier one is void.
    pub life: u64,
    /// What is on its way to the disk.
    pub unsynced: Option<Batch>,
    /// Nothing of it runs until then; what comes for it waits.
    pub paused_until: Option<Timestamp>,
    /// Whether its disk takes long.
    pub slow: bool,
    pub gone: bool,
    /// Length of its tick, by a clock that is not exact.
    pub tick: Duration,
    /// By how much the time that it believes in is late.
    pub late: Duration,
    /// Whether nodes are about to be told what is new.
    pub telling: bool,
}

impl Manager {
    /// The moment as this manager takes it.
    pub(super) fn moment(&self, now: Timestamp) -> Moment {
        let wall =
            Timestamp::from_nanos(now.as_nanos().saturating_sub(self.late.as_nanos() as u64));
        Moment { wall, steady: now }
    }

    /// Whether its process runs, in this life.
    pub(super) fn lives(&self, life: u64) -> bool {
        self.life == life && self.process.is_some()
    }
}
