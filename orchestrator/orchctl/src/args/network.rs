//! `orchctl network ...`

use clap::{Args, Subcommand};

use super::FilterFlag;
use crate::flags::{Assignment, LabelEntry};

/// Verbs on networks.
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Create a network
    Create(Box<NetworkCreate>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(NetworkList),
    /// Display detailed information on one or more networks
    Inspect(NetworkInspect),
    /// Remove one or more networks
    #[command(visible_alias = "remove")]
    Rm(NetworkRemove),
}

/// `network create`
#[derive(Debug, Args)]
pub struct NetworkCreate {
    /// Enable manual container attachment
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub attachable: Option<bool>,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_name = "NAME=ADDRESS")]
    pub aux_address: Vec<Assignment>,
    /// The network from which to copy the configuration
    #[arg(long, value_name = "NETWORK")]
    pub config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    pub config_only: bool,
    /// Driver to manage the Network
    #[arg(short, long, default_value = "bridge")]
    pub driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub gateway: Vec<String>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    pub ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    pub internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub ip_range: Vec<String>,
    /// IP Address Management Driver
    #[arg(long, default_value = "default")]
    pub ipam_driver: String,
    /// Set IPAM driver specific options
    #[arg(long, value_name = "KEY=VALUE")]
    pub ipam_opt: Vec<LabelEntry>,
    /// Enable or disable IPv4 address assignment
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipv4: Option<bool>,
    /// Enable or disable IPv6 address assignment
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipv6: Option<bool>,
    /// Set metadata on a network
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<LabelEntry>,
    /// Set driver specific options
    #[arg(short = 'o', long, value_name = "KEY=VALUE")]
    pub opt: Vec<LabelEntry>,
    /// Control the network's scope
    #[arg(long, default_value = "")]
    pub scope: String,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub subnet: Vec<String>,
    /// The network's name
    #[arg(value_name = "NETWORK")]
    pub name: String,
}

/// `network ls`
#[derive(Debug, Args)]
pub struct NetworkList {
    /// Conditions.
    #[command(flatten)]
    pub filters: FilterFlag,
    /// Format output using 'table', 'table TEMPLATE', 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    pub quiet: bool,
}

/// `network inspect`
#[derive(Debug, Args)]
pub struct NetworkInspect {
    /// Format output using 'json' or a Go TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Verbose output for diagnostics
    #[arg(short, long)]
    pub verbose: bool,
    /// Networks by id or name
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}

/// `network rm`
#[derive(Debug, Args)]
pub struct NetworkRemove {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    pub force: bool,
    /// Networks by id or name
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}
