//! `service inspect --pretty`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{info::go_duration, seconds_since};
use crate::{
    format::{bytes_size, human_duration},
    model::{ContainerSpec, Rollout, Service, TaskSpec, UpdateStatus},
    spec::endpoint_options::PREFIX,
};

/// Lines of the view.
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }
}

/// The long view of one service; `networks` are the names of the networks it is attached to.
pub fn service_pretty(service: &Service, networks: &[String], now: Timestamp) -> String {
    let mut lines = Lines(Vec::new());
    let spec = &service.spec;
    lines.add(format!("ID:\t\t{}", service.id));
    lines.add(format!("Name:\t\t{}", spec.name));
    let (options, labels) = split_options(&spec.labels);
    if !labels.is_empty() {
        lines.add("Labels:");
        map(&mut lines, &labels, " ", "=");
    }
    mode(&mut lines, service);
    if let Some(status) = &service.update_status {
        update_status(&mut lines, status, now);
    }
    placement(&mut lines, &spec.task_template);
    if let Some(config) = &spec.update_config {
        rollout(&mut lines, "UpdateConfig:", "Update order:      ", config);
    }
    if let Some(config) = &spec.rollback_config {
        rollout(&mut lines, "RollbackConfig:", "Rollback order:    ", config);
    }
    container(&mut lines, &spec.task_template.container_spec);
    log_driver(&mut lines, &spec.task_template);
    resources(&mut lines, &spec.task_template);
    if !networks.is_empty() {
        lines.add(format!("Networks: {} ", networks.join(" ")));
    }
    endpoint(&mut lines, service);
    if !options.is_empty() {
        lines.add("Endpoint Options:");
        map(&mut lines, &options, " ", " = ");
    }
    healthcheck(&mut lines, &spec.task_template.container_spec);
    format!("\n{}\n", lines.0.join("\n"))
}

/// The options of the endpoint, under the names that `--endpoint-opt` has for them, and the labels
/// that are none.
fn split_options(
    labels: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut options = BTreeMap::new();
    let mut others = BTreeMap::new();
    for (key, value) in labels {
        match key.strip_prefix(PREFIX) {
            Some(option) => options.insert(option.to_owned(), value.clone()),
            None => others.insert(key.clone(), value.clone()),
        };
    }
    (options, others)
}

fn map(lines: &mut Lines, map: &BTreeMap<String, String>, indent: &str, separator: &str) {
    for (key, value) in map {
        match value.as_str() {
            "" => lines.add(format!("{indent}{key}")),
            value => lines.add(format!("{indent}{key}{separator}{value}")),
        }
    }
}

fn mode(lines: &mut Lines, service: &Service) {
    let mode = &service.spec.mode;
    match (&mode.replicated, &mode.replicated_job) {
        (Some(replicated), _) => {
            lines.add("Service Mode:\tReplicated");
            lines.add(format!(" Replicas:\t{}", replicated.replicas));
        }
        (None, Some(job)) => {
            lines.add("Service Mode:\tReplicatedJob");
            lines.add(format!(" Max Concurrent:\t{}", job.max_concurrent));
            lines.add(format!(" Total Completions:\t{}", job.total_completions));
        }
        (None, None) if mode.global_job.is_some() => lines.add("Service Mode:\tGlobalJob"),
        (None, None) => lines.add("Service Mode:\tGlobal"),
    }
}

fn update_status(lines: &mut Lines, status: &UpdateStatus, now: Timestamp) {
    let ago = |time: &str| human_duration(seconds_since(time, now)).to_lowercase() + " ago";
    lines.add("UpdateStatus:");
    lines.add(format!(" State:\t\t{}", status.state));
    if let Some(started) = &status.started_at {
        lines.add(format!(" Started:\t{}", ago(started)));
    }
    if let (true, Some(completed)) = (status.state == "completed", &status.completed_at) {
        lines.add(format!(" Completed:\t{}", ago(completed)));
    }
    lines.add(format!(" Message:\t{}", status.message));
}

