//! `/services`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use orch_core::control::{self, Command, find_network, find_service};
use orch_core::objects::service::ServiceMode;
use orch_core::objects::task::TaskOwner;
use orch_core::objects::{Service, ServiceSpec};
use orch_core::store::State as Store;
use orch_core::task_state::{DesiredState, TaskState};
use serde_json::{Value, json};

use super::Api;
use super::convert::{service, task_spec};
use super::error::ApiError;
use super::extract::{JsonBody, Params};
use super::filters::Filters;

/// `GET /services`.
pub async fn list(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let state = api.manager()?.state();
    Ok(Json(filtered(
        &state,
        params.text("filters"),
        params.flag("status"),
    )?))
}

/// `POST /services/create`.
pub async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let manager = api.manager()?;
    let spec = decode(&manager.state(), body)?;
    let id = manager.run(Command::CreateService(Box::new(spec))).await?;
    let mut answer = json!({ "ID": id.unwrap_or_default() });
    if let Some(warnings) = warnings(&headers) {
        answer["Warnings"] = warnings;
    }
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `GET /services/{id}`.
pub async fn inspect(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let found = find_service(&api.manager()?.state(), &id)?;
    Ok(Json(match params.flag("insertDefaults") {
        true => service::render_with_defaults(&found),
        false => service::render(&found),
    }))
}

/// `POST /services/{id}/update`: the whole spec anew, or the previous one.
pub async fn update(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let manager = api.manager()?;
    let version = params.version("service")?;
    let state = manager.state();
    let id = find_service(&state, &id)?.id.clone();
    match params.text("rollback") {
        "" => {
            let spec = decode(&state, body)?;
            let spec = Box::new(spec);
            manager
                .run(Command::UpdateService { id, version, spec })
                .await?;
        }
        "previous" => {
            manager
                .run(Command::RollbackService { id, version })
                .await?;
        }
        other => {
            return Err(ApiError::bad_request(format!(
                "unrecognized rollback option {other}: only \"previous\" is known"
            )));
        }
    }
    Ok(Json(json!({ "Warnings": warnings(&headers) })))
}

/// `GET /orch/services/{id}/warnings`: what its user should know of the hosts.
pub async fn host_warnings(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let state = api.manager()?.state();
    let found = find_service(&state, &id)?;
    Ok(Json(json!(control::service_warnings(&state, &found))))
}

/// `DELETE /services/{id}`.
pub async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<(), ApiError> {
    let manager = api.manager()?;
    let id = find_service(&manager.state(), &id)?.id.clone();
    manager.run(Command::RemoveService(id)).await?;
    Ok(())
}

/// `GET /services/{id}/logs` and `GET /tasks/{id}/logs`.
pub async fn logs(State(api): State<Api>) -> Result<(), ApiError> {
    api.manager()?;
    Err(ApiError::not_implemented(
        "service logs are not supported yet: run \"docker logs\" on the task's node",
    ))
}

fn decode(state: &Store, mut body: Value) -> Result<ServiceSpec, ApiError> {
    task_spec::resolve_networks(&mut body, |name| {
        find_network(state, name).map(|network| network.id.clone())
    })?;
    Ok(service::decode(&body)?)
}

/// What the user should know though the request is carried out.
fn warnings(headers: &HeaderMap) -> Option<Value> {
    /// An empty JSON object in base 64: a client without credentials.
    const NO_CREDENTIALS: &[u8] = b"e30=";
    let credentials = headers
        .get("x-registry-auth")
        .map_or(&b""[..], |value| value.as_bytes());
    (!credentials.is_empty() && credentials != NO_CREDENTIALS).then(|| {
        json!(["registry credentials are not sent to the nodes yet: each node pulls with its own"])
    })
}

fn filtered(state: &Store, filters: &str, with_status: bool) -> Result<Value, ApiError> {
    let filters = Filters::parse(filters, &["id", "label", "mode", "name", "runtime"])?;
    filters.check(
        "mode",
        &["replicated", "global", "replicated-job", "global-job"],
    )?;
    let shown: Vec<_> = state
        .services()
        .filter(|found| fits(&filters, found))
        .map(|found| {
            let mut shown = service::render(found);
            if with_status {
                shown["ServiceStatus"] = status(state, found);
            }
            shown
        })
        .collect();
    Ok(json!(shown))
}

fn fits(filters: &Filters, service: &Service) -> bool {
    let mode = match service.spec.mode {
        ServiceMode::Replicated { .. } => "replicated",
    };
    filters.any("id", |prefix| service.id.as_str().starts_with(prefix))
        && filters.any("name", |prefix| service.spec.name.starts_with(prefix))
        && filters.any("mode", |word| word == mode)
        && filters.any("runtime", |word| word == "container")
        && filters.labels("label", &service.spec.labels)
}

/// How many of the wanted tasks run, for `docker service ls`.
fn status(state: &Store, service: &Service) -> Value {
    let ServiceMode::Replicated { replicas } = service.spec.mode;
    let running = state
        .tasks()
        .filter(|t| matches!(&t.owner, TaskOwner::Service { id, .. } if *id == service.id))
        .filter(|t| t.status.state == TaskState::Running && t.desired <= DesiredState::Running)
        .count();
    json!({ "RunningTasks": running, "DesiredTasks": replicas, "CompletedTasks": 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixtures;

    fn names(filters: Value) -> Vec<String> {
        let shown = filtered(&fixtures::state(), &filters.to_string(), false).unwrap();
        let name = |shown: &Value| shown["Spec"]["Name"].as_str().unwrap().to_owned();
        shown.as_array().unwrap().iter().map(name).collect()
    }

    #[test]
    fn lists_are_narrowed_as_docker_narrows_them() {
        assert_eq!(names(json!({})), ["web", "db"]);
        assert_eq!(names(json!({"name": ["we"]})), ["web"]);
        assert_eq!(names(json!({"label": ["app=db"]})), ["db"]);
        assert_eq!(
            names(json!({"mode": ["replicated"], "runtime": ["container"]})),
            ["web", "db"]
        );
        assert!(names(json!({"mode": ["global"]})).is_empty());
        let refused = filtered(&fixtures::state(), r#"{"mode":["any"]}"#, false).unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_status_counts_tasks_that_run_and_shall_run() {
        let shown = filtered(&fixtures::state(), "", true).unwrap();
        let expected = json!({"RunningTasks": 1, "DesiredTasks": 1, "CompletedTasks": 0});
        assert_eq!(shown[0]["ServiceStatus"], expected);
        let without = filtered(&fixtures::state(), "", false).unwrap();
        assert_eq!(without[0].get("ServiceStatus"), None);
    }

    #[test]
    fn credentials_that_nobody_uses_are_warned_of() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("x-registry-auth"),
                http::HeaderValue::from_static(value),
            )])
        };
        assert!(warnings(&headers("eyJ1c2VybmFtZSI6ImEifQ==")).is_some());
        assert_eq!(warnings(&headers("e30=")), None);
        assert_eq!(warnings(&HeaderMap::new()), None);
    }
}
