//! `/tasks`.

use axum::Json;
use axum::extract::{Path, State};
use orch_core::control::{find_node, find_service, find_task};
use orch_core::ids::{NodeId, ServiceId};
use orch_core::objects::task::TaskOwner;
use orch_core::objects::{Labels, Task};
use orch_core::orchestrate::is_up_to_date;
use orch_core::store::State as Store;
use serde_json::{Value, json};

use super::Api;
use super::convert::task;
use super::error::ApiError;
use super::extract::Params;
use super::filters::Filters;

/// Words that clients may filter the desired state by: all of Docker's task states.
const STATES: [&str; 14] = [
    "new",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "running",
    "complete",
    "shutdown",
    "failed",
    "rejected",
    "remove",
    "orphaned",
];

/// `GET /tasks`.
pub async fn list(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let state = api.manager()?.state();
    Ok(Json(filtered(&state, params.text("filters"))?))
}

/// `GET /tasks/{id}`.
pub async fn inspect(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let state = api.manager()?.state();
    let found = find_task(&state, &id)?;
    Ok(Json(task::render(&found, &state)))
}

/// Filters whose values are resolved against the state.
struct Wanted {
    filters: Filters,
    services: Vec<ServiceId>,
    nodes: Vec<NodeId>,
    up_to_date: Option<bool>,
}

fn filtered(state: &Store, filters: &str) -> Result<Value, ApiError> {
    let accepted = [
        "id",
        "name",
        "label",
        "service",
        "node",
        "desired-state",
        "runtime",
        "_up-to-date",
    ];
    let filters = Filters::parse(filters, &accepted)?;
    filters.check("desired-state", &STATES)?;
    let services = filters
        .values("service")
        .iter()
        .map(|text| Ok(find_service(state, text)?.id.clone()))
        .collect::<Result<_, ApiError>>()?;
    let nodes = filters
        .values("node")
        .iter()
        .map(|text| Ok(find_node(state, text)?.id.clone()))
        .collect::<Result<_, ApiError>>()?;
    let up_to_date = filters.flag("_up-to-date")?;
    let wanted = Wanted {
        filters,
        services,
        nodes,
        up_to_date,
    };
    let shown: Vec<_> = state
        .tasks()
        .filter(|found| wanted.fits(state, found))
        .map(|found| task::render(found, state))
        .collect();
    Ok(json!(shown))
}

impl Wanted {
    fn fits(&self, state: &Store, task: &Task) -> bool {
        let filters = &self.filters;
        filters.any("id", |prefix| task.id.as_str().starts_with(prefix))
            && filters.any("desired-state", |word| task.desired.as_str() == word)
            && (self.nodes.is_empty()
                || task
                    .node
                    .as_ref()
                    .is_some_and(|node| self.nodes.contains(node)))
            && self.fits_owner(state, task)
    }

    /// What depends on whose task it is. Without a filter for the runtime, containers that
    /// somebody attached to a network are not shown, as in Docker.
    fn fits_owner(&self, state: &Store, task: &Task) -> bool {
        let filters = &self.filters;
        match &task.owner {
            TaskOwner::Service { id, name, slot } => {
                let service = state.service(id);
                let none = Labels::new();
                let labels = service.map_or(&none, |service| &service.spec.labels);
                let full_name = format!("{name}.{slot}.{}", task.id);
                filters.any("runtime", |word| word == "container")
                    && (self.services.is_empty() || self.services.contains(id))
                    && filters.any("name", |prefix| full_name.starts_with(prefix))
                    && filters.labels("label", labels)
                    && self.up_to_date.is_none_or(|wanted| {
                        service.is_some_and(|service| is_up_to_date(service, task)) == wanted
                    })
            }
            TaskOwner::Attachment { .. } => {
                filters
                    .values("runtime")
                    .iter()
                    .any(|word| word == "attachment")
                    && self.services.is_empty()
                    && filters.values("name").is_empty()
                    && filters.values("label").is_empty()
                    && self.up_to_date.is_none()
            }
        }
    }
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
