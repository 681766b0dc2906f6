//! Tasks as listed.

use serde::Deserialize;

use super::{Port, TaskSpec};

/// A task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    #[serde(rename = "ID")]
    pub id: String,
    pub created_at: String,
    pub spec: TaskSpec,
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    pub slot: u64,
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub status: TaskStatus,
    pub desired_state: String,
}

/// What is observed of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskStatus {
    pub timestamp: String,
    pub state: String,
    pub err: String,
    pub port_status: PortStatus,
}

/// Host-mode ports of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortStatus {
    pub ports: Vec<Port>,
}
