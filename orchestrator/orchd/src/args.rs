//! The daemon's command line, parsed into [`Options`].

use std::path::{Path, PathBuf};

use clap::Parser;

/// Turns this host into a node of a cluster whose service traffic is carried by eBPF.
#[derive(Debug, Clone, Parser)]
#[command(name = "orchd", version, about)]
pub struct Options {
    /// Folder of everything that must survive a restart
    #[arg(long, value_name = "DIR", default_value = "/var/lib/orchd")]
    pub state_dir: PathBuf,
    /// Folder of the API socket
    #[arg(long, value_name = "DIR", default_value = "/run/orchd")]
    pub run_dir: PathBuf,
    /// Socket of the host's container engine
    #[arg(
        long = "engine",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock",
        value_parser = parse_unix_url
    )]
    pub engine_socket: PathBuf,
    /// Folder in which the engine looks for plugin sockets
    #[arg(long, value_name = "DIR", default_value = "/run/docker/plugins")]
    pub plugin_dir: PathBuf,
    /// Folder in a BPF file system for pinned maps and links
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/orch")]
    pub bpf_dir: PathBuf,
    /// What is logged: error, warn, info, debug, trace, or directives such as `orchd=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

impl Options {
    /// The Docker Engine API socket that orchd serves.
    pub fn api_socket(&self) -> PathBuf {
        self.run_dir.join("docker.sock")
    }

    /// The socket through which the engine calls orchd's network and IPAM driver.
    pub fn plugin_socket(&self) -> PathBuf {
        self.plugin_dir.join("orchd.sock")
    }
}

/// Accepts `unix:///path` and a bare absolute path.
fn parse_unix_url(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text.strip_prefix("unix://").unwrap_or(text));
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(format!("expected unix:///path/to/socket, got \"{text}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_documented_ones() {
        let options = Options::try_parse_from(["orchd"]).unwrap();
        assert_eq!(options.engine_socket, Path::new("/var/run/docker.sock"));
        assert_eq!(options.api_socket(), Path::new("/run/orchd/docker.sock"));
        assert_eq!(
            options.plugin_socket(),
            Path::new("/run/docker/plugins/orchd.sock")
        );
    }

    #[test]
    fn an_engine_that_is_not_a_unix_socket_is_refused() {
        for url in ["tcp://1.2.3.4:2375", "relative.sock", ""] {
            assert!(
                Options::try_parse_from(["orchd", "--engine", url]).is_err(),
                "{url}"
            );
        }
    }
}
