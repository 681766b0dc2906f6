//! What this client reads of the Engine API's objects, and nothing more. Words that the daemon
//! chooses (states, modes) stay text, so that a newer daemon's word is shown, not refused. Objects
//! that are edited or inspected never pass through here: they stay JSON.

#![expect(
    missing_docs,
    reason = "the fields are the Engine API's own, named as it names them"
)]

mod net;
mod network;
mod node;
mod service;
mod system;
mod task;

pub use net::{
    Counters, Difference, DropCount, Entry, Flow, Hop, MapSummary, ServiceCounters, Tables, Trace,
};
pub use network::Network;
pub use node::{Node, NodeDescription, NodeStatus, Platform, Resources};
pub use service::{
    ContainerSpec, EndpointSpec, Job, Mode, Mount, Placement, Port, Replicated, Rollout, Service,
    ServiceSpec, ServiceStatus, TaskSpec, UpdateStatus,
};
pub use system::{CheckResult, Cluster, Info, JoinTokens, Peer, Swarm, SwarmInfo, Version};
pub use task::{Task, TaskStatus};

use serde::Deserialize;

/// The answer to everything that makes something.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Created {
    /// The new object's id.
    #[serde(rename = "ID", alias = "Id")]
    pub id: String,
    /// Things worth telling that did not stop it.
    #[serde(alias = "Warning", deserialize_with = "one_or_many")]
    pub warnings: Vec<String>,
}

/// `Warnings` is a list, `Warning` (networks) a text.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shape {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Shape::deserialize(deserializer)? {
        Shape::One(text) if text.is_empty() => Vec::new(),
        Shape::One(text) => vec![text],
        Shape::Many(list) => list,
    })
}
