//! Answers on any manager hold what was committed before they were asked for. While nobody can
//! tell, they say that they may be old.

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use http::header::WARNING;
use http::{HeaderValue, Request};

use super::Api;
use crate::rpc::control::Freshness;

/// Of an answer that may be old (RFC 7234 section 5.5.1, which caches and clients know).
const MAY_BE_OLD: HeaderValue = HeaderValue::from_static(
    "110 orchd \"The swarm has no leader at the moment: this may be old\"",
);

/// Lets a request wait until this manager knows what is current.
pub async fn catch_up(State(api): State<Api>, request: Request<Body>, next: Next) -> Response {
    let freshness = match api.manager() {
        Ok(control) => control.catch_up().await,
        Err(_) => Freshness::Current,
    };
    let mut response = next.run(request).await;
    if freshness == Freshness::MayBeOld {
        response.headers_mut().insert(WARNING, MAY_BE_OLD);
    }
    response
}
