//! `/networks`: the cluster's networks and those of the host's engine as one list.
//!
//! For every cluster network that is in use here the engine has one of its own, of driver
//! `orchd`, which stands for it. Those are not shown: users see the cluster's.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{Request, StatusCode};
use orch_core::control::Command;
use orch_core::objects::{Network, Node};
use orch_core::store::State as Store;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::Api;
use super::convert::network as convert;
use super::error::ApiError;
use super::extract::{self, Params};
use super::filters::Filters;
use super::proxy::{self, ClientVersion};
use super::version;
use crate::daemon::Membership;
use crate::engine::{DRIVER as ENGINE_DRIVER, NETWORK_ID_OPTION};

/// The cluster's networks, as far as this host knows them.
struct Known {
    networks: Vec<Arc<Network>>,
    /// The whole state, on managers.
    state: Option<Store>,
}

impl Known {
    fn of(api: &Api) -> Self {
        match api.daemon.membership() {
            Membership::Inactive | Membership::Pending | Membership::Error(_) => Self {
                networks: Vec::new(),
                state: None,
            },
            Membership::Member(member) => match member.manager {
                Some(manager) => {
                    let state = manager.state();
                    Self {
                        networks: state.networks().cloned().collect(),
                        state: Some(state),
                    }
                }
                None => {
                    let networks = api.daemon.known_networks();
                    Self {
                        networks: networks.into_iter().map(Arc::new).collect(),
                        state: None,
                    }
                }
            },
        }
    }

    /// The network of that id or name.
    fn exact(&self, text: &str) -> Option<&Arc<Network>> {
        let by_id = self
            .networks
            .iter()
            .find(|network| network.id.as_str() == text);
        by_id.or_else(|| {
            self.networks
                .iter()
                .find(|network| network.spec.name == text)
        })
    }

    /// The only network whose id begins with `text`.
    fn by_prefix(&self, text: &str) -> Option<&Arc<Network>> {
        let mut fitting = self
            .networks
            .iter()
            .filter(|n| n.id.as_str().starts_with(text));
        match (text.is_empty(), fitting.next(), fitting.next()) {
            (false, Some(network), None) => Some(network),
            _ => None,
        }
    }

    /// Whether a task or a service uses the network; workers know only networks in use.
    fn is_used(&self, network: &Network) -> bool {
        let Some(state) = &self.state else {
            return true;
        };
        let by_task = state.tasks().any(|task| {
            !task.status.state.is_terminal()
                && task
                    .attachments
                    .iter()
                    .any(|attached| attached.network == network.id)
        });
        by_task
            || state.services().any(|service| {
                let spec = &service.spec;
                spec.task
                    .networks
                    .iter()
                    .chain(&spec.networks)
                    .any(|n| n.target == network.id)
            })
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.state
            .iter()
            .flat_map(|state| state.nodes())
            .map(AsRef::as_ref)
    }
}

/// `GET /networks`.
pub async fn list(
    State(api): State<Api>,
    Extension(client): Extension<ClientVersion>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let text = params.text("filters");
    let accepted = ["dangling", "driver", "id", "label", "name", "scope", "type"];
    let filters = Filters::parse(text, &accepted)?;
    let dangling = filters.flag("dangling")?;
    filters.check("scope", &["swarm", "global", "local"])?;
    filters.check("type", &["custom", "builtin"])?;
    let query = match text {
        "" => String::new(),
        text => format!("?filters={}", utf8_percent_encode(text, NON_ALPHANUMERIC)),
    };
    let path = proxy::engine_path(&api.upstream, client.0, "/networks").await?;
    let answer = api.upstream.get(&(path + &query)).await?;
    let mut shown: Vec<_> = answer
        .as_array()
        .into_iter()
        .flatten()
        .filter(|network| network["Driver"] != ENGINE_DRIVER)
        .cloned()
        .collect();
    let known = Known::of(&api);
    let fitting = known.networks.iter().filter(|network| {
        fits(&filters, network) && dangling.is_none_or(|wanted| wanted != known.is_used(network))
    });
    shown.extend(fitting.map(|network| convert::render(network)));
    Ok(Json(json!(shown)))
}

/// `GET /networks/{id}`: an exact name or id in the cluster, then in the engine, then a prefix.
pub async fn inspect(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let known = Known::of(&api);
    let in_swarm = matches!(params.text("scope"), "" | "swarm");
    if let Some(network) = known.exact(&id).filter(|_| in_swarm) {
        return Ok(Json(render_inspected(&api, &known, network).await).into_response());
    }
    // The engine's own words are passed on unless its network stands for one of the cluster's.
    if let Ok(found) = api.upstream.get(&engine_network_path(&id)).await {
        if found["Driver"] == ENGINE_DRIVER
            && let Some(id) = found["Options"][NETWORK_ID_OPTION].as_str()
            && let Some(network) = known.exact(id)
        {
            return Ok(Json(render_inspected(&api, &known, network).await).into_response());
        }
    } else if let Some(network) = known.by_prefix(&id).filter(|_| in_swarm) {
        return Ok(Json(render_inspected(&api, &known, network).await).into_response());
    }
    proxy::forward(&api.upstream, request).await
}

