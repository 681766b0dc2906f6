//! The log's own disk format: MessagePack records, independent of the raft crate's protobuf.

use orch_core::consensus::{ConfState, Entry, EntryType, HardState, Snapshot};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LogFileError;

/// Term, vote and commit index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardStateRecord {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// One log entry; its index is its key.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntryRecord {
    term: u64,
    kind: EntryKind,
    #[serde(with = "bytes")]
    context: Vec<u8>,
    #[serde(with = "bytes")]
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum EntryKind {
    Normal,
    MembershipChange,
    MembershipChangeV2,
}

/// A snapshot: the members and the state after the entry at `position`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotRecord {
    pub position: Position,
    voters: Vec<u64>,
    learners: Vec<u64>,
    voters_outgoing: Vec<u64>,
    learners_next: Vec<u64>,
    auto_leave: bool,
    #[serde(with = "bytes")]
    data: Vec<u8>,
}

/// Byte strings as MessagePack `bin` instead of arrays of numbers.
mod bytes {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// Encodes a record.
pub fn encode(record: &impl Serialize) -> Result<Vec<u8>, LogFileError> {
    rmp_serde::to_vec_named(record).map_err(|e| LogFileError::Record(e.to_string()))
}

/// Decodes a record.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LogFileError> {
    rmp_serde::from_slice(bytes).map_err(|e| LogFileError::Record(e.to_string()))
}

impl From<&HardState> for HardStateRecord {
    fn from(state: &HardState) -> Self {
        Self {
            term: state.term,
            vote: state.vote,
            commit: state.commit,
        }
    }
}

impl From<HardStateRecord> for HardState {
    fn from(record: HardStateRecord) -> Self {
        Self {
            term: record.term,
            vote: record.vote,
            commit: record.commit,
            ..Self::default()
        }
    }
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        Self {
            term: entry.term,
            kind: match entry.get_entry_type() {
                EntryType::EntryNormal => EntryKind::Normal,
                EntryType::EntryConfChange => EntryKind::MembershipChange,
                EntryType::EntryConfChangeV2 => EntryKind::MembershipChangeV2,
            },
            context: entry.context.to_vec(),
            data: entry.data.to_vec(),
        }
    }
}

impl EntryRecord {
    /// Term of the entry.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The entry at `index`.
    pub fn into_entry(self, index: u64) -> Entry {
        let mut entry = Entry {
            index,
            term: self.term,
            context: self.context.into(),
            data: self.data.into(),
            ..Entry::default()
        };
        entry.set_entry_type(match self.kind {
            EntryKind::Normal => EntryType::EntryNormal,
            EntryKind::MembershipChange => EntryType::EntryConfChange,
            EntryKind::MembershipChangeV2 => EntryType::EntryConfChangeV2,
        });
        entry
    }
}

impl From<&Snapshot> for SnapshotRecord {
    fn from(snapshot: &Snapshot) -> Self {
        let metadata = snapshot.get_metadata();
        let members = metadata.get_conf_state();
        Self {
            position: Position {
                index: metadata.index,
                term: metadata.term,
            },
            voters: members.voters.clone(),
            learners: members.learners.clone(),
            voters_outgoing: members.voters_outgoing.clone(),
            learners_next: members.learners_next.clone(),
            auto_leave: members.auto_leave,
            data: snapshot.data.to_vec(),
        }
    }
}

impl From<SnapshotRecord> for Snapshot {
    fn from(record: SnapshotRecord) -> Self {
        let mut members = ConfState {
            auto_leave: record.auto_leave,
            ..ConfState::default()
        };
        members.set_voters(record.voters);
        members.set_learners(record.learners);
        members.set_voters_outgoing(record.voters_outgoing);
        members.set_learners_next(record.learners_next);
        let mut snapshot = Self {
            data: record.data.into(),
            ..Self::default()
        };
        let metadata = snapshot.mut_metadata();
        metadata.index = record.position.index;
        metadata.term = record.position.term;
        metadata.set_conf_state(members);
        snapshot
    }
}

/// A snapshot whose only member is `id`, without entries before it.
pub fn founding_snapshot(id: u64, data: Vec<u8>) -> SnapshotRecord {
    sole_snapshot(id, Position { index: 1, term: 1 }, data)
}

/// A snapshot at this position whose only member is `id`.
pub fn sole_snapshot(id: u64, position: Position, data: Vec<u8>) -> SnapshotRecord {
    SnapshotRecord {
        position,
        voters: vec![id],
        learners: Vec::new(),
        voters_outgoing: Vec::new(),
        learners_next: Vec::new(),
        auto_leave: false,
        data,
    }
}

/// What a member has before the leader of its group sends it anything: no members, no entries.
pub fn blank_snapshot(data: Vec<u8>) -> SnapshotRecord {
    SnapshotRecord {
        position: Position { index: 0, term: 0 },
        voters: Vec::new(),
        ..founding_snapshot(0, data)
    }
}
