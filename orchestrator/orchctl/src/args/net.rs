//! `orchctl net ...`: the data plane of the host that is asked.

use clap::{Args, Subcommand};

use crate::flags::GoDuration;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum NetCommand {
    /// Count the packets that were dropped, by reason
    Drops(NetDrops),
    /// Compare the maps in the kernel with what they must hold, and mend them
    #[command(visible_alias = "list")]
    Ls(NetList),
    /// Count what goes through each service: flows, packets, bytes, new connections per second
    Services(NetServices),
    /// Say what would happen to a packet on each host, and why
    Trace(NetTrace),
}

/// `net drops`
#[derive(Debug, Args)]
pub struct NetDrops {
    /// Show also the reasons for which nothing was dropped
    #[arg(short, long)]
    pub all: bool,
    /// Format output using 'table', 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `net ls`
#[derive(Debug, Args)]
pub struct NetList {
    /// Show the entries of this map
    #[arg(value_name = "MAP")]
    pub map: Option<String>,
    /// Only look: leave what differs as it is
    #[arg(long)]
    pub no_heal: bool,
    /// Format output using 'table', 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `net trace`
#[derive(Debug, Args)]
pub struct NetTrace {
    /// Who sends: a task's name, id or address, a host's, or an address outside
    #[arg(value_name = "SRC")]
    pub from: String,
    /// To whom: an address, the name of a service, task or host; without a port it is a ping
    #[arg(value_name = "DST[:PORT][/PROTO]")]
    pub to: String,
    /// The network of the sender, if its address is in several
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// Format output using 'json' or a Go TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `net services`
#[derive(Debug, Args)]
pub struct NetServices {
    /// Time between the two looks that new connections are counted between
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub interval: GoDuration,
    /// Format output using 'table', 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `flows`
#[derive(Debug, Args)]
pub struct Flows {
    /// Only those of this service
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Then show those that begin, are refused or dropped, as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Format output using 'table', 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
