//! The durable log: one redb file with entries, hard state and snapshots.
//!
//! Every write is one transaction that is on disk when the call returns. Values that hold
//! cluster content are sealed; what raft itself needs (terms, indices) is plain.

use std::path::Path;
use std::sync::Arc;

use orch_core::consensus::{Batch, Entry, LogError, LogStore, Restored, Snapshot};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::LogFileError;
use super::record::{EntryRecord, HardStateRecord, Position, SnapshotRecord, decode, encode};
use super::seal::SealKey;

/// Index → sealed [`EntryRecord`].
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
/// Index → sealed [`SnapshotRecord`].
const SNAPSHOTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshots");
/// Name → record.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// [`HardStateRecord`].
const HARD_STATE: &str = "hard-state";
/// [`Position`] of the last entry that was compacted away.
const COMPACTED: &str = "compacted";
/// Raft id of the member that the log belongs to.
const MEMBER: &str = "member";

const DATABASE: &str = "log.redb";
const KEY: &str = "seal.key";

/// The durable log of one member. Clones share the file.
#[derive(Clone)]
pub struct Log {
    database: Arc<Database>,
    key: Arc<SealKey>,
}

impl Log {
    /// Makes the log of the member `id` in the empty folder `dir`, which begins with `snapshot`.
    pub fn create(dir: &Path, id: u64, snapshot: SnapshotRecord) -> Result<Self, LogFileError> {
        crate::durable::create_dir(dir).map_err(|e| LogFileError::io(dir, e))?;
        let key = Arc::new(SealKey::create(&dir.join(KEY))?);
        let log = Self {
            database: Arc::new(Database::create(dir.join(DATABASE))?),
            key,
        };
        log.begin_anew(id, &snapshot)?;
        crate::durable::sync_dir(dir).map_err(|e| LogFileError::io(dir, e))?;
        Ok(log)
    }

    /// Makes it the log of the member `id`, which begins with `snapshot`, in one step. What was in
    /// it is gone.
    pub fn begin_anew(&self, id: u64, snapshot: &SnapshotRecord) -> Result<(), LogFileError> {
        let hard_state = HardStateRecord {
            term: snapshot.position.term,
            vote: 0,
            commit: snapshot.position.index,
        };
        self.write(|tx| {
            tx.delete_table(ENTRIES)?;
            tx.delete_table(SNAPSHOTS)?;
            tx.open_table(ENTRIES)?;
            let mut meta = tx.open_table(META)?;
            meta.insert(HARD_STATE, encode(&hard_state)?.as_slice())?;
            meta.insert(COMPACTED, encode(&snapshot.position)?.as_slice())?;
            meta.insert(MEMBER, encode(&id)?.as_slice())?;
            self.put_snapshot(tx, snapshot)
        })
    }

    /// Opens the log in `dir`.
    pub fn open(dir: &Path) -> Result<Self, LogFileError> {
        let key = Arc::new(SealKey::read(&dir.join(KEY))?);
        let database = Arc::new(Database::open(dir.join(DATABASE))?);
        Ok(Self { database, key })
    }

    /// Raft id of the member that the log belongs to.
    pub fn member(&self) -> Result<u64, LogFileError> {
        self.meta(&self.database.begin_read()?, MEMBER)
    }

    /// Makes a batch durable.
    pub fn persist(&self, batch: &Batch) -> Result<(), LogFileError> {
        self.write(|tx| {
            if let Some(snapshot) = &batch.snapshot {
                let record = SnapshotRecord::from(snapshot);
                tx.delete_table(ENTRIES)?;
                tx.delete_table(SNAPSHOTS)?;
                let position = encode(&record.position)?;
                tx.open_table(META)?
                    .insert(COMPACTED, position.as_slice())?;
                self.put_snapshot(tx, &record)?;
            }
            let mut entries = tx.open_table(ENTRIES)?;
            if let Some(first) = batch.entries.first() {
                entries.retain_in(first.index.., |_, _| false)?;
            }
            for entry in &batch.entries {
                let plain = encode(&EntryRecord::from(entry))?;
                let sealed = self.key.seal(&entry_context(entry.index), &plain)?;
                entries.insert(entry.index, sealed.as_slice())?;
            }
            if let Some(state) = &batch.hard_state {
                let record = encode(&HardStateRecord::from(state))?;
                tx.open_table(META)?.insert(HARD_STATE, record.as_slice())?;
            }
            Ok(())
        })
    }

