//! `TaskTemplate.ContainerSpec`: what a container runs and how.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use orch_core::objects::Labels;
use orch_core::objects::task as model;
use serde::{Deserialize, Serialize};

use super::ConvertError;
use super::mount::Mount;
use super::scalar::{is_default, nanos, nonempty, nonzero_span};

/// The only isolation that Linux has.
const ISOLATION: &str = "default";

/// Wire shape of a container's spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSpec {
    image: String,
    #[serde(skip_serializing_if = "is_default")]
    labels: Labels,
    #[serde(skip_serializing_if = "is_default")]
    command: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    args: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    hostname: String,
    #[serde(skip_serializing_if = "is_default")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    dir: String,
    #[serde(skip_serializing_if = "is_default")]
    user: String,
    #[serde(skip_serializing_if = "is_default")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    init: Option<bool>,
    #[serde(skip_serializing_if = "is_default")]
    stop_signal: String,
    #[serde(rename = "TTY", skip_serializing_if = "is_default")]
    tty: bool,
    #[serde(skip_serializing_if = "is_default")]
    open_stdin: bool,
    #[serde(skip_serializing_if = "is_default")]
    read_only: bool,
    #[serde(skip_serializing_if = "is_default")]
    mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "is_default")]
    stop_grace_period: Option<u64>,
    #[serde(skip_serializing_if = "is_default", alias = "HealthCheck")]
    healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "is_default")]
    hosts: Vec<String>,
    #[serde(rename = "DNSConfig")]
    dns_config: DnsConfig,
    isolation: String,
    #[serde(skip_serializing_if = "is_default")]
    sysctls: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    capability_add: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    capability_drop: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    ulimits: Vec<Ulimit>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Healthcheck {
    #[serde(skip_serializing_if = "is_default")]
    test: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    interval: u64,
    #[serde(skip_serializing_if = "is_default")]
    timeout: u64,
    #[serde(skip_serializing_if = "is_default")]
    start_period: u64,
    #[serde(skip_serializing_if = "is_default")]
    start_interval: u64,
    #[serde(skip_serializing_if = "is_default")]
    retries: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DnsConfig {
    #[serde(skip_serializing_if = "is_default")]
    nameservers: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    search: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    options: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ulimit {
    name: String,
    soft: i64,
    hard: i64,
}

/// From the wire.
pub fn decode(wire: ContainerSpec) -> Result<model::ContainerSpec, ConvertError> {
    Ok(model::ContainerSpec {
        image: wire.image,
        labels: wire.labels,
        command: wire.command,
        args: wire.args,
        hostname: nonempty(wire.hostname),
        env: wire.env,
        dir: nonempty(wire.dir),
        user: nonempty(wire.user),
        groups: wire.groups,
        tty: wire.tty,
        open_stdin: wire.open_stdin,
        read_only: wire.read_only,
        init: wire.init,
        stop_signal: nonempty(wire.stop_signal),
        stop_grace_period: wire.stop_grace_period.map(Duration::from_nanos),
        healthcheck: wire.healthcheck.map(decode_healthcheck),
        hosts: wire.hosts,
        dns: decode_dns(wire.dns_config)?,
        mounts: wire
            .mounts
            .into_iter()
            .map(Mount::decode)
            .collect::<Result<_, _>>()?,
        sysctls: wire.sysctls,
        capability_add: wire.capability_add,
        capability_drop: wire.capability_drop,
        ulimits: wire
            .ulimits
            .into_iter()
            .map(|u| model::Ulimit {
                name: u.name,
                soft: u.soft,
                hard: u.hard,
            })
            .collect(),
    })
}

/// To the wire.
pub fn encode(spec: &model::ContainerSpec) -> ContainerSpec {
    ContainerSpec {
        image: spec.image.clone(),
        labels: spec.labels.clone(),
        command: spec.command.clone(),
        args: spec.args.clone(),
        hostname: spec.hostname.clone().unwrap_or_default(),
        env: spec.env.clone(),
        dir: spec.dir.clone().unwrap_or_default(),
        user: spec.user.clone().unwrap_or_default(),
        groups: spec.groups.clone(),
        init: spec.init,
        stop_signal: spec.stop_signal.clone().unwrap_or_default(),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        read_only: spec.read_only,
        mounts: spec.mounts.iter().map(Mount::encode).collect(),
        stop_grace_period: spec.stop_grace_period.map(nanos),
        healthcheck: spec.healthcheck.as_ref().map(encode_healthcheck),
        hosts: spec.hosts.clone(),
        dns_config: DnsConfig {
            nameservers: spec.dns.nameservers.iter().map(IpAddr::to_string).collect(),
            search: spec.dns.search.clone(),
            options: spec.dns.options.clone(),
        },
        isolation: ISOLATION.to_owned(),
        sysctls: spec.sysctls.clone(),
        capability_add: spec.capability_add.clone(),
        capability_drop: spec.capability_drop.clone(),
        ulimits: spec
            .ulimits
            .iter()
            .map(|u| Ulimit {
                name: u.name.clone(),
                soft: u.soft,
                hard: u.hard,
            })
            .collect(),
    }
}

fn decode_healthcheck(wire: Healthcheck) -> model::Healthcheck {
    model::Healthcheck {
        test: wire.test,
        interval: nonzero_span(wire.interval),
        timeout: nonzero_span(wire.timeout),
        retries: wire.retries,
        start_period: nonzero_span(wire.start_period),
        start_interval: nonzero_span(wire.start_interval),
    }
}

fn encode_healthcheck(check: &model::Healthcheck) -> Healthcheck {
    Healthcheck {
        test: check.test.clone(),
        interval: check.interval.map_or(0, nanos),
        timeout: check.timeout.map_or(0, nanos),
        start_period: check.start_period.map_or(0, nanos),
        start_interval: check.start_interval.map_or(0, nanos),
        retries: check.retries,
    }
}

fn decode_dns(wire: DnsConfig) -> Result<model::DnsConfig, ConvertError> {
    let address = |text: String| {
        text.parse().map_err(|_| {
            ConvertError::invalid("Nameservers", format!("\"{text}\" is not an IP address"))
        })
    };
    Ok(model::DnsConfig {
        nameservers: wire
            .nameservers
            .into_iter()
            .map(address)
            .collect::<Result<_, _>>()?,
        search: wire.search,
        options: wire.options,
    })
}
