//! The engine's driver protocol: what it asks and what it is told, as JSON.
//!
//! Each call is a POST to `/<Family>.<Method>`. The engine sends `null` for maps and objects that
//! it has not, and more fields than matter here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Option of an address request that says what it is for.
const ADDRESS_TYPE: &str = "RequestAddressType";
/// Its value for a network's gateway.
const GATEWAY_TYPE: &str = "com.docker.network.gateway";
/// Option of a new network that holds the options its user gave.
const GENERIC_OPTIONS: &str = "com.docker.network.generic";

/// A call that was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// What the plugin implements.
    Activate,
    /// What the network driver can do.
    NetworkCapabilities,
    /// A network was made.
    CreateNetwork(CreateNetwork),
    /// A network was removed.
    DeleteNetwork(NetworkRef),
    /// A container gets an endpoint.
    CreateEndpoint(CreateEndpoint),
    /// An endpoint is gone.
    DeleteEndpoint(EndpointRef),
    /// What there is to say of an endpoint.
    EndpointInfo(EndpointRef),
    /// A container with that endpoint starts.
    Join(Join),
    /// A container with that endpoint ended.
    Leave(EndpointRef),
    /// Ports are to be published, or no longer: the cluster does that its own way.
    ExternalConnectivity,
    /// News of other hosts: the cluster has its own.
    Discovery,
    /// What the IPAM driver can do.
    IpamCapabilities,
    /// Names of address spaces.
    AddressSpaces,
    /// A network needs a range.
    RequestPool(RequestPool),
    /// A range is no longer needed.
    ReleasePool,
    /// A gateway or an endpoint needs an address.
    RequestAddress(RequestAddress),
    /// An address is no longer needed.
    ReleaseAddress(ReleaseAddress),
}

impl Call {
    /// Reads a call; `None` when there is no such method.
    pub fn parse(path: &str, body: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        Some(Ok(match path {
            "/Plugin.Activate" => Self::Activate,
            "/NetworkDriver.GetCapabilities" => Self::NetworkCapabilities,
            "/NetworkDriver.CreateNetwork" => return Some(read(body, Self::CreateNetwork)),
            "/NetworkDriver.DeleteNetwork" => return Some(read(body, Self::DeleteNetwork)),
            "/NetworkDriver.CreateEndpoint" => return Some(read(body, Self::CreateEndpoint)),
            "/NetworkDriver.DeleteEndpoint" => return Some(read(body, Self::DeleteEndpoint)),
            "/NetworkDriver.EndpointOperInfo" => return Some(read(body, Self::EndpointInfo)),
            "/NetworkDriver.Join" => return Some(read(body, Self::Join)),
            "/NetworkDriver.Leave" => return Some(read(body, Self::Leave)),
            "/NetworkDriver.ProgramExternalConnectivity"
            | "/NetworkDriver.RevokeExternalConnectivity" => Self::ExternalConnectivity,
            "/NetworkDriver.DiscoverNew" | "/NetworkDriver.DiscoverDelete" => Self::Discovery,
            "/IpamDriver.GetCapabilities" => Self::IpamCapabilities,
            "/IpamDriver.GetDefaultAddressSpaces" => Self::AddressSpaces,
            "/IpamDriver.RequestPool" => return Some(read(body, Self::RequestPool)),
            "/IpamDriver.ReleasePool" => Self::ReleasePool,
            "/IpamDriver.RequestAddress" => return Some(read(body, Self::RequestAddress)),
            "/IpamDriver.ReleaseAddress" => return Some(read(body, Self::ReleaseAddress)),
            _ => return None,
        }))
    }
}

fn read<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    call: fn(T) -> Call,
) -> Result<Call, serde_json::Error> {
    serde_json::from_slice(body).map(call)
}

/// The answer that carries an error: the two families of calls name its field differently.
pub fn error(path: &str, words: &str) -> Value {
    let field = if path.starts_with("/IpamDriver.") {
        "Error"
    } else {
        "Err"
    };
    serde_json::json!({ field: words })
}

/// The engine names one of its networks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkRef {
    /// The engine's id of it.
    #[serde(rename = "NetworkID")]
    pub network: String,
}

/// The engine made a network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNetwork {
    /// The engine's id of it.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Its options, the user's among them.
    pub options: Option<BTreeMap<String, Value>>,
}

