//! Faults that are put in on purpose, to see whether the simulator finds them.
//!
//! Nothing of this is in a build without the feature `planted`: [`is`] is a constant there.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A member of the raft group answers before what it says is on its disk.
    AnswerBeforeSync,
    /// A new leader decides before it knows what was committed before its term.
    DecideTooEarly,
    /// A manager answers reads without asking whether it is still in the picture.
    ReadUnconfirmed,
    /// Addresses of tasks that still stop are given away.
    ReuseAddress,
    /// A replacement starts while the task before it still stops.
    StartBesideStopping,
    /// A task whose process has ended is started again.
    RunAgain,
    /// Virtual addresses keep the tasks of hosts that are gone.
    KeepBackends,
    /// A node is not told that a task changed, as long as their number is the same.
    LoseChange,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AnswerBeforeSync,
        Self::DecideTooEarly,
        Self::ReadUnconfirmed,
        Self::ReuseAddress,
        Self::StartBesideStopping,
        Self::RunAgain,
        Self::KeepBackends,
        Self::LoseChange,
    ];
}

#[cfg(feature = "planted")]
mod chosen {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Puts a fault, or none, into everything that this thread runs from now on.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    /// Whether the code at hand has this fault.
    pub fn is(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}

#[cfg(feature = "planted")]
pub use chosen::{is, plant};

/// Whether the code at hand has this fault: it has none.
#[cfg(not(feature = "planted"))]
pub const fn is(_: Fault) -> bool {
    false
}
