//! Keeps the engine's networks in step with the cluster's.
//!
//! One task owns them, because the engine lets two networks have one name: each network of the
//! assignment is there once, and those of the past go as soon as no container uses them.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use orch_core::dispatch::Assignment;
use orch_core::ids::NetworkId;
use orch_core::objects::Network;
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{Engine, EngineError, EngineNetwork};

/// Pause before what did not succeed is tried again: the engine is away, or a network in use.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Requests that wait at most.
const QUEUE: usize = 64;

struct Ensure {
    network: Network,
    reply: oneshot::Sender<Result<(), EngineError>>,
}

/// Handle to the networks' owner.
#[derive(Clone)]
pub struct Networks {
    requests: mpsc::Sender<Ensure>,
}

impl Networks {
    /// Makes sure that the engine has this network.
    pub async fn ensure(&self, network: &Network) -> Result<(), EngineError> {
        let stopping = || EngineError::Answer("the agent is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        let request = Ensure {
            network: network.clone(),
            reply,
        };
        self.requests.send(request).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

/// The networks' owner, to be spawned, and the handle to it.
pub fn keeper(
    engine: Engine,
    assigned: watch::Receiver<Option<Arc<Assignment>>>,
) -> (Networks, impl Future<Output = ()>) {
    let (requests, queue) = mpsc::channel(QUEUE);
    (
        Networks { requests },
        Keeper {
            engine,
            assigned,
            queue,
            missing: BTreeSet::new(),
        }
        .run(),
    )
}

struct Keeper {
    engine: Engine,
    assigned: watch::Receiver<Option<Arc<Assignment>>>,
    queue: mpsc::Receiver<Ensure>,
    /// Networks that could not be made, which was said once.
    missing: BTreeSet<NetworkId>,
}

impl Keeper {
    async fn run(mut self) {
        self.assigned.mark_changed();
        let mut in_step = true;
        loop {
            tokio::select! {
                Some(request) = self.queue.recv() => {
                    let result = self.ensure(&request.network).await;
                    // An asker that is gone needs no answer.
                    drop(request.reply.send(result));
                }
                changed = self.assigned.changed() => match changed {
                    Ok(()) => in_step = self.reconcile().await,
                    Err(_) => return,
                },
                () = tokio::time::sleep(RETRY_PAUSE), if !in_step => {
                    in_step = self.reconcile().await;
                }
            }
        }
    }

    async fn ensure(&self, network: &Network) -> Result<(), EngineError> {
        let existing = self.engine.cluster_networks().await?;
        if existing
            .iter()
            .any(|known| known.cluster.as_ref() == Some(&network.id))
        {
            return Ok(());
        }
        // A former network of that name stands in the way and cannot be meant any more.
        for former in existing
            .iter()
            .filter(|known| known.name == network.spec.name)
        {
            self.engine.remove_network(&former.id).await?;
        }
        self.engine.create_network(network).await?;
        tracing::info!(network = network.spec.name, "made the engine's network");
        Ok(())
    }

    /// Whether the engine has the assigned networks and no others of ours.
    async fn reconcile(&mut self) -> bool {
        let Some(assignment) = self.assigned.borrow_and_update().clone() else {
            return true;
        };
        let existing = match self.engine.cluster_networks().await {
            Ok(existing) => existing,
            Err(error) => {
                tracing::debug!(%error, "the engine's networks wait");
                return false;
            }
        };
        let mut in_step = true;
        for network in obsolete(&existing, &assignment.networks) {
            if let Err(error) = self.engine.remove_network(&network.id).await {
                tracing::debug!(network = network.name, %error, "a network stays for now");
                in_step = false;
            }
        }
        for network in &assignment.networks {
            let name = &network.spec.name;
            match self.ensure(network).await {
                Ok(()) => {
                    self.missing.remove(&network.id);
                }
                Err(error) => {
                    if self.missing.insert(network.id.clone()) {
                        tracing::warn!(network = name, %error, "cannot make a network");
                    }
                    in_step = false;
                }
            }
        }
        in_step
    }
}

/// The engine's networks that stand for nothing wanted, or for what another one stands for too.
fn obsolete<'a>(existing: &'a [EngineNetwork], wanted: &[Network]) -> Vec<&'a EngineNetwork> {
    let stands_for =
        |network: &EngineNetwork, wanted: &Network| network.cluster.as_ref() == Some(&wanted.id);
    let mut kept: Vec<&str> = Vec::new();
    for wanted in wanted {
        kept.extend(
            existing
                .iter()
                .find(|known| stands_for(known, wanted))
                .map(|n| n.id.as_str()),
        );
    }
    existing
        .iter()
        .filter(|known| !kept.contains(&known.id.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use orch_core::network::Vni;
    use orch_core::objects::Meta;
    use orch_core::objects::network::NetworkSpec;

    use super::*;

    fn wanted(number: u128) -> Network {
        Network {
            id: NetworkId::from_random(number),
            meta: Meta::default(),
            spec: NetworkSpec {
                name: format!("net{number}"),
                labels: BTreeMap::new(),
                attachable: true,
                internal: false,
                ingress: false,
                ipam: Vec::new(),
                driver_options: BTreeMap::new(),
            },
            vni: Vni::MIN,
            subnets: Vec::new(),
            last_address: None,
        }
    }

    fn existing(id: &str, cluster: Option<u128>) -> EngineNetwork {
        EngineNetwork {
            id: id.to_owned(),
            name: id.to_owned(),
            cluster: cluster.map(NetworkId::from_random),
        }
    }

    #[test]
    fn one_engine_network_stays_for_each_wanted_one() {
        let networks = [
            existing("first", Some(1)),
            existing("second", Some(1)),
            existing("past", Some(9)),
            existing("unmarked", None),
        ];
        let gone = obsolete(&networks, &[wanted(1), wanted(2)]);
        let names: Vec<&str> = gone.iter().map(|network| network.id.as_str()).collect();
        assert_eq!(names, ["second", "past", "unmarked"]);
    }
}
