//! Services: the spec both ways, and the object as Docker shows it.

use std::time::Duration;

use orch_core::objects::service as model;
use orch_core::objects::task::{RestartCondition, RestartPolicy};
use orch_core::objects::{Labels, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{self, EndpointSpec};
use super::scalar::{is_default, nanos, nonzero_span, object, rfc3339};
use super::task_spec::{self, NetworkAttachment, TaskSpec};
use super::{ConvertError, lossless, words};

/// Wire shape of a service's spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpec {
    name: String,
    labels: Labels,
    task_template: TaskSpec,
    mode: Mode,
    #[serde(skip_serializing_if = "is_default")]
    update_config: Option<UpdateConfig>,
    #[serde(skip_serializing_if = "is_default")]
    rollback_config: Option<UpdateConfig>,
    #[serde(skip_serializing_if = "is_default")]
    networks: Vec<NetworkAttachment>,
    endpoint_spec: EndpointSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mode {
    #[serde(skip_serializing_if = "is_default")]
    replicated: Option<Replicated>,
    #[serde(skip_serializing)]
    global: Option<Value>,
    #[serde(skip_serializing)]
    replicated_job: Option<Value>,
    #[serde(skip_serializing)]
    global_job: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Replicated {
    replicas: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateConfig {
    parallelism: u64,
    #[serde(skip_serializing_if = "is_default")]
    delay: u64,
    failure_action: String,
    #[serde(skip_serializing_if = "is_default")]
    monitor: u64,
    max_failure_ratio: f64,
    order: String,
}

/// A spec as posted, its networks resolved to ids. Nothing in it is lost, or it is refused.
pub fn decode(input: &Value) -> Result<model::ServiceSpec, ConvertError> {
    let wire: ServiceSpec = lossless::parse(input)?;
    let spec = model::ServiceSpec {
        name: wire.name,
        labels: wire.labels,
        task: task_spec::decode(wire.task_template)?,
        mode: decode_mode(wire.mode)?,
        networks: task_spec::decode_networks(wire.networks)?,
        update: wire.update_config.map(decode_update).transpose()?,
        rollback: wire.rollback_config.map(decode_update).transpose()?,
        endpoint: endpoint::decode(wire.endpoint_spec)?,
    };
    lossless::ensure_kept(input, &encode(&spec))?;
    Ok(spec)
}

fn encode(spec: &model::ServiceSpec) -> ServiceSpec {
    let model::ServiceMode::Replicated { replicas } = spec.mode;
    ServiceSpec {
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        task_template: task_spec::encode(&spec.task),
        mode: Mode {
            replicated: Some(Replicated {
                replicas: Some(replicas),
            }),
            ..Mode::default()
        },
        update_config: spec.update.as_ref().map(encode_update),
        rollback_config: spec.rollback.as_ref().map(encode_update),
        networks: task_spec::encode_networks(&spec.networks),
        endpoint_spec: endpoint::encode(&spec.endpoint),
    }
}

/// A service as Docker shows it.
pub fn render(service: &Service) -> Value {
    let mut out = object(
        service.id.as_str(),
        &service.meta,
        json!({ "Spec": encode(&service.spec), "Endpoint": endpoint::render(&service.endpoint) }),
    );
    if let Some(previous) = &service.previous_spec {
        out["PreviousSpec"] = json!(encode(previous));
    }
    if let Some(status) = &service.update_status {
        out["UpdateStatus"] = render_update_status(status);
    }
    out
}

/// A service with Docker's defaults in the place of what was not given (`insertDefaults`).
pub fn render_with_defaults(service: &Service) -> Value {
    let mut filled = service.clone();
    let spec = &mut filled.spec;
    spec.task
        .container
        .stop_grace_period
        .get_or_insert(Duration::from_secs(10));
    let restart = spec.task.restart.get_or_insert(RestartPolicy {
        condition: RestartCondition::Any,
        delay: None,
        max_attempts: 0,
        window: None,
    });
    restart.delay.get_or_insert(RestartPolicy::DEFAULT_DELAY);
    for config in [&mut spec.update, &mut spec.rollback] {
        let config = config.get_or_insert(model::UpdateConfig {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: model::FailureAction::Pause,
            monitor: None,
            max_failure_millionths: 0,
            order: model::UpdateOrder::StopFirst,
        });
        config.monitor.get_or_insert(Duration::from_secs(5));
    }
    render(&filled)
}

fn decode_mode(wire: Mode) -> Result<model::ServiceMode, ConvertError> {
    let others = [
        ("Mode.Global", wire.global.is_some()),
        ("Mode.ReplicatedJob", wire.replicated_job.is_some()),
        ("Mode.GlobalJob", wire.global_job.is_some()),
    ];
    if let Some((field, _)) = others.into_iter().find(|(_, given)| *given) {
        return Err(ConvertError::UnsupportedField {
            field: field.to_owned(),
        });
    }
    let replicas = wire.replicated.and_then(|mode| mode.replicas).unwrap_or(1);
    Ok(model::ServiceMode::Replicated { replicas })
}

fn decode_update(wire: UpdateConfig) -> Result<model::UpdateConfig, ConvertError> {
    if !(0.0..=1.0).contains(&wire.max_failure_ratio) {
        let reason = format!("{} is not between 0 and 1", wire.max_failure_ratio);
        return Err(ConvertError::invalid("MaxFailureRatio", reason));
    }
    let action = words::parse(
        "FailureAction",
        words::FAILURE_ACTIONS,
        &wire.failure_action,
    )?;
    let order = words::parse("Order", words::UPDATE_ORDERS, &wire.order)?;
    Ok(model::UpdateConfig {
        parallelism: wire.parallelism,
        delay: Duration::from_nanos(wire.delay),
        failure_action: action.unwrap_or(model::FailureAction::Pause),
        monitor: nonzero_span(wire.monitor),
        max_failure_millionths: (wire.max_failure_ratio * 1e6).round() as u32,
        order: order.unwrap_or(model::UpdateOrder::StopFirst),
    })
}

fn encode_update(config: &model::UpdateConfig) -> UpdateConfig {
    UpdateConfig {
        parallelism: config.parallelism,
        delay: nanos(config.delay),
        failure_action: words::word(words::FAILURE_ACTIONS, config.failure_action).to_owned(),
        monitor: config.monitor.map_or(0, nanos),
        max_failure_ratio: f64::from(config.max_failure_millionths) / 1e6,
        order: words::word(words::UPDATE_ORDERS, config.order).to_owned(),
    }
}

fn render_update_status(status: &model::UpdateStatus) -> Value {
    let mut out = json!({
        "State": words::word(words::UPDATE_STATES, status.state),
        "StartedAt": rfc3339(status.started_at),
        "Message": status.message,
    });
    if let Some(at) = status.completed_at {
        out["CompletedAt"] = json!(rfc3339(at));
    }
    out
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
