//! Flags to the API's JSON, pure. A spec is edited as JSON, not as a model of ours, so that a
//! field this client does not know survives being read, edited and posted back.

mod capabilities;
mod common;
mod create;
pub mod endpoint_options;
pub mod network;
pub mod node;
pub mod swarm;
mod update;
#[cfg(test)]
mod update_tests;

pub use create::create;
pub use update::{Resolved, scale, update};

use serde_json::{Map, Value};

/// Why a combination of flags cannot become a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

impl SpecError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// A JSON object under construction or being edited. Paths are dotted, as in
/// `TaskTemplate.ContainerSpec.Env`; missing objects on the way are made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec(Map<String, Value>);

impl Spec {
    /// An existing spec to edit; anything but an object counts as empty.
    pub fn new(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Self::default(),
        }
    }

    /// The JSON to post.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// What is at `path`, if anything.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let found = self.0.get(first)?;
        if rest.is_empty() {
            Some(found)
        } else {
            found.pointer(&pointer(rest))
        }
    }

    /// Whether something other than null is at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.get(path).is_some_and(|value| !value.is_null())
    }

    /// The value at `path` as text; empty when there is none.
    pub fn text(&self, path: &str) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// Puts `value` at `path`.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        *self.slot(path) = value.into();
    }

    /// Puts the value at `path` when there is one.
    pub fn set_some<T: Into<Value>>(&mut self, path: &str, value: Option<T>) {
        if let Some(value) = value {
            self.set(path, value);
        }
    }

    /// Removes what is at `path`.
    pub fn remove(&mut self, path: &str) {
        match path.rsplit_once('.') {
            None => {
                self.0.remove(path);
            }
            Some((parent, key)) if self.has(parent) => {
                self.object(parent).remove(key);
            }
            Some(_) => {}
        }
    }

    /// The object at `path`.
    pub fn object(&mut self, path: &str) -> &mut Map<String, Value> {
        as_object(self.slot(path))
    }

    /// A copy of the list at `path`; empty when there is none.
    pub fn list(&self, path: &str) -> Vec<Value> {
        self.get(path)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    }

    /// A copy of the list of texts at `path`.
    pub fn texts(&self, path: &str) -> Vec<String> {
        self.list(path)
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    /// Puts a list at `path`, or takes the field away when the list is empty.
    pub fn set_list<T: Into<Value>>(&mut self, path: &str, list: Vec<T>) {
        if list.is_empty() {
            self.remove(path);
        } else {
            self.set(
                path,
                list.into_iter().map(Into::into).collect::<Vec<Value>>(),
            );
        }
    }

    fn slot(&mut self, path: &str) -> &mut Value {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut slot = self.0.entry(first).or_insert(Value::Null);
        for key in rest.split('.').filter(|key| !key.is_empty()) {
            slot = as_object(slot).entry(key).or_insert(Value::Null);
        }
        slot
    }
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

fn as_object(slot: &mut Value) -> &mut Map<String, Value> {
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("made an object just above")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_made_and_removed() {
        let mut spec = Spec::new(json!({"Name": "a", "Unknown": [1]}));
        spec.set("TaskTemplate.ContainerSpec.Image", "redis");
        spec.object("Labels").insert("a.b".into(), json!("c"));
        spec.set_list("TaskTemplate.Networks", Vec::<Value>::new());
        assert_eq!(spec.text("TaskTemplate.ContainerSpec.Image"), "redis");
        assert!(!spec.has("TaskTemplate.Networks"));
        spec.remove("TaskTemplate.ContainerSpec.Image");
        spec.remove("Missing.Field");
        assert_eq!(
            spec.into_value(),
            json!({
                "Name": "a", "Unknown": [1], "Labels": {"a.b": "c"},
                "TaskTemplate": {"ContainerSpec": {}}
            })
        );
    }
}
