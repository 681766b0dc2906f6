//! Answers tasks' questions for names that the cluster does not know.
//!
//! A task asks its gateway, port 53. Names of the cluster are answered by the data plane before a
//! question gets here; everything else arrives at [`ADDRESS`] on the host link and is forwarded
//! to the host's resolvers. The module owns that forwarding; it knows no name of the cluster.

mod forward;
mod message;
mod resolvers;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use forward::{Transport, answer};

/// The host's end of the host link, where the data plane delivers questions to a gateway.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 42, 1);

const PORT: u16 = 53;
/// Questions under way at once; further ones wait in the socket's buffer.
const QUESTIONS_MAX: usize = 512;
/// TCP clients at once; further ones wait to be accepted.
const CLIENTS_MAX: usize = 64;
/// How long a TCP client may say nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before an address that could not be bound is tried again.
const BIND_PAUSE: Duration = Duration::from_secs(5);
/// Largest DNS message, in bytes.
const MESSAGE_BYTES_MAX: usize = 65_535;

/// Serves until `shutdown`. An address that is taken by another program is tried again for ever:
/// tasks reach the cluster's names meanwhile.
pub async fn serve(shutdown: CancellationToken) {
    let address = SocketAddr::from((ADDRESS, PORT));
    shutdown.run_until_cancelled(serve_at(address)).await;
}

/// Whether the host asks a resolver on its own loopback, where only the host can ask it.
pub async fn host_resolver_is_on_loopback() -> bool {
    let servers = resolvers::of_host().await;
    servers.iter().any(|server| server.ip().is_loopback())
}

async fn serve_at(address: SocketAddr) {
    let mut told = false;
    let (udp, tcp) = loop {
        match bind(address).await {
            Ok(sockets) => break sockets,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%address, %error, "tasks resolve no outside names: cannot bind");
                }
                tokio::time::sleep(BIND_PAUSE).await;
            }
        }
    };
    tracing::info!(%address, "forwarding tasks' questions for outside names");
    tokio::join!(serve_udp(Arc::new(udp)), serve_tcp(tcp));
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    Ok((
        UdpSocket::bind(address).await?,
        TcpListener::bind(address).await?,
    ))
}

async fn serve_udp(socket: Arc<UdpSocket>) {
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
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            let Some(reply) = answer(&question, Transport::Udp).await else {
                return;
            };
            if let Err(error) = socket.send_to(&reply, client).await {
                tracing::debug!(%error, %client, "cannot answer");
            }
            drop(slot);
        });
    }
}

async fn serve_tcp(listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                tokio::spawn(async move {
                    if let Err(error) = serve_client(stream).await {
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
async fn serve_client(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = match timeout(IDLE_TIMEOUT, stream.read_u16()).await? {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut question = vec![0; usize::from(length)];
        timeout(IDLE_TIMEOUT, stream.read_exact(&mut question)).await??;
        let Some(reply) = answer(&question, Transport::Tcp).await else {
            return Ok(());
        };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        stream.write_u16(length).await?;
        stream.write_all(&reply).await?;
    }
}
