//! Echo requests, RFC 792 and RFC 4443.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv,
    send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

const HEADER: usize = 8;
/// Tells the requests of one process apart.
static SEQUENCE: AtomicU16 = AtomicU16::new(1);

/// Asks once and waits for the reply that is ours. Raw sockets see everybody's replies.
pub fn ask(address: IpAddr, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let socket = open(address)?;
    let identifier = (std::process::id() & 0xffff) as u16;
    let request = request(
        address,
        identifier,
        SEQUENCE.fetch_add(1, Ordering::Relaxed),
    );
    send(socket.as_raw_fd(), &request, MsgFlags::empty()).context("cannot send")?;
    let mut room = [0; 2048];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no answer");
        let left = TimeVal::microseconds(i64::try_from(left.as_micros())?.max(1));
        setsockopt(&socket, ReceiveTimeout, &left)?;
        let length = recv(socket.as_raw_fd(), &mut room, MsgFlags::empty());
        let message = &room[..length.context("no answer")?];
        // An IPv4 raw socket hands the IP header over too.
        let message = match address {
            IpAddr::V4(_) => {
                let header = usize::from(message[0] & 0xf) * 4;
                message.get(header..).unwrap_or_default()
            }
            IpAddr::V6(_) => message,
        };
        if is_reply(message, &request) {
            return Ok(());
        }
    }
}

fn open(address: IpAddr) -> Result<OwnedFd> {
    let (family, protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .context("a raw socket needs root")?;
    let to = SockaddrStorage::from(SocketAddr::new(address, 0));
    connect(socket.as_raw_fd(), &to).context("cannot connect")?;
    Ok(socket)
}

fn request(address: IpAddr, identifier: u16, sequence: u16) -> Vec<u8> {
    let kind = if address.is_ipv6() { 128 } else { 8 };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend([0x55; 48]);
    // Of ICMPv6 the kernel computes it, over the addresses too.
    if address.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The same identifier, sequence number and payload, under the reply's type.
fn is_reply(message: &[u8], request: &[u8]) -> bool {
    let kind = match request[0] {
        8 => 0,
        other => other + 1,
    };
    message.len() >= HEADER && message[0] == kind && message[4..] == request[4..]
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let mut sum: u32 = words
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_its_checksum_sums_up_to_zero() {
        let message = request("192.0.2.1".parse().unwrap(), 7, 9);
        assert_eq!(checksum(&message), 0);
    }

    #[test]
    fn only_the_answer_to_the_request_is_its_reply() {
        let request = request("2001:db8::1".parse().unwrap(), 7, 9);
        let mut reply = request.clone();
        assert!(!is_reply(&reply, &request), "the request itself");
        reply[0] = 129;
        assert!(is_reply(&reply, &request));
        reply[7] = 8;
        assert!(!is_reply(&reply, &request), "another sequence number");
        assert!(!is_reply(&[129], &request), "too short");
    }
}
