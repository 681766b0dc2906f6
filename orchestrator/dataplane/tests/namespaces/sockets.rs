//! Servers inside containers, and clients that talk to them.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    self, AddressFamily, Shutdown, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind,
    setsockopt, shutdown, socket,
};

use crate::lab::Namespace;

/// Long enough for anything that works, short enough for a failing test to end.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A TCP server that greets every client with its own name and the client's address, and then
/// echoes lines.
pub struct Server {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts in `namespace`.
    pub fn start(namespace: &Namespace, name: &str, port: u16) -> Self {
        // Takes IPv4, too.
        let any = (Ipv6Addr::UNSPECIFIED, port);
        let listener = namespace.run(|| TcpListener::bind(any)).unwrap();
        let accepting = listener.try_clone().unwrap();
        let name = name.to_owned();
        let thread = thread::spawn(move || {
            while let Ok((stream, peer)) = accepting.accept() {
                let name = name.clone();
                // It ends when the client goes.
                thread::spawn(move || serve(&stream, &name, peer));
            }
        });
        Self {
            listener,
            thread: Some(thread),
        }
    }
}

fn serve(stream: &TcpStream, name: &str, peer: SocketAddr) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    writeln!(writer, "{name} {}", peer.ip().to_canonical())?;
    for line in BufReader::new(stream).lines() {
        writeln!(writer, "{}", line?)?;
    }
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the accept call.
        shutdown(self.listener.as_raw_fd(), Shutdown::Both).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A UDP server that answers every datagram with its own name and the client's address.
pub struct UdpServer {
    stop: UdpSocket,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl UdpServer {
    /// Starts in `namespace`.
    pub fn start(namespace: &Namespace, name: &str, port: u16) -> Self {
        let bind = |port| {
            namespace
                .run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)))
                .unwrap()
        };
        let socket = bind(port);
        let name = name.to_owned();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                if length == 0 {
                    return;
                }
                let answer = format!("{name} {}", peer.ip().to_canonical());
                socket.send_to(answer.as_bytes(), peer).unwrap();
            }
        });
        let address = (Ipv6Addr::LOCALHOST, port).into();
        Self {
            stop: bind(0),
            address,
            thread: Some(thread),
        }
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        // An empty datagram ends it.
        self.stop.send_to(&[], self.address).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Connects from `namespace`.
pub fn connect(namespace: &Namespace, address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let target = SocketAddr::new(address, port);
    let stream = namespace.run(|| TcpStream::connect_timeout(&target, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects from a port of `namespace` that other connections may use, too.
pub fn connect_from(
    namespace: &Namespace,
    local: u16,
    address: IpAddr,
    port: u16,
) -> io::Result<TcpStream> {
    let IpAddr::V4(address) = address else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let stream = namespace.run(|| {
        let (family, flags) = (AddressFamily::Inet, SockFlag::SOCK_CLOEXEC);
        let socket = socket(family, SockType::Stream, flags, None)?;
        setsockopt(&socket, ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, local))?;
        let [a, b, c, d] = address.octets();
        socket::connect(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, port))?;
        Ok::<_, nix::Error>(TcpStream::from(socket))
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects from a socket that knows no IPv4, not even in mapped addresses.
pub fn connect_v6only(namespace: &Namespace, address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let stream = namespace.run(|| {
        let (family, flags) = (AddressFamily::Inet6, SockFlag::SOCK_CLOEXEC);
        let socket = socket(family, SockType::Stream, flags, None)?;
        setsockopt(&socket, Ipv6V6Only, &true)?;
        let target = SockaddrStorage::from(SocketAddr::new(address, port));
        socket::connect(socket.as_raw_fd(), &target)?;
        Ok::<_, nix::Error>(TcpStream::from(socket))
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The greeting that a new connection begins with.
pub fn greeting(stream: &TcpStream) -> String {
    read_line(stream).unwrap()
}

/// Sends a line and expects it back.
pub fn talk(mut stream: &TcpStream, line: &str) {
    writeln!(stream, "{line}").unwrap();
    assert_eq!(read_line(stream).unwrap(), line);
}

/// Reads byte by byte, so that nothing of the next line is lost in a buffer.
fn read_line(mut stream: &TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return String::from_utf8(line).map_err(io::Error::other);
        }
        line.extend(byte);
    }
}

/// Sends a datagram from `namespace` and returns the answer. With `connected` the socket is
/// connected first, so that the kernel filters answers by their source.
pub fn udp_ask(
    namespace: &Namespace,
    address: IpAddr,
    port: u16,
    connected: bool,
) -> io::Result<String> {
    let target = SocketAddr::new(address, port);
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    namespace.run(|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut buffer = [0; 64];
        let length = if connected {
            socket.connect(target)?;
            socket.send(b"?")?;
            socket.recv(&mut buffer)?
        } else {
            socket.send_to(b"?", target)?;
            let (length, peer) = socket.recv_from(&mut buffer)?;
            assert_eq!(
                peer, target,
                "the answer must come from where the question went"
            );
            length
        };
        String::from_utf8(buffer[..length].to_vec()).map_err(io::Error::other)
    })
}

/// Asks `server` for the IPv4 addresses of `name`, from `namespace`.
///
/// Returns the response code and the addresses.
pub fn resolve(
    namespace: &Namespace,
    server: IpAddr,
    name: &str,
) -> io::Result<(u8, Vec<Ipv4Addr>)> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).map_err(io::Error::other)?);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let mut answer = [0; 1500];
    let length = namespace.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((server, 53))?;
        socket.send(&query)?;
        socket.recv(&mut answer)
    })?;
    let answer = &answer[..length];
    assert_eq!(answer[..2], query[..2], "the answer has the question's id");
    let count = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
    // Each record: a pointer to the name (2), type, class, TTL, length (10), the address (4).
    let records = answer[query.len()..].chunks_exact(16).take(count);
    let address = |record: &[u8]| Ipv4Addr::new(record[12], record[13], record[14], record[15]);
    let addresses: Vec<_> = records.map(address).collect();
    assert_eq!(
        addresses.len(),
        count,
        "a record of another length than expected"
    );
    Ok((answer[3] & 0xf, addresses))
}
