//! The client that asks once.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;

use crate::echo;
use crate::target::{Protocol, Target};

/// Longer than any answer in the lab takes, and than the first retransmission of a lost segment.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Asks all targets at the same time and prints what each said: `ok ANSWER` or `error WHY`.
pub fn all(targets: &[Target]) -> Result<()> {
    let answers: Vec<Result<String>> = thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(|| ask(target)))
            .collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended
            .map(|answer| answer.unwrap_or_else(|_| Err(anyhow::anyhow!("the client panicked"))))
            .collect()
    });
    for answer in answers {
        match answer {
            Ok(line) => println!("ok {line}"),
            Err(error) => println!("error {}", format!("{error:#}").replace('\n', " ")),
        }
    }
    Ok(())
}

fn ask(target: &Target) -> Result<String> {
    let address = target.resolve()?;
    match target.protocol {
        Protocol::Tcp => Connection::open(address)?.exchange(),
        Protocol::Udp => datagram(address),
        Protocol::Icmp => echo::ask(address.ip(), LIMIT).map(|()| "echo".to_owned()),
    }
}

/// A TCP connection to a server of ours.
pub struct Connection {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, answers })
    }

    /// Waits up to `limit` for each answer from now on.
    pub fn patience(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(limit))?)
    }

    /// Ends it at once, without a trace in the kernel.
    pub fn reset(self) -> Result<()> {
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&self.stream, Linger, &at_once).context("cannot reset")
    }

    /// One line there, one line back.
    pub fn exchange(&mut self) -> Result<String> {
        self.stream.write_all(b"?\n").context("cannot send")?;
        let mut line = String::new();
        self.answers.read_line(&mut line).context("no answer")?;
        ensure!(line.ends_with('\n'), "the connection ended");
        Ok(line.trim_end().to_owned())
    }
}

/// A UDP socket that speaks to nobody else.
pub fn connected(address: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address).context("cannot connect")?;
    Ok(socket)
}

/// A connected socket takes an answer from nobody but whom it asked.
pub fn datagram(address: SocketAddr) -> Result<String> {
    let socket = connected(address)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send(b"?\n").context("cannot send")?;
    let mut room = [0; 256];
    let length = socket.recv(&mut room).context("no answer")?;
    Ok(String::from_utf8_lossy(&room[..length])
        .trim_end()
        .to_owned())
}
