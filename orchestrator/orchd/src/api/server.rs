//! The API's socket: accepts connections, takes the version off each request's path, and puts
//! Docker's headers on each answer.

use std::convert::Infallible;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::error::ApiError;
use super::hijack::{self, Hijack};
use super::proxy::ClientVersion;
use super::upstream::Upstream;
use super::version::{self, ApiVersion};

/// Pause after a failed accept, which mostly means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the socket, in place of one that a former run left behind. Whoever may write to it
/// commands the host, so that is its owner and group only, as with Docker's.
pub fn bind(socket: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", socket.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot restrict access to {}", socket.display()))?;
    Ok(listener)
}

/// Answers connections until `shutdown`; requests under way then are cut off.
pub async fn run(
    listener: UnixListener,
    router: Router,
    upstream: Upstream,
    shutdown: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an API connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (router, upstream, shutdown) = (router.clone(), upstream.clone(), shutdown.clone());
        tokio::spawn(async move {
            let connection = serve_connection(stream, router, &upstream);
            if let Some(Err(error)) = shutdown.run_until_cancelled(connection).await {
                tracing::debug!(%error, "API connection ended");
            }
        });
    }
}

async fn serve_connection(
    mut stream: UnixStream,
    router: Router,
    upstream: &Upstream,
) -> anyhow::Result<()> {
    let read = hijack::read_head(&mut stream).await?;
    if let Some(hijack) = Hijack::detect(&read) {
        return Ok(hijack.run(&mut stream, upstream).await?);
    }
    let (reader, writer) = stream.into_split();
    let stream = tokio::io::join(Cursor::new(read).chain(reader), writer);
    let service = service_fn(move |request| answer(router.clone(), request));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    Ok(())
}

/// One request: checks and removes the version, routes, dresses the answer.
async fn answer(router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    let (version, path) = version::split_path(request.uri().path());
    let checked = version.map_or(Ok(()), ApiVersion::check).and_then(|()| {
        version::with_path(request.uri(), path).map_err(|error| format!("invalid path: {error}"))
    });
    let mut response = match checked {
        Ok(uri) => {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(ClientVersion(version));
            match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
        Err(message) => ApiError::bad_request(message).into_response(),
    };
    dress(response.headers_mut());
    Ok(response)
}

/// Headers of every answer. Clients take the API version from them.
fn dress(headers: &mut HeaderMap) {
    const SERVER: &str = concat!("orchd/", env!("CARGO_PKG_VERSION"), " (linux)");
    if let Ok(version) = HeaderValue::from_str(&ApiVersion::MAX.to_string()) {
        headers.insert("api-version", version);
    }
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("server", HeaderValue::from_static(SERVER));
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
