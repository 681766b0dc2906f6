//! Removes what is left of containers that ended while no daemon listened.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use orch_core::ids::NetworkId;

use super::ledger::{LeaseState, Records};
use super::{Node, PluginError};
use crate::engine::{Engine, UsedEndpoint};

/// Time after which what a container of an earlier daemon's time needs is in use or given up: the
/// engine calls a driver that does not answer for 30 s at most.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pause before an engine that is away is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Looks once, some time after the start, at what an earlier daemon had on record, and removes
/// what no running container has.
pub async fn remove_leftovers(node: Arc<Node>, engine: Engine) {
    let Ok(suspects) = node.ledger.read(Records::clone).await else {
        return;
    };
    tokio::time::sleep(PATIENCE).await;
    let used = loop {
        match engine.used_endpoints().await {
            Ok(used) => break used,
            Err(error) => tracing::debug!(%error, "leftovers stay until the engine is back"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    };
    if let Err(error) = node.remove_unused(&suspects, &used).await {
        tracing::warn!(%error, "leftovers of an earlier daemon stay");
    }
}

impl Node {
    async fn remove_unused(
        &self,
        suspects: &Records,
        used: &[UsedEndpoint],
    ) -> Result<(), PluginError> {
        // First what is attached, then what is on record: an endpoint is on record before it is
        // attached, so a new one cannot be taken for a leftover.
        let mut gone = self.plane.attached().await?;
        let (endpoints, loans) = unused(suspects, used);
        let on_record = self
            .ledger
            .change(move |records| {
                records.endpoints.retain(|id, _| !endpoints.contains(id));
                for (name, lease) in &mut records.leases {
                    if loans.contains(name) {
                        lease.state = LeaseState::Released;
                    }
                }
                records.endpoints.clone()
            })
            .await?;
        self.loan_released.notify_one();
        gone.retain(|endpoint| !on_record.contains_key(endpoint));
        for endpoint in gone {
            tracing::info!(endpoint, "detaching an endpoint whose container is gone");
            self.plane.detach(&endpoint).await?;
        }
        Ok(())
    }
}

/// The endpoints and loans on record that no running container has.
fn unused(records: &Records, used: &[UsedEndpoint]) -> (BTreeSet<String>, BTreeSet<String>) {
    let ids: BTreeSet<&str> = used.iter().map(|endpoint| endpoint.id.as_str()).collect();
    let addresses: BTreeSet<(&NetworkId, IpAddr)> = used
        .iter()
        .filter_map(|endpoint| Some((records.networks.get(&endpoint.network)?, endpoint)))
        .flat_map(|(network, endpoint)| endpoint.addresses.iter().map(move |ip| (network, *ip)))
        .collect();
    let endpoints = records
        .endpoints
        .keys()
        .filter(|id| !ids.contains(id.as_str()))
        .cloned()
        .collect();
    let loans = records
        .leases
        .iter()
        .filter(|(_, lease)| match lease.state {
            LeaseState::Held(address) => !addresses.contains(&(&lease.network, address)),
            LeaseState::Asked | LeaseState::Released => false,
        })
        .map(|(name, _)| name.clone())
        .collect();
    (endpoints, loans)
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Endpoint, Lease};
    use super::*;

    #[test]
    fn what_no_running_container_has_is_unused() {
        let network = NetworkId::from_random(1);
        let mut records = Records::default();
        records.networks.insert("e1".to_owned(), network.clone());
        for (id, address) in [("alive", "10.0.0.5"), ("dead", "10.0.0.6")] {
            let address: IpAddr = address.parse().unwrap();
            let endpoint = Endpoint {
                network: network.clone(),
                address: address.into(),
                address_v6: None,
                mac: [0; 6],
            };
            records.endpoints.insert(id.to_owned(), endpoint);
            let state = LeaseState::Held(address);
            records.leases.insert(
                id.to_owned(),
                Lease {
                    network: network.clone(),
                    state,
                },
            );
        }
        let used = [UsedEndpoint {
            id: "alive".to_owned(),
            network: "e1".to_owned(),
            addresses: vec!["10.0.0.5".parse().unwrap()],
        }];
        let dead = BTreeSet::from(["dead".to_owned()]);
        assert_eq!(unused(&records, &used), (dead.clone(), dead));
    }
}
