//! `node inspect --pretty`.

use super::{capitalize, time::go_time};
use crate::{format::bytes_size, model::Node};

/// The long view of one node, without a newline at the end.
pub fn node_pretty(node: &Node) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("ID:\t\t\t{}", node.id));
    if !node.spec.name.is_empty() {
        line(format!("Name:\t\t\t{}", node.spec.name));
    }
    if !node.spec.labels.is_empty() {
        line("Labels:".to_owned());
        labels(&node.spec.labels).into_iter().for_each(&mut line);
    }
    line(format!(
        "Hostname:              \t{}",
        node.description.hostname
    ));
    line(format!(
        "Joined at:             \t{}",
        go_time(&node.created_at).to_lowercase()
    ));
    line("Status:".to_owned());
    line(format!(" State:\t\t\t{}", capitalize(&node.status.state)));
    if !node.status.message.is_empty() {
        line(format!(
            " Message:              \t{}",
            capitalize(&node.status.message)
        ));
    }
    line(format!(
        " Availability:         \t{}",
        capitalize(&node.spec.availability)
    ));
    if !node.status.addr.is_empty() {
        line(format!(" Address:\t\t{}", node.status.addr));
    }
    if let Some(manager) = &node.manager_status {
        line("Manager Status:".to_owned());
        line(format!(" Address:\t\t{}", manager.addr));
        line(format!(
            " Raft Status:\t\t{}",
            capitalize(&manager.reachability)
        ));
        line(format!(
            " Leader:\t\t{}",
            if manager.leader { "Yes" } else { "No" }
        ));
    }
    platform(node).into_iter().for_each(&mut line);
    engine(node).into_iter().for_each(&mut line);
    let tls = &node.description.tls_info;
    if !tls.trust_root.is_empty() {
        line(format!("TLS Info:\n TrustRoot:\n{}", tls.trust_root));
        line(format!(" Issuer Subject:\t{}", tls.cert_issuer_subject));
        line(format!(
            " Issuer Public Key:\t{}",
            tls.cert_issuer_public_key
        ));
    }
    out.truncate(out.trim_end_matches('\n').len());
    out
}

fn platform(node: &Node) -> Vec<String> {
    let platform = &node.description.platform;
    let resources = &node.description.resources;
    let memory = bytes_size(resources.memory_bytes);
    vec![
        "Platform:".to_owned(),
        format!(" Operating System:\t{}", platform.os),
        format!(" Architecture:\t\t{}", platform.architecture),
        "Resources:".to_owned(),
        format!(" CPUs:\t\t\t{}", resources.nano_cpus / 1_000_000_000),
        format!(" Memory:\t\t{memory}"),
    ]
}

fn engine(node: &Node) -> Vec<String> {
    let engine = &node.description.engine;
    let mut lines = Vec::new();
    let mut kinds: Vec<&str> = engine
        .plugins
        .iter()
        .map(|plugin| plugin.kind.as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    if !kinds.is_empty() {
        lines.push("Plugins:".to_owned());
    }
    for kind in kinds {
        let names: Vec<&str> = engine
            .plugins
            .iter()
            .filter(|plugin| plugin.kind == kind)
            .map(|plugin| plugin.name.as_str())
            .collect();
        lines.push(format!(" {kind}:\t\t{}", names.join(", ")));
    }
    lines.push(format!("Engine Version:\t\t{}", engine.engine_version));
    if !engine.labels.is_empty() {
        lines.push("Engine Labels:".to_owned());
        lines.extend(labels(&engine.labels));
    }
    lines
}

fn labels(map: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    map.iter()
        .map(|(key, value)| match value.as_str() {
            "" => format!(" - {key}"),
            value => format!(" - {key}={value}"),
        })
        .collect()
}
