//! Raft as a pure step machine: agreement on the order of log entries.
//!
//! [`Member`] takes inputs (a tick, a proposal, a message, "that is on disk now") and gives
//! effects (send, persist, apply). It owns raft's rules and their order; it must not know what
//! entries mean, where they are kept or how messages travel. The shell carries effects out, the
//! simulator plays with them.
//!
//! The order that keeps acknowledged entries: a batch is durable before the member goes on.
//! Inputs that come in between wait, so that the next batch holds them all (group commit).

mod exchange;
mod group;
mod member;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use exchange::{Committed, Effects, Input};
pub use group::{Group, MembershipChange, Step};
pub use member::{Leadership, Member, Settings};
pub use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot};
pub use store::{Batch, LogError, LogStore, Restored};
pub use wire::{decode, encode};

/// Why consensus cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The log cannot be read, or the settings contradict it.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    /// A committed change of the membership cannot be read.
    #[error("raft: the membership change at index {index} cannot be read: {reason}")]
    BadMembershipChange {
        /// Index of the entry.
        index: u64,
        /// The decoder's words.
        reason: String,
    },
    /// A message cannot be written or read.
    #[error("raft: a message makes no sense: {0}")]
    BadMessage(String),
}
