//! Containers that somebody attached to a cluster network on a host's own engine.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ControlError;
use crate::allocate::AddressBook;
use crate::ids::{NetworkId, NodeId, TaskId};
use crate::network::Family;
use crate::objects::task::{NetworkAttachment, TaskOwner, TaskSpec, TaskStatus};
use crate::objects::{Meta, Network, Task};
use crate::store::{Object, ObjectKey, Tx};
use crate::task_state::{DesiredState, TaskState};
use crate::validate;

/// A container on a node's own engine asks for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The engine's endpoint id; names the attachment from now on.
    pub endpoint: String,
    /// The network.
    pub network: NetworkId,
    /// A certain address, as `docker run --ip` asks for; `None` takes any.
    pub address: Option<IpAddr>,
    /// The family of any address. A container with an address of each borrows twice.
    #[serde(default)]
    pub family: Family,
}

/// Lends a container an address. Asking again for the same endpoint gives the same answer.
pub fn attach(
    tx: &mut Tx<'_>,
    node: &NodeId,
    request: AttachRequest,
) -> Result<Task, ControlError> {
    if let Some(task) = of_endpoint(tx, node, &request.endpoint) {
        return Ok(task);
    }
    if tx.node(node).is_none() {
        return Err(ControlError::not_found("node", node));
    }
    let found = tx
        .network(&request.network)
        .ok_or_else(|| ControlError::not_found("network", &request.network))?;
    let mut network = Network::clone(found);
    if !network.spec.attachable {
        return Err(ControlError::PermissionDenied(format!(
            "network {} not manually attachable",
            network.spec.name
        )));
    }
    let mut book = AddressBook::of(tx);
    let address = match request.address {
        Some(wanted) => book.take(&network, wanted)?,
        None => book.take_next(&mut network, request.family)?,
    };
    tx.put(Object::Network(network));
    let task = Task {
        id: TaskId::from_random(tx.random()),
        meta: Meta::default(),
        owner: TaskOwner::Attachment {
            endpoint: request.endpoint,
        },
        spec: TaskSpec::default(),
        spec_version: 0,
        node: Some(node.clone()),
        status: TaskStatus {
            state: TaskState::Running,
            since: tx.now(),
            message: "attached".to_owned(),
            error: String::new(),
            container: None,
        },
        desired: DesiredState::Running,
        not_before: None,
        running_since: Some(tx.now()),
        attachments: vec![NetworkAttachment {
            network: request.network,
            addresses: vec![address],
            aliases: Vec::new(),
        }],
    };
    tx.put(Object::Task(task.clone()));
    Ok(task)
}

/// Takes down what a container that was lent an address is called, as the node's engine says. What
/// cannot be a name is left out; an unknown endpoint has none.
pub fn name_attachment(tx: &mut Tx<'_>, node: &NodeId, endpoint: &str, names: &[String]) {
    let Some(mut task) = of_endpoint(tx, node, endpoint) else {
        return;
    };
    let fit = names.iter().filter(|name| validate::is_dns_name(name));
    let fit: Vec<String> = fit.cloned().collect();
    if task.attachments.iter().any(|a| a.aliases != fit) {
        for attachment in &mut task.attachments {
            attachment.aliases.clone_from(&fit);
        }
        tx.put(Object::Task(task));
    }
}

/// Takes a container's address back. An unknown endpoint has none: nothing happens.
pub fn detach(tx: &mut Tx<'_>, node: &NodeId, endpoint: &str) {
    if let Some(task) = of_endpoint(tx, node, endpoint) {
        tx.remove(ObjectKey::Task(task.id));
    }
}

/// Drops the attachments of a node whose endpoints are gone from its engine.
pub fn sync_attachments(tx: &mut Tx<'_>, node: &NodeId, live_endpoints: &BTreeSet<String>) {
    let gone: Vec<_> = attachments(tx, node)
        .filter(|(endpoint, _)| !live_endpoints.contains(*endpoint))
        .map(|(_, task)| task.id.clone())
        .collect();
    for id in gone {
        tx.remove(ObjectKey::Task(id));
    }
}

fn attachments<'a>(tx: &'a Tx<'_>, node: &'a NodeId) -> impl Iterator<Item = (&'a str, &'a Task)> {
    tx.tasks()
        .filter(move |t| t.node.as_ref() == Some(node))
        .filter_map(|t| match &t.owner {
            TaskOwner::Attachment { endpoint } => Some((endpoint.as_str(), t.as_ref())),
            TaskOwner::Service { .. } => None,
        })
}

fn of_endpoint(tx: &Tx<'_>, node: &NodeId, endpoint: &str) -> Option<Task> {
    attachments(tx, node)
        .find(|(e, _)| *e == endpoint)
        .map(|(_, task)| task.clone())
}
