//! `orchctl swarm ...`

use clap::{Args, Subcommand, ValueEnum};

use crate::flags::GoDuration;

/// Verbs on the swarm itself.
#[derive(Debug, Subcommand)]
pub enum SwarmCommand {
    /// Initialize a swarm
    Init(SwarmInit),
    /// Join a swarm as a node and/or manager
    Join(SwarmJoin),
    /// Manage join tokens
    JoinToken(JoinToken),
    /// Leave the swarm
    Leave {
        /// Force this node to leave the swarm, ignoring warnings
        #[arg(short, long)]
        force: bool,
    },
    /// Update the swarm
    Update(SwarmSettings),
}

/// What the scheduler may do with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Availability {
    /// Tasks run here.
    Active,
    /// Tasks stay, no new ones come.
    Pause,
    /// Tasks are moved away.
    Drain,
}

impl Availability {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain => "drain",
        }
    }
}

/// Settings that `init` and `update` share.
#[derive(Debug, Default, Args)]
pub struct SwarmSettings {
    /// Change manager autolocking setting
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub autolock: Option<bool>,
    /// Validity period for node certificates (ns|us|ms|s|m|h) [default: 2160h0m0s]
    #[arg(long, value_name = "DURATION")]
    pub cert_expiry: Option<GoDuration>,
    /// Dispatcher heartbeat period (ns|us|ms|s|m|h) [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub dispatcher_heartbeat: Option<GoDuration>,
    /// How long tasks of a host that does not answer are waited for (ms|s|m|h) [default: 2500ms]
    #[arg(long, value_name = "DURATION")]
    pub host_loss_delay: Option<GoDuration>,
    /// Specification of a certificate signing endpoint: protocol=cfssl,url=...
    #[arg(long, value_name = "EXTERNAL-CA")]
    pub external_ca: Vec<String>,
    /// Number of additional Raft snapshots to retain
    #[arg(long, value_name = "UINT")]
    pub max_snapshots: Option<u64>,
    /// Number of log entries between Raft snapshots [default: 10000]
    #[arg(long, value_name = "UINT")]
    pub snapshot_interval: Option<u64>,
    /// Task history retention limit [default: 5]
    #[arg(long, value_name = "INT", allow_negative_numbers = true)]
    pub task_history_limit: Option<i64>,
}

/// `swarm init`
#[derive(Debug, Args)]
pub struct SwarmInit {
    /// Advertised address
    #[arg(long, value_name = "IP|INTERFACE[:PORT]")]
    pub advertise_addr: Option<String>,
    /// Listen address
    #[arg(
        long,
        value_name = "IP|INTERFACE[:PORT]",
        default_value = "0.0.0.0:2377"
    )]
    pub listen_addr: String,
    /// Address or interface to use for data path traffic
    #[arg(long, value_name = "IP|INTERFACE")]
    pub data_path_addr: Option<String>,
    /// Port number to use for data path traffic (1024 - 49151); 0 or none means 4789
    #[arg(long, value_name = "PORT")]
    pub data_path_port: Option<u32>,
    /// Default address pool in CIDR format
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub default_addr_pool: Vec<String>,
    /// Default address pool subnet mask length [default: 24]
    #[arg(long, value_name = "BITS")]
    pub default_addr_pool_mask_length: Option<u32>,
    /// Availability of the node
    #[arg(long, value_enum, default_value = "active")]
    pub availability: Availability,
    /// Force create a new cluster from current state
    #[arg(long)]
    pub force_new_cluster: bool,
    /// Settings of the new swarm.
    #[command(flatten)]
    pub settings: SwarmSettings,
}

/// `swarm join`
#[derive(Debug, Args)]
pub struct SwarmJoin {
    /// Token for entry into the swarm
    #[arg(long, value_name = "TOKEN", default_value = "")]
    pub token: String,
    /// Advertised address
    #[arg(long, value_name = "IP|INTERFACE[:PORT]")]
    pub advertise_addr: Option<String>,
    /// Listen address
    #[arg(
        long,
        value_name = "IP|INTERFACE[:PORT]",
        default_value = "0.0.0.0:2377"
    )]
    pub listen_addr: String,
    /// Address or interface to use for data path traffic
    #[arg(long, value_name = "IP|INTERFACE")]
    pub data_path_addr: Option<String>,
    /// Availability of the node
    #[arg(long, value_enum, default_value = "active")]
    pub availability: Availability,
    /// A manager of the swarm to join
    #[arg(value_name = "HOST:PORT")]
    pub remote: String,
}

/// `swarm join-token`
#[derive(Debug, Args)]
pub struct JoinToken {
    /// Only display token
    #[arg(short, long)]
    pub quiet: bool,
    /// Rotate join token
    #[arg(long)]
    pub rotate: bool,
    /// Which token
    #[arg(value_enum)]
    pub role: TokenRole,
}

/// The two roles a join token can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenRole {
    /// Runs tasks.
    Worker,
    /// Runs tasks and keeps the cluster's state.
    Manager,
}

impl TokenRole {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        }
    }
}
