//! The client that misses no datagram.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::ask::{LIMIT, connected};

/// Between two packets of a conversation.
pub const PAUSE: Duration = Duration::from_millis(1);
/// How often a silent socket is left to look whether it is over.
const GLANCE: Duration = Duration::from_millis(50);

/// Sends until it is `over`, and counts the answers; an error if one is missing.
pub fn keep(address: SocketAddr, over: &AtomicBool) -> Result<u64> {
    let socket = connected(address)?;
    socket.set_read_timeout(Some(GLANCE))?;
    let sent = AtomicU64::new(0);
    let received = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&socket, &sent, over));
        while !over.load(Ordering::Relaxed) {
            // Counted first, so that no answer comes before its question.
            sent.fetch_add(1, Ordering::Relaxed);
            // An error is that of an earlier packet, whose answer is missing.
            socket.send(b"?\n").ok();
            thread::sleep(PAUSE);
        }
        receiver.join().unwrap_or(Ok(0))
    })?;
    let sent = sent.into_inner();
    let lost = sent - received;
    ensure!(lost == 0, "{lost} of {sent} datagrams were not answered");
    Ok(received)
}

/// How many answers come until all are there, or none came for long after the end.
fn receive(socket: &UdpSocket, sent: &AtomicU64, over: &AtomicBool) -> Result<u64> {
    let (mut received, mut last) = (0, Instant::now());
    loop {
        let is_over = over.load(Ordering::Relaxed);
        if is_over && (received == sent.load(Ordering::Relaxed) || last.elapsed() > LIMIT) {
            return Ok(received);
        }
        match socket.recv(&mut [0; 256]) {
            Ok(_) => {
                received += 1;
                last = Instant::now();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).context("cannot receive"),
        }
    }
}
