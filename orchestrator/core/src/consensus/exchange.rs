//! What goes into a member and what comes out.

use raft::eraftpb::Message;

use super::group::MembershipChange;
use super::store::Batch;

/// What happens to a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A unit of time has passed.
    Tick,
    /// Stand for election without waiting for the time-out.
    Campaign,
    /// Append this to the log. `tag` comes back with the committed entry, or in
    /// [`Effects::refused`] when this member cannot take it.
    Propose {
        /// The proposer's own number for it.
        tag: u64,
        /// Content of the entry.
        data: Vec<u8>,
    },
    /// A message of another member.
    Receive(Box<Message>),
    /// Ask which entries were committed when this came: what is read after all of them is applied
    /// is not old. `tag` comes back in [`Effects::readable`]; never, when there is no leader.
    Read {
        /// The reader's own number for it.
        tag: u64,
    },
    /// Change who the members are. Only a leader does, and one change at a time.
    Change(MembershipChange),
    /// Let this member lead instead of this one.
    TransferTo(u64),
    /// Messages to this member get lost.
    Unreachable(u64),
    /// A snapshot was sent to a member, or could not be.
    SnapshotSent {
        /// The member.
        to: u64,
        /// Whether it has all of it.
        arrived: bool,
    },
}

/// Something committed, to be applied in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// A proposal.
    Entry {
        /// Its index.
        index: u64,
        /// Its term: that of the leader who proposed it.
        term: u64,
        /// The proposer's number, when it was this or an earlier run of some member.
        tag: Option<u64>,
        /// Its content; empty for entries of raft itself.
        data: Vec<u8>,
    },
    /// The whole state as of `index`, sent by the leader: replaces what is in hand.
    Snapshot {
        /// Index of the last entry that it holds.
        index: u64,
        /// Its content.
        data: Vec<u8>,
    },
}

/// What the shell must do, in the order of the fields.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages to other members, to send now.
    pub send: Vec<Message>,
    /// To apply to the state.
    pub apply: Vec<Committed>,
    /// To make durable; then call [`Member::persisted`]. Nothing else comes out before.
    pub persist: Option<Batch>,
    /// Tags of proposals that were not taken: this member does not lead.
    pub refused: Vec<u64>,
    /// Tags of reads, and the entry that must be applied before each.
    pub readable: Vec<(u64, u64)>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.send.is_empty()
            && self.apply.is_empty()
            && self.persist.is_none()
            && self.refused.is_empty()
            && self.readable.is_empty()
    }
}
