//! A packet socket on the host link (packet(7)), with a header before each frame that says what a
//! device is still to do with it (`struct virtio_net_hdr` of `include/uapi/linux/virtio_net.h`).

#![expect(
    unsafe_code,
    reason = "packet sockets with a header before each frame have no safe interface"
)]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use super::frame::{Frame, UDP_CHECKSUM};

/// Bytes of `struct virtio_net_hdr`.
const HEADER: usize = 10;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CHECKSUM: u8 = 1;
const LARGEST: usize = 65536;

/// The host's end of the host link.
#[derive(Debug)]
pub(super) struct HostLink(OwnedFd);

impl HostLink {
    /// Opens the device with this index.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: takes integers only.
        let fd = checked(unsafe { libc::socket(libc::AF_PACKET, kind, protocol.into()) })?;
        // SAFETY: the kernel just opened this descriptor for us; nobody else owns it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)?;
        // SAFETY: plain integers, for which all zeros is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address is of that length and lives until the call returns.
        checked(unsafe { libc::bind(socket.fd(), (&raw const address).cast(), length) })?;
        Ok(socket)
    }

    /// Sends a frame out of the device.
    pub fn send(&self, frame: &Frame) -> io::Result<()> {
        let mut bytes = vec![0; HEADER];
        bytes[0] = NEEDS_CHECKSUM;
        bytes[6..8].copy_from_slice(&(frame.transport as u16).to_ne_bytes());
        bytes[8..10].copy_from_slice(&(UDP_CHECKSUM as u16).to_ne_bytes());
        bytes.extend(&frame.bytes);
        // SAFETY: the bytes live until the call returns.
        let sent = unsafe { libc::send(self.fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The next frame that passes the device, and whether its transport checksum is in it; `None`
    /// if none comes in time.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<(Vec<u8>, bool)>> {
        let limit = libc::timeval {
            tv_sec: limit.as_secs() as i64,
            tv_usec: limit.subsec_micros().max(1).into(),
        };
        self.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &limit)?;
        let mut bytes = vec![0; HEADER + LARGEST];
        // SAFETY: the kernel writes at most the length that is named, into memory that is ours.
        let length = unsafe { libc::recv(self.fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(length) {
            Ok(length) if length >= HEADER => {
                let has_checksum = bytes[0] & NEEDS_CHECKSUM == 0;
                Ok(Some((bytes[HEADER..length].to_vec(), has_checksum)))
            }
            Ok(_) => Ok(None),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }

    fn set<T>(&self, level: i32, name: i32, value: &T) -> io::Result<()> {
        let (value, length) = ((&raw const *value).cast(), size_of::<T>() as u32);
        // SAFETY: the value is of that length and lives until the call returns.
        checked(unsafe { libc::setsockopt(self.fd(), level, name, value, length) }).map(drop)
    }

    fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
