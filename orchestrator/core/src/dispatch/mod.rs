//! What a node is told to do and when, and which nodes are alive.

mod assignment;
mod drain;
mod sessions;

use serde::{Deserialize, Serialize};

pub use assignment::{Assignment, assignment};
pub use drain::{Acknowledged, Acknowledgement, Drain};
pub use sessions::{Due, Finding, Patience, Sessions};

use crate::ids::TaskId;
use crate::objects::task::TaskStatus;

/// A node reports how far one of its tasks came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task.
    pub id: TaskId,
    /// Its status. The managers stamp `since` themselves.
    pub status: TaskStatus,
}
