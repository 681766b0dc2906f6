//! A manager's disk: what is in it is durable, what is on its way may be lost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use orch_core::consensus::{Batch, Entry, HardState, LogError, LogStore, Restored, Snapshot};

/// A disk, which its manager's process and the world share.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Rc<RefCell<Content>>);

#[derive(Debug, Default)]
struct Content {
    hard_state: HardState,
    snapshot: Snapshot,
    entries: BTreeMap<u64, Entry>,
    /// Place of the last entry that is gone, in index and term.
    compacted: (u64, u64),
}

impl Content {
    /// What a snapshot holds is committed, also for a member that starts from it.
    fn put_snapshot(&mut self, snapshot: Snapshot) {
        let index = snapshot.get_metadata().index;
        self.hard_state.commit = self.hard_state.commit.max(index);
        self.snapshot = snapshot;
    }
}

impl Disk {
    /// The disk of a member that founds a group, with this state.
    pub(super) fn founded(member: u64, state: Vec<u8>) -> Self {
        let mut content = Content {
            compacted: (1, 1),
            ..Content::default()
        };
        content.snapshot.data = state.into();
        let metadata = content.snapshot.mut_metadata();
        (metadata.index, metadata.term) = (1, 1);
        metadata.mut_conf_state().set_voters(vec![member]);
        (content.hard_state.term, content.hard_state.commit) = (1, 1);
        Self(Rc::new(RefCell::new(content)))
    }

    /// The disk of a member that is to join: nothing but an empty state.
    pub(super) fn blank(state: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().snapshot.data = state.into();
        disk
    }

    /// The newest snapshot.
    pub(super) fn newest(&self) -> Snapshot {
        self.0.borrow().snapshot.clone()
    }

    /// Makes a batch durable.
    pub(super) fn write(&self, batch: &Batch) {
        let mut content = self.0.borrow_mut();
        if let Some(snapshot) = &batch.snapshot {
            let metadata = snapshot.get_metadata();
            content.compacted = (metadata.index, metadata.term);
            content.entries.clear();
            content.put_snapshot(snapshot.clone());
        }
        if let Some(first) = batch.entries.first() {
            content.entries.split_off(&first.index);
        }
        let entries = batch.entries.iter().map(|e| (e.index, e.clone()));
        content.entries.extend(entries);
        if let Some(hard_state) = &batch.hard_state {
            content.hard_state = hard_state.clone();
        }
    }

    /// Keeps a snapshot, and only so many entries before its end.
    pub(super) fn compact(&self, snapshot: Snapshot, trailing: u64) {
        let mut content = self.0.borrow_mut();
        let last = snapshot.get_metadata().index.saturating_sub(trailing);
        if let Some(term) = content.entries.get(&last).map(|entry| entry.term) {
            content.compacted = (last, term);
            content.entries = content.entries.split_off(&(last + 1));
        }
        content.put_snapshot(snapshot);
    }
}

impl LogStore for Disk {
    fn restored(&self) -> Result<Restored, LogError> {
        let content = self.0.borrow();
        Ok(Restored {
            hard_state: content.hard_state.clone(),
            members: content.snapshot.get_metadata().get_conf_state().clone(),
        })
    }

    fn entries(&self, low: u64, high: u64, _: Option<u64>) -> Result<Vec<Entry>, LogError> {
        let content = self.0.borrow();
        if low <= content.compacted.0 {
            return Err(LogError::Compacted);
        }
        let entries = content.entries.range(low..high);
        Ok(entries.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> Result<u64, LogError> {
        let content = self.0.borrow();
        let metadata = content.snapshot.get_metadata();
        match content.entries.get(&index) {
            Some(entry) => Ok(entry.term),
            None if index == content.compacted.0 => Ok(content.compacted.1),
            None if index == metadata.index => Ok(metadata.term),
            None if index < content.compacted.0 => Err(LogError::Compacted),
            None => Err(LogError::Unavailable),
        }
    }

    fn first_index(&self) -> Result<u64, LogError> {
        Ok(self.0.borrow().compacted.0 + 1)
    }

    fn last_index(&self) -> Result<u64, LogError> {
        let content = self.0.borrow();
        let last = content.entries.last_key_value().map(|(index, _)| *index);
        Ok(last.unwrap_or(content.compacted.0))
    }

    fn snapshot(&self) -> Result<Snapshot, LogError> {
        Ok(self.newest())
    }
}
