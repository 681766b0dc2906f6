//! What must hold once the cluster is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use orch_core::control;
use orch_core::ids::TaskId;
use orch_core::network::Family;
use orch_core::objects::node::{NodeState, Role};
use orch_core::objects::service::UpdateState;
use orch_core::objects::task::RestartCondition;
use orch_core::objects::{Network, Node, Service, Task};
use orch_core::orchestrate::is_up_to_date;
use orch_core::store::State;
use orch_core::task_state::{DesiredState, TaskState};

use super::host::Host;
use super::ledger::Ledger;
use super::manager::Manager;
use super::{Violation, ensure};

/// Every service has the tasks it asks for, every engine runs these and no others, and nothing is
/// under way any more. A host that is cut off is down, and what was there waits for its return.
pub(super) fn all_runs_as_asked(state: &State, hosts: &[Host]) -> Result<(), Violation> {
    for host in hosts.iter().filter(|h| !h.gone) {
        let node = state.node(&host.id).map(|n| n.status.state);
        let ready = node == Some(NodeState::Ready);
        ensure!(
            ready == host.linked,
            "{} is {node:?}, linked: {}",
            host.id,
            host.linked
        );
    }
    let is_lost = |task: &Task| {
        let node = task.node.as_ref().and_then(|id| state.node(id));
        node.is_some_and(|n| !n.may_serve())
    };
    for task in state
        .tasks()
        .filter(|t| t.desired > DesiredState::Running && !is_lost(t))
    {
        ensure!(
            task.status.state.is_terminal(),
            "a task does not stop: {task:#?}"
        );
        ensure!(
            task.desired != DesiredState::Remove,
            "a task does not vanish: {task:#?}"
        );
    }
    for service in state.services() {
        service_is_at_rest(state, service)?;
    }
    engines_run_what_the_store_says(state, hosts)
}

/// The managers are those who should be, one leads, and all of them know everything.
pub(super) fn managers_agree(
    ledger: &Ledger,
    managers: &[Manager],
    hosts: &[Host],
) -> Result<(), Violation> {
    let state = &ledger.state;
    let wanted = control::wanted_members(state);
    // One that is cut off may not know of its promotion yet.
    let linked = |node: &Node| hosts.iter().any(|h| h.id == node.id && h.linked);
    let homeless =
        |n: &&Arc<Node>| n.spec.role == Role::Manager && n.manager.is_none() && linked(n);
    if let Some(node) = state.nodes().find(homeless) {
        let host = hosts.iter().find(|host| host.id == node.id);
        return Err(Violation(format!(
            "{node:#?}\nhas no place in the group yet: {host:#?}"
        )));
    }
    let mut running = BTreeSet::new();
    let mut leaders = 0;
    for manager in managers.iter().filter(|m| !m.gone) {
        let host = &hosts[manager.host].id;
        let Some(process) = &manager.process else {
            return Err(Violation(format!("the manager on {host} does not run")));
        };
        running.insert(manager.id);
        leaders += usize::from(process.leads());
        ensure!(
            process.state == *state && process.applied == ledger.last,
            "the manager on {host} is at entry {} of {}",
            process.applied,
            ledger.last
        );
        let group = process.group();
        ensure!(
            group.voters == wanted && group.learners.is_empty(),
            "the manager on {host} knows the group {group:?}, not {wanted:?}"
        );
    }
    ensure!(
        running == wanted,
        "managers {running:?} run, not {wanted:?}"
    );
    ensure!(leaders == 1, "{leaders} managers lead");
    Ok(())
}

fn service_is_at_rest(state: &State, service: &Service) -> Result<(), Violation> {
    let mut slots = BTreeMap::<u64, Vec<&Task>>::new();
    let kept = |t: &Task| t.desired != DesiredState::Remove;
    for task in state
        .tasks()
        .filter(|t| t.service() == Some(&service.id) && kept(t))
    {
        slots
            .entry(task.slot().unwrap_or_default())
            .or_default()
            .push(task);
    }
    let wanted: Vec<&Task> = slots
        .values()
        .flatten()
        .copied()
        .filter(|t| t.is_wanted())
        .collect();
    let blocked: Vec<&Task> = wanted
        .iter()
        .copied()
        .filter(|t| is_blocked(state, t))
        .collect();
    for task in &wanted {
        let runs = task.status.state == TaskState::Running && task.desired == DesiredState::Running;
        ensure!(
            runs || is_blocked(state, task),
            "a task does not run: {task:#?}"
        );
    }
    let replicas = usize::try_from(service.spec.replicas()).unwrap_or(usize::MAX);
    let updating = service.update_status.as_ref().is_some_and(|s| {
        matches!(
            s.state,
            UpdateState::Updating | UpdateState::RollbackStarted
        )
    });
    ensure!(
        !updating || !blocked.is_empty(),
        "an update does not end: {service:#?}"
    );
    if !updating {
        let always = slots.values().flatten().all(|t| restarts_always(t));
        let held = slots
            .values()
            .filter(|tasks| tasks.iter().any(|t| t.is_wanted()));
        let live = if always { held.count() } else { slots.len() };
        ensure!(
            live == replicas,
            "{live} of {replicas} tasks: {service:#?} {slots:#?}"
        );
    }
    let paused = service
        .update_status
        .as_ref()
        .is_some_and(|s| matches!(s.state, UpdateState::Paused | UpdateState::RollbackPaused));
    // Start-first keeps old tasks beside new ones that cannot be placed.
    let settled = !paused && !updating && blocked.is_empty();
    for task in wanted.iter().filter(|_| settled) {
        ensure!(
            is_up_to_date(service, task),
            "an old task still runs: {task:#?}"
        );
    }
    if updating {
        Ok(())
    } else {
        history_is_limited(state, &slots)
    }
}

