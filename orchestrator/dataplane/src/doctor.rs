//! What a host lacks for the data plane, found out before it joins a cluster.
//!
//! Every check tries the real thing where that leaves nothing behind: a device is made and
//! removed, a port is bound and freed, the programs are shown to the verifier.

mod config;
mod owners;
mod probes;
mod surroundings;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::{process, thread};

use aya::util::KernelVersion;
use ipnet::IpNet;
use rtnetlink::LinkVeth;

use crate::netlink::{DeviceKind, Netlink};
use crate::{Error, devices, links, mounts, outside, programs};
use owners::Transport;

/// The oldest kernel that the programs are tried on. Whether they load is seen by loading them.
const KERNEL_MIN: KernelVersion = KernelVersion::new(6, 1, 0);
/// Bits of `CapEff` that are needed, and their names.
const CAPABILITIES: [(u32, &str); 3] = [
    (12, "CAP_NET_ADMIN"),
    (21, "CAP_SYS_ADMIN"),
    (39, "CAP_BPF"),
];
/// Name of the devices that are made for a moment; the second one is a peer.
const PROBE: [&str; 2] = ["orch-probe", "orch-probe-p"];

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is well.
    Ok,
    /// The host can be a node, but something will not be as it should.
    Warning,
    /// The host cannot be a node.
    Failure,
}

impl Severity {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// How it ended.
    pub severity: Severity,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when all is well.
    pub fix: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Ok => '✔',
            Severity::Warning => '!',
            Severity::Failure => '✘',
        };
        write!(f, "{mark} {}: {}", self.name, self.detail)?;
        if self.fix.is_empty() {
            Ok(())
        } else {
            write!(f, "\n  fix: {}", self.fix)
        }
    }
}

impl Check {
    /// A check that found something good, or a failure that `fix` mends.
    pub fn new(name: impl Into<String>, found: Result<String, String>, fix: &str) -> Self {
        let (severity, detail, fix) = match found {
            Ok(detail) => (Severity::Ok, detail, ""),
            Err(detail) => (Severity::Failure, detail, fix),
        };
        Self {
            name: name.into(),
            severity,
            detail,
            fix: fix.to_owned(),
        }
    }

    /// The same, but what it found is no reason to refuse the host.
    pub fn at_most_warning(self) -> Self {
        let severity = self.severity.min(Severity::Warning);
        Self { severity, ..self }
    }

    /// Whether the host cannot be a node because of it.
    pub fn failed(&self) -> bool {
        self.severity == Severity::Failure
    }
}

/// What a host is checked for.
#[derive(Debug, Clone)]
pub struct Purpose<'a> {
    /// UDP port that tunnels are to use.
    pub vxlan_port: u16,
    /// TCP port of node-to-node calls that is to be taken; `None` if it is not, or is already.
    pub manager_port: Option<u16>,
    /// Where maps are to be pinned.
    pub bpf_dir: &'a Path,
    /// Ranges that the cluster gives to networks, or gave.
    pub ranges: &'a [IpNet],
}

/// Checks this host, in its current network namespace: one entry per check.
///
/// A BPF file system that is not mounted is mounted on the way. Nothing else is changed.
pub fn doctor(purpose: &Purpose<'_>) -> Vec<Check> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut checks = vec![
        privileges(),
        kernel_version(release.trim()),
        config::check(release.trim()),
        btf(),
        bpf_fs(purpose.bpf_dir),
        cgroup2(),
    ];
    checks.extend(probes::checks());
    checks.extend(devices_and_ports(purpose));
    checks.extend(verifier(purpose.bpf_dir));
    checks
}

fn privileges() -> Check {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let missing = missing_capabilities(&status);
    let found = if missing.is_empty() {
        Ok("all that are needed".into())
    } else {
        Err(format!("{} missing", missing.join(", ")))
    };
    Check::new(
        "privileges",
        found,
        "run orchd as root, or grant it these capabilities",
    )
}

/// Names of the needed capabilities that the text of `/proc/<pid>/status` does not grant.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or_default();
    CAPABILITIES
        .iter()
        .filter(|(bit, _)| effective & (1 << bit) == 0)
        .map(|(_, name)| *name)
        .collect()
}

