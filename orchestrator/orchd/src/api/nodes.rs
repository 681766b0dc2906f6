//! `/nodes`.

use axum::Json;
use axum::extract::{Path, State};
use orch_core::control::{Command, find_node};
use orch_core::objects::Node;
use orch_core::store::State as Store;
use serde_json::{Value, json};

use super::Api;
use super::convert::node::Managers;
use super::convert::{cluster, node, words};
use super::error::ApiError;
use super::extract::{JsonBody, Params};
use super::filters::Filters;

/// `GET /nodes`.
pub async fn list(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let control = api.manager()?;
    let managers = Managers::seen_by(control.manager());
    Ok(Json(filtered(
        &control.state(),
        &managers,
        params.text("filters"),
    )?))
}

/// `GET /nodes/{id}`.
pub async fn inspect(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let control = api.manager()?;
    let state = control.state();
    let found = find_node(&state, &id)?;
    let managers = Managers::seen_by(control.manager());
    Ok(Json(node::render(&found, &managers, &tls_info(&state))))
}

/// `POST /nodes/{id}/update`.
pub async fn update(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<(), ApiError> {
    let manager = api.manager()?;
    let version = params.version("node")?;
    let id = find_node(&manager.state(), &id)?.id.clone();
    let spec = node::decode(&body)?;
    manager
        .run(Command::UpdateNode { id, version, spec })
        .await?;
    Ok(())
}

/// `DELETE /nodes/{id}`.
pub async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
) -> Result<(), ApiError> {
    let manager = api.manager()?;
    let force = params.flag("force");
    let id = find_node(&manager.state(), &id)?.id.clone();
    manager.run(Command::RemoveNode { id, force }).await?;
    Ok(())
}

fn tls_info(state: &Store) -> Value {
    state
        .cluster()
        .map_or_else(|| json!({}), |cluster| cluster::tls_info(&cluster.root_ca))
}

fn filtered(state: &Store, managers: &Managers, filters: &str) -> Result<Value, ApiError> {
    let accepted = ["id", "label", "node.label", "membership", "name", "role"];
    let filters = Filters::parse(filters, &accepted)?;
    filters.check("role", &["worker", "manager"])?;
    filters.check("membership", &["accepted", "pending"])?;
    let tls = tls_info(state);
    let shown: Vec<_> = state
        .nodes()
        .filter(|found| fits(&filters, found))
        .map(|found| node::render(found, managers, &tls))
        .collect();
    Ok(json!(shown))
}

fn fits(filters: &Filters, node: &Node) -> bool {
    let description = node.description.clone().unwrap_or_default();
    let name = node.spec.name.as_deref().unwrap_or(&description.hostname);
    filters.any("id", |prefix| node.id.as_str().starts_with(prefix))
        && filters.any("name", |prefix| name.starts_with(prefix))
        && filters.any("role", |role| words::word(words::ROLES, node.spec.role) == role)
        // A node is in the store from the moment that it was let in.
        && filters.any("membership", |membership| membership == "accepted")
        && filters.labels("label", &description.engine_labels)
        && filters.labels("node.label", &node.spec.labels)
}
