//! The daemon and its swarm.

use serde::Deserialize;

/// `GET /info`, as far as it is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    pub containers: u64,
    pub containers_running: u64,
    pub containers_paused: u64,
    pub containers_stopped: u64,
    pub images: u64,
    pub driver: String,
    pub driver_status: Vec<Vec<String>>,
    pub docker_root_dir: String,
    pub plugins: Plugins,
    pub logging_driver: String,
    pub cgroup_driver: String,
    pub cgroup_version: String,
    pub kernel_version: String,
    pub operating_system: String,
    #[serde(rename = "OSType")]
    pub os_type: String,
    pub architecture: String,
    #[serde(rename = "NCPU")]
    pub ncpu: u64,
    pub mem_total: i64,
    pub server_version: String,
    pub labels: Vec<String>,
    pub swarm: SwarmInfo,
    pub warnings: Vec<String>,
}

/// The engine's plugins.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plugins {
    pub volume: Vec<String>,
    pub network: Vec<String>,
    pub log: Vec<String>,
}

/// This node's view of its swarm.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SwarmInfo {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_addr: String,
    pub local_node_state: String,
    pub control_available: bool,
    pub error: String,
    pub remote_managers: Vec<Peer>,
    pub nodes: u64,
    pub managers: u64,
    pub cluster: Option<Cluster>,
}

/// A manager's address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Peer {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub addr: String,
}

/// The cluster, as `info` has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cluster {
    #[serde(rename = "ID")]
    pub id: String,
    pub spec: SwarmSpec,
    pub root_rotation_in_progress: bool,
    pub default_addr_pool: Vec<String>,
    pub subnet_size: u32,
    pub data_path_port: u32,
}

/// The swarm's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SwarmSpec {
    pub orchestration: Orchestration,
    pub raft: Raft,
    pub dispatcher: Dispatcher,
    #[serde(rename = "CAConfig")]
    pub ca_config: CaConfig,
    pub encryption_config: Encryption,
}

/// Task history.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Orchestration {
    pub task_history_retention_limit: Option<i64>,
}

/// Consensus.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Raft {
    pub snapshot_interval: u64,
    pub keep_old_snapshots: Option<u64>,
    pub heartbeat_tick: u64,
    pub election_tick: u64,
}

/// Heartbeats; nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Dispatcher {
    pub heartbeat_period: i64,
}

/// Certificates; nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaConfig {
    pub node_cert_expiry: i64,
    pub force_rotate: u64,
}

/// Locking at rest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Encryption {
    pub auto_lock_managers: bool,
}

/// `GET /swarm`: the join tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Swarm {
    pub join_tokens: JoinTokens,
}

/// One token per role.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JoinTokens {
    pub worker: String,
    pub manager: String,
}

/// `GET /version`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    pub version: String,
    pub api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    pub git_commit: String,
    pub os: String,
    pub arch: String,
    pub kernel_version: String,
}

/// One line of `GET /orch/doctor`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CheckResult {
    /// What was checked.
    pub name: String,
    /// `ok`, `warning` or `failure`.
    pub severity: String,
    /// What was found.
    #[serde(default)]
    pub detail: String,
    /// What to do about it.
    #[serde(default)]
    pub fix: String,
}
