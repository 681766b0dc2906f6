//! What must hold after every entry of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use orch_core::ids::{NetworkId, ServiceId};
use orch_core::network::{self, Backend, DesiredNetwork, Family, Frontend};
use orch_core::objects::node::NodeState;
use orch_core::objects::service::{EndpointMode, PublishMode, UpdateOrder};
use orch_core::objects::task::TaskOwner;
use orch_core::objects::{Node, Service, Task};
use orch_core::store::{Change, Object, ObjectKey, State};
use orch_core::task_state::{Actor, DesiredState, TaskState, may_move};

use super::{Violation, ensure, user};

const ACTORS: [Actor; 4] = [
    Actor::Allocator,
    Actor::Scheduler,
    Actor::Agent,
    Actor::Manager,
];

/// Every change of a task in an entry is a move that somebody may make, and touches nothing that
/// is fixed.
pub(super) fn anytime_moves_are_legal(before: &State, changes: &[Change]) -> Result<(), Violation> {
    let mut seen = BTreeMap::<ObjectKey, Option<Task>>::new();
    for change in changes {
        match change {
            Change::Put(Object::Task(new)) => {
                let key = ObjectKey::Task(new.id.clone());
                let stored = || before.task(&new.id).map(|t| Task::clone(t));
                let old = seen.get(&key).cloned().unwrap_or_else(stored);
                match &old {
                    Some(old) => {
                        move_is_legal(old, new)?;
                        if old.desired == DesiredState::Ready
                            && new.desired == DesiredState::Running
                        {
                            predecessors_have_stopped(before, &seen, new)?;
                        }
                    }
                    None => birth_is_legal(new)?,
                }
                seen.insert(key, Some(new.clone()));
            }
            Change::Remove(key @ ObjectKey::Task(_)) => {
                seen.insert(key.clone(), None);
            }
            Change::Put(_) | Change::Remove(_) => {}
        }
    }
    Ok(())
}

/// A replacement starts only when no task of its slot is still being stopped on a live node.
fn predecessors_have_stopped(
    before: &State,
    seen: &BTreeMap<ObjectKey, Option<Task>>,
    task: &Task,
) -> Result<(), Violation> {
    for stored in before.tasks() {
        let changed = seen.get(&ObjectKey::Task(stored.id.clone()));
        let Some(other) = changed.map_or(Some(stored.as_ref()), Option::as_ref) else {
            continue;
        };
        let same_slot = other.service() == task.service() && other.slot() == task.slot();
        let stopping = !other.is_wanted() && !other.status.state.is_terminal();
        let node = other.node.as_ref().and_then(|id| before.node(id));
        let alive = node.is_some_and(|n| n.status.state != NodeState::Down);
        ensure!(
            !(same_slot && stopping && alive && other.id != task.id),
            "{task:#?}\nstarts before its predecessor stopped:\n{other:#?}"
        );
    }
    Ok(())
}

fn birth_is_legal(new: &Task) -> Result<(), Violation> {
    let expected = match new.owner {
        TaskOwner::Service { .. } => TaskState::New,
        TaskOwner::Attachment { .. } => TaskState::Running,
    };
    ensure!(
        new.status.state == expected,
        "a task is born {:?}: {new:#?}",
        new.status.state
    );
    Ok(())
}

fn move_is_legal(old: &Task, new: &Task) -> Result<(), Violation> {
    let (from, to) = (old.status.state, new.status.state);
    ensure!(
        from == to || ACTORS.into_iter().any(|actor| may_move(actor, from, to)),
        "illegal move {from:?} -> {to:?} of {new:#?}"
    );
    ensure!(
        old.desired <= new.desired,
        "desired state lowered: {old:#?} {new:#?}"
    );
    ensure!(
        old.node.is_none() || old.node == new.node,
        "a task moved: {old:#?} {new:#?}"
    );
    ensure!(
        old.owner == new.owner && old.spec == new.spec,
        "a task became another: {new:#?}"
    );
    ensure!(
        old.attachments.is_empty() || old.attachments == new.attachments,
        "a task's addresses changed: {old:#?} {new:#?}"
    );
    Ok(())
}

/// What must hold after every entry.
pub(super) fn anytime(state: &State) -> Result<(), Violation> {
    for task in state.tasks() {
        task_is_whole(state, task)?;
    }
    one_wanted_task_per_slot(state)?;
    addresses_are_unique(state)?;
    ports_are_unique(state)?;
    if let Some(node) = state
        .nodes()
        .nth(state.version() as usize % state.nodes().count().max(1))
    {
        network_follows_tasks(state, node)?;
    }
    Ok(())
}

fn task_is_whole(state: &State, task: &Task) -> Result<(), Violation> {
    let removed = task.desired == DesiredState::Remove;
    ensure!(
        removed || task.service().is_none_or(|id| state.service(id).is_some()),
        "a task has no service: {task:#?}"
    );
    let placed = (TaskState::Assigned..=TaskState::Running).contains(&task.status.state);
    ensure!(
        !placed || task.node.is_some(),
        "a task runs nowhere: {task:#?}"
    );
    ensure!(
        !placed || !task.attachments.is_empty(),
        "a placed task has no address: {task:#?}"
    );
    ensure!(
        task.meta.version <= state.version(),
        "a version from the future: {task:#?}"
    );
    Ok(())
}

