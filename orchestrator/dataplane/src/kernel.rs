//! System calls that no crate of ours wraps: BPF links by file descriptor, namespace cookies.
//!
//! All of this crate's `unsafe` is here, but for the packet socket of [`crate::probe`].
#![allow(
    unsafe_code,
    reason = "raw system calls; each block says why it is sound"
)]

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;

/// `bpf(BPF_OBJ_GET)`.
const BPF_OBJ_GET: libc::c_long = 7;
/// `bpf(BPF_LINK_UPDATE)`.
const BPF_LINK_UPDATE: libc::c_long = 29;
/// Socket option of `asm-generic/socket.h` that crate libc lacks.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_UPDATE` reads.
#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Opens a pinned BPF object.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attribute = ObjectGet {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: the attribute is a valid prefix of `union bpf_attr` for this command, and the path
    // it points to lives until the call returns.
    let fd = unsafe { bpf(BPF_OBJ_GET, &attribute) }?;
    // SAFETY: the kernel just opened this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Replaces the program of a link without a moment between the old one and the new one.
///
/// Fails with `ENOLINK` when what the link was attached to is gone.
pub(crate) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attribute = LinkUpdate {
        link: descriptor(link),
        program: descriptor(program),
        flags: 0,
        old_program: 0,
    };
    // SAFETY: the attribute is a valid prefix of `union bpf_attr` for this command and holds two
    // descriptors that are open for the length of the call.
    unsafe { bpf(BPF_LINK_UPDATE, &attribute) }.map(drop)
}

/// `bpf(BPF_PROG_LOAD)`.
const BPF_PROG_LOAD: libc::c_long = 5;
/// `bpf(BPF_LINK_CREATE)`.
const BPF_LINK_CREATE: libc::c_long = 28;
/// `BPF_CGROUP_INET4_CONNECT` of `enum bpf_attach_type`.
const CGROUP_INET4_CONNECT: u32 = 10;
/// Room for what the verifier says of a program of a few instructions.
const LOG_BYTES: usize = 16 * 1024;

/// A kind of program that can be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProgramKind {
    /// For packets of a device.
    Classifier,
    /// For sockets that connect to an IPv4 address.
    Connect4,
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads.
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_CREATE` reads.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program of a few instructions; or says what the verifier has against it, which is
/// nothing if it was not asked.
pub(crate) fn load_program(
    kind: ProgramKind,
    instructions: &[u64],
) -> Result<OwnedFd, (io::Error, String)> {
    let mut log = vec![0_u8; LOG_BYTES];
    let (kind, attach_type) = match kind {
        ProgramKind::Classifier => (3, 0),
        ProgramKind::Connect4 => (18, CGROUP_INET4_CONNECT),
    };
    let attribute = ProgramLoad {
        kind,
        instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 1,
        log_size: u32::try_from(log.len()).unwrap_or_default(),
        log: log.as_mut_ptr() as u64,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
        ifindex: 0,
        attach_type,
    };
    // SAFETY: the attribute is a valid prefix of `union bpf_attr` for this command; instructions,
    // licence and log live until the call returns and are as long as is said.
    match unsafe { bpf(BPF_PROG_LOAD, &attribute) } {
        // SAFETY: the kernel just opened this descriptor for us; nobody else owns it.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(error) => {
            let said = log.split(|byte| *byte == 0).next().unwrap_or_default();
            Err((error, String::from_utf8_lossy(said).into_owned()))
        }
    }
}

/// Attaches a program of [`ProgramKind::Connect4`] to a cgroup, until the answer is dropped.
pub(crate) fn attach_to_cgroup(cgroup: &std::fs::File, program: &OwnedFd) -> io::Result<OwnedFd> {
    let attribute = LinkCreate {
        program: descriptor(program.as_fd()),
        target: descriptor(cgroup.as_fd()),
        attach_type: CGROUP_INET4_CONNECT,
        flags: 0,
    };
    // SAFETY: the attribute is a valid prefix of `union bpf_attr` for this command and holds two
    // descriptors that are open for the length of the call.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &attribute) }?;
    // SAFETY: the kernel just opened this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The descriptor as the kernel's structures hold it; an open one is never negative.
fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// Calls `bpf(2)`.
///
/// # Safety
///
/// `attribute` must be laid out as the kernel expects it for `command`, pointers inside included.
unsafe fn bpf<T>(command: libc::c_long, attribute: &T) -> io::Result<i32> {
    // SAFETY: the caller vouches for the attribute; its size goes along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attribute),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

/// The number that the kernel gave to the network namespace of the calling thread. BPF programs
/// see it too.
pub(crate) fn netns_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The kernel's monotonic clock, by which the programs note times.
pub(crate) fn monotonic() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    debug_assert_eq!(result, 0, "every kernel has this clock");
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Waits for records of a ring.
pub(crate) fn readiness(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring holds its descriptor from here to its drop, and never gives it away.
    Ok(unsafe { AsyncFd::register(ring) }?)
}

/// The value that `bytes` begin with, if there are enough of them.
pub(crate) fn from_bytes<T: aya::Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: there are enough bytes, and every pattern of them is a value of plain data.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_cookie() {
        let cookie = netns_cookie().unwrap();
        assert_ne!(cookie, 0);
        assert_eq!(cookie, netns_cookie().unwrap());
    }

    #[test]
    fn a_path_that_is_no_pin_is_an_error() {
        assert!(open_pin(Path::new("/dev/null")).is_err());
        assert!(open_pin(Path::new("/nowhere\0")).is_err());
    }
}
