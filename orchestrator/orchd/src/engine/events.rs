//! What happens to the engine's containers, as it happens.

use std::collections::HashMap;
use std::time::SystemTime;

use bollard::models::EventActor;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt as _};
use orch_core::ids::{NodeId, TaskId};

use super::{CALL_TIMEOUT, Engine, EngineError, labels};

/// Container events after which a task's container is not what it was. Health events carry the
/// new health behind a colon.
const ACTIONS: [&str; 8] = [
    "create",
    "start",
    "die",
    "stop",
    "destroy",
    "pause",
    "unpause",
    "health_status",
];

/// Something happened to a task's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// The task.
    pub task: TaskId,
    /// The engine's id of its container.
    pub container: String,
}

impl Engine {
    /// Events of this node's task containers since `since`, to the second. The stream ends,
    /// usually with an error, when the engine goes away.
    pub fn container_events(
        &self,
        node: &NodeId,
        since: SystemTime,
    ) -> Result<impl Stream<Item = Result<ContainerEvent, EngineError>> + Unpin, EngineError> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{}={node}", labels::NODE_ID)]),
            ("event", ACTIONS.map(str::to_owned).to_vec()),
        ]);
        self.events(filters, since, container_event)
    }

    /// Ids of containers that joined a network or got another name, since `since`, to the second.
    /// The stream ends, usually with an error, when the engine goes away.
    pub fn naming_events(
        &self,
        since: SystemTime,
    ) -> Result<impl Stream<Item = Result<String, EngineError>> + Unpin, EngineError> {
        let filters = HashMap::from([
            ("type", vec!["network".to_owned(), "container".to_owned()]),
            ("event", vec!["connect".to_owned(), "rename".to_owned()]),
        ]);
        self.events(filters, since, naming_event)
    }

    fn events<T>(
        &self,
        filters: HashMap<&str, Vec<String>>,
        since: SystemTime,
        read: impl Fn(EventActor) -> Option<T>,
    ) -> Result<impl Stream<Item = Result<T, EngineError>> + Unpin, EngineError> {
        let since = since
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let options = EventsOptionsBuilder::new()
            .since(&since.to_string())
            .filters(&filters)
            .build();
        let events = self.docker(CALL_TIMEOUT)?.events(Some(options));
        let socket = self.clone();
        Ok(Box::pin(events.filter_map(move |event| {
            std::future::ready(match event {
                Ok(event) => event.actor.and_then(&read).map(Ok),
                Err(error) => Some(Err(socket.error()(error))),
            })
        })))
    }
}

/// A network's event names the container in its attributes, a container's event is about it.
fn naming_event(actor: EventActor) -> Option<String> {
    let attributes = actor.attributes.unwrap_or_default();
    attributes.get("container").cloned().or(actor.id)
}

/// `None` when the container's labels are not those of a task.
fn container_event(actor: EventActor) -> Option<ContainerEvent> {
    let task = TaskId::parse(actor.attributes?.get(labels::TASK_ID)?).ok()?;
    Some(ContainerEvent {
        task,
        container: actor.id?,
    })
}
