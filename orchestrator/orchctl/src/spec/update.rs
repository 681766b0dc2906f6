//! `service update` and `service scale`: flags applied to the spec that the daemon has.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Spec, SpecError, common,
    create::{put_env, with_tag},
    endpoint_options,
};
use crate::{
    args::{ServiceUpdate, UpdateLists},
    flags::{HostMapping, LabelEntry, PublishedPort},
};

const CONTAINER: &str = "TaskTemplate.ContainerSpec";

/// Ids of the objects that flags name, looked up before a spec is built.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Network name or id → id.
    pub networks: BTreeMap<String, String>,
    /// Secret name → id; a missing one is an error when it is used.
    pub secrets: BTreeMap<String, String>,
    /// Config name → id.
    pub configs: BTreeMap<String, String>,
}

impl Resolved {
    /// A network that was not looked up goes to the daemon as typed, which judges it.
    pub(super) fn network<'a>(&'a self, name: &'a str) -> &'a str {
        self.networks.get(name).map_or(name, String::as_str)
    }

    pub(super) fn secret(&self, name: &str) -> Result<&str, SpecError> {
        let found = self.secrets.get(name).map(String::as_str);
        found.ok_or_else(|| SpecError::new(format!("secret not found: {name}")))
    }

    pub(super) fn config(&self, name: &str) -> Result<&str, SpecError> {
        let found = self.configs.get(name).map(String::as_str);
        found.ok_or_else(|| SpecError::new(format!("config not found: {name}")))
    }

    #[cfg(test)]
    pub(super) fn for_tests(networks: &[(&str, &str)], secrets: &[(&str, &str)]) -> Self {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, id)| ((*name).to_owned(), (*id).to_owned()))
                .collect()
        };
        Self {
            networks: map(networks),
            secrets: map(secrets),
            configs: BTreeMap::new(),
        }
    }
}

/// Applies every typed flag of `service update` to `spec`.
pub fn update(spec: Value, args: &ServiceUpdate, resolved: &Resolved) -> Result<Value, SpecError> {
    let mut spec = Spec::new(spec);
    spec.set_some(
        &format!("{CONTAINER}.Image"),
        args.image.as_deref().map(with_tag),
    );
    if let Some(command) = &args.args {
        spec.set_list(
            &format!("{CONTAINER}.Args"),
            common::split_words("--args", command)?,
        );
    }
    if args.force {
        let count = spec
            .get("TaskTemplate.ForceUpdate")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        spec.set("TaskTemplate.ForceUpdate", count.wrapping_add(1));
    }
    update_mode(&mut spec, args)?;
    update_log_options(&mut spec, args);
    common::apply(&mut spec, &args.shared)?;
    update_maps(&mut spec, &args.lists);
    update_texts(&mut spec, &args.lists);
    update_container(&mut spec, &args.lists);
    update_placement(&mut spec, &args.lists);
    update_networks(&mut spec, &args.lists, resolved)?;
    update_files(&mut spec, &args.lists, resolved)?;
    update_ports(&mut spec, &args.lists)?;
    update_endpoint_options(&mut spec, args)?;
    Ok(spec.into_value())
}

/// Sets the number of tasks of a replicated service or job.
pub fn scale(spec: Value, replicas: u64) -> Result<Value, SpecError> {
    let mut spec = Spec::new(spec);
    if spec.has("Mode.Replicated") {
        spec.set("Mode.Replicated.Replicas", replicas);
    } else if spec.has("Mode.ReplicatedJob") {
        spec.set("Mode.ReplicatedJob.TotalCompletions", replicas);
    } else {
        return Err(SpecError::new(
            "scale can only be used with replicated or replicated-job mode",
        ));
    }
    Ok(spec.into_value())
}

