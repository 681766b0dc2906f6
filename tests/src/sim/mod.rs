//! A whole cluster in virtual time, from one seed.
//!
//! The real core runs: raft, what a leader does, transactions, control operations, reconciliation,
//! dispatch, and the agent's decisions. Simulated are the engines, the network, the managers' disks,
//! the daemons' lives, the users and time itself. First faults and users do what they like; then all is quiet and the cluster has
//! to come to rest as its specs say; at last everything is removed and nothing may be left.
//! Invariants are checked after every entry of the log. The same seed gives the same run.

mod dice;
mod disk;
mod finally;
mod host;
mod intent;
mod invariants;
mod ledger;
mod manager;
mod process;
mod queue;
mod user;
mod world;

pub use world::{Options, Report, run};

/// The cluster did what it must never do, or did not do what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// Fails with a violation unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err($crate::sim::Violation(format!($($words)+)));
        }
    };
}
pub(crate) use ensure;
