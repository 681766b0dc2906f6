//! The host's own engine as the API sees it: one connection per request, nothing buffered.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::version::ApiVersion;

/// The engine gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nobody answers on its socket.
    #[error(
        "cannot connect to the container engine at unix://{socket}: {source}. Is it running? \
         Start it (systemctl start docker), or give orchd its socket with --engine."
    )]
    Unreachable {
        /// The engine's socket.
        socket: String,
        /// Why the connection failed.
        source: std::io::Error,
    },
    /// The connection broke before the answer.
    #[error("the container engine at unix://{socket} broke off the request: {source}")]
    Broken {
        /// The engine's socket.
        socket: String,
        /// What happened.
        source: hyper::Error,
    },
    /// It refused the request, in its words.
    #[error("{message}")]
    Refused {
        /// The status that it answered with.
        status: StatusCode,
        /// Its message.
        message: String,
    },
    /// It answered something that is not the API's.
    #[error("the container engine at unix://{socket} gave an answer that makes no sense: {reason}")]
    Nonsense {
        /// The engine's socket.
        socket: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Client of the host's engine.
#[derive(Clone)]
pub struct Upstream {
    socket: Arc<Path>,
    /// The newest API version that the engine named in its last answer.
    newest: Arc<watch::Sender<Option<ApiVersion>>>,
}

impl Upstream {
    /// A client of the engine on this socket. Connects when it is used.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: Arc::from(socket),
            newest: Arc::new(watch::Sender::new(None)),
        }
    }

    /// A plain connection, for requests that take it over.
    pub async fn connect(&self) -> Result<UnixStream, UpstreamError> {
        UnixStream::connect(&*self.socket)
            .await
            .map_err(|source| UpstreamError::Unreachable {
                socket: self.name(),
                source,
            })
    }

    /// Sends a request as it is and returns the head of the answer; bodies stream both ways.
    /// Dropping the answer closes the connection, which cancels the request at the engine.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, UpstreamError> {
        let stream = self.connect().await?;
        let broken = |source| UpstreamError::Broken {
            socket: self.name(),
            source,
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(async move {
            // Its end shows in the answer's body, which is where it is handled.
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to the engine ended");
            }
        });
        let response = sender.send_request(request).await.map_err(broken)?;
        self.remember_version(&response);
        Ok(response)
    }

    /// `client` if the engine knows that version, else the engine's own newest.
    pub async fn negotiate(&self, client: ApiVersion) -> Result<ApiVersion, UpstreamError> {
        let known = *self.newest.borrow();
        if known.is_none() {
            self.send(self.request("/_ping")?).await?;
        }
        let newest = *self.newest.borrow();
        Ok(newest.map_or(client, |newest| client.min(newest)))
    }

    /// The JSON behind a path, e.g. `/info`.
    pub async fn get(&self, path: &str) -> Result<Value, UpstreamError> {
        let response = self.send(self.request(path)?).await?;
        let status = response.status();
        let nonsense = |reason: String| UpstreamError::Nonsense {
            socket: self.name(),
            reason,
        };
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|e| nonsense(e.to_string()))?
            .to_bytes();
        let value: Value =
            serde_json::from_slice(&body).map_err(|error| nonsense(error.to_string()))?;
        if status.is_success() {
            return Ok(value);
        }
        let message = value["message"]
            .as_str()
            .unwrap_or("the engine gave no reason")
            .to_owned();
        Err(UpstreamError::Refused { status, message })
    }

    /// A header of the engine's answer to a ping.
    pub async fn ping_header(
        &self,
        name: &HeaderName,
    ) -> Result<Option<HeaderValue>, UpstreamError> {
        let response = self.send(self.request("/_ping")?).await?;
        Ok(response.headers().get(name).cloned())
    }

    fn request(&self, path: &str) -> Result<Request<Body>, UpstreamError> {
        Request::get(path)
            .header(HOST, "docker")
            .body(Body::empty())
            .map_err(|error| UpstreamError::Nonsense {
                socket: self.name(),
                reason: format!("{path}: {error}"),
            })
    }

    fn remember_version(&self, response: &Response<Incoming>) {
        let named = response
            .headers()
            .get("api-version")
            .and_then(|value| value.to_str().ok());
        if let Some(version) = named.and_then(ApiVersion::parse) {
            self.newest.send_replace(Some(version));
        }
    }

    fn name(&self) -> String {
        self.socket.display().to_string()
    }
}