fn kernel_version(release: &str) -> Check {
    let release = release.to_owned();
    let new_enough = KernelVersion::current().is_ok_and(|version| version >= KERNEL_MIN);
    let found = if new_enough {
        let way = if links::has_tcx() { "links" } else { "filters" };
        Ok(format!("{release}, programs attach to devices by {way}"))
    } else {
        Err(release)
    };
    Check::new(
        "kernel",
        found,
        "install Linux 6.1 or newer: older ones lack what the programs call",
    )
}

fn btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    let found = if Path::new(path).exists() {
        Ok("the kernel describes its types".into())
    } else {
        Err(format!("no {path}"))
    };
    Check::new(
        "BTF",
        found,
        "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
    )
}

fn bpf_fs(dir: &Path) -> Check {
    // The nearest directory that is there tells; the rest is made when the daemon starts.
    let there = || {
        dir.ancestors()
            .find(|path| path.exists())
            .is_some_and(mounts::is_bpf_fs)
    };
    let found = if there() {
        Ok(format!("mounted for {}", dir.display()))
    } else {
        let made = mounts::ensure_bpf_fs(dir);
        made.map(|()| format!("now mounted for {}", dir.display()))
            .map_err(text)
    };
    Check::new(
        "BPF file system",
        found,
        "run `mount -t bpf bpf /sys/fs/bpf`",
    )
}

fn cgroup2() -> Check {
    let found = mounts::cgroup2_root()
        .map(|root| format!("mounted at {}", root.display()))
        .map_err(text);
    let fix = "run `mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none \
               /sys/fs/cgroup/unified`, and start orchd where it sees that mount";
    Check::new("cgroup2", found, fix)
}

/// The checks that need netlink. They run on a thread of their own, because the caller may be on
/// one that already drives an asynchronous runtime.
fn devices_and_ports(purpose: &Purpose<'_>) -> Vec<Check> {
    let probe = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok::<_, std::io::Error>(runtime.block_on(probe_devices(purpose)))
    };
    let checks = thread::scope(|scope| scope.spawn(probe).join());
    match checks {
        Ok(Ok(Ok(checks))) => checks,
        Ok(Ok(Err(error))) => vec![Check::new("netlink", Err(text(error)), "run orchd as root")],
        Ok(Err(error)) => vec![Check::new("netlink", Err(text(error)), "free some memory")],
        Err(_) => vec![Check::new(
            "netlink",
            Err("the check crashed".into()),
            "report a bug",
        )],
    }
}

async fn probe_devices(purpose: &Purpose<'_>) -> Result<Vec<Check>, Error> {
    let vxlan_port = purpose.vxlan_port;
    let netlink = Netlink::open()?;
    // Two collect-metadata devices cannot share a port: a tunnel of ours, in use or left by a
    // daemon that crashed, is proof enough and will be adopted.
    let ours = netlink.devices().await?.into_iter().any(|device| {
        devices::is_ours(&device)
            && matches!(device.kind, DeviceKind::Vxlan { port, .. } if port == vxlan_port)
    });
    let tunnel = if ours {
        Ok("orchd's own tunnel is there".to_owned())
    } else {
        let made = devices::add_tunnel(&netlink, PROBE[0], vxlan_port).await;
        netlink.delete_named(PROBE[0]).await?;
        made.map(|()| "can be made".to_owned()).map_err(text)
    };
    let pair = netlink
        .add(PROBE[0], LinkVeth::new(PROBE[0], PROBE[1]).build())
        .await;
    netlink.delete_named(PROBE[0]).await?;
    let made = |made: Result<(), Error>| made.map(|()| "can be made".into()).map_err(text);
    let outside = outside::look(&netlink, Ipv4Addr::UNSPECIFIED.into()).await?;
    let own: BTreeSet<String> = netlink
        .devices()
        .await?
        .into_iter()
        .filter(devices::is_ours)
        .map(|device| device.name)
        .collect();
    let mut routes = netlink.routes().await?;
    routes.retain(|route| !own.contains(&route.device));
    let mut checks = vec![
        Check::new("VXLAN", tunnel, "load or build in kernel module vxlan"),
        Check::new("veth", made(pair), "load or build in kernel module veth"),
        tunnel_port(vxlan_port, ours),
        surroundings::packet_sizes(outside.uplinks.values()),
        surroundings::address_ranges(purpose.ranges, &routes),
    ];
    if let Some(port) = purpose.manager_port {
        let fix = "another program uses this port, perhaps Docker's own swarm: end it (`docker \
                   swarm leave`), or choose another port with --listen-addr";
        let name = "TCP port of the managers";
        checks.push(owners::check(name, Transport::Tcp, port, fix));
    }
    Ok(checks)
}

