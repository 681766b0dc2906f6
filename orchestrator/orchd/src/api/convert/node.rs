//! Nodes: the spec both ways, and the object as Docker shows it.

use orch_core::objects::node::{Node, NodeDescription, NodeSpec, NodeState};
use orch_core::objects::{Labels, node};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scalar::{is_default, nonempty, object};
use super::{ConvertError, lossless, words};

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

/// A node as Docker shows it; `tls` is the cluster's trust root ([`super::cluster::tls_info`]).
pub fn render(node: &Node, tls: &Value) -> Value {
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
            "Leader": manager.leader,
            "Reachability": reachability(node.status.state),
            "Addr": manager.address.to_string(),
        });
    }
    object(node.id.as_str(), &node.meta, fields)
}

fn reachability(state: NodeState) -> &'static str {
    match state {
        NodeState::Ready => "reachable",
        NodeState::Down | NodeState::Disconnected => "unreachable",
        NodeState::Unknown => "unknown",
    }
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