/// `POST /networks/create`: overlays are the cluster's, all others the engine's.
pub async fn create(State(api): State<Api>, request: Request<Body>) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = extract::read(body).await?;
    let body = extract::parse(&bytes)?;
    match body["Driver"].as_str().unwrap_or_default() {
        convert::DRIVER => create_in_cluster(&api, &body).await,
        ENGINE_DRIVER => Err(ApiError::bad_request(format!(
            "driver {ENGINE_DRIVER} is for orchd's own use: create the network with --driver {}",
            convert::DRIVER
        ))),
        _ => {
            let request = Request::from_parts(parts, Body::from(bytes));
            proxy::forward(&api.upstream, request).await
        }
    }
}

async fn create_in_cluster(api: &Api, body: &Value) -> Result<Response, ApiError> {
    let manager = api.manager()?;
    let spec = convert::decode(body)?;
    let id = manager.run(Command::CreateNetwork(Box::new(spec))).await?;
    let answer = Json(json!({ "Id": id.unwrap_or_default(), "Warning": "" }));
    Ok((StatusCode::CREATED, answer).into_response())
}

/// `DELETE /networks/{id}`.
pub async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let known = Known::of(&api);
    let in_engine = async || api.upstream.get(&engine_network_path(&id)).await.is_ok();
    let found = match known.exact(&id) {
        Some(network) => Some(network),
        None => match known.by_prefix(&id) {
            Some(network) if !in_engine().await => Some(network),
            Some(_) | None => None,
        },
    };
    let Some(network) = found else {
        return proxy::forward(&api.upstream, request).await;
    };
    let manager = api.manager()?;
    manager
        .run(Command::RemoveNetwork(network.id.clone()))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /networks/{id}/connect` and `/disconnect`: the engine knows a cluster network by its
/// name only.
pub async fn connect(
    State(api): State<Api>,
    Path(id): Path<String>,
    mut request: Request<Body>,
) -> Result<Response, ApiError> {
    let known = Known::of(&api);
    if let Some(network) = known.exact(&id).or_else(|| known.by_prefix(&id)) {
        let verb = request.uri().path().rsplit('/').next().unwrap_or_default();
        let path = format!("{}/{verb}", engine_network_path(&network.spec.name));
        *request.uri_mut() = version::with_path(request.uri(), &path)
            .map_err(|error| ApiError::bad_request(format!("invalid path: {error}")))?;
    }
    proxy::forward(&api.upstream, request).await
}

/// `POST /networks/prune`: the engine's unused networks, but not those that stand for cluster
/// networks, whose users may be elsewhere.
pub async fn prune(
    State(api): State<Api>,
    params: Params,
    mut request: Request<Body>,
) -> Result<Response, ApiError> {
    let filters = spare_cluster_networks(params.text("filters"))?;
    let query = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
    *request.uri_mut() = format!("/networks/prune?filters={query}")
        .parse()
        .map_err(|error| ApiError::bad_request(format!("invalid filter: {error}")))?;
    proxy::forward(&api.upstream, request).await
}

/// The filters of a prune with one more: nothing that carries our label.
fn spare_cluster_networks(filters: &str) -> Result<String, ApiError> {
    const NOT_LABELLED: &str = "label!";
    let malformed = || ApiError::bad_request(format!("invalid filter: {filters}"));
    let mut fields: Map<String, Value> = match filters {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(|_| malformed())?,
    };
    match fields.entry(NOT_LABELLED).or_insert_with(|| json!([])) {
        Value::Array(labels) => labels.push(json!(NETWORK_ID_OPTION)),
        Value::Object(labels) => {
            labels.insert(NETWORK_ID_OPTION.to_owned(), json!(true));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(malformed());
        }
    }
    Ok(Value::Object(fields).to_string())
}

fn fits(filters: &Filters, network: &Network) -> bool {
    filters.any("id", |part| network.id.as_str().contains(part))
        && filters.any("name", |part| network.spec.name.contains(part))
        && filters.any("driver", |driver| driver == convert::DRIVER)
        && filters.any("scope", |scope| scope == convert::SCOPE)
        && filters.any("type", |kind| kind == "custom")
        && filters.labels("label", &network.spec.labels)
}

fn engine_network_path(name: &str) -> String {
    format!("/networks/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// A cluster network with what is known of who is on it: all nodes, and this host's containers.
async fn render_inspected(api: &Api, known: &Known, network: &Network) -> Value {
    let mut shown = convert::render(network);
    shown["Peers"] = convert::render_peers(known.nodes());
    shown["Containers"] = json!({});
    match api
        .upstream
        .get(&engine_network_path(&network.spec.name))
        .await
    {
        Ok(here) if here["Driver"] == ENGINE_DRIVER => {
            shown["Containers"] = here["Containers"].clone();
        }
        // No container of this host is on it.
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, network = %network.spec.name, "not in the engine"),
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prune_never_touches_what_stands_for_a_cluster_network() {
        let label = NETWORK_ID_OPTION;
        let expected = [
            ("", json!({"label!": [label]})),
            (
                r#"{"until":{"5m":true}}"#,
                json!({"until": {"5m": true}, "label!": [label]}),
            ),
            (r#"{"label!":["a"]}"#, json!({"label!": ["a", label]})),
            (
                r#"{"label!":{"a":true}}"#,
                json!({"label!": {"a": true, label: true}}),
            ),
        ];
        for (given, expected) in expected {
            let filters = spare_cluster_networks(given).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&filters).unwrap(), expected);
        }
        assert!(spare_cluster_networks("{").is_err());
    }
}