impl CreateNetwork {
    /// An option that the network's user gave.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options
            .as_ref()?
            .get(GENERIC_OPTIONS)?
            .get(key)?
            .as_str()
    }
}

/// The engine names an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EndpointRef {
    /// The engine's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
}

/// A container gets an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateEndpoint {
    /// The engine's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// The engine's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    /// Addresses that the endpoint has already.
    pub interface: Option<Interface>,
}

/// Addresses of an endpoint; empty text is "none".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Interface {
    /// IPv4 address with prefix length.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// IPv6 address with prefix length.
    #[serde(rename = "AddressIPv6", skip_serializing_if = "String::is_empty")]
    pub address_v6: String,
    /// Link-layer address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
}

/// What a new endpoint has beside what the engine gave it. A field that the engine gave must not
/// be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NewEndpoint {
    /// The addresses added.
    pub interface: Interface,
}

/// A container with an endpoint starts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Join {
    /// The engine's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// The engine's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    /// Path of the container's network namespace: the same for all endpoints of a container.
    pub sandbox_key: String,
}

/// What the engine does for a container that starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Joined {
    /// The interface to move into the container.
    pub interface_name: InterfaceName,
    /// Default gateway; without one the engine adds a second interface of its own.
    pub gateway: String,
    /// Default gateway of IPv6; empty if there is none.
    #[serde(rename = "GatewayIPv6", skip_serializing_if = "String::is_empty")]
    pub gateway_v6: String,
}

/// An interface and what it is called in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InterfaceName {
    /// Its name on the host.
    pub src_name: String,
    /// What its name in the container begins with; the engine adds a number.
    pub dst_prefix: &'static str,
}

/// A network needs a range.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RequestPool {
    /// The range asked for; empty leaves the choice.
    #[serde(default)]
    pub pool: String,
    /// Whether it is one of IPv6.
    #[serde(default)]
    pub v6: bool,
    /// Options of the network's IPAM part.
    pub options: Option<BTreeMap<String, String>>,
}

/// A range for a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pool {
    /// What further calls name it by.
    #[serde(rename = "PoolID")]
    pub id: String,
    /// The range.
    pub pool: String,
    /// More about it; nothing.
    pub data: BTreeMap<String, String>,
}

/// A gateway or an endpoint needs an address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RequestAddress {
    /// Of this range.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// This one; empty leaves the choice.
    #[serde(default)]
    pub address: String,
    /// What it is for.
    pub options: Option<BTreeMap<String, String>>,
}

impl RequestAddress {
    /// Whether it is for the network's gateway.
    pub fn is_gateway(&self) -> bool {
        let kind = self
            .options
            .as_ref()
            .and_then(|options| options.get(ADDRESS_TYPE));
        kind.is_some_and(|kind| kind == GATEWAY_TYPE)
    }
}

/// An address that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Address {
    /// With prefix length.
    pub address: String,
    /// More about it; nothing.
    pub data: BTreeMap<String, String>,
}

