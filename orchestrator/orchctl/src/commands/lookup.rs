//! Names to ids and back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::filters;
use crate::{
    client::{Client, segment},
    flags::FileReference,
    model::{Info, Network, Node, Service},
    spec::Resolved,
};

/// The id of the node that answers; the daemon says what is wrong when it is in no swarm.
pub async fn node_id(client: &Client, reference: &str) -> Result<String> {
    if reference != "self" {
        return Ok(reference.to_owned());
    }
    let info: Info = client.get("/info").json().await?;
    if !info.swarm.node_id.is_empty() {
        return Ok(info.swarm.node_id);
    }
    // Without a node id this fails, with the daemon's own words for it.
    client.get("/nodes").done().await?;
    anyhow::bail!("this daemon does not say which node it is: it is not part of a swarm")
}

/// The ids of networks in the swarm.
pub async fn networks(
    client: &Client,
    names: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, String>> {
    let mut ids = BTreeMap::new();
    for name in names {
        let call = client
            .get(&format!("/networks/{}", segment(name)))
            .query("scope", "swarm");
        let network: Network = call.json().await?;
        ids.insert(name.to_owned(), network.id);
    }
    Ok(ids)
}

/// Everything that flags of a service name.
pub async fn resolve(
    client: &Client,
    network_names: impl Iterator<Item = &str>,
    secrets: &[FileReference],
    configs: &[FileReference],
) -> Result<Resolved> {
    Ok(Resolved {
        networks: networks(client, network_names).await?,
        secrets: files(client, "/secrets", secrets).await?,
        configs: files(client, "/configs", configs).await?,
    })
}

async fn files(
    client: &Client,
    path: &str,
    references: &[FileReference],
) -> Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Named {
        #[serde(rename = "ID")]
        id: String,
        spec: Spec,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Spec {
        name: String,
    }
    if references.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<String> = references.iter().map(|file| file.source.clone()).collect();
    let filters = filters::encode_with(&[], "name", &names);
    let found: Vec<Named> = client.get(path).query("filters", &filters).json().await?;
    Ok(found
        .into_iter()
        .map(|named| (named.spec.name, named.id))
        .collect())
}

/// Hostnames of nodes; a node that is gone keeps its id as name.
pub async fn hostnames(client: &Client) -> Result<BTreeMap<String, String>> {
    let nodes: Vec<Node> = client.get("/nodes").json().await?;
    Ok(nodes
        .into_iter()
        .map(|node| (node.id, node.description.hostname))
        .collect())
}

/// Names of the services that are asked for.
pub async fn service_names(
    client: &Client,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>> {
    let services: Vec<Service> = client.get("/services").json().await?;
    let wanted = services
        .into_iter()
        .filter(|service| ids.contains(&service.id));
    Ok(wanted
        .map(|service| (service.id, service.spec.name))
        .collect())
}
