//! One lab per machine: whoever makes, uses or ends it as a whole holds this lock.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Context, Result};

/// Held until dropped, and released by the kernel when its process dies, however it dies: the
/// name of an abstract socket leaves no file behind.
#[derive(Debug)]
pub struct Lock {
    _socket: UnixListener,
}

impl Lock {
    /// Takes the lock; an error when another process has it.
    pub fn take() -> Result<Self> {
        let name = SocketAddr::from_abstract_name("orchd-lab")?;
        let socket = UnixListener::bind_addr(&name).context(
            "another xtask is working with the lab on this machine: wait for it or end it",
        )?;
        Ok(Self { _socket: socket })
    }
}
