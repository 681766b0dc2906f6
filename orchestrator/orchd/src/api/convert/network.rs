//! Cluster networks: the request to create one, and the object as Docker shows it.

use std::collections::BTreeMap;

use ipnet::IpNet;
use orch_core::network::Family;
use orch_core::objects::network::{IpamConfig, Network, NetworkSpec};
use orch_core::objects::{Labels, Node};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scalar::{is_default, object, rfc3339};
use super::{ConvertError, lossless};

/// The driver of every cluster network, by Docker's name for it.
pub const DRIVER: &str = "overlay";
/// Where a cluster network is known.
pub const SCOPE: &str = "swarm";
/// Docker's address manager, by name.
const IPAM_DRIVER: &str = "default";
/// The option in which Docker shows an overlay's tunnel identifier.
const VNI_OPTION: &str = "com.docker.network.driver.overlay.vxlanid_list";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateRequest {
    name: String,
    driver: String,
    scope: String,
    internal: bool,
    attachable: bool,
    ingress: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    labels: Labels,
    #[serde(skip_serializing)]
    options: BTreeMap<String, String>,
    /// Clients of API versions before 1.44 send it; it never meant anything to overlays.
    check_duplicate: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    driver: String,
    config: Vec<Range>,
    #[serde(skip_serializing)]
    options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Range {
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "is_default")]
    ip_range: String,
    #[serde(skip_serializing_if = "is_default")]
    gateway: String,
}

/// A request for an overlay network. Nothing in it is lost, or it is refused.
pub fn decode(input: &Value) -> Result<NetworkSpec, ConvertError> {
    let mut wire: CreateRequest = lossless::parse(input)?;
    refuse_options("Options", &wire.options)?;
    refuse_options("IPAM.Options", &wire.ipam.options)?;
    let spec = NetworkSpec {
        name: wire.name.clone(),
        labels: wire.labels.clone(),
        attachable: wire.attachable,
        internal: wire.internal,
        ingress: wire.ingress,
        ipv6: wire.enable_ipv6,
        ipam: wire
            .ipam
            .config
            .drain(..)
            .map(decode_range)
            .collect::<Result<_, _>>()?,
        driver_options: BTreeMap::new(),
    };
    if wire.enable_ipv4 == Some(false) {
        return Err(ConvertError::UnsupportedValue {
            field: "EnableIPv4".to_owned(),
            value: "false".to_owned(),
        });
    }
    let kept = CreateRequest {
        driver: DRIVER.to_owned(),
        scope: SCOPE.to_owned(),
        ipam: Ipam {
            driver: IPAM_DRIVER.to_owned(),
            config: encode_ranges(&spec.ipam),
            options: BTreeMap::new(),
        },
        ..wire
    };
    lossless::ensure_kept(input, &kept)?;
    Ok(spec)
}

/// A network as `GET /networks` shows it.
pub fn render(network: &Network) -> Value {
    let mut options = network.spec.driver_options.clone();
    options.insert(VNI_OPTION.to_owned(), network.vni.to_string());
    json!({
        "Name": network.spec.name,
        "Id": network.id.as_str(),
        "Created": rfc3339(network.meta.created_at),
        "Scope": SCOPE,
        "Driver": DRIVER,
        "EnableIPv4": true,
        "EnableIPv6": network.families().contains(&Family::V6),
        "IPAM": { "Driver": IPAM_DRIVER, "Options": null, "Config": render_subnets(network) },
        "Internal": network.spec.internal,
        "Attachable": network.spec.attachable,
        "Ingress": network.spec.ingress,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": null,
        "Options": options,
        "Labels": network.spec.labels,
    })
}

/// The `Peers` of an inspected network: every node that can send to it.
pub fn render_peers<'a>(nodes: impl Iterator<Item = &'a Node>) -> Value {
    let peers: Vec<_> = nodes
        .filter_map(|node| {
            let address = node.status.address?;
            Some(json!({ "Name": node.id.as_str(), "IP": address.to_string() }))
        })
        .collect();
    json!(peers)
}

/// A network as it is shown inside a task: the cluster object itself.
pub fn render_for_task(network: &Network) -> Value {
    let spec = &network.spec;
    let fields = json!({
        "Spec": {
            "Name": spec.name,
            "Labels": spec.labels,
            "DriverConfiguration": { "Name": DRIVER },
            "Internal": spec.internal,
            "Attachable": spec.attachable,
            "Ingress": spec.ingress,
            "IPv6Enabled": spec.ipv6,
            "IPAMOptions": {
                "Driver": { "Name": IPAM_DRIVER },
                "Configs": encode_ranges(&spec.ipam),
            },
            "Scope": SCOPE,
        },
        "DriverState": { "Name": DRIVER, "Options": { VNI_OPTION: network.vni.to_string() } },
        "IPAMOptions": {
            "Driver": { "Name": IPAM_DRIVER },
            "Configs": render_subnets(network),
        },
    });
    object(network.id.as_str(), &network.meta, fields)
}