/// An address is no longer needed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReleaseAddress {
    /// Of this range.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// This one.
    pub address: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(path: &str, body: Value) -> Call {
        Call::parse(path, body.to_string().as_bytes())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_network_with_its_options() {
        let body = json!({
            "NetworkID": "e1",
            "Options": {
                "com.docker.network.enable_ipv6": false,
                "com.docker.network.generic": {"orchd.network.id": "n1"},
            },
            "IPv4Data": [{"AddressSpace": "", "Gateway": "10.0.0.1/24", "Pool": "10.0.0.0/24"}],
            "IPv6Data": [],
        });
        let Call::CreateNetwork(request) = parse("/NetworkDriver.CreateNetwork", body) else {
            panic!("another call")
        };
        assert_eq!(request.network, "e1");
        assert_eq!(request.option("orchd.network.id"), Some("n1"));
        assert_eq!(request.option("other"), None);
        let bare = json!({"NetworkID": "e1", "Options": null});
        let Call::CreateNetwork(bare) = parse("/NetworkDriver.CreateNetwork", bare) else {
            panic!("another call")
        };
        assert_eq!(bare.option("orchd.network.id"), None);
    }

    #[test]
    fn an_endpoint_from_its_making_to_its_end() {
        let created = json!({
            "NetworkID": "e1",
            "EndpointID": "ep",
            "Interface": {"Address": "10.0.0.5/24", "AddressIPv6": "", "MacAddress": ""},
            "Options": {"com.docker.network.portmap": null},
        });
        let expected = CreateEndpoint {
            network: "e1".to_owned(),
            endpoint: "ep".to_owned(),
            interface: Some(Interface {
                address: "10.0.0.5/24".to_owned(),
                ..Interface::default()
            }),
        };
        assert_eq!(
            parse("/NetworkDriver.CreateEndpoint", created),
            Call::CreateEndpoint(expected)
        );
        let join = json!({"NetworkID": "e1", "EndpointID": "ep", "SandboxKey": "/run/x",
                          "Options": null});
        let expected = Join {
            network: "e1".to_owned(),
            endpoint: "ep".to_owned(),
            sandbox_key: "/run/x".to_owned(),
        };
        assert_eq!(parse("/NetworkDriver.Join", join), Call::Join(expected));
        let gone = json!({"NetworkID": "e1", "EndpointID": "ep"});
        let endpoint = EndpointRef {
            endpoint: "ep".to_owned(),
        };
        assert_eq!(
            parse("/NetworkDriver.Leave", gone.clone()),
            Call::Leave(endpoint.clone())
        );
        assert_eq!(
            parse("/NetworkDriver.DeleteEndpoint", gone),
            Call::DeleteEndpoint(endpoint)
        );
    }

    #[test]
    fn addresses_and_gateways() {
        let gateway = json!({"PoolID": "p", "Address": "10.0.0.1",
                             "Options": {"RequestAddressType": "com.docker.network.gateway"}});
        let Call::RequestAddress(gateway) = parse("/IpamDriver.RequestAddress", gateway) else {
            panic!("another call")
        };
        assert!(gateway.is_gateway());
        let any = json!({"PoolID": "p", "Address": "", "Options": null});
        let Call::RequestAddress(any) = parse("/IpamDriver.RequestAddress", any) else {
            panic!("another call")
        };
        assert!(!any.is_gateway());
        assert_eq!(any.address, "");
    }

    #[test]
    fn answers_are_what_the_engine_reads() {
        let joined = Joined {
            interface_name: InterfaceName {
                src_name: "op1".to_owned(),
                dst_prefix: "eth",
            },
            gateway: "10.0.0.1".to_owned(),
            gateway_v6: String::new(),
        };
        assert_eq!(
            serde_json::to_value(&joined).unwrap(),
            json!({"InterfaceName": {"SrcName": "op1", "DstPrefix": "eth"}, "Gateway": "10.0.0.1"})
        );
        let both = Joined {
            gateway_v6: "fd00::1".to_owned(),
            ..joined
        };
        assert_eq!(
            serde_json::to_value(both).unwrap()["GatewayIPv6"],
            "fd00::1"
        );
        let nothing_new = NewEndpoint {
            interface: Interface::default(),
        };
        assert_eq!(
            serde_json::to_value(nothing_new).unwrap(),
            json!({"Interface": {}})
        );
        let pool = Pool {
            id: "n1".to_owned(),
            pool: "10.0.0.0/24".to_owned(),
            data: BTreeMap::new(),
        };
        assert_eq!(
            serde_json::to_value(pool).unwrap(),
            json!({"PoolID": "n1", "Pool": "10.0.0.0/24", "Data": {}})
        );
        let address = Address {
            address: "10.0.0.5/24".to_owned(),
            data: BTreeMap::new(),
        };
        assert_eq!(
            serde_json::to_value(address).unwrap(),
            json!({"Address": "10.0.0.5/24", "Data": {}})
        );
        assert_eq!(
            error("/IpamDriver.RequestPool", "no"),
            json!({"Error": "no"})
        );
        assert_eq!(error("/NetworkDriver.Join", "no"), json!({"Err": "no"}));
    }

    #[test]
    fn unknown_methods_and_malformed_bodies_are_told_apart() {
        assert!(Call::parse("/NetworkDriver.AllocateNetwork", b"{}").is_none());
        assert!(Call::parse("/", b"{}").is_none());
        assert!(Call::parse("/NetworkDriver.Join", b"{}").unwrap().is_err());
        assert!(Call::parse("/NetworkDriver.Join", b"").unwrap().is_err());
        assert_eq!(
            Call::parse("/Plugin.Activate", b"").unwrap().unwrap(),
            Call::Activate
        );
    }
}
