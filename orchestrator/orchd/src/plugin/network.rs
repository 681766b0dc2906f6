//! The driver's half that makes networks, endpoints and interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use orch_core::ids::NetworkId;
use orch_core::objects::Network;
use orch_dataplane::Attachment;
use serde_json::{Value, json};

use super::ledger::Endpoint;
use super::protocol::{
    CreateEndpoint, CreateNetwork, EndpointRef, Interface, InterfaceName, Join, Joined, NetworkRef,
    NewEndpoint,
};
use super::{Node, PluginError};
use crate::engine::NETWORK_ID_OPTION;

impl Node {
    pub(super) async fn create_network(
        &self,
        request: CreateNetwork,
    ) -> Result<Value, PluginError> {
        let id = request
            .option(NETWORK_ID_OPTION)
            .ok_or(PluginError::HandMade)?;
        let id = NetworkId::parse(id).map_err(|_| PluginError::UnknownNetwork(id.to_owned()))?;
        self.network(&id)?;
        self.ledger
            .change(|records| records.networks.insert(request.network, id))
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn delete_network(&self, request: NetworkRef) -> Result<Value, PluginError> {
        self.ledger
            .change(move |records| records.networks.remove(&request.network))
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn create_endpoint(
        &self,
        request: CreateEndpoint,
    ) -> Result<NewEndpoint, PluginError> {
        let interface = request.interface.unwrap_or_default();
        let address: IpNet = interface
            .address
            .parse()
            .map_err(|_| PluginError::NoEndpointAddress(request.endpoint.clone()))?;
        let network = self.cluster_network(&request.network).await?;
        let given = parse_mac(&interface.mac_address);
        let mac = given
            .or_else(|| derived_mac(address.addr()))
            .ok_or_else(|| PluginError::NoEndpointAddress(request.endpoint.clone()))?;
        let endpoint = Endpoint {
            network,
            address,
            mac,
        };
        self.ledger
            .change(move |records| records.endpoints.insert(request.endpoint, endpoint))
            .await?;
        let added = match given {
            Some(_) => Interface::default(),
            None => Interface {
                mac_address: format_mac(mac),
                ..Interface::default()
            },
        };
        Ok(NewEndpoint { interface: added })
    }

    pub(super) async fn delete_endpoint(&self, request: EndpointRef) -> Result<Value, PluginError> {
        self.plane.detach(&request.endpoint).await?;
        self.ledger
            .change(move |records| records.endpoints.remove(&request.endpoint))
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn join(&self, request: Join) -> Result<Joined, PluginError> {
        let id = request.endpoint.clone();
        let known = self
            .ledger
            .read(move |records| records.endpoints.get(&id).cloned())
            .await?;
        let endpoint =
            known.ok_or_else(|| PluginError::UnknownEndpoint(request.endpoint.clone()))?;
        let network = self.network(&endpoint.network)?;
        let attachment = Attachment {
            endpoint_id: request.endpoint,
            sandbox_id: request.sandbox_key,
            vni: network.vni,
            address: endpoint.address,
            mac: endpoint.mac,
        };
        // The gateway is named for internal networks too: names are asked for through it, and the
        // data plane lets nothing else out.
        let gateway = gateway(&network, endpoint.address.addr())
            .ok_or_else(|| PluginError::UnknownNetwork(network.spec.name.clone()))?;
        let src_name = self.plane.attach(attachment).await?;
        Ok(Joined {
            interface_name: InterfaceName {
                src_name,
                dst_prefix: "eth",
            },
            gateway: gateway.to_string(),
        })
    }

    pub(super) async fn leave(&self, request: EndpointRef) -> Result<Value, PluginError> {
        self.plane.detach(&request.endpoint).await?;
        Ok(json!({}))
    }

    /// The cluster network that one of the engine's networks stands for.
    async fn cluster_network(&self, engine: &str) -> Result<NetworkId, PluginError> {
        let id = engine.to_owned();
        let known = self
            .ledger
            .read(move |records| records.networks.get(&id).cloned())
            .await?;
        known.ok_or_else(|| PluginError::UnknownNetwork(engine.to_owned()))
    }
}

/// The gateway of the subnet that an address belongs to.
fn gateway(network: &Network, address: IpAddr) -> Option<IpAddr> {
    let subnet = network
        .subnets
        .iter()
        .find(|subnet| subnet.range.contains(&address))?;
    Some(subnet.gateway)
}

/// The link-layer address that Docker gives to an IPv4 address.
fn derived_mac(address: IpAddr) -> Option<[u8; 6]> {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            Some([0x02, 0x42, a, b, c, d])
        }
        IpAddr::V6(_) => None,
    }
}

fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    bytes.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_layer_addresses_follow_from_the_ip_address() {
        let mac = derived_mac("10.0.10.7".parse().unwrap()).unwrap();
        assert_eq!(format_mac(mac), "02:42:0a:00:0a:07");
        assert_eq!(parse_mac("02:42:0a:00:0a:07"), Some(mac));
        assert_eq!(derived_mac("::1".parse().unwrap()), None);
        for text in ["", "02:42", "02:42:0a:00:0a:zz", "02:42:0a:00:0a:07:08"] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }
}
