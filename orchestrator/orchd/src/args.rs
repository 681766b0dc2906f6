//! The daemon's command line, parsed into [`Options`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedI64ValueParser;
use orch_core::time::parse_span;
use orch_dataplane::TableSizes;

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
    /// Conversations that are remembered, both directions counted; 192 bytes of memory each
    #[arg(long, value_name = "ENTRIES", default_value_t = TableSizes::default().flows,
        value_parser = table_size())]
    pub flow_table_size: u32,
    /// Conversations that are remembered until they have proved to be one, counted as above
    #[arg(long, value_name = "ENTRIES", default_value_t = TableSizes::default().opening,
        value_parser = table_size())]
    pub opening_table_size: u32,
    /// Clients of services with affinity that are remembered; 120 bytes of memory each
    #[arg(long, value_name = "ENTRIES", default_value_t = TableSizes::default().affinity,
        value_parser = table_size())]
    pub affinity_table_size: u32,
    /// Datagrams in pieces that are remembered; 104 bytes of memory each
    #[arg(long, value_name = "ENTRIES", default_value_t = TableSizes::default().fragments,
        value_parser = table_size())]
    pub fragment_table_size: u32,
    /// Unit of time in which lost managers and hosts are missed, the same on all hosts. An election
    /// begins after 10 to 20 without a leader; longer on slow machines and over long distances
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = parse_tick)]
    pub tick: Duration,
    /// What is logged: error, warn, info, debug, trace, or directives such as `orchd=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

impl Options {
    /// The Docker Engine API socket that orchd serves.
    pub fn api_socket(&self) -> PathBuf {
        self.run_dir.join("docker.sock")
    }

    /// How much the data plane may remember.
    pub fn table_sizes(&self) -> TableSizes {
        TableSizes {
            flows: self.flow_table_size,
            opening: self.opening_table_size,
            affinity: self.affinity_table_size,
            fragments: self.fragment_table_size,
        }
    }

    /// The socket through which the engine calls orchd's network and IPAM driver.
    pub fn plugin_socket(&self) -> PathBuf {
        self.plugin_dir.join("orchd.sock")
    }
}

/// What the kernel can make of a table: it keeps some entries free on each processor, and takes the
/// memory of all at once.
fn table_size() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1 << 10..=1 << 24)
}

/// A time between what a scheduler can keep and what users would wait for.
fn parse_tick(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(10)..=Duration::from_secs(5);
    parse_span(text)
        .filter(|tick| range.contains(tick))
        .ok_or_else(|| format!("expected a time from 10ms to 5s, such as 50ms, got \"{text}\""))
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
    fn table_sizes_have_limits() {
        let sizes = |arguments: &[&str]| {
            let options = Options::try_parse_from([&["orchd"], arguments].concat());
            options.map(|options| options.table_sizes())
        };
        assert_eq!(sizes(&[]).unwrap(), TableSizes::default());
        let small = sizes(&["--flow-table-size", "4096"]).unwrap();
        assert_eq!((small.flows, small.opening), (4096, 65536));
        assert!(sizes(&["--flow-table-size", "0"]).is_err());
        assert!(sizes(&["--opening-table-size", "99999999"]).is_err());
    }

    #[test]
    fn the_tick_has_limits() {
        let tick = |text: &str| {
            let options = Options::try_parse_from(["orchd", "--tick", text]);
            options.map(|options| options.tick.as_millis()).ok()
        };
        assert_eq!(
            Options::try_parse_from(["orchd"]).unwrap().tick.as_millis(),
            50
        );
        assert_eq!((tick("100ms"), tick("1s")), (Some(100), Some(1000)));
        for wrong in ["9ms", "6s", "50", "s", "ms", "-1s", "18446744073709551615s"] {
            assert_eq!(tick(wrong), None, "{wrong}");
        }
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
