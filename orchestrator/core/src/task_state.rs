//! States of a task and who may move it where.
//!
//! ```text
//!  orchestrator  allocator    scheduler     agent
//!      New ──────> Pending ───> Assigned ──> Accepted ─> Preparing ─> Ready ─> Starting ─> Running
//!                                   └───────────┴───────────┴──────────┴──────────┴──────────┤
//!                                                                                            v
//!                                     agent:    Complete | Shutdown | Failed | Rejected
//!                                     managers: Shutdown (before Assigned) | Orphaned (after)
//! ```
//!
//! The observed state only grows. What the managers want is a [`DesiredState`], a ceiling that the
//! agent steers to and that is never lowered.

use serde::{Deserialize, Serialize};

/// Observed state of a task, in rank order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Made by an orchestrator, nothing allocated.
    New,
    /// Has its addresses, waits for a node.
    Pending,
    /// Has a node.
    Assigned,
    /// The node knows of it.
    Accepted,
    /// Image and networks are fetched.
    Preparing,
    /// Its container is created.
    Ready,
    /// Its container starts, or runs and is not yet healthy.
    Starting,
    /// Runs, and is healthy where health is checked.
    Running,
    /// Ended with exit code 0.
    Complete,
    /// Stopped because the managers wanted it.
    Shutdown,
    /// Ended with an error.
    Failed,
    /// Could not be started.
    Rejected,
    /// Its node is gone for good.
    Orphaned,
}

impl TaskState {
    /// All states in rank order.
    pub const ALL: [Self; 13] = [
        Self::New,
        Self::Pending,
        Self::Assigned,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Starting,
        Self::Running,
        Self::Complete,
        Self::Shutdown,
        Self::Failed,
        Self::Rejected,
        Self::Orphaned,
    ];

    /// Whether nothing follows.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Complete | Self::Shutdown | Self::Failed | Self::Rejected | Self::Orphaned
        )
    }

    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Orphaned => "orphaned",
        }
    }
}

/// What the managers want of a task, in rank order; never lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DesiredState {
    /// Prepare everything, wait with the start.
    Ready,
    /// Run.
    Running,
    /// Stop; the record stays as history.
    Shutdown,
    /// Stop; the record goes away once it has stopped.
    Remove,
}

impl DesiredState {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Shutdown => "shutdown",
            Self::Remove => "remove",
        }
    }
}

/// Who moves a task's observed state. Each state is left by one actor only, but for the managers,
/// who may write off a task whose node is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Gives addresses: `New` to `Pending`.
    Allocator,
    /// Gives a node: `Pending` to `Assigned`.
    Scheduler,
    /// Runs it on its node: everything from `Assigned` on.
    Agent,
    /// Writes off tasks of nodes that are gone, and tasks that never got a node.
    Manager,
}

/// Whether `actor` may move a task from `from` to `to`.
pub fn may_move(actor: Actor, from: TaskState, to: TaskState) -> bool {
    use TaskState as S;
    if from.is_terminal() || to <= from {
        return false;
    }
    match actor {
        Actor::Allocator => from == S::New && to == S::Pending,
        Actor::Scheduler => from == S::Pending && to == S::Assigned,
        Actor::Agent => from >= S::Assigned && to != S::Orphaned,
        Actor::Manager => match to {
            S::Orphaned => from >= S::Assigned,
            S::Shutdown => from < S::Assigned,
            S::New
            | S::Pending
            | S::Assigned
            | S::Accepted
            | S::Preparing
            | S::Ready
            | S::Starting
            | S::Running
            | S::Complete
            | S::Failed
            | S::Rejected => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTORS: [Actor; 4] = [
        Actor::Allocator,
        Actor::Scheduler,
        Actor::Agent,
        Actor::Manager,
    ];

    fn moves() -> impl Iterator<Item = (Actor, TaskState, TaskState)> {
        ACTORS.into_iter().flat_map(|actor| {
            TaskState::ALL
                .into_iter()
                .flat_map(move |from| TaskState::ALL.into_iter().map(move |to| (actor, from, to)))
        })
    }

    #[test]
    fn no_actor_goes_back_stays_or_leaves_a_terminal_state() {
        for (actor, from, to) in moves() {
            if to <= from || from.is_terminal() {
                assert!(!may_move(actor, from, to), "{actor:?}: {from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn every_working_state_has_one_owner_beside_the_managers() {
        for from in TaskState::ALL.into_iter().filter(|s| !s.is_terminal()) {
            let owners: Vec<_> = ACTORS
                .into_iter()
                .filter(|a| *a != Actor::Manager)
                .filter(|a| TaskState::ALL.into_iter().any(|to| may_move(*a, from, to)))
                .collect();
            assert_eq!(owners.len(), 1, "{from:?} is left by {owners:?}");
        }
    }

    #[test]
    fn a_node_is_set_before_the_agent_acts() {
        for to in TaskState::ALL {
            assert!(!may_move(Actor::Agent, TaskState::Pending, to));
        }
    }
}
