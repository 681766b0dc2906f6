//! `probe`: the two ends of a conversation, for tests and measurements in the lab.
//!
//! It runs in the network namespaces of hosts, tasks and outsiders, where no client library is
//! wanted. A server says who it is and whom it sees; a client says what it was told, for many
//! targets at once. It must not know what the answers should be.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod ask;
mod echo;
mod hold;
mod rate;
mod serve;
mod stream;
mod target;

use std::net::IpAddr;

use anyhow::Result;
use clap::Parser;
use target::Target;

/// The two ends of a conversation.
#[derive(Parser)]
enum Args {
    /// Answer over TCP and UDP with one line: NAME and the client's address, until killed
    Serve {
        /// Who answers
        name: String,
        /// The port of both protocols
        port: u16,
        /// Addresses to listen at
        #[arg(default_value = "::")]
        addresses: Vec<IpAddr>,
    },
    /// Ask every target once, all at the same time; one line each, in their order
    Ask {
        /// PROTOCOL,HOST[,PORT[,v4|v6]]
        #[arg(required = true)]
        targets: Vec<Target>,
    },
    /// Keep a conversation with every target until the standard input ends; one line each then
    Hold {
        /// PROTOCOL,HOST[,PORT[,v4|v6]]
        #[arg(required = true)]
        targets: Vec<Target>,
    },
    /// Open, use and close connections one after the other; prints how many a second
    Rate {
        /// tcp,HOST,PORT
        target: Target,
        /// For how long
        seconds: u32,
    },
}

fn main() -> Result<()> {
    match Args::parse() {
        Args::Serve {
            name,
            port,
            addresses,
        } => serve::serve(&name, port, &addresses),
        Args::Ask { targets } => ask::all(&targets),
        Args::Hold { targets } => hold::all(&targets),
        Args::Rate { target, seconds } => rate::measure(&target, seconds),
    }
}
