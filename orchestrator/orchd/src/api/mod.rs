//! The Docker Engine API: cluster nouns from the cluster's state, everything else from the host's
//! own engine.
//!
//! This is an edge: it parses, asks [`crate::daemon`] or the manager's handle, and renders. It
//! must not decide anything about the cluster. [`server`] owns connections and what is the same
//! for every request; each noun has its file of handlers; [`convert`] holds the JSON.

mod convert;
mod error;
mod extract;
mod filters;
#[cfg(test)]
mod fixtures;
mod freshness;
mod hijack;
mod net;
mod networks;
mod nodes;
mod objects;
mod proxy;
mod server;
mod services;
mod swarm;
mod system;
mod tasks;
mod upstream;
mod version;

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::Request;
use tokio_util::sync::CancellationToken;

use crate::daemon::{Daemon, Member, Membership};
use crate::rpc::control::Control;
use error::ApiError;
use upstream::Upstream;

/// What handlers work with.
#[derive(Clone)]
struct Api {
    daemon: Daemon,
    upstream: Upstream,
}

impl Api {
    /// The cluster's state and control, or Docker's words why this host has none.
    fn manager(&self) -> Result<Control, ApiError> {
        Ok(self.managing_member()?.1)
    }

    /// Like [`Api::manager`], with this host's place in the cluster.
    fn managing_member(&self) -> Result<(Member, Control), ApiError> {
        match self.daemon.membership() {
            Membership::Member(member) => match member.manager.clone() {
                Some(manager) => Ok((*member, manager)),
                None => Err(ApiError::not_a_manager()),
            },
            Membership::Inactive => Err(ApiError::not_in_swarm()),
            Membership::Pending => Err(ApiError::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                "This node is starting or joining its swarm. Try again in a moment.",
            )),
            Membership::Error(reason) => Err(ApiError::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                format!("This node cannot take part in its swarm: {reason}"),
            )),
        }
    }
}

/// Serves the API on `socket` until `shutdown`.
pub async fn serve(
    daemon: Daemon,
    socket: PathBuf,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = server::bind(&socket)?;
    let upstream = Upstream::new(&daemon.options().engine_socket);
    let router = router(Api {
        daemon,
        upstream: upstream.clone(),
    });
    server::run(listener, router, upstream, shutdown).await;
    Ok(())
}

fn router(api: Api) -> Router {
    of_the_cluster()
        .route_layer(axum::middleware::from_fn_with_state(
            api.clone(),
            freshness::catch_up,
        ))
        .merge(of_the_host())
        .fallback(forward)
        .method_not_allowed_fallback(forward)
        .with_state(api)
}

/// What is answered by what this host is and does.
fn of_the_host() -> Router<Api> {
    Router::new()
        .route("/_ping", get(system::ping))
        .route("/version", get(system::version))
        .route("/orch/doctor", get(system::doctor))
        .route("/orch/net/drops", get(net::drops))
        .route("/orch/net/tables", get(net::tables).post(net::heal))
        .route("/orch/net/flows", get(net::flows))
        .route("/orch/net/services", get(net::services))
        .route("/orch/net/trace", get(net::trace))
        .route("/swarm/init", post(swarm::init))
        .route("/swarm/join", post(swarm::join))
        .route("/swarm/leave", post(swarm::leave))
        .route("/swarm/unlock", post(swarm::unlock))
        .route("/distribution/{*rest}", get(ask_registry))
}

/// What is answered by the cluster's state.
fn of_the_cluster() -> Router<Api> {
    Router::new()
        .route("/info", get(system::info))
        .route("/orch/services/{id}/warnings", get(services::host_warnings))
        .route("/swarm", get(swarm::inspect))
        .route("/swarm/update", post(swarm::update))
        .route("/swarm/unlockkey", get(swarm::unlock_key))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{id}", get(nodes::inspect).delete(nodes::remove))
        .route("/nodes/{id}/update", post(nodes::update))
        .route("/services", get(services::list))
        .route("/services/create", post(services::create))
        .route(
            "/services/{id}",
            get(services::inspect).delete(services::remove),
        )
        .route("/services/{id}/update", post(services::update))
        .route("/services/{id}/logs", get(services::logs))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{id}", get(tasks::inspect))
        .route("/tasks/{id}/logs", get(services::logs))
        .route("/networks", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route(
            "/networks/{id}",
            get(networks::inspect).delete(networks::remove),
        )
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::connect))
        .route("/secrets", get(objects::list_none))
        .route("/secrets/{*rest}", axum::routing::any(objects::unsupported))
        .route("/configs", get(objects::list_none))
        .route("/configs/{*rest}", axum::routing::any(objects::unsupported))
}

/// Everything that is not the cluster's.
async fn forward(State(api): State<Api>, request: Request<Body>) -> Result<Response, ApiError> {
    proxy::forward(&api.upstream, request).await
}

/// What a registry says of an image.
async fn ask_registry(
    State(api): State<Api>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    proxy::ask_registry(&api.upstream, request, proxy::REGISTRY_PATIENCE).await
}

#[cfg(test)]
mod tests;
