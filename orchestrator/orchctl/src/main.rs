//! The `orchctl` program: parses the command line, runs it, turns errors into an exit code.

use std::{io, process::ExitCode};

use clap::{Parser, error::ErrorKind};
use orchctl::{args::Cli, commands, output};

/// docker's exit code for a command line that cannot be understood.
const USAGE: u8 = 125;
/// What a shell reports for a program that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed stdout or stderr leaves nobody to tell.
            error.print().unwrap_or_default();
            return usage_exit(&error);
        }
    };
    match commands::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => BROKEN_PIPE.into(),
        Err(error) => {
            output::diagnostic(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Help is a success; docker counts missing arguments as a failure of the command, not of usage.
fn usage_exit(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    match error.kind() == ErrorKind::MissingRequiredArgument {
        true => ExitCode::FAILURE,
        false => USAGE.into(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
