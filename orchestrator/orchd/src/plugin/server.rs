//! The socket that the engine calls.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::protocol::{self, Call};
use super::{Driver, PluginError};
use crate::durable;

/// What the engine wants answers to be called.
const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// Serves the driver on `socket` until `shutdown`; a socket that an earlier daemon left is
/// replaced.
pub async fn serve(
    driver: Driver,
    socket: PathBuf,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listen(&socket)?;
    let _file = SocketFile(&socket);
    tracing::debug!(socket = %socket.display(), "serving the engine's driver");
    let app = Router::new().fallback(call).with_state(driver);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .context("the engine's driver socket failed")
}

/// Removes the socket when it is served no longer, however that came: the engine waits less for a
/// driver that has none.
struct SocketFile<'a>(&'a Path);

impl Drop for SocketFile<'_> {
    fn drop(&mut self) {
        if let Err(error) = durable::remove(self.0) {
            tracing::warn!(socket = %self.0.display(), %error, "cannot remove the socket");
        }
    }
}

fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    durable::remove(socket).with_context(|| format!("cannot remove {}", socket.display()))?;
    UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))
}

async fn call(State(driver): State<Driver>, uri: Uri, body: Bytes) -> Response {
    let path = uri.path();
    let call = match Call::parse(path, &body) {
        None => {
            return reply(
                StatusCode::NOT_FOUND,
                protocol::error(path, "no such method"),
            );
        }
        Some(Err(error)) => {
            let words = format!("malformed request: {error}");
            return reply(StatusCode::BAD_REQUEST, protocol::error(path, &words));
        }
        Some(Ok(call)) => call,
    };
    tracing::debug!(path, ?call, "the engine calls");
    // On its own, so that it ends also when the engine hangs up in the middle of it.
    let work = tokio::spawn(async move { driver.carry_out(call).await });
    match work.await {
        Ok(Ok(answer)) => reply(StatusCode::OK, answer),
        Ok(Err(error)) => {
            log(path, &error);
            reply(StatusCode::OK, protocol::error(path, &error.to_string()))
        }
        Err(error) => {
            tracing::error!(path, %error, "a call of the engine failed");
            reply(
                StatusCode::INTERNAL_SERVER_ERROR,
                protocol::error(path, &error.to_string()),
            )
        }
    }
}

fn log(path: &str, error: &PluginError) {
    match error {
        PluginError::Plane(_) | PluginError::Ledger(_) | PluginError::Answer(_) => {
            tracing::error!(path, %error, "a container cannot be served");
        }
        PluginError::NotMember
        | PluginError::HandMade
        | PluginError::UnknownNetwork(_)
        | PluginError::UnknownPool { .. }
        | PluginError::BadAddress(_)
        | PluginError::NotAttachable(_)
        | PluginError::AddressInUse(_)
        | PluginError::Refused { .. }
        | PluginError::NoManager { .. }
        | PluginError::NoAddress(_)
        | PluginError::UnknownEndpoint(_)
        | PluginError::NoEndpointAddress(_) => tracing::info!(path, %error, "refused"),
    }
}

fn reply(status: StatusCode, body: Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    /// Sends `request` as it stands and returns the status line and the body.
    async fn exchange(socket: &Path, request: &str) -> (String, Value) {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.lines().next().unwrap().to_owned(),
            serde_json::from_str(body).unwrap(),
        )
    }

    #[tokio::test]
    async fn the_engine_is_served_with_any_framing_over_a_stale_socket() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("plugins").join("orchd.sock");
        std::fs::create_dir(socket.parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let shutdown = CancellationToken::new();
        let listener = listen(&socket).unwrap();
        drop(listener);
        let driver = Driver::new();
        driver.unplug();
        let server = tokio::spawn(serve(driver, socket.clone(), shutdown.clone()));
        while UnixStream::connect(&socket).await.is_err() {
            tokio::task::yield_now().await;
        }

        let head =
            |path: &str| format!("POST /{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n");
        let (status, body) = exchange(&socket, &format!("{}\r\n", head("Plugin.Activate"))).await;
        assert!(status.contains("200"), "{status}");
        assert_eq!(body["Implements"][0], "NetworkDriver");

        let chunked = format!(
            "{}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
            head("IpamDriver.GetCapabilities")
        );
        let (status, body) = exchange(&socket, &chunked).await;
        assert!(status.contains("200"), "{status}");
        assert_eq!(body["RequiresMACAddress"], false);

        let sized = format!(
            "{}Content-Length: 2\r\n\r\n{{}}",
            head("NetworkDriver.Nonsense")
        );
        let (status, _) = exchange(&socket, &sized).await;
        assert!(status.contains("404"), "{status}");

        let malformed = format!("{}Content-Length: 1\r\n\r\n{{", head("NetworkDriver.Join"));
        let (status, body) = exchange(&socket, &malformed).await;
        assert!(
            status.contains("400") && body["Err"].is_string(),
            "{status} {body}"
        );

        shutdown.cancel();
        server.await.unwrap().unwrap();
        assert!(!socket.exists());
    }
}
