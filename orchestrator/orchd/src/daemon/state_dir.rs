//! The state folder: everything of orchd that survives a restart.
//!
//! ```text
//! <state-dir>/
//!   lock              held by the running daemon; contains its process id
//!   membership.json   who this host is; a host without it is in no cluster
//!   certs/            key and certificate of the node, root certificate
//!   raft/             managers: the sealed log (log.redb) and its key (seal.key)
//!   ...               what the agent keeps
//! ```
//!
//! `membership.json` is written last and removed first: whatever else is there without it is
//! what a failed init, join or leave left, and is removed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use orch_core::ids::{ClusterId, NodeId};
use orch_core::objects::node::Role;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::raft::Raft;

const LOCK: &str = "lock";
const MEMBERSHIP: &str = "membership.json";
const CERTS: &str = "certs";
const RAFT: &str = "raft";
const RAFT_UNFINISHED: &str = "raft.unfinished";

/// Who this host is, as it must know without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredMembership {
    /// This node.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// What it is trusted with.
    pub manager: bool,
    /// Address that other nodes know it by, with the port of its node-to-node calls while it is a
    /// manager.
    pub advertise: SocketAddr,
    /// Address of its tunnel packets.
    pub data_path_address: IpAddr,
    /// UDP port of the overlay's tunnels.
    pub data_path_port: u16,
    /// Where it listens for node-to-node calls while it is a manager.
    pub listen: SocketAddr,
    /// The managers, as this node heard last.
    pub managers: Vec<(NodeId, SocketAddr)>,
    /// Where the join found a manager; asked when none of the above is known yet.
    pub joined_at: Option<SocketAddr>,
}

impl StoredMembership {
    /// What it is trusted with.
    pub fn role(&self) -> Role {
        if self.manager {
            Role::Manager
        } else {
            Role::Worker
        }
    }

    /// Where managers may be found, the latest news first.
    pub fn known_managers(&self) -> Vec<SocketAddr> {
        let told = self.managers.iter().map(|(_, address)| *address);
        told.chain(self.joined_at).collect()
    }
}

/// The state folder, locked for this process.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    /// Opens the folder, makes it when needed, and locks it for as long as the value lives.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        durable::create_dir(path).with_context(|| format!("cannot make the folder {shown}"))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .with_context(|| format!("cannot open {}", lock.display()))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => {
                let holder = fs::read_to_string(&lock).unwrap_or_default();
                bail!(
                    "another orchd (process {}) uses the state folder {shown}: stop it, or give \
                     this one another folder with --state-dir",
                    holder.trim()
                );
            }
            Err((_, errno)) => bail!("cannot lock the state folder {shown}: {errno}"),
        };
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Folder of the node's certificate.
    pub(super) fn certs(&self) -> PathBuf {
        self.path.join(CERTS)
    }

    /// Folder of a manager's log.
    pub(super) fn raft(&self) -> PathBuf {
        self.path.join(RAFT)
    }

    /// Makes the log of a manager that is given a place in the raft group, whole or not at all.
    pub(super) fn enroll(&self, raft_id: u64) -> anyhow::Result<()> {
        let unfinished = self.path.join(RAFT_UNFINISHED);
        durable::remove(&unfinished)?;
        Raft::join(&unfinished, raft_id)?;
        fs::rename(&unfinished, self.raft())?;
        Ok(durable::sync_dir(&self.path)?)
    }

    /// Removes the log of a manager that is none any more.
    pub(super) fn forget_raft(&self) -> anyhow::Result<()> {
        durable::remove(&self.raft())
            .with_context(|| format!("cannot remove {}", self.raft().display()))
    }

    /// Who this host is; `None` when it is in no cluster.
    pub(super) fn membership(&self) -> anyhow::Result<Option<StoredMembership>> {
        let path = self.path.join(MEMBERSHIP);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let parsed = serde_json::from_slice(&text);
        parsed
            .map(Some)
            .with_context(|| format!("{} is damaged", path.display()))
    }

    /// Makes this host a member from now on.
    pub(super) fn save(&self, membership: &StoredMembership) -> anyhow::Result<()> {
        let path = self.path.join(MEMBERSHIP);
        let text = serde_json::to_vec_pretty(membership)?;
        durable::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Makes this host a member of nothing, and removes what it knew and proved itself with.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        for name in [MEMBERSHIP, CERTS, RAFT, RAFT_UNFINISHED] {
            let path = self.path.join(name);
            durable::remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        durable::sync_dir(&self.path)
            .with_context(|| format!("cannot sync {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> StoredMembership {
        StoredMembership {
            node_id: NodeId::from_random(1),
            cluster_id: ClusterId::from_random(2),
            manager: false,
            advertise: "10.1.0.2:2377".parse().unwrap(),
            data_path_address: "10.1.0.2".parse().unwrap(),
            data_path_port: 4789,
            listen: "0.0.0.0:2377".parse().unwrap(),
            managers: vec![(NodeId::from_random(3), "10.1.0.1:2377".parse().unwrap())],
            joined_at: Some("10.1.0.1:2377".parse().unwrap()),
        }
    }

    #[test]
    fn one_daemon_per_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let error = StateDir::open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn membership_is_kept_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.membership().unwrap(), None);
        state.save(&stored()).unwrap();
        durable::create_dir(&state.certs()).unwrap();
        assert_eq!(state.membership().unwrap(), Some(stored()));
        state.clear().unwrap();
        assert_eq!(state.membership().unwrap(), None);
        assert!(!state.certs().exists());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_host_without_a_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(dir.path().join(MEMBERSHIP), b"{").unwrap();
        assert!(state.membership().is_err());
    }
}