/// Two tasks of one slot are wanted together only if the service updates start-first.
fn one_wanted_task_per_slot(state: &State) -> Result<(), Violation> {
    let mut wanted = BTreeMap::<(&ServiceId, u64), u64>::new();
    for task in state.tasks().filter(|t| t.desired <= DesiredState::Running) {
        if let (Some(service), Some(slot)) = (task.service(), task.slot()) {
            *wanted.entry((service, slot)).or_default() += 1;
        }
    }
    for ((id, slot), count) in wanted {
        let overlapping = state.service(id).is_some_and(|s| may_overlap(s));
        ensure!(
            count == 1 || overlapping,
            "slot {slot} of service {id} has {count} wanted tasks"
        );
    }
    Ok(())
}

/// The users of the simulation give every service one order for good.
fn may_overlap(service: &Service) -> bool {
    user::order_of(&service.spec.name) == UpdateOrder::StartFirst
}

fn addresses_are_unique(state: &State) -> Result<(), Violation> {
    let mut taken = BTreeSet::<(&NetworkId, IpAddr)>::new();
    for network in state.networks() {
        for subnet in &network.subnets {
            taken.insert((&network.id, subnet.gateway));
        }
    }
    let vips = state.services().flat_map(|s| &s.endpoint.vips);
    let vips = vips.map(|vip| (&vip.network, vip.address.addr()));
    let tasks = state.tasks().filter(|t| !t.status.state.is_terminal());
    let tasks = tasks.flat_map(|t| &t.attachments);
    let tasks = tasks.flat_map(|a| a.addresses.iter().map(|ip| (&a.network, ip.addr())));
    for (network, address) in vips.chain(tasks) {
        ensure!(
            taken.insert((network, address)),
            "{address} of network {network} is used twice"
        );
        let inside = state
            .network(network)
            .is_some_and(|n| n.subnets.iter().any(|s| s.range.contains(&address)));
        ensure!(inside, "{address} is not in network {network}");
    }
    Ok(())
}

fn ports_are_unique(state: &State) -> Result<(), Violation> {
    let mut taken = BTreeSet::new();
    for service in state.services() {
        for port in service
            .endpoint
            .ports
            .iter()
            .filter(|p| p.mode == PublishMode::Ingress)
        {
            ensure!(
                taken.insert((port.protocol, port.published)),
                "port {:?} is published twice",
                port.published
            );
        }
    }
    Ok(())
}

/// The backends of a virtual address are the running tasks of its service on live nodes, and
/// nothing else; each of them can be reached; `tasks.NAME` names the same.
fn network_follows_tasks(state: &State, node: &Node) -> Result<(), Violation> {
    let desired = network::desired(state, &node.id);
    for service in state.services() {
        for vip in &service.endpoint.vips {
            let Some(network) = state.network(&vip.network) else {
                return Err(Violation(format!(
                    "a virtual address of no network: {vip:?}"
                )));
            };
            let vni = network.vni;
            let expected: BTreeSet<IpAddr> = state
                .tasks()
                .filter(|t| t.service() == Some(&service.id) && is_serving(state, t))
                .flat_map(|t| &t.attachments)
                .filter(|a| a.network == vip.network)
                .flat_map(|a| a.addresses.iter().map(|ip| ip.addr()))
                .collect();
            let of_family = |family| {
                let addresses = expected.iter().copied();
                addresses.filter(move |address| Family::of(*address) == family)
            };
            let of_vip: BTreeSet<IpAddr> = of_family(Family::of(vip.address.addr())).collect();
            let frontend = Frontend::Vip {
                vni,
                address: vip.address.addr(),
            };
            let backends: BTreeSet<IpAddr> = desired
                .frontends
                .get(&frontend)
                .ok_or_else(|| Violation(format!("{frontend:?} is missing")))?
                .backends
                .iter()
                .map(|b: &Backend| b.address)
                .collect();
            ensure!(
                backends == of_vip,
                "{frontend:?} has {backends:?}, not {of_vip:?}"
            );
            if service
                .spec
                .networks()
                .iter()
                .any(|n| n.target == vip.network)
            {
                let key = (vni, format!("tasks.{}", service.spec.name));
                let named = desired.names.get(&key).cloned().unwrap_or_default();
                ensure!(
                    named == expected,
                    "{key:?} names {named:?}, not {expected:?}"
                );
            }
        }
    }
    retired_addresses_are_nobodys(state, &desired)?;
    for backend in desired.frontends.values().flat_map(|pool| &pool.backends) {
        let reachable = desired
            .endpoints
            .contains_key(&(backend.vni, backend.address));
        ensure!(reachable, "{backend:?} is no endpoint");
    }
    Ok(())
}

/// No address that somebody has, or is about to get, leads to others. A task of a service in DNS
/// round robin that takes no new clients does lead to others.
fn retired_addresses_are_nobodys(state: &State, desired: &DesiredNetwork) -> Result<(), Violation> {
    let retired = |vni, address| {
        let pool = desired.frontends.get(&Frontend::Vip { vni, address });
        pool.is_some_and(|pool| pool.retired)
    };
    for task in state.tasks().filter(|t| t.holds_addresses()) {
        let service = task.service().and_then(|id| state.service(id));
        let round_robin =
            service.is_some_and(|s| s.endpoint.spec.mode == EndpointMode::DnsRoundRobin);
        for attachment in &task.attachments {
            let Some(network) = state.network(&attachment.network) else {
                continue;
            };
            for address in attachment.addresses.iter().map(|a| a.addr()) {
                let leads = retired(network.vni, address);
                ensure!(
                    !(task.is_wanted() && leads),
                    "{address} leads away from {task:#?}"
                );
                ensure!(
                    leads || !(round_robin && task.is_leaving()),
                    "new clients of {address} still come to {task:#?}"
                );
            }
        }
    }
    Ok(())
}

fn is_serving(state: &State, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|id| state.node(id));
    task.status.state == TaskState::Running
        && task.desired <= DesiredState::Running
        && node.is_some_and(|n| n.may_serve())
}
