//! Tasks as Docker shows them. Nobody posts a task.

use orch_core::objects::task::{TaskOwner, TaskStatus};
use orch_core::objects::{Service, Task};
use orch_core::store::State;
use serde_json::{Value, json};

use super::scalar::{object, rfc3339};
use super::{endpoint, network, task_spec};

/// A task; `state` knows its networks and its service.
pub fn render(task: &Task, state: &State) -> Value {
    let mut fields = json!({
        "Labels": {},
        "Spec": task_spec::encode(&task.spec),
        "Status": render_status(&task.status),
        "DesiredState": task.desired.as_str(),
    });
    match &task.owner {
        TaskOwner::Service { id, slot, .. } => {
            fields["ServiceID"] = json!(id.as_str());
            fields["Slot"] = json!(slot);
            fields["Status"]["PortStatus"] =
                port_status(task, state.service(id).map(AsRef::as_ref));
        }
        TaskOwner::Attachment { .. } => {
            let container = task.status.container.as_ref().map_or("", |c| c.id.as_str());
            fields["Spec"] = json!({
                "NetworkAttachmentSpec": { "ContainerID": container },
                "ForceUpdate": 0,
                "Runtime": "attachment",
            });
        }
    }
    if let Some(node) = &task.node {
        fields["NodeID"] = json!(node.as_str());
    }
    let attachments = render_attachments(task, state);
    if !attachments.is_empty() {
        fields["NetworksAttachments"] = json!(attachments);
    }
    object(task.id.as_str(), &task.meta, fields)
}

fn render_status(status: &TaskStatus) -> Value {
    let mut out = json!({
        "Timestamp": rfc3339(status.since),
        "State": status.state.as_str(),
        "Message": status.message,
        "PortStatus": {},
    });
    if !status.error.is_empty() {
        out["Err"] = json!(status.error);
    }
    if let Some(container) = &status.container {
        out["ContainerStatus"] = json!({
            "ContainerID": container.id,
            "PID": container.pid,
            "ExitCode": container.exit_code.unwrap_or_default(),
        });
    }
    out
}

/// Ports that this task itself opens on its host: those published in host mode while it runs.
fn port_status(task: &Task, service: Option<&Service>) -> Value {
    use orch_core::objects::service::PublishMode;
    use orch_core::task_state::TaskState;
    let ports: Vec<_> = service
        .filter(|_| task.status.state == TaskState::Running)
        .into_iter()
        .flat_map(|service| &service.endpoint.ports)
        .filter(|port| port.mode == PublishMode::Host)
        .map(endpoint::encode_port)
        .collect();
    if ports.is_empty() {
        json!({})
    } else {
        json!({ "Ports": ports })
    }
}

fn render_attachments(task: &Task, state: &State) -> Vec<Value> {
    task.attachments
        .iter()
        .filter_map(|attachment| {
            let network = state.network(&attachment.network)?;
            let addresses: Vec<_> = attachment
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect();
            Some(json!({ "Network": network::render_for_task(network), "Addresses": addresses }))
        })
        .collect()
}
