//! The flags that describe a service, for `service create` and `service update`. `None` means
//! "not typed", which matters to update: it changes only what was typed.

use clap::Args;

use crate::flags::{
    Bytes, CredentialSpec, EnvEntry, FileReference, GenericResource, GoDuration, HostMapping,
    LabelEntry, Mount, NanoCpus, NetworkAttachment, PortSpec, SpreadPreference, Ulimit,
};

/// Flags that create and update have in common.
#[derive(Debug, Default, Args)]
pub struct SharedFlags {
    /// Add Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Credential spec for managed service account (Windows only)
    #[arg(long, value_name = "CREDENTIAL-SPEC")]
    pub credential_spec: Option<CredentialSpec>,
    /// Endpoint mode (vip or dnsrr)
    #[arg(long, value_name = "MODE")]
    pub endpoint_mode: Option<String>,
    /// Endpoint option, kept as service label orch.endpoint.KEY: affinity=client-ip[:SECONDS],
    /// dsr=true, drain=DURATION, publish.TARGET/PROTOCOL.address=IP,
    /// publish.TARGET/PROTOCOL.allow=CIDR,... or .deny=CIDR,...
    #[arg(long, value_name = "KEY=VALUE")]
    pub endpoint_opt: Vec<LabelEntry>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub entrypoint: Option<String>,
    /// Container hostname
    #[arg(long)]
    pub hostname: Option<String>,
    /// Use an init inside each service container to forward signals and reap processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub init: Option<bool>,
    /// Service container isolation mode
    #[arg(long)]
    pub isolation: Option<String>,
    /// Logging driver for service
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Logging driver options
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<LabelEntry>,
    /// Number of job tasks to run concurrently (default equal to --replicas)
    #[arg(long, value_name = "UINT")]
    pub max_concurrent: Option<u64>,
    /// Do not query the registry to resolve image digest and supported platforms
    #[arg(long)]
    pub no_resolve_image: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "INT", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i64>,
    /// Mount the container's root filesystem as read only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub read_only: Option<bool>,
    /// Number of tasks
    #[arg(long, value_name = "UINT")]
    pub replicas: Option<u64>,
    /// Maximum number of tasks per node (default 0 = unlimited)
    #[arg(long, value_name = "UINT")]
    pub replicas_max_per_node: Option<u64>,
    /// Time to wait before force killing a container (ns|us|ms|s|m|h) [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub stop_grace_period: Option<GoDuration>,
    /// Signal to stop the container
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tty: Option<bool>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long)]
    pub user: Option<String>,
    /// Send registry authentication details to swarm agents
    #[arg(long)]
    pub with_registry_auth: bool,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Health check.
    #[command(flatten)]
    pub health: HealthFlags,
    /// Resources.
    #[command(flatten)]
    pub resources: ResourceFlags,
    /// Restart policy.
    #[command(flatten)]
    pub restart: RestartFlags,
    /// Rolling update.
    #[command(flatten)]
    pub update: UpdateFlags,
    /// Rolling back.
    #[command(flatten)]
    pub rollback: RollbackFlags,
}

/// `--health-*`
#[derive(Debug, Default, Args)]
pub struct HealthFlags {
    /// Command to run to check health
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h)
    #[arg(long, value_name = "DURATION")]
    pub health_interval: Option<GoDuration>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "INT")]
    pub health_retries: Option<u32>,
    /// Time between running the check during the start period (ms|s|m|h)
    #[arg(long, value_name = "DURATION")]
    pub health_start_interval: Option<GoDuration>,
    /// Start period for the container to initialize before counting retries (ms|s|m|h)
    #[arg(long, value_name = "DURATION")]
    pub health_start_period: Option<GoDuration>,
    /// Maximum time to allow one check to run (ms|s|m|h)
    #[arg(long, value_name = "DURATION")]
    pub health_timeout: Option<GoDuration>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long, conflicts_with_all = [
        "health_cmd", "health_interval", "health_retries", "health_start_interval",
        "health_start_period", "health_timeout",
    ])]
    pub no_healthcheck: bool,
}

/// `--limit-*` and `--reserve-*`
#[derive(Debug, Default, Args)]
pub struct ResourceFlags {
    /// Limit CPUs
    #[arg(long, value_name = "DECIMAL")]
    pub limit_cpu: Option<NanoCpus>,
    /// Limit Memory
    #[arg(long, value_name = "BYTES")]
    pub limit_memory: Option<Bytes>,
    /// Limit maximum number of processes (default 0 = unlimited)
    #[arg(long, value_name = "INT", allow_negative_numbers = true)]
    pub limit_pids: Option<i64>,
    /// Reserve CPUs
    #[arg(long, value_name = "DECIMAL")]
    pub reserve_cpu: Option<NanoCpus>,
    /// Reserve Memory
    #[arg(long, value_name = "BYTES")]
    pub reserve_memory: Option<Bytes>,
}