    /// Keeps `snapshot` and `old_snapshots` before it, and drops the entries that it covers but
    /// for the last `trailing` ones, which slow followers may still ask for.
    pub fn compact(
        &self,
        snapshot: &Snapshot,
        old_snapshots: u64,
        trailing: u64,
    ) -> Result<(), LogFileError> {
        let record = SnapshotRecord::from(snapshot);
        let position = record.position;
        self.write(|tx| {
            self.put_snapshot(tx, &record)?;
            let mut snapshots = tx.open_table(SNAPSHOTS)?;
            let kept = usize::try_from(old_snapshots)
                .unwrap_or(usize::MAX)
                .saturating_add(1);
            let indices = snapshots
                .iter()?
                .rev()
                .map(|row| row.map(|(index, _)| index.value()))
                .collect::<Result<Vec<u64>, _>>()?;
            for index in indices.into_iter().skip(kept) {
                snapshots.remove(index)?;
            }
            let mut meta = tx.open_table(META)?;
            let mut entries = tx.open_table(ENTRIES)?;
            let last_dropped = position.index.saturating_sub(trailing);
            let compacted = match entries.get(last_dropped)? {
                Some(sealed) => {
                    let term = self.open_entry(last_dropped, sealed.value())?.term();
                    Some(Position {
                        index: last_dropped,
                        term,
                    })
                }
                // Nothing that old is left.
                None => None,
            };
            if let Some(compacted) = compacted {
                entries.retain_in(..=compacted.index, |_, _| false)?;
                meta.insert(COMPACTED, encode(&compacted)?.as_slice())?;
            }
            // What a snapshot holds is committed, also for a member that starts from it.
            let stored = meta
                .get(HARD_STATE)?
                .map(|g| decode::<HardStateRecord>(g.value()));
            if let Some(mut hard_state) = stored.transpose()?
                && hard_state.commit < position.index
            {
                hard_state.commit = position.index;
                meta.insert(HARD_STATE, encode(&hard_state)?.as_slice())?;
            }
            Ok(())
        })
    }

    /// The newest snapshot.
    pub fn newest_snapshot(&self) -> Result<Snapshot, LogFileError> {
        let tx = self.database.begin_read()?;
        let snapshots = tx.open_table(SNAPSHOTS)?;
        let (index, sealed) = snapshots
            .last()?
            .ok_or(LogFileError::Missing("it holds no snapshot"))?;
        let plain = self
            .key
            .open(&snapshot_context(index.value()), sealed.value())?;
        Ok(decode::<SnapshotRecord>(&plain)?.into())
    }

