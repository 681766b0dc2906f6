//! Answers tasks' questions that the data plane leaves to the host.
//!
//! A task asks its gateway, port 53. Names of the cluster are answered by the data plane before a
//! question gets here, but for questions over TCP, which follow an answer that was cut, and for
//! names that are too long for its map. Everything else that arrives at [`ADDRESSES`] on the host
//! link is forwarded to the host's resolvers. The module owns that forwarding; what a name of the
//! cluster stands for it asks the owner of the data plane.

mod forward;
mod message;
mod resolvers;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use forward::Transport;
use message::{NoQuestion, Question};

use crate::netplane::{Asked, NetPlane};

/// The host's end of the host link, where the data plane delivers questions to a gateway: of IPv4
/// and of IPv6.
pub const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd6f, 0x7263, 0x6864, 0, 0, 0, 0, 1)),
];

const PORT: u16 = 53;
/// Questions under way at once; further ones wait in the socket's buffer.
const QUESTIONS_MAX: usize = 512;
/// TCP clients at once; further ones wait to be accepted.
const CLIENTS_MAX: usize = 64;
/// How long a TCP client may say nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before an address that could not be bound is tried again.
const BIND_PAUSE: Duration = Duration::from_secs(5);
/// Longest name that the data plane answers, in bytes without the final dot; on the wire it takes
/// two more.
const DATA_PLANE_NAME_MAX: usize = 126;
/// Largest DNS message, in bytes.
const MESSAGE_BYTES_MAX: usize = 65_535;

/// Serves until `shutdown`. An address that is taken by another program is tried again for ever:
/// tasks reach the cluster's names meanwhile.
pub async fn serve(plane: NetPlane, shutdown: CancellationToken) {
    let [v4, v6] = ADDRESSES.map(|address| serve_at(SocketAddr::new(address, PORT), plane.clone()));
    shutdown
        .run_until_cancelled(async { tokio::join!(v4, v6) })
        .await;
}

/// Whether the host asks a resolver on its own loopback, where only the host can ask it.
pub async fn host_resolver_is_on_loopback() -> bool {
    let servers = resolvers::of_host().await;
    servers.iter().any(|server| server.ip().is_loopback())
}

async fn serve_at(address: SocketAddr, plane: NetPlane) {
    let mut told = false;
    let (udp, tcp) = loop {
        match bind(address).await {
            Ok(sockets) => break sockets,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        %address, %error,
                        "tasks that ask here resolve no outside names: cannot bind"
                    );
                }
                tokio::time::sleep(BIND_PAUSE).await;
            }
        }
    };
    tracing::info!(%address, "forwarding tasks' questions for outside names");
    let names = Names {
        plane,
        listener: address,
    };
    tokio::join!(serve_udp(Arc::new(udp), &names), serve_tcp(tcp, &names));
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    Ok((
        UdpSocket::bind(address).await?,
        TcpListener::bind(address).await?,
    ))
}

/// What is asked at one address, and answered by whoever knows.
#[derive(Clone)]
struct Names {
    plane: NetPlane,
    listener: SocketAddr,
}

impl Names {
    /// The answer to a client's message; `None` when it gets none.
    async fn answer(
        &self,
        message: &[u8],
        client: SocketAddr,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let question = match Question::parse(message) {
            Ok(question) => question,
            Err(NoQuestion::Refused(refusal)) => return Some(refusal),
            Err(NoQuestion::Ignored) => return None,
        };
        let name = question.name();
        if transport == Transport::Tcp || name.len() > DATA_PLANE_NAME_MAX {
            let asked = Asked {
                protocol: transport.protocol(),
                client,
                listener: self.listener,
                name,
            };
            if let Ok(Some(addresses)) = self.plane.addresses_of(asked).await {
                return question.addresses(&addresses, transport.answer_bytes_max());
            }
        }
        forward::ask(&question, transport).await
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, names: &Names) {
    let slots = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // A client that went away reports here; it says nothing about the next one.
                tracing::debug!(%error, "receive");
                continue;
            }
        };
        let question = buffer[..length].to_vec();
        let (socket, names) = (Arc::clone(&socket), names.clone());
        tokio::spawn(async move {
            let Some(reply) = names.answer(&question, client, Transport::Udp).await else {
                return;
            };
            if let Err(error) = socket.send_to(&reply, client).await {
                tracing::debug!(%error, %client, "cannot answer");
            }
            drop(slot);
        });
    }
}

async fn serve_tcp(listener: TcpListener, names: &Names) {
    let slots = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                let names = names.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve_client(stream, client, names).await {
                        tracing::debug!(%error, %client, "connection ended");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a DNS client");
                tokio::time::sleep(BIND_PAUSE).await;
            }
        }
    }
}

/// Answers the questions of one connection, one after the other.
async fn serve_client(mut stream: TcpStream, client: SocketAddr, names: Names) -> io::Result<()> {
    loop {
        let length = match timeout(IDLE_TIMEOUT, stream.read_u16()).await? {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut question = vec![0; usize::from(length)];
        timeout(IDLE_TIMEOUT, stream.read_exact(&mut question)).await??;
        let Some(reply) = names.answer(&question, client, Transport::Tcp).await else {
            return Ok(());
        };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        stream.write_u16(length).await?;
        stream.write_all(&reply).await?;
    }
}