/// Refuses driver options: orchd's driver has none, and some say all by their key
/// (`encrypted`), so that the comparison with what is kept would not see them.
pub fn refuse_options(field: &str, options: &BTreeMap<String, String>) -> Result<(), ConvertError> {
    match options.keys().next() {
        Some(key) => Err(ConvertError::UnsupportedField {
            field: format!("{field}.{key}"),
        }),
        None => Ok(()),
    }
}

fn render_subnets(network: &Network) -> Vec<Value> {
    network
        .subnets
        .iter()
        .map(|subnet| {
            json!({ "Subnet": subnet.range.to_string(), "Gateway": subnet.gateway.to_string() })
        })
        .collect()
}

fn decode_range(wire: Range) -> Result<IpamConfig, ConvertError> {
    let gateway = match wire.gateway.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            ConvertError::invalid("Gateway", format!("\"{text}\" is not an IP address"))
        })?),
    };
    let range = match wire.ip_range.as_str() {
        "" => None,
        text => Some(parse_range("IPRange", text)?),
    };
    Ok(IpamConfig {
        subnet: parse_range("Subnet", &wire.subnet)?,
        gateway,
        range,
    })
}

fn encode_ranges(ranges: &[IpamConfig]) -> Vec<Range> {
    ranges
        .iter()
        .map(|range| Range {
            subnet: range.subnet.to_string(),
            ip_range: range.range.map(|r| r.to_string()).unwrap_or_default(),
            gateway: range.gateway.map(|g| g.to_string()).unwrap_or_default(),
        })
        .collect()
}

fn parse_range(field: &'static str, text: &str) -> Result<IpNet, ConvertError> {
    let range: IpNet = text.parse().map_err(|_| {
        ConvertError::invalid(
            field,
            format!("\"{text}\" is not ADDRESS/PREFIX such as 10.0.9.0/24"),
        )
    })?;
    if range != range.trunc() {
        let reason = format!("{text} has host bits set: it should be {}", range.trunc());
        return Err(ConvertError::invalid(field, reason));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `docker network create -d overlay --internal --gateway ... --ip-range ...` posts.
    fn posted() -> Value {
        json!({
            "Driver": "overlay", "Scope": "", "Internal": true, "Attachable": false,
            "IPAM": {"Driver": "default", "Options": {}, "Config": [
                {"Subnet": "10.0.11.0/24", "IPRange": "10.0.11.128/25", "Gateway": "10.0.11.9"}]},
            "Ingress": false, "ConfigOnly": false, "ConfigFrom": null, "Options": {},
            "Labels": {"a": "b"}, "Name": "x", "CheckDuplicate": true
        })
    }

    #[test]
    fn what_the_cli_posts_becomes_a_spec() {
        let spec = decode(&posted()).unwrap();
        assert_eq!(spec.name, "x");
        assert!(spec.internal && !spec.attachable);
        assert_eq!(spec.ipam[0].gateway, Some("10.0.11.9".parse().unwrap()));
        assert_eq!(spec.ipam[0].range, Some("10.0.11.128/25".parse().unwrap()));
    }

    /// What `docker network create -d overlay --attachable --ipv6 --subnet ... --subnet ...` of
    /// Docker 28 posts.
    #[test]
    fn a_network_of_both_families() {
        let posted = json!({
            "Name": "sandbox", "Driver": "overlay", "Scope": "", "EnableIPv6": true,
            "IPAM": {"Driver": "default", "Options": {}, "Config": [
                {"Subnet": "10.0.10.0/24"},
                {"Subnet": "fd00:10::/64", "Gateway": "fd00:10::1"}]},
            "Internal": false, "Attachable": true, "Ingress": false, "ConfigOnly": false,
            "ConfigFrom": null, "Options": {}, "Labels": {}
        });
        let spec = decode(&posted).unwrap();
        assert!(spec.ipv6);
        let subnets: Vec<_> = spec.ipam.iter().map(|c| c.subnet.to_string()).collect();
        assert_eq!(subnets, ["10.0.10.0/24", "fd00:10::/64"]);
        assert_eq!(spec.ipam[1].gateway, Some("fd00:10::1".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let cases = [
            ("/Options", json!({"encrypted": ""}), "Options.encrypted"),
            (
                "/Options",
                json!({"com.docker.network.driver.mtu": "1400"}),
                "Options.com",
            ),
            ("/ConfigOnly", json!(true), "ConfigOnly"),
            ("/IPAM/Driver", json!("weave"), "IPAM.Driver"),
            (
                "/IPAM/Config/0/Subnet",
                json!("10.0.11.7/24"),
                "should be 10.0.11.0/24",
            ),
            ("/IPAM/Config/0/Subnet", json!("ten"), "invalid Subnet"),
            (
                "/IPAM/Config/0/AuxiliaryAddresses",
                json!({"h": "10.0.11.3"}),
                "Auxiliary",
            ),
        ];
        for (place, value, expected) in cases {
            let mut body = posted();
            match place.strip_prefix("/IPAM/Config/0/") {
                Some(name) => body["IPAM"]["Config"][0][name] = value,
                None => *body.pointer_mut(place).unwrap() = value,
            }
            let message = decode(&body).unwrap_err().to_string();
            assert!(message.contains(expected), "{place}: {message}");
        }
    }
}
