//! One host: a network namespace with a process tree, a file tree and a name of its own.
//!
//! Knows how to enter it and to start and kill a daemon there; must not know what the daemons do.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::http::Api;
use super::layout::{CLIENT, RUN, STATE, SWITCH, address, address6, netns_path, switch_address};
use super::links;
use crate::cmd::Cmd;
use crate::wait::{self, secs};
use crate::workspace;

/// A host of the lab. Cheap to make: everything about it follows from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    index: u8,
}

/// The two daemons of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Daemon {
    /// The orchestrator.
    Orchd,
    /// Docker Engine with its containerd.
    Engine,
}

impl Daemon {
    /// The word for it on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orchd => "orchd",
            Self::Engine => "engine",
        }
    }
}

/// Starts in the background, in the host; its number in the host goes to a file.
const START: &str = r#"echo $$ >"$1"; log="$2"; shift 2; exec "$@" >>"$log" 2>&1 </dev/null"#;

impl Host {
    /// Host n`index`, counted from 1.
    pub fn new(index: u8) -> Self {
        Self { index }
    }

    /// `n1`, `n2`, ...
    pub fn name(self) -> String {
        format!("n{}", self.index)
    }

    /// Its IPv4 address on the network between the hosts.
    pub fn address(self) -> String {
        address(self.index)
    }

    /// Its IPv6 address there.
    pub fn address6(self) -> String {
        address6(self.index)
    }

    /// What survives on the host's disk.
    pub fn state(self) -> PathBuf {
        PathBuf::from(STATE).join(self.name())
    }

    /// The host's sockets.
    pub fn run(self) -> PathBuf {
        PathBuf::from(RUN).join(self.name())
    }

    /// The folder for orchd's BPF pins, as seen on the host.
    pub fn bpf_dir(self) -> String {
        format!("/sys/fs/bpf/orch/{}", self.name())
    }

    /// The log of one of its daemons.
    pub fn log(self, daemon: Daemon) -> PathBuf {
        self.state()
            .join("log")
            .join(format!("{}.log", daemon.name()))
    }

    /// The Docker-compatible socket of one of its daemons.
    pub fn socket(self, daemon: Daemon) -> PathBuf {
        match daemon {
            Daemon::Orchd => self.run().join("orchd/docker.sock"),
            Daemon::Engine => self.run().join("engine.sock"),
        }
    }

    /// The Engine API of one of its daemons.
    pub fn api(self, daemon: Daemon) -> Api {
        Api::new(self.socket(daemon))
    }

