//! Which nodes can run a task, and why the others cannot.

use std::collections::BTreeMap;

use super::nodes::NodeInfo;
use super::{Constraint, Preference};
use crate::ids::ServiceId;
use crate::network::Protocol;
use crate::objects::Task;
use crate::objects::node::{Availability, NodeState};
use crate::objects::task::ResourceAmounts;
use crate::store::State;

/// A port that a task takes on its host alone.
pub(super) type HostPort = (Protocol, u16);

/// What a task asks of a node.
#[derive(Debug)]
pub(super) struct Request {
    pub service: ServiceId,
    pub reservations: ResourceAmounts,
    pub preferences: Vec<Preference>,
    pub ports: Vec<HostPort>,
    constraints: Vec<Constraint>,
    platforms: Vec<(String, String)>,
    max_replicas: u64,
}

impl Request {
    /// What `task` asks for; `None` when it belongs to no service. Expressions were checked when
    /// the spec came in.
    pub(super) fn of(state: &State, task: &Task) -> Option<Self> {
        let service = state.service(task.service()?)?;
        let placement = &task.spec.placement;
        Some(Self {
            service: service.id.clone(),
            reservations: task.spec.resources.reservations,
            preferences: placement
                .preferences
                .iter()
                .flat_map(|p| Preference::parse(p))
                .collect(),
            ports: service.host_ports().into_iter().collect(),
            constraints: placement
                .constraints
                .iter()
                .flat_map(|c| Constraint::parse(c))
                .collect(),
            platforms: placement.platforms.clone(),
            max_replicas: placement.max_replicas,
        })
    }
}

/// What can keep a task from a node, in the order in which it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    NotAvailable,
    Resources,
    Constraints,
    Platform,
    HostPort,
    MaxReplicas,
}

impl Obstacle {
    /// Docker's words for it.
    fn explain(self, nodes: usize) -> String {
        let on_nodes = match nodes {
            1 => "1 node".to_owned(),
            many => format!("{many} nodes"),
        };
        match self {
            Self::NotAvailable => format!("{on_nodes} not available for new tasks"),
            Self::Resources => format!("insufficient resources on {on_nodes}"),
            Self::Constraints => format!("scheduling constraints not satisfied on {on_nodes}"),
            Self::Platform => format!("unsupported platform on {on_nodes}"),
            Self::HostPort => format!("host-mode port already in use on {on_nodes}"),
            Self::MaxReplicas => "max replicas per node limit exceed".to_owned(),
        }
    }
}

/// The nodes (by index) that can run the task, or why none can.
pub(super) fn fitting(request: &Request, nodes: &[NodeInfo]) -> Result<Vec<usize>, String> {
    let mut fitting = Vec::new();
    let mut obstacles = BTreeMap::<Obstacle, usize>::new();
    for (index, info) in nodes.iter().enumerate() {
        match obstacle(request, info) {
            None => fitting.push(index),
            Some(obstacle) => *obstacles.entry(obstacle).or_default() += 1,
        }
    }
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    let mut counted: Vec<_> = obstacles.into_iter().collect();
    counted.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    let reasons: Vec<_> = counted
        .into_iter()
        .map(|(o, nodes)| o.explain(nodes))
        .collect();
    match reasons.as_slice() {
        [] => Err("no suitable node".to_owned()),
        reasons => Err(format!("no suitable node ({})", reasons.join("; "))),
    }
}

/// The first thing that keeps the task from the node.
fn obstacle(request: &Request, info: &NodeInfo) -> Option<Obstacle> {
    let node = &info.node;
    if node.status.state != NodeState::Ready || node.spec.availability != Availability::Active {
        return Some(Obstacle::NotAvailable);
    }
    if !has_resources(request, info) {
        return Some(Obstacle::Resources);
    }
    if !request.constraints.iter().all(|c| c.holds(node)) {
        return Some(Obstacle::Constraints);
    }
    if !fits_platform(request, info) {
        return Some(Obstacle::Platform);
    }
    if request.ports.iter().any(|port| info.ports.contains(port)) {
        return Some(Obstacle::HostPort);
    }
    if request.max_replicas != 0 && info.tasks_of(&request.service) >= request.max_replicas {
        return Some(Obstacle::MaxReplicas);
    }
    None
}

fn has_resources(request: &Request, info: &NodeInfo) -> bool {
    let wanted = &request.reservations;
    let (cpus, memory) = info
        .node
        .description
        .as_ref()
        .map_or((0, 0), |d| (d.nano_cpus, d.memory_bytes));
    let free = |total: u64, reserved: u64| total.saturating_sub(reserved);
    (wanted.nano_cpus == 0 || wanted.nano_cpus <= free(cpus, info.reserved.nano_cpus))
        && (wanted.memory_bytes == 0
            || wanted.memory_bytes <= free(memory, info.reserved.memory_bytes))
}

/// An image names the platforms it was built for; one without names runs anywhere.
fn fits_platform(request: &Request, info: &NodeInfo) -> bool {
    let Some(description) = &info.node.description else {
        return request.platforms.is_empty();
    };
    let fits = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
    request.platforms.is_empty()
        || request.platforms.iter().any(|(os, architecture)| {
            fits(&os.to_lowercase(), &description.os.to_lowercase())
                && fits(
                    canonical(architecture),
                    canonical(&description.architecture),
                )
        })
}

/// One name per architecture: engines and images do not agree.
fn canonical(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
