//! Everything that is not the cluster's goes to the host's own engine, streams included.
//!
//! The proxy must not know what a request means: bodies, headers and upgraded connections pass as
//! they are. Only the version in the path may change, where the engine is older than the client.

use std::time::Duration;

use axum::body::Body;
use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::error::ApiError;
use super::upstream::Upstream;
use super::version::{self, ApiVersion};

/// Time that the registry of an image has to answer.
pub const REGISTRY_PATIENCE: Duration = Duration::from_secs(5);

/// The version in the path of a request, which the router no longer sees.
#[derive(Debug, Clone, Copy)]
pub struct ClientVersion(pub Option<ApiVersion>);

/// Hands a request over to the engine and the engine's answer to the client.
pub async fn forward(
    upstream: &Upstream,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let client = request
        .extensions()
        .get::<ClientVersion>()
        .and_then(|version| version.0);
    let path = engine_path(upstream, client, request.uri().path()).await?;
    *request.uri_mut() = version::with_path(request.uri(), &path)
        .map_err(|error| ApiError::bad_request(format!("invalid path: {error}")))?;
    let client_side = request
        .headers()
        .contains_key(UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let mut response = upstream.send(request).await?;
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(client_side)) = (response.status(), client_side) {
        let engine_side = hyper::upgrade::on(&mut response);
        tokio::spawn(join_streams(client_side, engine_side));
    }
    Ok(response.map(Body::new))
}

/// [`forward`] for a question that the engine passes on to an image's registry.
///
/// Clients ask before they create a service, to name the image by its digest, and go on without
/// an answer; a registry that cannot be resolved or reached would hold them up for 20 s and more.
pub async fn ask_registry(
    upstream: &Upstream,
    request: Request<Body>,
    patience: Duration,
) -> Result<Response<Body>, ApiError> {
    let answer = tokio::time::timeout(patience, forward(upstream, request)).await;
    answer.unwrap_or_else(|_| {
        Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "the image's registry did not answer within {} s",
                patience.as_secs()
            ),
        ))
    })
}

/// The path that the engine is asked for: with the client's version, or the engine's if older.
pub async fn engine_path(
    upstream: &Upstream,
    client: Option<ApiVersion>,
    path: &str,
) -> Result<String, ApiError> {
    Ok(match client {
        Some(client) => format!("/v{}{path}", upstream.negotiate(client).await?),
        None => path.to_owned(),
    })
}

/// Passes bytes both ways until both sides are done; an end of one direction is passed on too,
/// so that `docker run -i` sees the end of its input.
async fn join_streams(client: OnUpgrade, engine: OnUpgrade) {
    let (client, engine) = match tokio::try_join!(client, engine) {
        Ok(streams) => streams,
        Err(error) => {
            tracing::debug!(%error, "a connection was not upgraded");
            return;
        }
    };
    let (mut client, mut engine) = (TokioIo::new(client), TokioIo::new(engine));
    if let Err(error) = copy_bidirectional(&mut client, &mut engine).await {
        tracing::debug!(%error, "a hijacked stream broke off");
    }
}
