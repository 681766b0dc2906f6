//! Options of a service's endpoint, which are labels: Docker's API has no fields for them.
//! docs/guide/service-options.md lists them; the daemon judges their values.

use serde_json::{Map, Value, json};

use super::SpecError;
use crate::flags::{LabelEntry, PublishedPort};

/// What the labels of all options begin with.
pub const PREFIX: &str = "orch.endpoint.";

/// The label of an option.
pub(super) fn label(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// Adds what `--endpoint-opt` says.
pub(super) fn put(labels: &mut Map<String, Value>, options: &[LabelEntry]) {
    labels.extend(
        options
            .iter()
            .map(|option| (label(&option.key), json!(option.value))),
    );
}

/// Adds the addresses that `--publish` names. They belong to the port inside the task, so all
/// that is published of one such port is published at one address.
pub(super) fn put_addresses(
    labels: &mut Map<String, Value>,
    ports: &[&PublishedPort],
) -> Result<(), SpecError> {
    let same_target =
        |a: &PublishedPort, b: &PublishedPort| (a.target, a.protocol) == (b.target, b.protocol);
    for port in ports {
        let Some(address) = port.host_ip else {
            continue;
        };
        let other = ports
            .iter()
            .find(|other| same_target(other, port) && other.host_ip != port.host_ip);
        if other.is_some() {
            return Err(SpecError::new(format!(
                "target port {}/{} is published at {address} and elsewhere too: one target port \
                 has one address, or all of them",
                port.target, port.protocol
            )));
        }
        let key = label(&format!("{}address", prefix_of(port)));
        labels.insert(key, json!(address.to_string()));
    }
    Ok(())
}

/// Removes the options of a port that is no longer published.
pub(super) fn remove_of_port(labels: &mut Map<String, Value>, port: &PublishedPort) {
    let prefix = label(&prefix_of(port));
    labels.retain(|key, _| !key.starts_with(&prefix));
}

fn prefix_of(port: &PublishedPort) -> String {
    format!("publish.{}/{}.", port.target, port.protocol)
}
