//! `EndpointSpec` and `Endpoint`: how clients find a service.

use orch_core::objects::service as model;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scalar::is_default;
use super::{ConvertError, words};

/// Wire shape of how clients are to find a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSpec {
    mode: String,
    #[serde(skip_serializing_if = "is_default")]
    ports: Vec<Port>,
}

/// Wire shape of a published port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    #[serde(skip_serializing_if = "is_default")]
    name: String,
    protocol: String,
    target_port: u32,
    #[serde(skip_serializing_if = "is_default")]
    published_port: u32,
    publish_mode: String,
}

/// From the wire.
pub fn decode(wire: EndpointSpec) -> Result<model::EndpointSpec, ConvertError> {
    Ok(model::EndpointSpec {
        mode: words::parse("EndpointSpec.Mode", words::ENDPOINT_MODES, &wire.mode)?
            .unwrap_or_default(),
        ports: wire
            .ports
            .into_iter()
            .map(decode_port)
            .collect::<Result<_, _>>()?,
    })
}

/// To the wire.
pub fn encode(spec: &model::EndpointSpec) -> EndpointSpec {
    EndpointSpec {
        mode: words::word(words::ENDPOINT_MODES, spec.mode).to_owned(),
        ports: spec.ports.iter().map(encode_port).collect(),
    }
}

/// What was allocated, as `Service.Endpoint`.
pub fn render(endpoint: &model::Endpoint) -> Value {
    let ports: Vec<_> = endpoint.ports.iter().map(encode_port).collect();
    let vips: Vec<_> = endpoint
        .vips
        .iter()
        .map(|vip| json!({ "NetworkID": vip.network.as_str(), "Addr": vip.address.to_string() }))
        .collect();
    let mut out = json!({ "Spec": encode(&endpoint.spec) });
    if !ports.is_empty() {
        out["Ports"] = json!(ports);
    }
    if !vips.is_empty() {
        out["VirtualIPs"] = json!(vips);
    }
    out
}

/// To the wire.
pub fn encode_port(port: &model::PortConfig) -> Port {
    Port {
        name: port.name.clone(),
        protocol: words::word(words::PROTOCOLS, port.protocol).to_owned(),
        target_port: u32::from(port.target),
        published_port: port.published.map_or(0, u32::from),
        publish_mode: words::word(words::PUBLISH_MODES, port.mode).to_owned(),
    }
}

fn decode_port(wire: Port) -> Result<model::PortConfig, ConvertError> {
    let protocol = words::parse("Protocol", words::PROTOCOLS, &wire.protocol)?;
    let mode = words::parse("PublishMode", words::PUBLISH_MODES, &wire.publish_mode)?;
    let published = port_number("PublishedPort", wire.published_port)?;
    let target = port_number("TargetPort", wire.target_port)?;
    Ok(model::PortConfig {
        name: wire.name,
        protocol: protocol.unwrap_or(orch_core::network::Protocol::Tcp),
        target: target.ok_or_else(|| ConvertError::invalid("TargetPort", "it must be given"))?,
        published,
        mode: mode.unwrap_or(model::PublishMode::Ingress),
    })
}

/// A port, or `None` for 0.
fn port_number(field: &'static str, port: u32) -> Result<Option<u16>, ConvertError> {
    match u16::try_from(port) {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(ConvertError::invalid(
            field,
            format!("{port} is not a port: 1 to 65535"),
        )),
    }
}
