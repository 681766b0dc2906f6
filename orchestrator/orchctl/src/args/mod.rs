//! The command line, one file per noun. clap checks words and values; nothing is decided here.

mod net;
mod network;
mod node;
mod service;
mod service_spec;
mod swarm;
mod system;

use clap::{Parser, Subcommand};

pub use net::{Flows, NetCommand, NetDrops, NetList, NetServices, NetTrace};
pub use network::{NetworkCommand, NetworkCreate, NetworkInspect, NetworkList, NetworkRemove};
pub use node::{NodeCommand, NodeInspect, NodeList, NodePs, NodeRemove, NodeUpdate};
pub use service::{
    ServiceCommand, ServiceCreate, ServiceInspect, ServiceList, ServiceLogs, ServicePs,
    ServiceRollback, ServiceScale, ServiceUpdate, TaskViewFlags, WaitFlags,
};
pub use service_spec::{
    CreateLists, HealthFlags, ResourceFlags, RestartFlags, RollbackFlags, SharedFlags, UpdateFlags,
    UpdateLists,
};
pub use swarm::{
    Availability, JoinToken, SwarmCommand, SwarmInit, SwarmJoin, SwarmSettings, TokenRole,
};
pub use system::{Events, FormatOnly};

use crate::flags::Assignment;

/// Where orchd listens unless `-H` or `ORCH_HOST` says otherwise.
pub const DEFAULT_HOST: &str = "unix:///run/orchd/docker.sock";

/// Run services on a cluster of Docker hosts.
#[derive(Debug, Parser)]
#[command(name = "orchctl", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Daemon socket to connect to [default: $ORCH_HOST, else unix:///run/orchd/docker.sock]
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    pub host: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage the swarm
    #[command(subcommand)]
    Swarm(SwarmCommand),
    /// Manage swarm nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Manage services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Manage networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Show who talks to whom through this host
    Flows(Flows),
    /// Look into this host's data plane
    #[command(subcommand)]
    Net(NetCommand),
    /// Display system-wide information
    Info(FormatOnly),
    /// Show the version information of orchctl and of the daemon
    Version(FormatOnly),
    /// Get real time events from the server
    Events(Events),
    /// Check what this host lacks to be a node, and say how to mend it
    Doctor {
        /// Data path port to check [default: 4789]
        #[arg(long, value_name = "PORT")]
        data_path_port: Option<u16>,
    },
}

/// `-f key=value`, repeatable.
#[derive(Debug, Default, clap::Args)]
pub struct FilterFlag {
    /// Filter output based on conditions provided
    #[arg(short = 'f', long = "filter", value_name = "KEY=VALUE")]
    pub filter: Vec<Assignment>,
}