fn update_mode(spec: &mut Spec, args: &ServiceUpdate) -> Result<(), SpecError> {
    if let Some(replicas) = args.shared.replicas {
        let current = std::mem::take(spec).into_value();
        let scaled = scale(current, replicas).map_err(|_| {
            SpecError::new("replicas can only be used with replicated or replicated-job mode")
        })?;
        *spec = Spec::new(scaled);
    }
    if let Some(concurrent) = args.shared.max_concurrent {
        if !spec.has("Mode.ReplicatedJob") {
            return Err(SpecError::new(
                "max-concurrent can only be used with replicated-job mode",
            ));
        }
        spec.set("Mode.ReplicatedJob.MaxConcurrent", concurrent);
    }
    Ok(())
}

/// `--log-opt` without `--log-driver` keeps the driver and replaces its options.
fn update_log_options(spec: &mut Spec, args: &ServiceUpdate) {
    if args.shared.log_driver.is_some() || args.shared.log_opt.is_empty() {
        return;
    }
    spec.set("TaskTemplate.LogDriver.Options", Map::new());
    put_entries(spec, "TaskTemplate.LogDriver.Options", &args.shared.log_opt);
}

fn update_maps(spec: &mut Spec, lists: &UpdateLists) {
    for (path, add, rm) in [
        ("Labels".to_owned(), &lists.label_add, &lists.label_rm),
        (
            format!("{CONTAINER}.Labels"),
            &lists.container_label_add,
            &lists.container_label_rm,
        ),
        (
            format!("{CONTAINER}.Sysctls"),
            &lists.sysctl_add,
            &lists.sysctl_rm,
        ),
    ] {
        if !rm.is_empty() && spec.has(&path) {
            spec.object(&path).retain(|key, _| !rm.contains(key));
        }
        put_entries(spec, &path, add);
    }
}

fn put_entries(spec: &mut Spec, path: &str, entries: &[LabelEntry]) {
    if entries.is_empty() {
        return;
    }
    let map = spec.object(path);
    map.extend(
        entries
            .iter()
            .map(|entry| (entry.key.clone(), json!(entry.value))),
    );
}

