//! Names, addresses and paths of the lab: everything that two parts of it have to agree on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What outlives a command: disks of the hosts, logs, the description of the lab.
pub const STATE: &str = "/var/lib/orchd-lab";
/// Sockets and process numbers.
pub const RUN: &str = "/run/orchd-lab";
/// Every network namespace of the lab begins so.
pub const NETNS_PREFIX: &str = "orchlab-";
/// The cgroup above all containers of the lab.
pub const CGROUP: &str = "orchlab";
/// The first three bytes of every IPv4 address on the hosts' network; the last is a number.
const SUBNET: &str = "192.168.205";
/// The first half of every IPv6 address there, a unique local one (RFC 4193); the number follows,
/// with the digits that it has in the IPv4 address.
const SUBNET6: &str = "fd6f:7263:6864:205";
/// Length of the hosts' IPv4 network prefix.
pub const PREFIX_LEN: u8 = 24;
/// Length of the hosts' IPv6 network prefix.
pub const PREFIX6_LEN: u8 = 64;
/// Largest packet on the hosts' network, in bytes, unless a lab wants another.
pub const DEFAULT_MTU: u16 = 1500;
/// The namespace that holds the bridge between the hosts.
pub const SWITCH: &str = "net";
/// A machine on the hosts' network that is no host of the cluster.
pub const CLIENT: &str = "client";
/// Most hosts a lab can have.
pub const MAX_NODES: u8 = 100;
/// The outside client's number.
pub const CLIENT_NUMBER: u8 = 200;
/// The number of the namespace with the bridge.
pub const SWITCH_NUMBER: u8 = 254;

/// The address of the namespace with the bridge. Nothing listens on its port 53, so a resolver
/// that is looked for there refuses at once instead of being waited for.
pub fn switch_address() -> String {
    address(SWITCH_NUMBER)
}

/// The IPv4 address of the outside client.
pub fn client_address() -> String {
    address(CLIENT_NUMBER)
}

/// The IPv6 address of the outside client.
pub fn client_address6() -> String {
    address6(CLIENT_NUMBER)
}

/// The IPv4 address of a number on the hosts' network; host n1 has number 1, and so on.
pub fn address(number: u8) -> String {
    format!("{SUBNET}.{number}")
}

/// The IPv6 address of a number on the hosts' network.
pub fn address6(number: u8) -> String {
    format!("{SUBNET6}::{number}")
}

/// The network namespace of a host, of the client or of the switch.
pub fn netns(name: &str) -> String {
    format!("{NETNS_PREFIX}{name}")
}

/// A network namespace as a file.
pub fn netns_path(name: &str) -> String {
    format!("/run/netns/{}", netns(name))
}

/// Where logs are kept after a lab has ended.
pub fn kept_logs() -> PathBuf {
    crate::workspace::target().join("lab/logs")
}

/// What the commands that come after `lab up` have to know about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// How many hosts.
    pub nodes: u8,
    /// How many of them are managers; 0 when no swarm was made.
    pub managers: u8,
    /// True once the lab is complete and meant to outlive the command that made it.
    pub kept: bool,
    /// Whether containers outlive their engine.
    pub live_restore: bool,
}

impl Description {
    /// The lab of this machine, if there is one or the remains of one.
    pub fn load() -> Result<Option<Self>> {
        let path = Self::path();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("{} cannot be read", path.display()))
    }

    /// Writes it down.
    pub fn save(&self) -> Result<()> {
        fs::create_dir_all(STATE)?;
        fs::write(Self::path(), serde_json::to_string(self)?)?;
        Ok(())
    }

    fn path() -> PathBuf {
        Path::new(STATE).join("lab.json")
    }
}
