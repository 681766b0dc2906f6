//! `cargo xtask`: everything that is done to this workspace and with it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task runner talks to its user"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::lab::{self, Daemon, Lab, Options, host};
use xtask::test::{self, Part};
use xtask::{bench, demo, ebpf, interrupt, lint, setup, sim, wait};

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing (apt on Debian and Ubuntu; elsewhere say what)
    Setup,
    /// Build the BPF programs
    BuildEbpf,
    /// Check formatting, clippy and the house rules
    Lint,
    /// Play the user's story on three hosts, checked step by step; wants root
    Demo {
        /// Leave the lab up afterwards
        #[arg(long)]
        keep: bool,
    },
    /// Run all tests, or one part of them
    Test {
        /// Which part
        part: Option<Part>,
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Run simulated clusters by seed: the real core over simulated hosts, disks and networks
    Sim(sim::Options),
    /// Measure, and write what was measured to docs/benchmarks; wants root and a quiet machine
    Bench(bench::Options),
    /// Try several hosts on this machine
    #[command(subcommand)]
    Lab(LabTask),
}

#[derive(Subcommand)]
enum LabTask {
    /// Start hosts n1..nN and make a swarm of them
    Up {
        /// How many hosts
        #[arg(long, default_value_t = 3)]
        nodes: u8,
        /// How many of them are managers
        #[arg(long, default_value_t = 1)]
        managers: u8,
        /// Only run the daemons, make no swarm
        #[arg(long)]
        no_init: bool,
        /// Only run Docker Engine on the hosts, without orchd
        #[arg(long)]
        engines_only: bool,
        /// Largest packet on the network between the hosts, in bytes
        #[arg(long, default_value_t = lab::DEFAULT_MTU)]
        mtu: u16,
        /// Containers outlive their engine
        #[arg(long)]
        live_restore: bool,
    },
    /// Print export lines for a shell that works with a host
    Env {
        /// n1, n2, ...
        node: String,
    },
    /// Run a command on a host; `client` is a machine outside the cluster
    Exec {
        /// n1, n2, ..., client or net (the switch)
        node: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Pull a host's cable
    Cut {
        /// n1, n2, ...
        node: String,
    },
    /// Put a host's cable back
    Heal {
        /// n1, n2, ...
        node: String,
    },
    /// End a daemon of a host with SIGKILL
    Kill {
        /// n1, n2, ...
        node: String,
        /// Which of its daemons
        daemon: Daemon,
    },
    /// Start a daemon that was killed
    Start {
        /// n1, n2, ...
        node: String,
        /// Which of its daemons
        daemon: Daemon,
    },
    /// End the lab and leave nothing behind
    Down,
}

fn main() -> ExitCode {
    match interrupt::install().and_then(|()| run(Args::parse().task)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if interrupt::raised() { 130 } else { 1 })
        }
    }
}

/// The exit status of the task.
fn run(task: Task) -> Result<u8> {
    match task {
        Task::Setup => setup::run()?,
        Task::BuildEbpf => println!("{}", ebpf::build()?.display()),
        Task::Lint => lint::run()?,
        Task::Demo { keep } => demo::run(keep)?,
        Task::Test { part, filter } => test::run(part, filter.as_deref())?,
        Task::Sim(options) => sim::run(options)?,
        Task::Bench(options) => bench::run(&options)?,
        Task::Lab(task) => return run_lab(task),
    }
    Ok(0)
}

fn run_lab(task: LabTask) -> Result<u8> {
    match task {
        LabTask::Up {
            nodes,
            managers,
            no_init,
            engines_only,
            mtu,
            live_restore,
        } => {
            setup::run()?;
            if !engines_only {
                ebpf::build()?;
                test::build_binaries()?;
            }
            let lab = Lab::up(Options {
                nodes,
                managers,
                no_init,
                engines_only,
                bystanders: 0,
                mtu,
                live_restore,
            })?;
            let names: Vec<String> = lab.hosts().iter().map(|host| host.name()).collect();
            lab.keep()?;
            println!("up: {}. Try:", names.join(" "));
            println!("  eval \"$(cargo xtask lab env n1)\"");
            println!("  cargo xtask lab exec n1 -- docker ps");
            println!("  cargo xtask lab down");
        }
        LabTask::Env { node } => {
            for (name, value) in lab::variables(host::find(&node)?) {
                println!("export {name}={value}");
            }
        }
        LabTask::Exec { node, command } => return exec(&node, &command),
        LabTask::Cut { node } => host::set_link(host::find(&node)?, false)?,
        LabTask::Heal { node } => host::set_link(host::find(&node)?, true)?,
        LabTask::Kill { node, daemon } => host::find(&node)?.kill(daemon)?,
        LabTask::Start { node, daemon } => lab::start(host::find(&node)?, daemon)?,
        LabTask::Down => lab::down()?,
    }
    Ok(0)
}

/// The command sees the same variables that `lab env` prints.
fn exec(node: &str, command: &[String]) -> Result<u8> {
    let Some((program, args)) = command.split_first() else {
        return Ok(0);
    };
    let cmd = host::cmd_on(node, program)?
        .args(args)
        .env("PATH", host::daemon_path());
    let variables = host::find(node).map(lab::variables).unwrap_or_default();
    let cmd = variables
        .iter()
        .fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    let code = cmd.limit(wait::secs(24 * 3600)).through()?;
    Ok(u8::try_from(code).unwrap_or(1))
}
