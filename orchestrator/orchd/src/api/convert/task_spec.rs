//! `TaskTemplate`: what each task of a service runs, with which resources, where.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_core::ids::NetworkId;
use orch_core::objects::task as model;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::container::{self, ContainerSpec};
use super::scalar::{is_default, nanos, nonzero_span};
use super::{ConvertError, network, words};

/// The only runtime: plugins as services are not a thing of orchd.
const RUNTIME: &str = "container";

/// Wire shape of a task's spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskSpec {
    container_spec: ContainerSpec,
    resources: Resources,
    #[serde(skip_serializing_if = "is_default")]
    restart_policy: Option<RestartPolicy>,
    placement: Placement,
    #[serde(skip_serializing_if = "is_default")]
    networks: Vec<NetworkAttachment>,
    #[serde(skip_serializing_if = "is_default")]
    log_driver: Option<LogDriver>,
    force_update: u64,
    runtime: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Resources {
    limits: Amounts,
    reservations: Amounts,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Amounts {
    #[serde(rename = "NanoCPUs", skip_serializing_if = "is_default")]
    nano_cpus: u64,
    #[serde(skip_serializing_if = "is_default")]
    memory_bytes: u64,
    #[serde(skip_serializing_if = "is_default")]
    pids: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestartPolicy {
    condition: String,
    #[serde(skip_serializing_if = "is_default")]
    delay: Option<u64>,
    max_attempts: u64,
    #[serde(skip_serializing_if = "is_default")]
    window: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Placement {
    #[serde(skip_serializing_if = "is_default")]
    constraints: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    preferences: Vec<Preference>,
    #[serde(skip_serializing_if = "is_default")]
    max_replicas: u64,
    #[serde(skip_serializing_if = "is_default")]
    platforms: Vec<Platform>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Preference {
    spread: Spread,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Spread {
    spread_descriptor: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Platform {
    #[serde(skip_serializing_if = "is_default")]
    architecture: String,
    #[serde(rename = "OS", skip_serializing_if = "is_default")]
    os: String,
}

/// Wire shape of a network that tasks are attached to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkAttachment {
    target: String,
    #[serde(skip_serializing_if = "is_default")]
    aliases: Vec<String>,
    #[serde(skip_serializing)]
    driver_opts: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogDriver {
    name: String,
    #[serde(skip_serializing_if = "is_default")]
    options: BTreeMap<String, String>,
}

/// Replaces names of networks in a service's spec by their ids, as the store keeps them.
pub fn resolve_networks<E>(
    spec: &mut Value,
    resolve: impl Fn(&str) -> Result<NetworkId, E>,
) -> Result<(), E> {
    for place in ["/TaskTemplate/Networks", "/Networks"] {
        let Some(Value::Array(networks)) = spec.pointer_mut(place) else {
            continue;
        };
        for target in networks
            .iter_mut()
            .filter_map(|network| network.get_mut("Target"))
        {
            if let Some(name) = target.as_str() {
                *target = Value::from(resolve(name)?.as_str());
            }
        }
    }
    Ok(())
}

/// From the wire; networks must have been resolved.
pub fn decode(wire: TaskSpec) -> Result<model::TaskSpec, ConvertError> {
    Ok(model::TaskSpec {
        container: container::decode(wire.container_spec)?,
        resources: model::Resources {
            limits: decode_amounts(wire.resources.limits),
            reservations: decode_amounts(wire.resources.reservations),
        },
        restart: wire.restart_policy.map(decode_restart).transpose()?,
        placement: decode_placement(wire.placement),
        networks: decode_networks(wire.networks)?,
        log_driver: wire.log_driver.map(|driver| model::LogDriver {
            name: driver.name,
            options: driver.options,
        }),
        force_update: wire.force_update,
    })
}

/// To the wire.
pub fn encode(spec: &model::TaskSpec) -> TaskSpec {
    TaskSpec {
        container_spec: container::encode(&spec.container),
        resources: Resources {
            limits: encode_amounts(spec.resources.limits),
            reservations: encode_amounts(spec.resources.reservations),
        },
        restart_policy: spec.restart.as_ref().map(encode_restart),
        placement: encode_placement(&spec.placement),
        networks: encode_networks(&spec.networks),
        log_driver: spec.log_driver.as_ref().map(|driver| LogDriver {
            name: driver.name.clone(),
            options: driver.options.clone(),
        }),
        force_update: spec.force_update,
        runtime: RUNTIME.to_owned(),
    }
}

/// From the wire.
pub fn decode_networks(
    wire: Vec<NetworkAttachment>,
) -> Result<Vec<model::NetworkAttachmentConfig>, ConvertError> {
    wire.into_iter()
        .map(|network| {
            network::refuse_options("Networks.DriverOpts", &network.driver_opts)?;
            let target = NetworkId::parse(&network.target)
                .map_err(|error| ConvertError::invalid("network", error.to_string()))?;
            Ok(model::NetworkAttachmentConfig {
                target,
                aliases: network.aliases,
                driver_options: BTreeMap::new(),
            })
        })
        .collect()
}

/// To the wire.
pub fn encode_networks(networks: &[model::NetworkAttachmentConfig]) -> Vec<NetworkAttachment> {
    networks
        .iter()
        .map(|network| NetworkAttachment {
            target: network.target.to_string(),
            aliases: network.aliases.clone(),
            driver_opts: BTreeMap::new(),
        })
        .collect()
}

fn decode_amounts(wire: Amounts) -> model::ResourceAmounts {
    model::ResourceAmounts {
        nano_cpus: wire.nano_cpus,
        memory_bytes: wire.memory_bytes,
        pids: wire.pids,
    }
}

fn encode_amounts(amounts: model::ResourceAmounts) -> Amounts {
    Amounts {
        nano_cpus: amounts.nano_cpus,
        memory_bytes: amounts.memory_bytes,
        pids: amounts.pids,
    }
}

fn decode_restart(wire: RestartPolicy) -> Result<model::RestartPolicy, ConvertError> {
    let condition = words::parse(
        "RestartPolicy.Condition",
        words::RESTART_CONDITIONS,
        &wire.condition,
    )?;
    Ok(model::RestartPolicy {
        condition: condition.unwrap_or(model::RestartCondition::Any),
        delay: wire.delay.map(Duration::from_nanos),
        max_attempts: wire.max_attempts,
        window: nonzero_span(wire.window),
    })
}

fn encode_restart(policy: &model::RestartPolicy) -> RestartPolicy {
    RestartPolicy {
        condition: words::word(words::RESTART_CONDITIONS, policy.condition).to_owned(),
        delay: policy.delay.map(nanos),
        max_attempts: policy.max_attempts,
        window: policy.window.map_or(0, nanos),
    }
}

fn decode_placement(wire: Placement) -> model::Placement {
    model::Placement {
        constraints: wire.constraints,
        preferences: wire
            .preferences
            .into_iter()
            .map(|p| p.spread.spread_descriptor)
            .collect(),
        max_replicas: wire.max_replicas,
        platforms: wire
            .platforms
            .into_iter()
            .map(|p| (p.os, p.architecture))
            .collect(),
    }
}

fn encode_placement(placement: &model::Placement) -> Placement {
    let preference = |descriptor: &String| Preference {
        spread: Spread {
            spread_descriptor: descriptor.clone(),
        },
    };
    let platform = |(os, architecture): &(String, String)| Platform {
        architecture: architecture.clone(),
        os: os.clone(),
    };
    Placement {
        constraints: placement.constraints.clone(),
        preferences: placement.preferences.iter().map(preference).collect(),
        max_replicas: placement.max_replicas,
        platforms: placement.platforms.iter().map(platform).collect(),
    }
}
