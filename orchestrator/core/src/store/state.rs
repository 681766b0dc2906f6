//! The state itself: tables, lookups, deterministic application of changes.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::ids::{NetworkId, NodeId, ServiceId, TaskId};
use crate::objects::{Cluster, Network, Node, Service, Task};

/// Any object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// The cluster itself.
    Cluster(Cluster),
    /// A node.
    Node(Node),
    /// A service.
    Service(Service),
    /// A task.
    Task(Task),
    /// A network.
    Network(Network),
}

/// Names any object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectKey {
    /// The cluster itself.
    Cluster,
    /// A node.
    Node(NodeId),
    /// A service.
    Service(ServiceId),
    /// A task.
    Task(TaskId),
    /// A network.
    Network(NetworkId),
}

impl Object {
    /// What names it.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Cluster(_) => ObjectKey::Cluster,
            Self::Node(o) => ObjectKey::Node(o.id.clone()),
            Self::Service(o) => ObjectKey::Service(o.id.clone()),
            Self::Task(o) => ObjectKey::Task(o.id.clone()),
            Self::Network(o) => ObjectKey::Network(o.id.clone()),
        }
    }
}

/// One step of a transaction: the unit of the replicated log.
#[expect(
    clippy::large_enum_variant,
    reason = "most changes are puts, and none lives long"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Creates or replaces an object.
    Put(Object),
    /// Removes an object.
    Remove(ObjectKey),
}

/// A committed change contradicts the state: the log and the state do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Entries must come in order.
    #[error("entry {index} cannot follow state version {version}")]
    OutOfOrder {
        /// Version of the state.
        version: u64,
        /// Index of the entry.
        index: u64,
    },
    /// The object to remove is not there.
    #[error("entry {index} removes {key:?}, which does not exist")]
    Missing {
        /// Index of the entry.
        index: u64,
        /// What it removes.
        key: ObjectKey,
    },
}

/// All objects of the cluster at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u64,
    cluster: Option<Arc<Cluster>>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    services: OrdMap<ServiceId, Arc<Service>>,
    tasks: OrdMap<TaskId, Arc<Task>>,
    networks: OrdMap<NetworkId, Arc<Network>>,
}

impl State {
    /// Raft index of the last applied entry; 0 when empty.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The cluster, once initialised.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// All nodes in id order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// All services in id order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// All tasks in id order.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// All networks in id order.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.networks.values()
    }

    /// The node of that id.
    pub fn node(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }

    /// The service of that id.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// The task of that id.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(id)
    }

    /// The network of that id.
    pub fn network(&self, id: &NetworkId) -> Option<&Arc<Network>> {
        self.networks.get(id)
    }

    /// The service of that name.
    pub fn service_by_name(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.values().find(|s| s.spec.name == name)
    }

    /// The network of that name.
    pub fn network_by_name(&self, name: &str) -> Option<&Arc<Network>> {
        self.networks.values().find(|n| n.spec.name == name)
    }

    /// Makes one committed entry true. All of it or, on error, nothing.
    pub fn apply(&mut self, index: u64, changes: &[Change]) -> Result<(), ApplyError> {
        if index <= self.version {
            return Err(ApplyError::OutOfOrder {
                version: self.version,
                index,
            });
        }
        let mut next = self.clone();
        for change in changes {
            match change {
                Change::Put(object) => next.put(index, object.clone()),
                Change::Remove(key) => {
                    if !next.remove(key) {
                        return Err(ApplyError::Missing {
                            index,
                            key: key.clone(),
                        });
                    }
                }
            }
        }
        next.version = index;
        *self = next;
        Ok(())
    }

    pub(super) fn put(&mut self, index: u64, object: Object) {
        match object {
            Object::Cluster(mut o) => {
                o.meta.version = index;
                self.cluster = Some(Arc::new(o));
            }
            Object::Node(mut o) => {
                o.meta.version = index;
                self.nodes.insert(o.id.clone(), Arc::new(o));
            }
            Object::Service(mut o) => {
                o.meta.version = index;
                self.services.insert(o.id.clone(), Arc::new(o));
            }
            Object::Task(mut o) => {
                o.meta.version = index;
                self.tasks.insert(o.id.clone(), Arc::new(o));
            }
            Object::Network(mut o) => {
                o.meta.version = index;
                self.networks.insert(o.id.clone(), Arc::new(o));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> bool {
        match key {
            ObjectKey::Cluster => self.cluster.take().is_some(),
            ObjectKey::Node(id) => self.nodes.remove(id).is_some(),
            ObjectKey::Service(id) => self.services.remove(id).is_some(),
            ObjectKey::Task(id) => self.tasks.remove(id).is_some(),
            ObjectKey::Network(id) => self.networks.remove(id).is_some(),
        }
    }
}
