//! `orchctl service ...`; the flags that describe a service are in `service_spec`.

use clap::{Args, Subcommand};

use super::{
    FilterFlag,
    service_spec::{CreateLists, SharedFlags, UpdateLists},
};
use crate::flags::Assignment;

/// Verbs on services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Create a new service
    Create(Box<ServiceCreate>),
    /// Update a service
    Update(Box<ServiceUpdate>),
    /// Scale one or multiple replicated services
    Scale(ServiceScale),
    /// List services
    #[command(visible_alias = "list")]
    Ls(ServiceList),
    /// List the tasks of one or more services
    Ps(ServicePs),
    /// Display detailed information on one or more services
    Inspect(ServiceInspect),
    /// Remove one or more services
    #[command(visible_alias = "remove")]
    Rm {
        /// Services by id or name
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Fetch the logs of a service or task
    Logs(ServiceLogs),
    /// Revert changes to a service's configuration
    Rollback(ServiceRollback),
}

/// Whether and how to wait for a change.
#[derive(Debug, Args)]
pub struct WaitFlags {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub detach: Option<bool>,
    /// Suppress progress output
    #[arg(short, long)]
    pub quiet: bool,
}

/// `service create`
#[derive(Debug, Args)]
pub struct ServiceCreate {
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Service name
    #[arg(long)]
    pub name: Option<String>,
    /// Service mode: replicated, global, replicated-job or global-job
    #[arg(long, default_value = "replicated")]
    pub mode: String,
    /// Flags shared with update.
    #[command(flatten)]
    pub shared: SharedFlags,
    /// List flags.
    #[command(flatten)]
    pub lists: CreateLists,
    /// The image, then the command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_names = ["IMAGE", "COMMAND"],
        num_args = 1..
    )]
    pub image_and_args: Vec<String>,
}

/// `service update`
#[derive(Debug, Args)]
pub struct ServiceUpdate {
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Service command args
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub args: Option<String>,
    /// Force update even if no changes require it
    #[arg(long)]
    pub force: bool,
    /// Service image tag
    #[arg(long)]
    pub image: Option<String>,
    /// Rollback to previous specification
    #[arg(long)]
    pub rollback: bool,
    /// Flags shared with create.
    #[command(flatten)]
    pub shared: SharedFlags,
    /// List flags.
    #[command(flatten)]
    pub lists: UpdateLists,
    /// Service by id or name
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

/// `service scale`
#[derive(Debug, Args)]
pub struct ServiceScale {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub detach: Option<bool>,
    /// Services and how many tasks each should have
    #[arg(required = true, value_name = "SERVICE=REPLICAS")]
    pub targets: Vec<Assignment>,
}

/// `service ls`
#[derive(Debug, Args)]
pub struct ServiceList {
    /// Conditions.
    #[command(flatten)]
    pub filters: FilterFlag,
    /// Format output using 'table', 'table TEMPLATE', 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Only display IDs
    #[arg(short, long)]
    pub quiet: bool,
}

/// How `service ps` and `node ps` print tasks.
#[derive(Debug, Args)]
pub struct TaskViewFlags {
    /// Format output using 'table', 'table TEMPLATE', 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Do not map IDs to Names
    #[arg(long)]
    pub no_resolve: bool,
    /// Do not truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only display task IDs
    #[arg(short, long)]
    pub quiet: bool,
}

/// `service ps`
#[derive(Debug, Args)]
pub struct ServicePs {
    /// Conditions.
    #[command(flatten)]
    pub filters: FilterFlag,
    /// How to print.
    #[command(flatten)]
    pub view: TaskViewFlags,
    /// Services by id or name
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}

/// `service inspect`
#[derive(Debug, Args)]
pub struct ServiceInspect {
    /// Format output using 'json' or a Go TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Print the information in a human friendly format
    #[arg(long)]
    pub pretty: bool,
    /// Services by id or name
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}

/// `service logs`
#[derive(Debug, Args)]
pub struct ServiceLogs {
    /// Show extra details provided to logs
    #[arg(long)]
    pub details: bool,
    /// Follow log output
    #[arg(short, long)]
    pub follow: bool,
    /// Do not map IDs to Names in output
    #[arg(long)]
    pub no_resolve: bool,
    /// Do not include task IDs in output
    #[arg(long)]
    pub no_task_ids: bool,
    /// Do not truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Do not neatly format logs
    #[arg(long)]
    pub raw: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all")]
    pub tail: String,
    /// Show timestamps
    #[arg(short, long)]
    pub timestamps: bool,
    /// Service or task
    #[arg(value_name = "SERVICE|TASK")]
    pub target: String,
}

/// `service rollback`
#[derive(Debug, Args)]
pub struct ServiceRollback {
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Service by id or name
    #[arg(value_name = "SERVICE")]
    pub service: String,
}
