//! As many slots as the service asks for.

use std::collections::BTreeMap;

use super::slots::{Slot, Slots};
use crate::ids::NodeId;
use crate::objects::Service;
use crate::store::Tx;
use crate::task_state::{DesiredState, TaskState};

/// Tasks made in one pass at most, which bounds the size of a log entry. The next pass goes on.
const MAX_NEW_TASKS: usize = 200;

/// Fills the lowest free slots, or empties slots that are too many, and clears away slots that
/// hold nothing but history.
pub(super) fn scale(tx: &mut Tx<'_>, service: &Service, slots: &mut Slots) {
    let wanted = usize::try_from(service.spec.replicas()).unwrap_or(usize::MAX);
    let live: Vec<u64> = slots.live().map(|(number, _)| number).collect();
    if live.len() > wanted {
        for number in victims(slots, live.len() - wanted) {
            remove(tx, slots, number);
        }
    } else {
        let missing = (wanted - live.len()).min(MAX_NEW_TASKS);
        let free = (1..).filter(|number| live.binary_search(number).is_err());
        for number in free.take(missing) {
            slots
                .0
                .entry(number)
                .or_default()
                .create(tx, service, number, None);
        }
    }
    let dead: Vec<u64> = slots
        .0
        .iter()
        .filter(|(number, slot)| **number > service.spec.replicas() && slot.wanted().count() == 0)
        .filter(|(number, _)| live.binary_search(number).is_err())
        .map(|(number, _)| *number)
        .collect();
    for number in dead {
        remove(tx, slots, number);
    }
}

fn remove(tx: &mut Tx<'_>, slots: &mut Slots, number: u64) {
    if let Some(slot) = slots.0.get_mut(&number) {
        slot.stop(tx, DesiredState::Remove, |_| true);
    }
}

/// The slots to empty: first those without a node or with several tasks, then those on the node
/// with most of them, of these first what does not run, and of these the highest.
fn victims(slots: &Slots, count: usize) -> Vec<u64> {
    let mut left: BTreeMap<u64, (Option<NodeId>, bool)> = slots
        .live()
        .map(|(number, slot)| (number, (only_node(slot), is_running(slot))))
        .collect();
    let mut per_node = BTreeMap::<NodeId, u64>::new();
    for node in left.values().filter_map(|(node, _)| node.as_ref()) {
        *per_node.entry(node.clone()).or_default() += 1;
    }
    let mut victims = Vec::new();
    for _ in 0..count {
        let rank = |number: u64, node: &Option<NodeId>, running: bool| {
            let copies = node
                .as_ref()
                .and_then(|n| per_node.get(n))
                .copied()
                .unwrap_or_default();
            (node.is_none(), copies, !running, number)
        };
        let next = left
            .iter()
            .max_by_key(|(number, (node, running))| rank(**number, node, *running));
        let Some(number) = next.map(|(number, _)| *number) else {
            break;
        };
        if let Some((Some(node), _)) = left.remove(&number)
            && let Some(copies) = per_node.get_mut(&node)
        {
            *copies -= 1;
        }
        victims.push(number);
    }
    victims
}

/// The node of the slot's only task; `None` when it has no node or there are several tasks.
fn only_node(slot: &Slot) -> Option<NodeId> {
    let mut wanted = slot.wanted();
    let task = wanted.next().or_else(|| slot.newest())?;
    if wanted.next().is_some() {
        None
    } else {
        task.node.clone()
    }
}

fn is_running(slot: &Slot) -> bool {
    slot.wanted().any(|t| t.status.state == TaskState::Running)
}