/// `--restart-*`
#[derive(Debug, Default, Args)]
pub struct RestartFlags {
    /// Restart when condition is met (none, on-failure, any)
    #[arg(long, value_name = "CONDITION")]
    pub restart_condition: Option<String>,
    /// Delay between restart attempts (ns|us|ms|s|m|h) [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub restart_delay: Option<GoDuration>,
    /// Maximum number of restarts before giving up
    #[arg(long, value_name = "UINT")]
    pub restart_max_attempts: Option<u64>,
    /// Window used to evaluate the restart policy (ns|us|ms|s|m|h)
    #[arg(long, value_name = "DURATION")]
    pub restart_window: Option<GoDuration>,
}

/// `--update-*`
#[derive(Debug, Default, Args)]
pub struct UpdateFlags {
    /// Delay between updates (ns|us|ms|s|m|h) [default: 0s]
    #[arg(long, value_name = "DURATION")]
    pub update_delay: Option<GoDuration>,
    /// Action on update failure (pause, continue, rollback)
    #[arg(long, value_name = "ACTION")]
    pub update_failure_action: Option<String>,
    /// Failure rate to tolerate during an update
    #[arg(long, value_name = "RATIO")]
    pub update_max_failure_ratio: Option<f32>,
    /// Duration after each task update to monitor for failure (ns|us|ms|s|m|h) [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub update_monitor: Option<GoDuration>,
    /// Update order (start-first, stop-first)
    #[arg(long, value_name = "ORDER")]
    pub update_order: Option<String>,
    /// Maximum number of tasks updated simultaneously (0 to update all at once) [default: 1]
    #[arg(long, value_name = "UINT")]
    pub update_parallelism: Option<u64>,
}

/// `--rollback-*`
#[derive(Debug, Default, Args)]
pub struct RollbackFlags {
    /// Delay between task rollbacks (ns|us|ms|s|m|h) [default: 0s]
    #[arg(long, value_name = "DURATION")]
    pub rollback_delay: Option<GoDuration>,
    /// Action on rollback failure (pause, continue)
    #[arg(long, value_name = "ACTION")]
    pub rollback_failure_action: Option<String>,
    /// Failure rate to tolerate during a rollback
    #[arg(long, value_name = "RATIO")]
    pub rollback_max_failure_ratio: Option<f32>,
    /// Duration after each task rollback to monitor for failure (ns|us|ms|s|m|h) [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub rollback_monitor: Option<GoDuration>,
    /// Rollback order (start-first, stop-first)
    #[arg(long, value_name = "ORDER")]
    pub rollback_order: Option<String>,
    /// Maximum number of tasks rolled back simultaneously (0 to roll back all at once) [default: 1]
    #[arg(long, value_name = "UINT")]
    pub rollback_parallelism: Option<u64>,
}

/// The repeatable flags of `service create`.
#[derive(Debug, Default, Args)]
pub struct CreateLists {
    /// Specify configurations to expose to the service
    #[arg(long, value_name = "CONFIG")]
    pub config: Vec<FileReference>,
    /// Placement constraints
    #[arg(long, value_name = "CONSTRAINT")]
    pub constraint: Vec<String>,
    /// Container labels
    #[arg(long, value_name = "KEY=VALUE")]
    pub container_label: Vec<LabelEntry>,
    /// Set custom DNS servers
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<std::net::IpAddr>,
    /// Set DNS options
    #[arg(long, value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub env: Vec<EnvEntry>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<std::path::PathBuf>,
    /// User defined resources
    #[arg(long, value_name = "KIND=AMOUNT")]
    pub generic_resource: Vec<GenericResource>,
    /// Set one or more supplementary user groups for the container
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Set one or more custom host-to-IP mappings
    #[arg(long, value_name = "HOST:IP", value_parser = HostMapping::parse_complete)]
    pub host: Vec<HostMapping>,
    /// Service labels
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<LabelEntry>,
    /// Attach a filesystem mount to the service
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<Mount>,
    /// Network attachments
    #[arg(long, value_name = "NETWORK")]
    pub network: Vec<NetworkAttachment>,
    /// Add a placement preference
    #[arg(long, value_name = "PREFERENCE")]
    pub placement_pref: Vec<SpreadPreference>,
    /// Publish a port as a node port ([ip:][published:]target[/protocol], or
    /// published=,target=,protocol=,mode=,host-ip=)
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<PortSpec>,
    /// Specify secrets to expose to the service
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<FileReference>,
    /// Sysctl options
    #[arg(long, value_name = "KEY=VALUE")]
    pub sysctl: Vec<LabelEntry>,
    /// Ulimit options
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<Ulimit>,
}

