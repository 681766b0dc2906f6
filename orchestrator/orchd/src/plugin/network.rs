//! The driver's half that makes networks, endpoints and interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
        let no_address = || PluginError::NoEndpointAddress(request.endpoint.clone());
        let address: IpNet = interface.address.parse().map_err(|_| no_address())?;
        let address_v6 = match interface.address_v6.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| no_address())?),
        };
        let network = self.cluster_network(&request.network).await?;
        let given = parse_mac(&interface.mac_address);
        let mac = given.unwrap_or_else(|| Attachment::mac_address(address.addr()));
        let endpoint = Endpoint {
            network,
            address,
            address_v6,
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
            v4: v4_of(endpoint.address),
            v6: endpoint.address_v6.and_then(v6_of),
            mac: endpoint.mac,
        };
        // The gateway is named for internal networks too: names are asked for through it, and the
        // data plane lets nothing else out.
        let unknown = || PluginError::UnknownNetwork(network.spec.name.clone());
        let gateway_to = |address: IpNet| gateway(&network, address.addr()).ok_or_else(unknown);
        let gateway = gateway_to(endpoint.address)?;
        let gateway_v6 = endpoint.address_v6.map(gateway_to).transpose()?;
        let src_name = self.plane.attach(attachment).await?;
        Ok(Joined {
            interface_name: InterfaceName {
                src_name,
                dst_prefix: "eth",
            },
            gateway: gateway.to_string(),
            gateway_v6: gateway_v6.map(|ip| ip.to_string()).unwrap_or_default(),
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

fn v4_of(address: IpNet) -> Option<Ipv4Addr> {
    match address {
        IpNet::V4(address) => Some(address.addr()),
        IpNet::V6(_) => None,
    }
}

fn v6_of(address: IpNet) -> Option<Ipv6Addr> {
    match address {
        IpNet::V4(_) => None,
        IpNet::V6(address) => Some(address.addr()),
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
    fn link_layer_addresses_are_read_and_written() {
        let mac = [0x02, 0x42, 10, 0, 10, 7];
        assert_eq!(format_mac(mac), "02:42:0a:00:0a:07");
        assert_eq!(parse_mac("02:42:0a:00:0a:07"), Some(mac));
        for text in ["", "02:42", "02:42:0a:00:0a:zz", "02:42:0a:00:0a:07:08"] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }
}
