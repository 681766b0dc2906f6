//! Where on the lab's machines a program runs.

use std::ffi::OsStr;

use anyhow::Result;

use super::host::{Daemon, Host, cmd_in};
use crate::cmd::Cmd;

/// A network that a program can be put into.
#[derive(Debug, Clone)]
pub enum Place {
    /// A network namespace of the lab without processes of its own.
    Namespace(String),
    /// A host.
    Host(Host),
    /// A container, of which the program gets the network and the resolver, and nothing else.
    Container(Container),
}

/// A container of a host's engine.
#[derive(Debug, Clone)]
pub struct Container {
    host: Host,
    /// Process number on that host.
    pid: String,
    /// Where its `resolv.conf` is on that host.
    resolver: String,
}

/// Runs a program with another `resolv.conf`.
const WITH_RESOLVER: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;

impl Place {
    /// A container of a host's engine.
    pub fn container(host: Host, container: &str) -> Result<Self> {
        Ok(Self::Container(Container {
            host,
            pid: inspect(host, container, "{{.State.Pid}}")?,
            resolver: inspect(host, container, "{{.ResolvConfPath}}")?,
        }))
    }

    /// A program that is to run there.
    pub fn cmd(&self, program: impl AsRef<OsStr>) -> Result<Cmd> {
        match self {
            Self::Namespace(name) => Ok(cmd_in(name, program)),
            Self::Host(host) => host.cmd(program),
            Self::Container(Container {
                host,
                pid,
                resolver,
            }) => {
                let enter = host.cmd("nsenter")?.args(["--target", pid, "--net", "--"]);
                let enter = enter.args(["unshare", "--mount", "sh", "-c", WITH_RESOLVER, resolver]);
                Ok(enter.hide().arg(program))
            }
        }
    }
}

/// What a host's engine knows about a container, by a Go template.
pub fn inspect(host: Host, container: &str, format: &str) -> Result<String> {
    let shown = super::docker(host, Daemon::Engine)
        .args(["inspect", "--format", format, container])
        .ok()?;
    Ok(shown.trim().to_owned())
}
