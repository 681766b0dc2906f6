//! Carries out one action for one task on the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use orch_core::agent::Action;
use orch_core::dispatch::Assignment;
use orch_core::ids::{NetworkId, NodeId};
use orch_core::network::Protocol;
use orch_core::objects::{Network, Task};

use super::listeners;
use super::networks::Networks;
use crate::dns;
use crate::engine::{Engine, EngineError, NewContainer, Resolver, SpecError, new_container};

/// What an action is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A task of this node, and its container once there is one.
    Task(Box<Task>, Option<String>),
    /// A container whose task is gone.
    Container(String),
}

/// Carries out actions. Cheap to clone; each clone may be busy with another task.
#[derive(Clone)]
pub struct Executor {
    engine: Engine,
    node: NodeId,
    networks: Networks,
}

impl Executor {
    /// An executor for this node's tasks.
    pub fn new(engine: Engine, node: NodeId, networks: Networks) -> Self {
        Self {
            engine,
            node,
            networks,
        }
    }

    /// Carries out `action`. All actions may be repeated.
    pub async fn carry_out(
        &self,
        action: Action,
        subject: &Subject,
        assignment: &Arc<Assignment>,
    ) -> Result<(), EngineError> {
        let (task, container) = match subject {
            Subject::Task(task, container) => (Some(task.as_ref()), container.as_deref()),
            Subject::Container(id) => (None, Some(id.as_str())),
        };
        match (action, task, container) {
            (Action::Prepare, Some(task), _) => self.prepare(task, assignment).await,
            (Action::Start, Some(task), Some(id)) => self.start(task, id, assignment).await,
            (Action::Stop, task, Some(id)) => {
                let grace = task.and_then(|task| task.spec.container.stop_grace_period);
                self.engine.stop_container(id, grace).await
            }
            (Action::Remove, _, Some(id)) => self.engine.remove_container(id).await,
            // There is nothing to be stopped or removed; a look will tell what there is to do.
            (Action::Prepare | Action::Start | Action::Stop | Action::Remove, _, _) => Ok(()),
        }
    }

    /// Networks, image, container.
    async fn prepare(&self, task: &Task, assignment: &Assignment) -> Result<(), EngineError> {
        if let Some(ports) = assignment.host_ports.get(&task.id) {
            refuse_taken(ports).await?;
        }
        let networks = networks_by_id(assignment);
        for attachment in &task.attachments {
            let network = networks
                .get(&attachment.network)
                .ok_or_else(|| SpecError::UnknownNetwork(attachment.network.clone()))?;
            self.networks.ensure(network).await?;
        }
        let new = self.new_container(task, &networks).await?;
        self.engine.ensure_image(&task.spec.container.image).await?;
        self.create(task, new).await
    }

    async fn new_container(
        &self,
        task: &Task,
        networks: &BTreeMap<NetworkId, Network>,
    ) -> Result<NewContainer, SpecError> {
        let on_loopback = dns::host_resolver_is_on_loopback().await;
        let resolver = if on_loopback {
            Resolver::Gateway
        } else {
            Resolver::OfEngine
        };
        new_container(task, &self.node, networks, resolver)
    }

    async fn create(&self, task: &Task, new: NewContainer) -> Result<(), EngineError> {
        let name = new.name.clone();
        match self.engine.create_container(new).await {
            // A former daemon made it and was killed before it knew.
            Err(EngineError::Conflict(words)) => {
                match self.engine.inspect_task_container(&name).await? {
                    Some(known) if known.task == task.id => Ok(()),
                    Some(_) | None => Err(EngineError::Conflict(words)),
                }
            }
            result => result,
        }
    }

    async fn start(
        &self,
        task: &Task,
        id: &str,
        assignment: &Assignment,
    ) -> Result<(), EngineError> {
        let new = self
            .new_container(task, &networks_by_id(assignment))
            .await?;
        self.engine
            .connect_container(id, new.further_networks)
            .await?;
        self.engine.start_container(id).await
    }
}

/// Refuses to share a port of the host with one of its processes, as the engine would.
async fn refuse_taken(ports: &BTreeSet<(Protocol, u16)>) -> Result<(), EngineError> {
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let wanted = ports
        .iter()
        .map(|(protocol, port)| (*protocol, *port, everywhere));
    let wanted = wanted.collect();
    let looked = tokio::task::spawn_blocking(move || listeners::taken(&wanted)).await;
    // Not knowing is no reason to refuse.
    let taken = looked.ok().and_then(Result::ok).unwrap_or_default();
    match taken.into_iter().next() {
        Some(taken) => Err(EngineError::PortTaken(taken)),
        None => Ok(()),
    }
}

fn networks_by_id(assignment: &Assignment) -> BTreeMap<NetworkId, Network> {
    let networks = assignment.networks.iter();
    networks
        .map(|network| (network.id.clone(), network.clone()))
        .collect()
}