fn tunnel_port(port: u16, ours: bool) -> Check {
    let name = "UDP port of the tunnels";
    if ours {
        let found = format!("{port} is in use by orchd's own tunnel");
        return Check::new(name, Ok(found), "");
    }
    let fix = "something else uses this port, perhaps an overlay network of Docker: choose \
               another one with `swarm init --data-path-port`";
    owners::check(name, Transport::Udp, port, fix)
}

fn verifier(bpf_dir: &Path) -> Vec<Check> {
    let fix = "use a newer kernel, and report this with the kernel's version";
    let verdict = |(name, verdict): (&str, programs::Verdict)| {
        let found = verdict.map(|()| "loads".to_owned()).map_err(text);
        Check::new(format!("BPF program {name}"), found, fix)
    };
    match verify_in(bpf_dir) {
        Ok(verdicts) => verdicts.into_iter().map(verdict).collect(),
        Err(error) => vec![Check::new("BPF maps", Err(text(error)), fix)],
    }
}

/// Has the programs verified with maps of their own, in a directory that is removed again.
fn verify_in(bpf_dir: &Path) -> Result<Vec<(&'static str, programs::Verdict)>, Error> {
    let dir = bpf_dir.join(format!("doctor-{}", process::id()));
    let was_there = bpf_dir.exists();
    fs::create_dir_all(&dir).map_err(Error::io(format!("create {}", dir.display())))?;
    let verdicts = programs::verify(&dir);
    let remove = if was_there { &dir } else { bpf_dir };
    fs::remove_dir_all(remove).map_err(Error::io(format!("remove {}", remove.display())))?;
    verdicts
}

/// An error's text. Of the verifier's log, which may have thousands of lines, only the end, where
/// its verdict is.
fn text(error: impl fmt::Display) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines.as_slice() {
        [first, .., a, b, c, d] => [*first, "…", a, b, c, d].join("\n  "),
        few => few.join("\n  "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_says_what_to_do() {
        let failed = Check::new("kernel", Err("5.10".into()), "install a newer one");
        assert_eq!(
            failed.to_string(),
            "✘ kernel: 5.10\n  fix: install a newer one"
        );
        assert_eq!(
            failed.at_most_warning().to_string(),
            "! kernel: 5.10\n  fix: install a newer one"
        );
        let passed = Check::new("kernel", Ok("6.18".into()), "install a newer one");
        assert_eq!(passed.to_string(), "✔ kernel: 6.18");
    }

    #[test]
    fn of_a_long_log_the_verdict_is_kept() {
        assert_eq!(text("one\n\ntwo"), "one\n  two");
        let log = (1..100)
            .map(|line| format!("line {line}\n"))
            .collect::<String>();
        let short = text(log);
        assert!(
            short.starts_with("line 1\n") && short.ends_with("line 99"),
            "{short}"
        );
        assert!(short.lines().count() < 10, "{short}");
    }

    #[test]
    fn capabilities_are_read_from_the_mask() {
        assert!(missing_capabilities("CapEff:\t000001ffffffffff\n").is_empty());
        let docker = "CapPrm:\t0\nCapEff:\t00000000a80425fb\n";
        assert_eq!(
            missing_capabilities(docker),
            ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_BPF"]
        );
        assert_eq!(missing_capabilities("").len(), CAPABILITIES.len());
    }
}