/// The `--x-add` and `--x-rm` flags of `service update`.
#[derive(Debug, Default, Args)]
pub struct UpdateLists {
    /// Add or update a config file on a service
    #[arg(long, value_name = "CONFIG")]
    pub config_add: Vec<FileReference>,
    /// Remove a configuration file
    #[arg(long, value_name = "CONFIG")]
    pub config_rm: Vec<String>,
    /// Add or update a placement constraint
    #[arg(long, value_name = "CONSTRAINT")]
    pub constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    pub constraint_rm: Vec<String>,
    /// Add or update a container label
    #[arg(long, value_name = "KEY=VALUE")]
    pub container_label_add: Vec<LabelEntry>,
    /// Remove a container label by its key
    #[arg(long, value_name = "KEY")]
    pub container_label_rm: Vec<String>,
    /// Add or update a custom DNS server
    #[arg(long, value_name = "ADDRESS")]
    pub dns_add: Vec<std::net::IpAddr>,
    /// Remove a custom DNS server
    #[arg(long, value_name = "ADDRESS")]
    pub dns_rm: Vec<String>,
    /// Add or update a DNS option
    #[arg(long, value_name = "OPTION")]
    pub dns_option_add: Vec<String>,
    /// Remove a DNS option
    #[arg(long, value_name = "OPTION")]
    pub dns_option_rm: Vec<String>,
    /// Add or update a custom DNS search domain
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search_add: Vec<String>,
    /// Remove a DNS search domain
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search_rm: Vec<String>,
    /// Remove an endpoint option by its key
    #[arg(long, value_name = "KEY")]
    pub endpoint_opt_rm: Vec<String>,
    /// Add or update an environment variable
    #[arg(long, value_name = "KEY=VALUE")]
    pub env_add: Vec<EnvEntry>,
    /// Remove an environment variable
    #[arg(long, value_name = "KEY")]
    pub env_rm: Vec<String>,
    /// Add a Generic resource
    #[arg(long, value_name = "KIND=AMOUNT")]
    pub generic_resource_add: Vec<GenericResource>,
    /// Remove a Generic resource
    #[arg(long, value_name = "KIND")]
    pub generic_resource_rm: Vec<String>,
    /// Add an additional supplementary user group to the container
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Remove a previously added supplementary user group from the container
    #[arg(long, value_name = "GROUP")]
    pub group_rm: Vec<String>,
    /// Add a custom host-to-IP mapping
    #[arg(long, value_name = "HOST:IP", value_parser = HostMapping::parse_complete)]
    pub host_add: Vec<HostMapping>,
    /// Remove a custom host-to-IP mapping
    #[arg(long, value_name = "HOST[:IP]")]
    pub host_rm: Vec<HostMapping>,
    /// Add or update a service label
    #[arg(long, value_name = "KEY=VALUE")]
    pub label_add: Vec<LabelEntry>,
    /// Remove a label by its key
    #[arg(long, value_name = "KEY")]
    pub label_rm: Vec<String>,
    /// Add or update a mount on a service
    #[arg(long, value_name = "MOUNT")]
    pub mount_add: Vec<Mount>,
    /// Remove a mount by its target path
    #[arg(long, value_name = "PATH")]
    pub mount_rm: Vec<String>,
    /// Add a network
    #[arg(long, value_name = "NETWORK")]
    pub network_add: Vec<NetworkAttachment>,
    /// Remove a network
    #[arg(long, value_name = "NETWORK")]
    pub network_rm: Vec<String>,
    /// Add a placement preference
    #[arg(long, value_name = "PREFERENCE")]
    pub placement_pref_add: Vec<SpreadPreference>,
    /// Remove a placement preference
    #[arg(long, value_name = "PREFERENCE")]
    pub placement_pref_rm: Vec<SpreadPreference>,
    /// Add or update a published port
    #[arg(long, value_name = "PORT")]
    pub publish_add: Vec<PortSpec>,
    /// Remove a published port by its target port
    #[arg(long, value_name = "PORT")]
    pub publish_rm: Vec<PortSpec>,
    /// Add or update a secret on a service
    #[arg(long, value_name = "SECRET")]
    pub secret_add: Vec<FileReference>,
    /// Remove a secret
    #[arg(long, value_name = "SECRET")]
    pub secret_rm: Vec<String>,
    /// Add or update a Sysctl option
    #[arg(long, value_name = "KEY=VALUE")]
    pub sysctl_add: Vec<LabelEntry>,
    /// Remove a Sysctl option
    #[arg(long, value_name = "KEY")]
    pub sysctl_rm: Vec<String>,
    /// Add or update a ulimit option
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit_add: Vec<Ulimit>,
    /// Remove a ulimit option
    #[arg(long, value_name = "NAME")]
    pub ulimit_rm: Vec<String>,
}
