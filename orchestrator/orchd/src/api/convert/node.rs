//! Nodes: the spec both ways, and the object as Docker shows it.

use std::collections::BTreeSet;

use orch_core::objects::node::{ManagerStatus, Node, NodeDescription, NodeSpec, NodeState};
use orch_core::objects::{Labels, node};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scalar::{is_default, nonempty, object};
use super::{ConvertError, lossless, words};
use crate::manager::ManagerHandle;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Spec {
    #[serde(skip_serializing_if = "is_default")]
    name: String,
    labels: Labels,
    role: String,
    availability: String,
}

/// A spec as posted. Role and availability must be given, as in Docker.
pub fn decode(input: &Value) -> Result<NodeSpec, ConvertError> {
    let wire: Spec = lossless::parse(input)?;
    let missing = |field| ConvertError::invalid(field, "it must be given");
    let spec = NodeSpec {
        name: nonempty(wire.name),
        labels: wire.labels,
        role: words::parse("Role", words::ROLES, &wire.role)?.ok_or_else(|| missing("Role"))?,
        availability: words::parse("Availability", words::AVAILABILITIES, &wire.availability)?
            .ok_or_else(|| missing("Availability"))?,
    };
    lossless::ensure_kept(input, &encode(&spec))?;
    Ok(spec)
}

fn encode(spec: &NodeSpec) -> Spec {
    Spec {
        name: spec.name.clone().unwrap_or_default(),
        labels: spec.labels.clone(),
        role: words::word(words::ROLES, spec.role).to_owned(),
        availability: words::word(words::AVAILABILITIES, spec.availability).to_owned(),
    }
}

/// What a manager knows of the others.
#[derive(Debug, Clone, Default)]
pub struct Managers {
    /// The one that leads.
    pub leader: Option<u64>,
    /// Those with a vote: the swarm cannot count on others yet.
    pub voters: BTreeSet<u64>,
    /// Those that answer; known to the one that leads.
    pub active: Option<BTreeSet<u64>>,
}

impl Managers {
    /// As this one sees them.
    pub fn seen_by(manager: &ManagerHandle) -> Self {
        let group = manager.group();
        Self {
            leader: manager.leadership().borrow().leader,
            voters: group.voters,
            active: manager.leads().then_some(group.active),
        }
    }

    fn reachability(&self, manager: &ManagerStatus, node: NodeState) -> &'static str {
        if !self.voters.contains(&manager.raft_id) {
            return "unknown";
        }
        match (&self.active, node) {
            (Some(active), _) if active.contains(&manager.raft_id) => "reachable",
            (Some(_), _) => "unreachable",
            (None, NodeState::Ready) => "reachable",
            (None, NodeState::Down | NodeState::Disconnected | NodeState::Unreachable) => {
                "unreachable"
            }
            (None, NodeState::Unknown) => "unknown",
        }
    }
}

/// A node as Docker shows it; `tls` is the cluster's trust root ([`super::cluster::tls_info`]).
pub fn render(node: &Node, managers: &Managers, tls: &Value) -> Value {
    let unknown = NodeDescription::default();
    let mut fields = json!({
        "Spec": encode(&node.spec),
        "Description": render_description(node.description.as_ref().unwrap_or(&unknown), tls),
        "Status": {
            "State": words::word(words::NODE_STATES, node.status.state),
            "Message": node.status.message,
            "Addr": node.status.address.map(|a| a.to_string()).unwrap_or_default(),
        },
    });
    if let Some(manager) = &node.manager {
        fields["ManagerStatus"] = json!({
            "Leader": managers.leader == Some(manager.raft_id),
            "Reachability": managers.reachability(manager, node.status.state),
            "Addr": manager.address.to_string(),
        });
    }
    object(node.id.as_str(), &node.meta, fields)
}

fn render_description(node: &node::NodeDescription, tls: &Value) -> Value {
    let plugins: Vec<_> = node
        .plugins
        .iter()
        .map(|(kind, name)| json!({ "Type": kind, "Name": name }))
        .collect();
    json!({
        "Hostname": node.hostname,
        "Platform": { "Architecture": node.architecture, "OS": node.os },
        "Resources": { "NanoCPUs": node.nano_cpus, "MemoryBytes": node.memory_bytes },
        "Engine": {
            "EngineVersion": node.engine_version,
            "Labels": node.engine_labels,
            "Plugins": plugins,
        },
        "TLSInfo": tls,
    })
}

#[cfg(test)]
mod tests {
    use orch_core::objects::node::{Availability, Role};

    use super::*;

    #[test]
    fn a_spec_survives_being_read_edited_and_posted() {
        let posted = json!({"Labels": {"zone": ""}, "Role": "worker", "Availability": "drain"});
        let spec = decode(&posted).unwrap();
        assert_eq!(
            (spec.role, spec.availability),
            (Role::Worker, Availability::Drain)
        );
        assert_eq!(decode(&json!(encode(&spec))), Ok(spec));
    }

    #[test]
    fn a_manager_without_a_vote_is_not_counted_on() {
        let status = |raft_id| ManagerStatus {
            raft_id,
            address: "192.0.2.1:2377".parse().unwrap(),
        };
        let mut managers = Managers {
            leader: Some(1),
            voters: [1, 2].into(),
            active: Some([1, 3].into()),
        };
        let ready = NodeState::Ready;
        let words = [1, 2, 3].map(|id| managers.reachability(&status(id), ready));
        assert_eq!(words, ["reachable", "unreachable", "unknown"]);
        // Who does not lead only knows how their nodes are.
        managers.active = None;
        let words = [1, 2, 3].map(|id| managers.reachability(&status(id), ready));
        assert_eq!(words, ["reachable", "reachable", "unknown"]);
    }

    #[test]
    fn missing_and_unknown_words_are_refused() {
        let refused = |body: Value| decode(&body).unwrap_err().to_string();
        assert_eq!(
            refused(json!({"Role": "worker"})),
            "invalid Availability: it must be given"
        );
        assert_eq!(
            refused(json!({"Role": "king", "Availability": "active"})),
            "invalid Role: \"king\" is not one of worker, manager"
        );
    }
}
