//! Room on the disk for the log.
//!
//! A log that cannot be written ends the process: what it has acknowledged is at stake. So changes
//! are refused while there is still room for what raft itself must write.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use super::ProposeError;

const MEBIBYTE: u64 = 1 << 20;
/// Bytes that have to be free for a change.
const RESERVE: u64 = 32 * MEBIBYTE;

/// Looks how much room there is.
#[derive(Clone)]
pub struct Room(Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl Room {
    /// On the file system of a folder. One that cannot be asked is taken for roomy: a write will
    /// tell.
    pub fn of(dir: &Path) -> Self {
        let dir = dir.to_owned();
        Self::by(move || {
            let file_system = statvfs(&dir).ok()?;
            let (blocks, size) = (file_system.blocks_available(), file_system.fragment_size());
            Some(blocks.saturating_mul(size))
        })
    }

    /// As `free` says, in bytes.
    pub(crate) fn by(free: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(free))
    }

    /// Refuses when there is too little for a change.
    pub(super) fn check(&self) -> Result<(), ProposeError> {
        match (self.0)() {
            Some(free) if free < RESERVE => Err(ProposeError::NoRoom {
                free: free / MEBIBYTE,
                reserve: RESERVE / MEBIBYTE,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}