fn placement(lines: &mut Lines, task: &TaskSpec) {
    let placement = &task.placement;
    lines.add("Placement:");
    if !placement.constraints.is_empty() {
        lines.add(format!(
            " Constraints:\t[{}]",
            placement.constraints.join(" ")
        ));
    }
    if !placement.preferences.is_empty() {
        let spreads: Vec<String> = placement
            .preferences
            .iter()
            .map(|preference| format!("spread={}", preference.spread.spread_descriptor))
            .collect();
        lines.add(format!(" Preferences:   [{}]", spreads.join(" ")));
    }
    if placement.max_replicas > 0 {
        lines.add(format!(
            " Max Replicas Per Node:   {}",
            placement.max_replicas
        ));
    }
}

fn rollout(lines: &mut Lines, title: &str, order: &str, config: &Rollout) {
    lines.add(title);
    lines.add(format!(" Parallelism:\t{}", config.parallelism));
    if config.delay != 0 {
        lines.add(format!(" Delay:\t\t{}", go_duration(config.delay)));
    }
    lines.add(format!(" On failure:\t{}", config.failure_action));
    if config.monitor != 0 {
        lines.add(format!(
            " Monitoring Period: {}",
            go_duration(config.monitor)
        ));
    }
    lines.add(format!(" Max failure ratio: {}", config.max_failure_ratio));
    lines.add(format!(" {order}{}", config.order));
}

fn container(lines: &mut Lines, spec: &ContainerSpec) {
    let words = |list: &[String]| {
        list.iter()
            .map(|word| format!("{word} "))
            .collect::<String>()
    };
    lines.add("ContainerSpec:");
    lines.add(format!(" Image:\t\t{}", spec.image));
    if !spec.args.is_empty() {
        lines.add(format!(" Args:\t\t{}", words(&spec.args)));
    }
    if !spec.env.is_empty() {
        lines.add(format!(" Env:\t\t{}", words(&spec.env)));
    }
    if !spec.dir.is_empty() {
        lines.add(format!(" Dir:\t\t{}", spec.dir));
    }
    if let Some(init) = spec.init {
        lines.add(format!(" Init:\t\t{init}"));
    }
    if !spec.user.is_empty() {
        lines.add(format!(" User: {}", spec.user));
    }
    if !spec.capability_add.is_empty() || !spec.capability_drop.is_empty() {
        lines.add("Capabilities:");
        for (word, list) in [
            ("Add", &spec.capability_add),
            ("Drop", &spec.capability_drop),
        ] {
            if !list.is_empty() {
                lines.add(format!(" {word}: {}", list.join(", ")));
            }
        }
    }
    if !spec.sysctls.is_empty() {
        lines.add("SysCtls:");
        map(lines, &spec.sysctls, " ", ": ");
    }
    if !spec.ulimits.is_empty() {
        lines.add("Ulimits:");
        for limit in &spec.ulimits {
            lines.add(format!(" {}: {}:{}", limit.name, limit.soft, limit.hard));
        }
    }
    files(lines, spec);
}

fn files(lines: &mut Lines, spec: &ContainerSpec) {
    if !spec.mounts.is_empty() {
        lines.add("Mounts:");
    }
    for mount in &spec.mounts {
        lines.add(format!(" Target:\t{}", mount.target));
        lines.add(format!("  Source:\t{}", mount.source));
        lines.add(format!("  ReadOnly:\t{}", mount.read_only));
        lines.add(format!("  Type:\t\t{}", mount.kind));
    }
    for (title, references) in [("Configs:", &spec.configs), ("Secrets:", &spec.secrets)] {
        if !references.is_empty() {
            lines.add(title);
        }
        for reference in references {
            lines.add(format!(" Target:\t{}", reference.file.name));
            lines.add(format!("  Source:\t{}", reference.source_name));
        }
    }
}

fn log_driver(lines: &mut Lines, task: &TaskSpec) {
    let Some(driver) = &task.log_driver else {
        return;
    };
    lines.add("Log Driver:");
    if !driver.name.is_empty() {
        lines.add(format!(" Name:\t\t{}", driver.name));
    }
    if !driver.options.is_empty() {
        lines.add(" LogOpts:");
        map(lines, &driver.options, "  ", ":       ");
    }
    lines.add("");
}

