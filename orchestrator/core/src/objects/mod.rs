//! The cluster's objects as orchd thinks of them.
//!
//! Hand-written types that cannot hold nonsense: Engine API JSON, protobuf and BPF layouts are
//! converted at the edges and never reach this module. They are stored and sent between nodes as
//! MessagePack with field names, so a field may be added with `#[serde(default)]`.

pub mod cluster;
pub mod cluster_options;
pub mod endpoint_options;
pub mod network;
pub mod node;
pub mod service;
pub mod task;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use cluster::{Cluster, ClusterSpec};
pub use cluster_options::ClusterOptions;
pub use endpoint_options::EndpointOptions;
pub use network::{Network, NetworkSpec};
pub use node::{Node, NodeSpec};
pub use service::{Service, ServiceSpec};
pub use task::{Task, TaskSpec};

use crate::time::Timestamp;

/// User labels, sorted so that equal sets have equal bytes.
pub type Labels = BTreeMap<String, String>;

/// Bookkeeping that every object carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// Raft index of the entry that wrote the object last: the optimistic lock of the API
    /// (`Version.Index`). Set by the store on apply.
    pub version: u64,
    /// When the object was created.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}
