//! The verbs: ask the client, render, print. One file per noun.

mod doctor;
mod filters;
mod flows;
mod inspect;
mod lookup;
mod net;
mod network;
mod node;
mod service;
mod service_logs;
mod swarm;
mod system;

use anyhow::{Result, bail};

use crate::{
    args::{Cli, Command, DEFAULT_HOST},
    client::{Client, Host},
    output,
};

/// Runs one command line.
pub async fn run(cli: Cli) -> Result<()> {
    let host = cli
        .host
        .or_else(|| {
            std::env::var("ORCH_HOST")
                .ok()
                .filter(|host| !host.is_empty())
        })
        .unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let client = Client::new(Host::parse(&host)?);
    match cli.command {
        Command::Swarm(command) => swarm::run(&client, command).await,
        Command::Node(command) => node::run(&client, command).await,
        Command::Service(command) => service::run(&client, command).await,
        Command::Network(command) => network::run(&client, command).await,
        Command::Flows(args) => flows::run(&client, &args).await,
        Command::Net(command) => net::run(&client, command).await,
        Command::Info(args) => system::info(&client, args).await,
        Command::Version(args) => system::version(&client, args).await,
        Command::Events(args) => system::events(&client, args).await,
        Command::Doctor { data_path_port } => doctor::run(&client, data_path_port).await,
    }
}

/// Does one thing to each target and prints what it returns; goes on after a failure and fails at
/// the end with all reasons.
async fn each(targets: &[String], action: impl AsyncFn(&str) -> Result<String>) -> Result<()> {
    let mut failures = Vec::new();
    for target in targets {
        match action(target).await {
            Ok(text) => output::line(&text)?,
            Err(error) => failures.push(error.to_string()),
        }
    }
    fail_with(failures)
}

fn fail_with(failures: Vec<String>) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    bail!(failures.join("\n"))
}

/// Prints what the daemon wants to be known, to stderr.
fn warn(warnings: &[String]) {
    for warning in warnings {
        output::diagnostic(warning);
    }
}
