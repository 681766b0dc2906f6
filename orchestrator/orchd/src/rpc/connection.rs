//! Connections between nodes: TCP, TLS, HTTP/2.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::RpcError;
use crate::pki::credentials::Credentials;
use crate::pki::{PkiError, tls};

/// Time for TLS to be agreed on by who connects here.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a node takes for a manager that is gone.
const PATIENCE: Patience = Patience {
    connect: CONNECT_TIMEOUT,
    keep_alive: Duration::from_secs(5),
    answer: Duration::from_secs(5),
};
/// Handshakes at a time; further connections wait.
const HANDSHAKES: usize = 64;

type Accepted = Result<server::TlsStream<TcpStream>, io::Error>;

/// When the other side of a connection counts as gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Time for TCP and TLS to connect.
    pub connect: Duration,
    /// A silent connection is probed this often.
    pub keep_alive: Duration,
    /// It is given up when a probe has no answer for so long.
    pub answer: Duration,
}

impl Patience {
    /// Of a node and the manager that it holds a session with: each soon misses the other, and
    /// nothing is lost when it was wrong. A host is only given up when its kernel is silent too.
    pub fn of_link(tick: Duration) -> Self {
        Self {
            connect: tick * 20,
            keep_alive: tick * 10,
            answer: tick * 12,
        }
    }
}

/// What a server shows to those who connect.
pub(super) struct Identification {
    credentials: watch::Receiver<Arc<Credentials>>,
    acceptor: TlsAcceptor,
}

impl Identification {
    /// The latest of `credentials`, whenever somebody connects.
    pub(super) fn new(
        mut credentials: watch::Receiver<Arc<Credentials>>,
    ) -> Result<Self, PkiError> {
        let first = Arc::clone(&credentials.borrow_and_update());
        Ok(Self {
            credentials,
            acceptor: acceptor(&first)?,
        })
    }

    fn latest(&mut self) -> TlsAcceptor {
        if let Ok(true) = self.credentials.has_changed() {
            let latest = Arc::clone(&self.credentials.borrow_and_update());
            match acceptor(&latest) {
                Ok(acceptor) => self.acceptor = acceptor,
                Err(error) => tracing::error!(%error, "the old certificate is shown on"),
            }
        }
        self.acceptor.clone()
    }
}

fn acceptor(credentials: &Credentials) -> Result<TlsAcceptor, PkiError> {
    Ok(TlsAcceptor::from(Arc::new(tls::server(credentials)?)))
}

/// Accepts connections and shakes hands until `stop`. The port is free once the task has ended.
pub(super) fn accept(
    listener: TcpListener,
    mut identification: Identification,
    stop: CancellationToken,
) -> (JoinHandle<()>, ReceiverStream<Accepted>) {
    let (out, accepted) = mpsc::channel(HANDSHAKES);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let accepting = tokio::spawn(async move {
        loop {
            let connection = tokio::select! {
                () = stop.cancelled() => return,
                () = out.closed() => return,
                connection = listener.accept() => connection,
            };
            let (stream, peer) = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    // Out of file descriptors, most likely: it passes.
                    tracing::warn!(%error, "cannot accept a node-to-node connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
                return;
            };
            let (acceptor, out) = (identification.latest(), out.clone());
            tokio::spawn(async move {
                let shaken = tokio::time::timeout(CONNECT_TIMEOUT, shake(acceptor, stream)).await;
                drop(permit);
                match shaken {
                    Ok(Ok(stream)) => {
                        if out.send(Ok(stream)).await.is_err() {
                            tracing::debug!(%peer, "connection after the server stopped");
                        }
                    }
                    Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS handshake refused"),
                    Err(_) => tracing::warn!(%peer, "TLS handshake timed out"),
                }
            });
        }
    });
    (accepting, ReceiverStream::new(accepted))
}

async fn shake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> io::Result<server::TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

/// Connects to the manager at `manager` (`host:port`). Also returns the certificates it showed.
///
/// The channel holds this one connection; when that is gone every call on it fails and the
/// caller connects anew.
pub(super) async fn connect(
    manager: &str,
    config: ClientConfig,
) -> Result<(Channel, Vec<CertificateDer<'static>>), RpcError> {
    connect_within(manager, config, PATIENCE).await
}

/// [`connect`] with another patience.
pub(super) async fn connect_within(
    manager: &str,
    config: ClientConfig,
    patience: Patience,
) -> Result<(Channel, Vec<CertificateDer<'static>>), RpcError> {
    let unreachable = |reason: String| RpcError::Unreachable {
        manager: manager.to_owned(),
        reason,
    };
    let seconds = patience.connect.as_secs();
    let stream = tokio::time::timeout(patience.connect, open(manager, config))
        .await
        .map_err(|_| unreachable(format!("no answer within {seconds} s")))?
        .map_err(
            |e| match e.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => RpcError::Untrusted {
                    manager: manager.to_owned(),
                    reason: tls::reason(error),
                },
                None => unreachable(e.to_string()),
            },
        )?;
    let shown = stream
        .get_ref()
        .1
        .peer_certificates()
        .unwrap_or_default()
        .to_vec();
    let once = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::future::ready(stream.ok_or_else(|| io::Error::other("the connection was lost")))
    });
    let channel = Endpoint::from_static("http://swarm-manager")
        .http2_keep_alive_interval(patience.keep_alive)
        .keep_alive_timeout(patience.answer)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|e| unreachable(e.to_string()))?;
    Ok((channel, shown))
}

async fn open(manager: &str, config: ClientConfig) -> io::Result<client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(manager).await?;
    stream.set_nodelay(true)?;
    let name = tls::manager_name().map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}
