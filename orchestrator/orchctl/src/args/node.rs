//! `orchctl node ...`

use clap::{Args, Subcommand};

use super::{Availability, FilterFlag, TokenRole};
use crate::flags::LabelEntry;

/// Verbs on nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List nodes in the swarm
    #[command(visible_alias = "list")]
    Ls(NodeList),
    /// Display detailed information on one or more nodes
    Inspect(NodeInspect),
    /// List tasks running on one or more nodes, defaults to current node
    Ps(NodePs),
    /// Update a node
    Update(NodeUpdate),
    /// Promote one or more nodes to manager in the swarm
    Promote {
        /// Nodes by id or hostname
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Demote one or more nodes from manager in the swarm
    Demote {
        /// Nodes by id or hostname
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Remove one or more nodes from the swarm
    #[command(visible_alias = "remove")]
    Rm(NodeRemove),
}

/// `node ls`
#[derive(Debug, Args)]
pub struct NodeList {
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

/// `node inspect`
#[derive(Debug, Args)]
pub struct NodeInspect {
    /// Format output using 'json' or a Go TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Print the information in a human friendly format
    #[arg(long)]
    pub pretty: bool,
    /// `self`, or nodes by id or hostname
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// `node ps`
#[derive(Debug, Args)]
pub struct NodePs {
    /// Conditions.
    #[command(flatten)]
    pub filters: FilterFlag,
    /// How to print.
    #[command(flatten)]
    pub view: super::service::TaskViewFlags,
    /// Nodes by id or hostname [default: self]
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// `node update`
#[derive(Debug, Args)]
pub struct NodeUpdate {
    /// Availability of the node
    #[arg(long, value_enum)]
    pub availability: Option<Availability>,
    /// Add or update a node label
    #[arg(long, value_name = "KEY=VALUE")]
    pub label_add: Vec<LabelEntry>,
    /// Remove a node label if exists
    #[arg(long, value_name = "KEY")]
    pub label_rm: Vec<String>,
    /// Role of the node
    #[arg(long, value_enum)]
    pub role: Option<TokenRole>,
    /// Node by id or hostname
    #[arg(value_name = "NODE")]
    pub node: String,
}

/// `node rm`
#[derive(Debug, Args)]
pub struct NodeRemove {
    /// Force remove a node from the swarm
    #[arg(short, long)]
    pub force: bool,
    /// Nodes by id or hostname
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
}
