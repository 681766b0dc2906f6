//! What is on each node already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::filter::{HostPort, Request};
use crate::ids::{NodeId, ServiceId};
use crate::objects::Node;
use crate::objects::task::ResourceAmounts;
use crate::store::State;
use crate::task_state::TaskState;

/// A node and what is on it.
#[derive(Debug)]
pub(super) struct NodeInfo {
    pub node: Arc<Node>,
    /// Tasks that are wanted there.
    pub tasks: u64,
    by_service: BTreeMap<ServiceId, u64>,
    /// Reserved by tasks that have not ended, those that are being stopped included.
    pub reserved: ResourceAmounts,
    /// Ports that wanted tasks publish on this host alone.
    pub ports: BTreeSet<HostPort>,
}

impl NodeInfo {
    /// All nodes, in id order.
    pub(super) fn all(state: &State) -> Vec<Self> {
        let mut infos: BTreeMap<NodeId, Self> = state
            .nodes()
            .map(|node| {
                let info = Self {
                    node: Arc::clone(node),
                    tasks: 0,
                    by_service: BTreeMap::new(),
                    reserved: ResourceAmounts::default(),
                    ports: BTreeSet::new(),
                };
                (node.id.clone(), info)
            })
            .collect();
        let placed = TaskState::Assigned..=TaskState::Running;
        for task in state.tasks().filter(|t| placed.contains(&t.status.state)) {
            let info = task.node.as_ref().and_then(|id| infos.get_mut(id));
            let (Some(info), Some(service)) = (info, task.service()) else {
                continue;
            };
            info.reserve(&task.spec.resources.reservations);
            if task.is_wanted() {
                info.tasks += 1;
                *info.by_service.entry(service.clone()).or_default() += 1;
                info.ports.extend(
                    state
                        .service(service)
                        .into_iter()
                        .flat_map(|s| s.host_ports()),
                );
            }
        }
        infos.into_values().collect()
    }

    /// Wanted tasks of a service on this node.
    pub(super) fn tasks_of(&self, service: &ServiceId) -> u64 {
        self.by_service.get(service).copied().unwrap_or_default()
    }

    /// One more task.
    pub(super) fn add(&mut self, request: &Request) {
        self.tasks += 1;
        *self.by_service.entry(request.service.clone()).or_default() += 1;
        self.reserve(&request.reservations);
        self.ports.extend(request.ports.iter().copied());
    }

    fn reserve(&mut self, amounts: &ResourceAmounts) {
        self.reserved.nano_cpus = self.reserved.nano_cpus.saturating_add(amounts.nano_cpus);
        self.reserved.memory_bytes = self
            .reserved
            .memory_bytes
            .saturating_add(amounts.memory_bytes);
    }
}
