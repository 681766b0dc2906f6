//! The engine's networks that stand for cluster networks.

use std::collections::HashMap;

use bollard::models::{
    Ipam, IpamConfig, NetworkCreateRequest, NetworkDisconnectRequest, NetworkInspect,
};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};
use orch_core::ids::NetworkId;
use orch_core::network::{Family, Subnet};
use orch_core::objects::Network;

use super::container::unsorted;
use super::error::found;
use super::{CALL_TIMEOUT, Engine, EngineError};

/// Name of orchd's network and IPAM driver: the name of its socket in the plugin folder.
pub const DRIVER: &str = "orchd";
/// Option of an engine network that names the cluster network it stands for.
pub const NETWORK_ID_OPTION: &str = "orchd.network.id";

/// A network of the engine that uses orchd's driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNetwork {
    /// The engine's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The cluster network it stands for.
    pub cluster: Option<NetworkId>,
}

impl Engine {
    /// The networks that use orchd's driver.
    pub async fn cluster_networks(&self) -> Result<Vec<EngineNetwork>, EngineError> {
        let filters = HashMap::from([("driver", vec![DRIVER])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let list = self
            .docker(CALL_TIMEOUT)?
            .list_networks(Some(options))
            .await;
        Ok(list
            .map_err(self.error())?
            .into_iter()
            .filter_map(engine_network)
            .collect())
    }

    /// Makes a network that stands for a cluster network. The caller sees to it that there is
    /// none yet: the engine lets two networks have one name.
    pub async fn create_network(&self, network: &Network) -> Result<(), EngineError> {
        let name = &network.spec.name;
        if let Some(other) = self.inspect_network(name).await? {
            return Err(EngineError::Conflict(format!(
                "this host's engine has a network \"{name}\" of driver \"{}\" already: remove or \
                 rename it, so that the cluster's network of that name can be used here",
                other.driver.unwrap_or_default()
            )));
        }
        let docker = self.docker(CALL_TIMEOUT)?;
        let created = docker.create_network(request(network)).await;
        created.map(drop).map_err(self.error())
    }

    /// Removes a network by its id; one that is gone is fine.
    pub async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        let removed = self.docker(CALL_TIMEOUT)?.remove_network(id).await;
        found(removed.map_err(self.error())).map(drop)
    }

    /// Takes all containers off a network.
    pub async fn disconnect_all(&self, id: &str) -> Result<(), EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let network = self.inspect_network(id).await?;
        let containers = network
            .and_then(|network| network.containers)
            .unwrap_or_default();
        for container in containers.into_keys() {
            let request = NetworkDisconnectRequest {
                container,
                force: Some(true),
            };
            let disconnected = docker.disconnect_network(id, request).await;
            found(disconnected.map_err(self.error()))?;
        }
        Ok(())
    }

    async fn inspect_network(
        &self,
        id_or_name: &str,
    ) -> Result<Option<NetworkInspect>, EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let seen = docker
            .inspect_network(id_or_name, None::<InspectNetworkOptions>)
            .await;
        found(seen.map_err(self.error()))
    }
}

fn engine_network(network: bollard::models::Network) -> Option<EngineNetwork> {
    let option = network
        .options
        .and_then(|mut options| options.remove(NETWORK_ID_OPTION));
    Some(EngineNetwork {
        id: network.id?,
        name: network.name?,
        cluster: option.and_then(|id| NetworkId::parse(&id).ok()),
    })
}

fn request(network: &Network) -> NetworkCreateRequest {
    let identity = HashMap::from([(NETWORK_ID_OPTION.to_owned(), network.id.to_string())]);
    let mut options = unsorted(&network.spec.driver_options);
    options.extend(identity.clone());
    // A prune through orchd's API spares what carries this label: it knows no options.
    let mut labels = unsorted(&network.spec.labels);
    labels.extend(identity.clone());
    NetworkCreateRequest {
        name: network.spec.name.clone(),
        driver: Some(DRIVER.to_owned()),
        internal: Some(network.spec.internal),
        enable_ipv6: Some(network.families().contains(&Family::V6)),
        ipam: Some(Ipam {
            driver: Some(DRIVER.to_owned()),
            config: Some(network.subnets.iter().map(ipam_config).collect()),
            options: Some(identity),
        }),
        options: Some(options),
        labels: Some(labels),
        ..NetworkCreateRequest::default()
    }
}

fn ipam_config(subnet: &Subnet) -> IpamConfig {
    IpamConfig {
        subnet: Some(subnet.range.to_string()),
        gateway: Some(subnet.gateway.to_string()),
        ..IpamConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use orch_core::network::Vni;
    use orch_core::objects::Meta;
    use orch_core::objects::network::NetworkSpec;

    use super::*;

    fn network() -> Network {
        Network {
            id: NetworkId::from_random(5),
            meta: Meta::default(),
            spec: NetworkSpec {
                name: "sandbox".to_owned(),
                labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
                attachable: true,
                internal: true,
                ingress: false,
                ipv6: false,
                ipam: Vec::new(),
                driver_options: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            },
            vni: Vni::MIN,
            subnets: vec![Subnet {
                range: "10.0.10.0/24".parse().unwrap(),
                gateway: "10.0.10.1".parse().unwrap(),
            }],
            last_address: None,
            last_address_v6: None,
        }
    }

    #[test]
    fn an_engine_network_says_what_it_stands_for() {
        let request = request(&network());
        assert_eq!(
            (request.name.as_str(), request.internal),
            ("sandbox", Some(true))
        );
        assert_eq!(request.driver.as_deref(), Some("orchd"));
        assert_eq!(request.labels.unwrap()["team"], "a");
        let options = request.options.unwrap();
        assert_eq!(options["k"], "v");
        let ipam = request.ipam.unwrap();
        assert_eq!(ipam.driver.as_deref(), Some("orchd"));
        assert_eq!(
            ipam.options.unwrap()[NETWORK_ID_OPTION],
            network().id.as_str()
        );
        let config = &ipam.config.unwrap()[0];
        assert_eq!(config.subnet.as_deref(), Some("10.0.10.0/24"));
        assert_eq!(config.gateway.as_deref(), Some("10.0.10.1"));

        let listed = bollard::models::Network {
            id: Some("e1".to_owned()),
            name: Some("sandbox".to_owned()),
            options: Some(options),
            ..Default::default()
        };
        let expected = EngineNetwork {
            id: "e1".to_owned(),
            name: "sandbox".to_owned(),
            cluster: Some(network().id),
        };
        assert_eq!(engine_network(listed), Some(expected));
    }
}
