//! What can go wrong between the daemon and the kernel.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;

/// A step of the data plane that the kernel refused, with what it was done to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a change of a device, an address or a route.
    #[error("cannot {action}: {source}")]
    Netlink {
        /// What was tried, to what.
        action: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// A file of /proc, /sys or the BPF file system could not be used.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, to what.
        action: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The BPF object could not be loaded.
    #[error("cannot load the BPF programs: {0}; `orchctl doctor` checks what this host lacks")]
    Load(#[from] EbpfError),
    /// The embedded BPF object is not what this crate was written for.
    #[error("the BPF object has no {0}: build it again with `cargo xtask build-ebpf`")]
    Object(String),
    /// One program was refused by the verifier or could not be attached.
    #[error("cannot {action} BPF program {program}: {source}")]
    Program {
        /// Load or attach.
        action: &'static str,
        /// Name of the program.
        program: String,
        /// The kernel's answer.
        source: ProgramError,
    },
    /// A link could not be taken over or pinned.
    #[error("cannot pin the link of BPF program {program}: {source}")]
    Pin {
        /// Name of the program.
        program: String,
        /// The kernel's answer.
        source: PinError,
    },
    /// A link is of a kind that cannot be pinned.
    #[error("cannot keep BPF program {program} attached: {source}")]
    Link {
        /// Name of the program.
        program: String,
        /// The reason.
        source: LinkError,
    },
    /// A map refused an access.
    #[error("cannot {action} BPF map {map}: {source}")]
    Map {
        /// Read, write or delete.
        action: &'static str,
        /// Name of the map.
        map: &'static str,
        /// The kernel's answer.
        source: MapError,
    },
    /// The directory for pins is on another kind of file system.
    #[error("no BPF file system for {}: run `mount -t bpf bpf /sys/fs/bpf`", .0.display())]
    NoBpfFs(PathBuf),
    /// No cgroup2 hierarchy is mounted.
    #[error("no cgroup2 file system is mounted: mount one with `mount -t cgroup2 none <dir>`")]
    NoCgroup2,
    /// The node's address is not an address of this host.
    #[error("no device of this host has the node's address {0}: join with one that it has")]
    NoNodeAddress(IpAddr),
    /// An attachment is not acceptable.
    #[error("cannot attach endpoint {endpoint}: {reason}")]
    Attachment {
        /// The endpoint's id.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Wraps an [`io::Error`] with what was being done.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Wraps a netlink error with what was being done.
    pub(crate) fn netlink(action: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let action = action.into();
        move |source| Self::Netlink { action, source }
    }

    /// Wraps a map error with what was being done.
    pub(crate) fn map(action: &'static str, map: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::Map {
            action,
            map,
            source,
        }
    }
}
