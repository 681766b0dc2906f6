//! Ending a lab so that nothing of it is left, whatever state it is in.
//!
//! Needs no record of what was started: everything of the lab runs in its network namespaces or
//! in a process tree that ends with one of those processes, and every file has a place of its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::layout::{CGROUP, NETNS_PREFIX, RUN, STATE, kept_logs};
use crate::cmd::Cmd;
use crate::wait::{self, secs};

/// Ends whatever lab there is. Its logs are kept, see [`kept_logs`].
pub fn sweep() -> Result<()> {
    keep_logs()?;
    end_processes()?;
    for name in namespaces()? {
        Cmd::new("ip")
            .args(["netns", "delete", &name])
            .uninterruptible()
            .ok()?;
    }
    uninterrupted("the lab's cgroups to be empty", remove_cgroups)?;
    for folder in [RUN, STATE] {
        uninterrupted("the lab's folders to be free", || {
            if Path::new(folder).exists() {
                fs::remove_dir_all(folder)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What is still there of any lab, in words; empty when nothing is.
pub fn leftovers() -> Result<Vec<String>> {
    let mut found: Vec<String> = namespaces()?
        .into_iter()
        .map(|name| format!("network namespace {name}"))
        .collect();
    found.extend(processes()?.into_iter().map(|pid| format!("process {pid}")));
    found.extend(
        cgroups()
            .into_iter()
            .map(|path| format!("cgroup {}", path.display())),
    );
    let folders = [RUN, STATE]
        .into_iter()
        .filter(|folder| Path::new(folder).exists());
    found.extend(folders.map(|folder| format!("folder {folder}")));
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let ours = |line: &&str| line.contains("orchd-lab") || line.contains(NETNS_PREFIX);
    found.extend(
        mounts
            .lines()
            .filter(ours)
            .map(|line| format!("mount {line}")),
    );
    Ok(found)
}

fn keep_logs() -> Result<()> {
    let Ok(hosts) = fs::read_dir(STATE) else {
        return Ok(());
    };
    let kept = kept_logs();
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    for host in hosts {
        let host = host?;
        let Ok(logs) = fs::read_dir(host.path().join("log")) else {
            continue;
        };
        let folder = kept.join(host.file_name());
        fs::create_dir_all(&folder)?;
        for log in logs {
            let log = log?;
            fs::copy(log.path(), folder.join(log.file_name()))?;
        }
    }
    Ok(())
}

/// The first process of a host takes all others of that host with it.
fn end_processes() -> Result<()> {
    uninterrupted("the lab's processes to be gone", || {
        let left = processes()?;
        for pid in &left {
            match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                // ESRCH: it has ended since it was listed.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => bail!("cannot end process {pid}: {error}"),
            }
        }
        if left.is_empty() {
            Ok(())
        } else {
            bail!("still there: {left:?}")
        }
    })
}

/// The network namespaces of the lab, by name.
fn namespaces() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return Ok(Vec::new());
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names
        .filter(|name| name.starts_with(NETNS_PREFIX))
        .collect())
}

/// Processes of the machine that live in one of the lab's network namespaces.
fn processes() -> Result<Vec<i32>> {
    let ours: BTreeSet<u64> = namespaces()?
        .iter()
        .filter_map(|name| Some(fs::metadata(Path::new("/run/netns").join(name)).ok()?.ino()))
        .collect();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let namespace = fs::metadata(entry.path().join("ns/net"));
        if namespace.is_ok_and(|namespace| ours.contains(&namespace.ino())) && !is_zombie(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// The lab's cgroup in every hierarchy that the machine has mounted, of either version.
fn cgroups() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        kind.starts_with("cgroup")
            .then(|| Path::new(path).join(CGROUP))
    });
    hierarchies.filter(|path| path.exists()).collect()
}

fn remove_cgroups() -> Result<()> {
    for cgroup in cgroups() {
        remove_cgroup(&cgroup)?;
    }
    Ok(())
}

/// A cgroup's files cannot be removed and need not: only its folders, the innermost first.
fn remove_cgroup(cgroup: &Path) -> Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    Ok(fs::remove_dir(cgroup)?)
}

fn uninterrupted(what: &str, attempt: impl FnMut() -> Result<()>) -> Result<()> {
    wait::until_always(what, secs(20), attempt)
}