    /// Brings the host to life, with nothing running on it yet. Its wire must be there.
    pub fn boot(self, nodes: u8) -> Result<()> {
        fs::create_dir_all(self.state().join("log"))?;
        fs::create_dir_all(self.run())?;
        let script = self.state().join("host.sh");
        fs::write(&script, include_str!("host.sh"))?;
        let log = fs::File::create(self.state().join("log/host.log"))?;
        let resolver = switch_address();
        let mut first = Command::new("setsid")
            .arg("nsenter")
            .arg(format!("--net={}", netns_path(&self.name())))
            .args([
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--uts",
                "--pid",
                "--fork",
            ])
            .args(["--mount-proc", "--kill-child", "sh"])
            .arg(&script)
            .env("NODE", self.name())
            .env("STATE", self.state())
            .env("RESOLVER", &resolver)
            .env("NODES", nodes.to_string())
            .env("SUBNET", resolver.trim_end_matches(".254"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        // `unshare` stays as the parent of the host's first process.
        let children = format!("/proc/{0}/task/{0}/children", first.id());
        thread::spawn(move || first.wait());
        wait::until(&format!("{} to boot", self.name()), secs(10), || {
            if !self.run().join("ready").exists() {
                bail!(
                    "{}",
                    fs::read_to_string(self.state().join("log/host.log"))?.trim()
                );
            }
            let child = fs::read_to_string(&children)?;
            fs::write(self.run().join("host.pid"), child.trim())?;
            Ok(())
        })
    }

    /// A command that runs on this host.
    pub fn cmd(self, program: impl AsRef<OsStr>) -> Result<Cmd> {
        Ok(self.enter()?.hide().arg(program))
    }

    /// Starts a program of the host in the background.
    pub fn start(self, daemon: Daemon, program: &str, args: &[String]) -> Result<()> {
        if self.running(daemon) {
            bail!("{} runs on {} already", daemon.name(), self.name());
        }
        self.enter()?
            .args(["setsid", "-f", "sh", "-c", START, "sh"])
            .arg(self.pid_file(daemon))
            .arg(self.log(daemon))
            .arg(program)
            .args(args)
            .env("PATH", daemon_path())
            .env("RUST_BACKTRACE", "1")
            .env("NO_COLOR", "1")
            .ok()
            .map(drop)
    }

    /// Waits until a daemon answers.
    pub fn answers(self, daemon: Daemon) -> Result<()> {
        let what = format!("{} on {} to answer", daemon.name(), self.name());
        wait::until(&what, secs(30), || {
            let (status, _) = self.api(daemon).get("/_ping")?;
            if status != 200 {
                bail!("/_ping answers {status}");
            }
            Ok(())
        })
        .with_context(|| format!("its log is {}", self.log(daemon).display()))
    }

    /// Ends a daemon with SIGKILL and waits until it is gone.
    pub fn kill(self, daemon: Daemon) -> Result<()> {
        self.end(daemon, "KILL")
    }

    /// Ends a daemon with a signal and waits until it is gone.
    pub fn end(self, daemon: Daemon, signal: &str) -> Result<()> {
        self.signal(daemon, signal)?;
        let what = format!("{} on {} to be gone", daemon.name(), self.name());
        wait::until(&what, secs(30), || match self.pid(daemon) {
            Some(pid) => bail!("process {pid} is still there"),
            None => Ok(()),
        })
    }

    /// Sends a daemon a signal.
    pub fn signal(self, daemon: Daemon, signal: &str) -> Result<()> {
        let Some(pid) = self.pid(daemon) else {
            bail!("{} does not run on {}", daemon.name(), self.name());
        };
        let signal = format!("-{signal}");
        self.cmd("kill")?.args([&signal, &pid.to_string()]).ok()?;
        Ok(())
    }

    /// True while a daemon runs.
    pub fn running(self, daemon: Daemon) -> bool {
        self.pid(daemon).is_some()
    }

    /// A file of the host, seen from the machine.
    pub fn path(self, inside: &str) -> Result<PathBuf> {
        let first = self.first_process()?;
        Ok(PathBuf::from(format!("/proc/{first}/root")).join(inside.trim_start_matches('/')))
    }

    /// The attachments of BPF programs that a daemon keeps open, as the kernel describes them.
    pub fn bpf_links(self, daemon: Daemon) -> Result<Vec<String>> {
        let pid = self
            .pid(daemon)
            .with_context(|| format!("{} is down", daemon.name()))?;
        let mut links = Vec::new();
        for entry in fs::read_dir(self.path(&format!("/proc/{pid}/fdinfo"))?)? {
            // A descriptor may be closed before it is looked at.
            let info = fs::read_to_string(entry?.path()).unwrap_or_default();
            let kind = info
                .lines()
                .find_map(|line| line.strip_prefix("link_type:"));
            links.extend(kind.map(|kind| kind.trim().to_owned()));
        }
        Ok(links)
    }

    fn pid_file(self, daemon: Daemon) -> PathBuf {
        self.run().join(format!("{}.pid", daemon.name()))
    }

    /// The number of a daemon in the host's own counting, while it lives.
    pub fn pid(self, daemon: Daemon) -> Option<u32> {
        let pid = fs::read_to_string(self.pid_file(daemon))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let stat = fs::read_to_string(self.path(&format!("/proc/{pid}/stat")).ok()?).ok()?;
        let state = stat.rsplit(')').next()?.split_whitespace().next()?;
        (state != "Z").then_some(pid)
    }

    fn first_process(self) -> Result<u32> {
        let file = self.run().join("host.pid");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("there is no host {} (`cargo xtask lab up`)", self.name()))?;
        text.trim()
            .parse()
            .with_context(|| format!("{} is damaged", file.display()))
    }

    fn enter(self) -> Result<Cmd> {
        let first = self.first_process()?.to_string();
        Ok(Cmd::new("nsenter").args(["-t", &first, "-n", "-m", "-p", "-u", "--"]))
    }
}

/// A command on a machine of the lab's network: a host, `client` or `net` (the switch).
pub fn cmd_on(name: &str, program: &str) -> Result<Cmd> {
    if name == CLIENT || name == SWITCH {
        return Ok(cmd_in(name, program));
    }
    find(name)?.cmd(program)
}

/// A command of this machine in one of the lab's network namespaces.
pub fn cmd_in(namespace: &str, program: impl AsRef<OsStr>) -> Cmd {
    let net = format!("--net={}", netns_path(namespace));
    Cmd::new("nsenter").args([&net, "--"]).hide().arg(program)
}

/// The host of that name.
pub fn find(name: &str) -> Result<Host> {
    let index = name
        .strip_prefix('n')
        .and_then(|number| number.parse().ok());
    let host = index.map(Host::new).filter(|host| host.run().exists());
    host.with_context(|| format!("the lab has no host {name:?}; hosts are n1, n2, ..."))
}

/// Cuts or heals a host's wire.
pub fn set_link(host: Host, up: bool) -> Result<()> {
    if up {
        links::heal(&host.name())
    } else {
        links::cut(&host.name())
    }
}

/// Our own binaries first; then where Debian keeps engines and tools.
pub fn daemon_path() -> String {
    let own = workspace::target().join("debug");
    let path = std::env::var("PATH").unwrap_or_default();
    format!(
        "{}:{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
        own.display()
    )
}
