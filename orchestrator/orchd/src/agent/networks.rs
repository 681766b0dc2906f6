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
/// Pause between looks at what somebody may have removed from the engine.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
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
            let pause = if in_step { LOOK_PAUSE } else { RETRY_PAUSE };
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
                () = tokio::time::sleep(pause) => in_step = self.reconcile().await,
            }
        }
    }

    async fn ensure(&self, network: &Network) -> Result<(), EngineError> {
        let existing = self.engine.cluster_networks().await?;
        if stands_in(&existing, network) {
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
        let networks = &assignment.networks;
        self.missing
            .retain(|id| networks.iter().any(|network| network.id == *id));
        for network in networks {
            if stands_in(&existing, network) {
                self.missing.remove(&network.id);
                continue;
            }
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

/// Whether one of the engine's networks stands for this one.
fn stands_in(existing: &[EngineNetwork], network: &Network) -> bool {
    existing
        .iter()
        .any(|known| known.cluster.as_ref() == Some(&network.id))
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
    use std::path::Path;
    use std::sync::Mutex;

    use axum::body::Bytes;
    use axum::http::{Method, StatusCode, Uri};
    use axum::{Json, Router};
    use orch_core::network::{DesiredNetwork, Vni};
    use orch_core::objects::Meta;
    use orch_core::objects::network::NetworkSpec;
    use serde_json::{Value, json};
    use tokio::net::UnixListener;

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
                ipv6: false,
                ipam: Vec::new(),
                driver_options: BTreeMap::new(),
            },
            vni: Vni::MIN,
            subnets: Vec::new(),
            last_address: None,
            last_address_v6: None,
        }
    }

    fn existing(id: &str, cluster: Option<u128>) -> EngineNetwork {
        EngineNetwork {
            id: id.to_owned(),
            name: id.to_owned(),
            cluster: cluster.map(NetworkId::from_random),
        }
    }

    /// An engine that has nothing but `networks`, on `socket`.
    fn serve(socket: &Path, networks: Arc<Mutex<Vec<Value>>>) -> Engine {
        let listener = UnixListener::bind(socket).unwrap();
        let answer = async move |method: Method, uri: Uri, body: Bytes| {
            let mut networks = networks.lock().unwrap();
            if uri.path().ends_with("/networks") {
                return (StatusCode::OK, Json(Value::from(networks.clone())));
            }
            if method != Method::POST {
                let words = json!({"message": "no such network"});
                return (StatusCode::NOT_FOUND, Json(words));
            }
            let mut network: Value = serde_json::from_slice(&body).unwrap();
            network["Id"] = json!("e1");
            networks.push(network);
            (
                StatusCode::CREATED,
                Json(json!({"Id": "e1", "Warning": ""})),
            )
        };
        let app = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Engine::new(socket)
    }

    #[tokio::test]
    async fn a_network_that_somebody_removed_from_the_engine_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let networks = Arc::new(Mutex::new(Vec::new()));
        let engine = serve(&folder.path().join("docker.sock"), Arc::clone(&networks));
        let assignment = Assignment {
            version: 1,
            tasks: Vec::new(),
            networks: vec![wanted(1)],
            network: DesiredNetwork::default(),
            host_ports: Default::default(),
            heartbeat_period: Duration::from_secs(5),
            role: orch_core::objects::node::Role::Worker,
            member: None,
        };
        let (_assign, assigned) = watch::channel(Some(Arc::new(assignment)));
        let (_networks, run) = keeper(engine, assigned);
        let _keeper = tokio::spawn(run);
        for _ in 0..2 {
            let made = async {
                while networks.lock().unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(LOOK_PAUSE * 4, made).await.unwrap();
            let network = networks.lock().unwrap().remove(0);
            assert_eq!(network["Name"], "net1");
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
