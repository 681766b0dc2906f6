//! The cluster: its settings, its trust root and its join tokens. One per store.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Labels, Meta};
use crate::ids::ClusterId;

/// The one cluster object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Name of the cluster, also the organisation of its certificates.
    pub id: ClusterId,
    /// Versions and times.
    pub meta: Meta,
    /// What the user may change.
    pub spec: ClusterSpec,
    /// Address ranges that networks without a subnet are cut from.
    pub address_pools: Vec<IpNet>,
    /// Prefix length of a network cut from a pool.
    pub subnet_size: u8,
    /// UDP port of the overlay's tunnels, the same on every node.
    pub data_path_port: u16,
    /// The root of trust.
    pub root_ca: RootCa,
    /// Secrets that let a host in.
    pub join_tokens: JoinTokens,
}

/// Settings that `swarm update` may change; defaults are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Always `default`, as in Docker.
    pub name: String,
    /// User labels.
    pub labels: Labels,
    /// Finished tasks kept per slot; negative keeps all.
    pub task_history_limit: i64,
    /// Raft and snapshot settings.
    pub raft: RaftSettings,
    /// How often a node reports that it lives.
    pub heartbeat_period: Duration,
    /// Lifetime of node certificates.
    pub node_cert_expiry: Duration,
}

/// Raft and snapshot settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftSettings {
    /// Log entries between snapshots.
    pub snapshot_interval: u64,
    /// Snapshots kept beside the newest.
    pub keep_old_snapshots: u64,
    /// Entries kept after a snapshot for slow followers.
    pub log_entries_for_slow_followers: u64,
    /// Raft ticks without a leader before an election.
    pub election_tick: u32,
    /// Raft ticks between heartbeats.
    pub heartbeat_tick: u32,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            labels: Labels::new(),
            task_history_limit: 5,
            raft: RaftSettings {
                snapshot_interval: 10_000,
                keep_old_snapshots: 0,
                log_entries_for_slow_followers: 500,
                election_tick: 10,
                heartbeat_tick: 1,
            },
            heartbeat_period: Duration::from_secs(5),
            node_cert_expiry: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// The certificate authority that signs node certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootCa {
    /// Self-signed root certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM. Lives in the managers' sealed log only.
    pub key_pem: String,
}

/// The two join tokens, in Swarm's form `SWMTKN-1-<CA digest>-<secret>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokens {
    /// Lets a host in as a worker.
    pub worker: String,
    /// Lets a host in as a manager.
    pub manager: String,
}