fn resources(lines: &mut Lines, task: &TaskSpec) {
    let Some(required) = &task.resources else {
        return;
    };
    lines.add("Resources:");
    let sections = [
        (" Reservations:", &required.reservations),
        (" Limits:", &required.limits),
    ];
    for (title, amount) in sections {
        let Some(amount) = amount else { continue };
        lines.add(title);
        if amount.nano_cpus > 0 {
            lines.add(format!("  CPU:\t\t{}", amount.nano_cpus as f64 / 1e9));
        }
        if amount.memory_bytes > 0 {
            lines.add(format!("  Memory:\t{}", bytes_size(amount.memory_bytes)));
        }
        if amount.pids > 0 {
            lines.add(format!("  PIDs:\t\t{}", amount.pids));
        }
    }
}

fn endpoint(lines: &mut Lines, service: &Service) {
    let mode = match service.endpoint.spec.mode.as_str() {
        "" => service.spec.endpoint_spec.mode.as_str(),
        mode => mode,
    };
    lines.add(format!("Endpoint Mode:\t{mode}"));
    if service.endpoint.ports.is_empty() {
        return;
    }
    lines.add("Ports:");
    for port in &service.endpoint.ports {
        lines.add(format!(" PublishedPort = {}", port.published_port));
        lines.add(format!("  Protocol = {}", port.protocol));
        lines.add(format!("  TargetPort = {}", port.target_port));
        lines.add(format!("  PublishMode = {}", port.publish_mode));
    }
    // The space is docker's.
    if let Some(last) = lines.0.last_mut() {
        last.push(' ');
    }
}

fn healthcheck(lines: &mut Lines, spec: &ContainerSpec) {
    let Some(check) = &spec.healthcheck else {
        return;
    };
    lines.add(" Healthcheck:");
    lines.add(format!("  Interval = {}", go_duration(check.interval)));
    lines.add(format!("  Retries = {}", check.retries));
    lines.add(format!(
        "  StartPeriod = {}",
        go_duration(check.start_period)
    ));
    lines.add(format!("  Timeout =\t{}", go_duration(check.timeout)));
    if !check.test.is_empty() {
        lines.add("  Tests:");
        lines.add(format!("\t Test = {}", check.test.join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn a_published_service() {
        let service: Service = decode(
            r#"{"ID": "abc", "Spec": {"Name": "redis", "Labels": {"a": "b",
                "orch.endpoint.publish.6379/tcp.allow": "10.0.0.0/8"},
                "Mode": {"Replicated": {"Replicas": 1}},
                "TaskTemplate": {"ContainerSpec": {"Image": "redis:7", "Args": ["x", "y"],
                    "Init": false}, "Resources": {"Limits": {"NanoCPUs": 500000000}}},
                "UpdateConfig": {"Parallelism": 1, "FailureAction": "pause",
                    "Monitor": 5000000000, "MaxFailureRatio": 0, "Order": "stop-first"}},
                "UpdateStatus": {"State": "completed", "StartedAt": "2026-01-01T00:00:00Z",
                    "CompletedAt": "2026-01-01T00:01:00Z", "Message": "update completed"},
                "Endpoint": {"Spec": {"Mode": "vip"}, "Ports": [{"Protocol": "tcp",
                    "TargetPort": 6379, "PublishedPort": 6379, "PublishMode": "ingress"}]}}"#,
        )
        .unwrap();
        let now = "2026-01-01T00:03:00Z".parse().unwrap();
        assert_eq!(
            service_pretty(&service, &["sandbox".to_owned()], now),
            "\nID:\t\tabc\nName:\t\tredis\nLabels:\n a=b\nService Mode:\tReplicated\n Replicas:\t1\n\
             UpdateStatus:\n State:\t\tcompleted\n Started:\t3 minutes ago\n Completed:\t2 minutes \
             ago\n Message:\tupdate completed\nPlacement:\nUpdateConfig:\n Parallelism:\t1\n On \
             failure:\tpause\n Monitoring Period: 5s\n Max failure ratio: 0\n Update order:      \
             stop-first\nContainerSpec:\n Image:\t\tredis:7\n Args:\t\tx y \n Init:\t\tfalse\n\
             Resources:\n Limits:\n  CPU:\t\t0.5\nNetworks: sandbox \nEndpoint Mode:\tvip\nPorts:\n \
             PublishedPort = 6379\n  Protocol = tcp\n  TargetPort = 6379\n  PublishMode = ingress \n\
             Endpoint Options:\n publish.6379/tcp.allow = 10.0.0.0/8\n"
        );
    }
}
