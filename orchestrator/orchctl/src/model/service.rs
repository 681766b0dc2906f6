//! Services as listed and as shown by `inspect --pretty`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Resources;

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    #[serde(rename = "ID")]
    pub id: String,
    pub created_at: String,
    pub spec: ServiceSpec,
    pub endpoint: Endpoint,
    pub update_status: Option<UpdateStatus>,
    pub service_status: Option<ServiceStatus>,
    pub job_status: Option<JobStatus>,
}

/// What the user wants of a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceSpec {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub task_template: TaskSpec,
    pub mode: Mode,
    pub update_config: Option<Rollout>,
    pub rollback_config: Option<Rollout>,
    pub endpoint_spec: EndpointSpec,
}

/// How many tasks a service has; exactly one field is set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mode {
    pub replicated: Option<Replicated>,
    pub global: Option<Empty>,
    pub replicated_job: Option<Job>,
    pub global_job: Option<Empty>,
}

/// A mode without settings.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Empty {}

/// So many tasks.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Replicated {
    pub replicas: u64,
}

/// So many completions.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    pub max_concurrent: u64,
    pub total_completions: u64,
}

/// When a job's present iteration began.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobStatus {
    pub last_execution: String,
}

/// What every task of a service runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskSpec {
    pub container_spec: ContainerSpec,
    pub resources: Option<ResourceRequirements>,
    pub placement: Placement,
    pub networks: Vec<NetworkTarget>,
    pub log_driver: Option<LogDriver>,
}

/// The container of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSpec {
    pub image: String,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub dir: String,
    pub init: Option<bool>,
    pub user: String,
    #[serde(rename = "TTY")]
    pub tty: bool,
    pub capability_add: Vec<String>,
    pub capability_drop: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: Vec<Ulimit>,
    pub mounts: Vec<Mount>,
    pub configs: Vec<FileReference>,
    pub secrets: Vec<FileReference>,
    pub healthcheck: Option<Healthcheck>,
}

/// A resource limit of a container's processes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// A mount.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    #[serde(rename = "Type")]
    pub kind: String,
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

/// A secret or config in a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FileReference {
    pub file: FileTarget,
    #[serde(alias = "SecretName", alias = "ConfigName")]
    pub source_name: String,
}

/// Where a secret or config is mounted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FileTarget {
    pub name: String,
}

/// A health check; durations in nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub retries: i64,
}

/// Limits and reservations.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceRequirements {
    pub limits: Option<Resources>,
    pub reservations: Option<Resources>,
}

/// Where tasks may run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Placement {
    pub constraints: Vec<String>,
    pub preferences: Vec<Preference>,
    pub max_replicas: u64,
}

/// A placement preference.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Preference {
    pub spread: Spread,
}

/// The label to spread over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Spread {
    pub spread_descriptor: String,
}

/// A network that tasks are attached to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkTarget {
    pub target: String,
}

/// Where logs go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogDriver {
    pub name: String,
    pub options: BTreeMap<String, String>,
}

/// How an update or a rollback rolls; durations in nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Rollout {
    pub parallelism: u64,
    pub delay: i64,
    pub failure_action: String,
    pub monitor: i64,
    pub max_failure_ratio: f64,
    pub order: String,
}

/// How a service is reached, as wanted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSpec {
    pub mode: String,
    pub ports: Vec<Port>,
}

/// How a service is reached, as it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Endpoint {
    pub spec: EndpointSpec,
    pub ports: Vec<Port>,
}

/// A published port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    pub protocol: String,
    pub target_port: u16,
    pub published_port: u16,
    pub publish_mode: String,
}

/// How an update goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateStatus {
    pub state: String,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
    pub message: String,
}

/// How many tasks there are.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceStatus {
    pub running_tasks: u64,
    pub desired_tasks: u64,
    pub completed_tasks: u64,
}