fn history_is_limited(state: &State, slots: &BTreeMap<u64, Vec<&Task>>) -> Result<(), Violation> {
    let limit = state.cluster().map_or(0, |c| c.spec.task_history_limit);
    for tasks in slots.values() {
        let kept = i64::try_from(tasks.len()).unwrap_or(i64::MAX);
        ensure!(
            kept <= limit,
            "{kept} tasks are kept in one slot: {tasks:#?}"
        );
    }
    Ok(())
}

fn restarts_always(task: &Task) -> bool {
    task.spec
        .restart
        .as_ref()
        .is_none_or(|r| r.condition == RestartCondition::Any && r.max_attempts == 0)
}

/// Whether a task waits for what the cluster truly does not have.
fn is_blocked(state: &State, task: &Task) -> bool {
    let error = &task.status.error;
    let out_of_addresses = state.networks().any(|network| {
        error.contains(&format!("network {}:", network.spec.name))
            && error.contains("exhausted")
            && (network.families().into_iter())
                .any(|family| free_addresses(state, network, family) == 0)
    });
    let out_of_ports = error.contains("host-mode port already in use");
    (task.status.state == TaskState::New && out_of_addresses)
        || (task.status.state == TaskState::Pending && out_of_ports)
}

/// How many addresses of a family a network has left to give.
fn free_addresses(state: &State, network: &Network, family: Family) -> u128 {
    let mut taken: BTreeSet<IpAddr> = reserved(network).collect();
    let vips = state.services().flat_map(|s| &s.endpoint.vips);
    taken.extend(
        vips.filter(|v| v.network == network.id)
            .map(|v| v.address.addr()),
    );
    for task in state.tasks().filter(|t| t.holds_addresses()) {
        taken.extend(task.addresses_in(&network.id));
    }
    let taken = taken.iter().filter(|ip| Family::of(**ip) == family).count() as u128;
    size(network, family).saturating_sub(taken)
}

/// How many addresses of a family a network's ranges have.
fn size(network: &Network, family: Family) -> u128 {
    let ranges = network.subnets.iter().map(|subnet| subnet.range);
    ranges
        .filter(|range| Family::of(range.addr()) == family)
        .map(|range| 1 << (range.max_prefix_len() - range.prefix_len()))
        .sum()
}

/// The addresses that a network gives to nobody.
fn reserved(network: &Network) -> impl Iterator<Item = IpAddr> {
    network.subnets.iter().flat_map(|subnet| {
        let broadcast = subnet
            .range
            .addr()
            .is_ipv4()
            .then(|| subnet.range.broadcast());
        [subnet.range.network(), subnet.gateway]
            .into_iter()
            .chain(broadcast)
    })
}

fn engines_run_what_the_store_says(state: &State, hosts: &[Host]) -> Result<(), Violation> {
    for host in hosts.iter().filter(|h| h.reachable()) {
        let running: BTreeSet<&TaskId> = host.running().collect();
        let expected: BTreeSet<&TaskId> = state
            .tasks()
            .filter(|t| t.node.as_ref() == Some(&host.id) && t.service().is_some())
            .filter(|t| t.status.state == TaskState::Running)
            .map(|t| &t.id)
            .collect();
        ensure!(
            running == expected,
            "{} runs {running:?}, not {expected:?}",
            host.id
        );
    }
    Ok(())
}

/// All services are removed: no task, no container, no address is left.
pub(super) fn nothing_is_left(state: &State, hosts: &[Host]) -> Result<(), Violation> {
    if let Some(task) = state.tasks().next() {
        return Err(Violation(format!("a task is left: {task:#?}")));
    }
    for host in hosts.iter().filter(|h| !h.gone) {
        ensure!(
            host.containers.is_empty(),
            "{} is left with {:#?}",
            host.id,
            host.containers
        );
    }
    for network in state.networks() {
        for family in network.families() {
            let reserved = reserved(network).filter(|ip| Family::of(*ip) == family);
            let given = size(network, family) - reserved.count() as u128;
            ensure!(
                free_addresses(state, network, family) == given,
                "addresses are lost"
            );
        }
    }
    Ok(())
}
