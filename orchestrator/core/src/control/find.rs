//! Finds objects by what a user types: id, name or unique beginning of an id, in that order.

use std::sync::Arc;

use super::ControlError;
use crate::ids::{NetworkId, NodeId, ServiceId, TaskId};
use crate::objects::{Network, Node, Service, Task};
use crate::store::State;

/// The service that `text` means.
pub fn find_service(state: &State, text: &str) -> Result<Arc<Service>, ControlError> {
    let exact = ServiceId::parse(text)
        .ok()
        .and_then(|id| state.service(&id));
    match exact.or_else(|| state.service_by_name(text)) {
        Some(service) => Ok(Arc::clone(service)),
        None => by_prefix("service", text, state.services(), |s| s.id.as_str()),
    }
}

/// The node that `text` means. Hostnames need not be unique: an ambiguous one is refused.
pub fn find_node(state: &State, text: &str) -> Result<Arc<Node>, ControlError> {
    if let Some(node) = NodeId::parse(text).ok().and_then(|id| state.node(&id)) {
        return Ok(Arc::clone(node));
    }
    let named = state.nodes().filter(|n| {
        n.spec.name.as_deref() == Some(text)
            || n.description.as_ref().is_some_and(|d| d.hostname == text)
    });
    match only_one("node", text, named)? {
        Some(node) => Ok(node),
        None => by_prefix("node", text, state.nodes(), |n| n.id.as_str()),
    }
}

/// The network that `text` means.
pub fn find_network(state: &State, text: &str) -> Result<Arc<Network>, ControlError> {
    let exact = NetworkId::parse(text)
        .ok()
        .and_then(|id| state.network(&id));
    match exact.or_else(|| state.network_by_name(text)) {
        Some(network) => Ok(Arc::clone(network)),
        None => by_prefix("network", text, state.networks(), |n| n.id.as_str()),
    }
}

/// The task that `text` means; tasks have no names.
pub fn find_task(state: &State, text: &str) -> Result<Arc<Task>, ControlError> {
    match TaskId::parse(text).ok().and_then(|id| state.task(&id)) {
        Some(task) => Ok(Arc::clone(task)),
        None => by_prefix("task", text, state.tasks(), |t| t.id.as_str()),
    }
}

/// The only object whose id begins with `text`.
fn by_prefix<'a, T: 'a>(
    kind: &'static str,
    text: &str,
    objects: impl Iterator<Item = &'a Arc<T>>,
    id: impl Fn(&T) -> &str,
) -> Result<Arc<T>, ControlError> {
    let fitting = objects.filter(|o| !text.is_empty() && id(o).starts_with(text));
    only_one(kind, text, fitting)?.ok_or_else(|| ControlError::not_found(kind, text))
}

fn only_one<'a, T: 'a>(
    kind: &'static str,
    text: &str,
    fitting: impl Iterator<Item = &'a Arc<T>>,
) -> Result<Option<Arc<T>>, ControlError> {
    let found: Vec<_> = fitting.collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(Arc::clone(one))),
        many => Err(ControlError::Ambiguous {
            kind: kind.into(),
            name: text.to_owned(),
            matches: many.len(),
        }),
    }
}