    /// One durable transaction: redb's default durability syncs before `commit` returns.
    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), LogFileError>,
    ) -> Result<(), LogFileError> {
        let tx = self.database.begin_write()?;
        change(&tx)?;
        tx.commit()?;
        Ok(())
    }

    fn put_snapshot(
        &self,
        tx: &WriteTransaction,
        record: &SnapshotRecord,
    ) -> Result<(), LogFileError> {
        let index = record.position.index;
        let sealed = self.key.seal(&snapshot_context(index), &encode(record)?)?;
        tx.open_table(SNAPSHOTS)?.insert(index, sealed.as_slice())?;
        Ok(())
    }

    fn open_entry(&self, index: u64, sealed: &[u8]) -> Result<EntryRecord, LogFileError> {
        decode(&self.key.open(&entry_context(index), sealed)?)
    }

    fn meta<T: serde::de::DeserializeOwned>(
        &self,
        tx: &ReadTransaction,
        name: &'static str,
    ) -> Result<T, LogFileError> {
        let table = tx.open_table(META)?;
        let value = table
            .get(name)?
            .ok_or(LogFileError::Missing("a record is missing"))?;
        decode(value.value())
    }

    fn read_entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: Option<u64>,
    ) -> Result<Option<Vec<Entry>>, LogFileError> {
        let tx = self.database.begin_read()?;
        let table = tx.open_table(ENTRIES)?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (expected, row) in (low..high).zip(table.range(low..high)?) {
            let (index, sealed) = row?;
            if index.value() != expected {
                return Ok(None);
            }
            bytes += sealed.value().len() as u64;
            if !entries.is_empty() && max_bytes.is_some_and(|max| bytes > max) {
                return Ok(Some(entries));
            }
            entries.push(
                self.open_entry(expected, sealed.value())?
                    .into_entry(expected),
            );
        }
        Ok(Some(entries).filter(|e| !e.is_empty()))
    }

    fn read_term(&self, index: u64) -> Result<Result<u64, LogError>, LogFileError> {
        let tx = self.database.begin_read()?;
        if let Some(sealed) = tx.open_table(ENTRIES)?.get(index)? {
            return Ok(Ok(self.open_entry(index, sealed.value())?.term()));
        }
        let compacted: Position = self.meta(&tx, COMPACTED)?;
        Ok(match index.cmp(&compacted.index) {
            std::cmp::Ordering::Less => Err(LogError::Compacted),
            std::cmp::Ordering::Equal => Ok(compacted.term),
            std::cmp::Ordering::Greater => Err(LogError::Unavailable),
        })
    }
}

fn entry_context(index: u64) -> Vec<u8> {
    [b"entry".as_slice(), &index.to_be_bytes()].concat()
}

fn snapshot_context(index: u64) -> Vec<u8> {
    [b"snapshot".as_slice(), &index.to_be_bytes()].concat()
}

fn broken(error: LogFileError) -> LogError {
    LogError::Broken(error.to_string())
}

impl LogStore for Log {
    fn restored(&self) -> Result<Restored, LogError> {
        let read = || -> Result<Restored, LogFileError> {
            let tx = self.database.begin_read()?;
            let hard_state: HardStateRecord = self.meta(&tx, HARD_STATE)?;
            let members = self
                .newest_snapshot()?
                .get_metadata()
                .get_conf_state()
                .clone();
            Ok(Restored {
                hard_state: hard_state.into(),
                members,
            })
        };
        read().map_err(broken)
    }

    fn entries(&self, low: u64, high: u64, max_bytes: Option<u64>) -> Result<Vec<Entry>, LogError> {
        if low < self.first_index()? {
            return Err(LogError::Compacted);
        }
        self.read_entries(low, high, max_bytes)
            .map_err(broken)?
            .ok_or(LogError::Unavailable)
    }

    fn term(&self, index: u64) -> Result<u64, LogError> {
        self.read_term(index).map_err(broken)?
    }

    fn first_index(&self) -> Result<u64, LogError> {
        let read = || -> Result<u64, LogFileError> {
            let compacted: Position = self.meta(&self.database.begin_read()?, COMPACTED)?;
            Ok(compacted.index + 1)
        };
        read().map_err(broken)
    }

    fn last_index(&self) -> Result<u64, LogError> {
        let read = || -> Result<u64, LogFileError> {
            let tx = self.database.begin_read()?;
            if let Some((index, _)) = tx.open_table(ENTRIES)?.last()? {
                return Ok(index.value());
            }
            let compacted: Position = self.meta(&tx, COMPACTED)?;
            Ok(compacted.index)
        };
        read().map_err(broken)
    }

    fn snapshot(&self) -> Result<Snapshot, LogError> {
        self.newest_snapshot().map_err(broken)
    }
}