fn update_texts(spec: &mut Spec, lists: &UpdateLists) {
    let servers: Vec<String> = lists.dns_add.iter().map(ToString::to_string).collect();
    for (path, add, rm) in [
        (
            format!("{CONTAINER}.DNSConfig.Nameservers"),
            &servers,
            &lists.dns_rm,
        ),
        (
            format!("{CONTAINER}.DNSConfig.Options"),
            &lists.dns_option_add,
            &lists.dns_option_rm,
        ),
        (
            format!("{CONTAINER}.DNSConfig.Search"),
            &lists.dns_search_add,
            &lists.dns_search_rm,
        ),
        (
            format!("{CONTAINER}.Groups"),
            &lists.group_add,
            &lists.group_rm,
        ),
        (
            "TaskTemplate.Placement.Constraints".to_owned(),
            &lists.constraint_add,
            &lists.constraint_rm,
        ),
    ] {
        if add.is_empty() && rm.is_empty() {
            continue;
        }
        let mut list = spec.texts(&path);
        for item in add {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
        list.retain(|item| !rm.contains(item));
        list.sort();
        spec.set_list(&path, list);
    }
}

fn update_container(spec: &mut Spec, lists: &UpdateLists) {
    if !lists.env_add.is_empty() || !lists.env_rm.is_empty() {
        let path = format!("{CONTAINER}.Env");
        let mut env = spec.texts(&path);
        lists
            .env_add
            .iter()
            .filter_map(|entry| entry.0.clone())
            .for_each(|e| put_env(&mut env, e));
        let name = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
        env.retain(|entry| !lists.env_rm.contains(&name(entry)));
        spec.set_list(&path, env);
    }
    if !lists.host_add.is_empty() || !lists.host_rm.is_empty() {
        let path = format!("{CONTAINER}.Hosts");
        let mut hosts = spec.texts(&path);
        hosts.retain(|entry| !lists.host_rm.iter().any(|removed| removes(removed, entry)));
        hosts.extend(lists.host_add.iter().filter_map(HostMapping::to_entry));
        spec.set_list(&path, hosts);
    }
    let added = lists
        .mount_add
        .iter()
        .map(|mount| mount.to_json())
        .collect();
    replace_keyed(
        spec,
        &format!("{CONTAINER}.Mounts"),
        "Target",
        added,
        &lists.mount_rm,
    );
    let added = lists
        .ulimit_add
        .iter()
        .map(|ulimit| ulimit.to_json())
        .collect();
    replace_keyed(
        spec,
        &format!("{CONTAINER}.Ulimits"),
        "Name",
        added,
        &lists.ulimit_rm,
    );
}

/// Whether a `--host-rm` names this `ip host...` entry.
fn removes(removed: &HostMapping, entry: &str) -> bool {
    let mut words = entry.split_whitespace();
    let address = words.next().unwrap_or_default();
    let named = words.any(|host| host == removed.host);
    named
        && removed
            .address
            .is_none_or(|removed| removed.to_string() == address)
}

/// Replaces or appends the items of a list that has `key` as identity, and removes others.
fn replace_keyed(spec: &mut Spec, path: &str, key: &str, add: Vec<Value>, rm: &[String]) {
    if add.is_empty() && rm.is_empty() {
        return;
    }
    let identity = |item: &Value| item[key].as_str().unwrap_or_default().to_owned();
    let mut list = spec.list(path);
    for item in add {
        list.retain(|existing| identity(existing) != identity(&item));
        list.push(item);
    }
    list.retain(|item| !rm.contains(&identity(item)));
    list.sort_by_key(identity);
    spec.set_list(path, list);
}

fn update_placement(spec: &mut Spec, lists: &UpdateLists) {
    const PREFERENCES: &str = "TaskTemplate.Placement.Preferences";
    if !lists.placement_pref_add.is_empty() || !lists.placement_pref_rm.is_empty() {
        let removed: Vec<Value> = lists
            .placement_pref_rm
            .iter()
            .map(|p| p.to_json())
            .collect();
        let mut preferences = spec.list(PREFERENCES);
        preferences.retain(|preference| !removed.contains(preference));
        preferences.extend(
            lists
                .placement_pref_add
                .iter()
                .map(|preference| preference.to_json()),
        );
        spec.set_list(PREFERENCES, preferences);
    }
    const GENERIC: &str = "TaskTemplate.Resources.Reservations.GenericResources";
    if !lists.generic_resource_add.is_empty() || !lists.generic_resource_rm.is_empty() {
        let kind = |item: &Value| {
            item["DiscreteResourceSpec"]["Kind"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let mut resources = spec.list(GENERIC);
        for added in &lists.generic_resource_add {
            resources.retain(|item| kind(item) != added.kind);
            resources.push(added.to_json());
        }
        resources.retain(|item| !lists.generic_resource_rm.contains(&kind(item)));
        spec.set_list(GENERIC, resources);
    }
}

fn update_networks(
    spec: &mut Spec,
    lists: &UpdateLists,
    resolved: &Resolved,
) -> Result<(), SpecError> {
    const NETWORKS: &str = "TaskTemplate.Networks";
    if lists.network_add.is_empty() && lists.network_rm.is_empty() {
        return Ok(());
    }
    let target = |item: &Value| item["Target"].as_str().unwrap_or_default().to_owned();
    let removed: Vec<&str> = lists
        .network_rm
        .iter()
        .map(|name| resolved.network(name))
        .collect();
    let mut networks = spec.list(NETWORKS);
    networks.retain(|item| !removed.contains(&target(item).as_str()));
    for attachment in &lists.network_add {
        let id = resolved.network(&attachment.target);
        if networks.iter().any(|item| target(item) == id) {
            return Err(SpecError::new(format!(
                "service is already attached to network {}",
                attachment.target
            )));
        }
        networks.push(attachment.to_json(id));
    }
    networks.sort_by_key(target);
    spec.set_list(NETWORKS, networks);
    Ok(())
}

fn update_files(
    spec: &mut Spec,
    lists: &UpdateLists,
    resolved: &Resolved,
) -> Result<(), SpecError> {
    let mut secrets = Vec::new();
    for reference in &lists.secret_add {
        secrets.push(reference.to_secret_json(resolved.secret(&reference.source)?));
    }
    let path = format!("{CONTAINER}.Secrets");
    replace_keyed(spec, &path, "SecretName", secrets, &lists.secret_rm);
    let mut configs = Vec::new();
    for reference in &lists.config_add {
        configs.push(reference.to_config_json(resolved.config(&reference.source)?));
    }
    let path = format!("{CONTAINER}.Configs");
    replace_keyed(spec, &path, "ConfigName", configs, &lists.config_rm);
    Ok(())
}

fn update_ports(spec: &mut Spec, lists: &UpdateLists) -> Result<(), SpecError> {
    const PORTS: &str = "EndpointSpec.Ports";
    if lists.publish_add.is_empty() && lists.publish_rm.is_empty() {
        return Ok(());
    }
    let mut ports = spec.list(PORTS);
    for removed in lists.publish_rm.iter().flat_map(|spec| &spec.0) {
        ports.retain(|port| !same_target(port, removed));
    }
    for added in lists.publish_add.iter().flat_map(|spec| &spec.0) {
        let added = added.to_json();
        if !ports.iter().any(|port| port_key(port) == port_key(&added)) {
            ports.push(added);
        }
    }
    ports.sort_by_key(port_key);
    spec.set_list(PORTS, ports);
    Ok(())
}

/// Options of the endpoint, after the ports: those of a port that went go with it.
fn update_endpoint_options(spec: &mut Spec, args: &ServiceUpdate) -> Result<(), SpecError> {
    let lists = &args.lists;
    let left = spec.list("EndpointSpec.Ports");
    let mut labels = match spec.get("Labels") {
        Some(Value::Object(labels)) => labels.clone(),
        _ => Map::new(),
    };
    let before = labels.clone();
    for removed in lists.publish_rm.iter().flat_map(|spec| &spec.0) {
        let target = |port: &Value| {
            let (_, target, protocol, _) = port_key(port);
            target == u64::from(removed.target) && protocol == removed.protocol
        };
        if !left.iter().any(target) {
            endpoint_options::remove_of_port(&mut labels, removed);
        }
    }
    for key in &lists.endpoint_opt_rm {
        labels.remove(&endpoint_options::label(key));
    }
    let added: Vec<_> = lists.publish_add.iter().flat_map(|spec| &spec.0).collect();
    endpoint_options::put_addresses(&mut labels, &added)?;
    endpoint_options::put(&mut labels, &args.shared.endpoint_opt);
    if labels != before {
        spec.set("Labels", labels);
    }
    Ok(())
}

/// Published port, target port, protocol, mode: what makes two entries the same; also the order,
/// so that an update without a change stays one.
fn port_key(port: &Value) -> (u64, u64, String, String) {
    let number = |key: &str| port[key].as_u64().unwrap_or(0);
    let text = |key: &str, default: &str| port[key].as_str().unwrap_or(default).to_owned();
    (
        number("PublishedPort"),
        number("TargetPort"),
        text("Protocol", "tcp"),
        text("PublishMode", "ingress"),
    )
}

/// `--publish-rm` goes by target port, protocol and mode; a published port narrows it.
fn same_target(port: &Value, removed: &PublishedPort) -> bool {
    let (published, target, protocol, mode) = port_key(port);
    target == u64::from(removed.target)
        && protocol == removed.protocol
        && mode == removed.mode.to_string()
        && (removed.published == 0 || published == u64::from(removed.published))
}
