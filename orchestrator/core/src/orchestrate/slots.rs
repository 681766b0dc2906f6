//! The tasks of a service by slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::ServiceId;
use crate::objects::{Service, Task};
use crate::store::{Object, State, Tx};
use crate::task_state::DesiredState;

use super::{new_task, restart, stop};
use crate::time::Timestamp;

/// The slots of one service that have tasks, by number.
#[derive(Debug, Default)]
pub(super) struct Slots(pub BTreeMap<u64, Slot>);

impl Slots {
    /// The slots of every service that has tasks.
    pub(super) fn by_service(state: &State) -> BTreeMap<ServiceId, Self> {
        let mut services = BTreeMap::<ServiceId, Self>::new();
        for task in state.tasks() {
            let (Some(service), Some(number)) = (task.service(), task.slot()) else {
                continue;
            };
            let slots = services.entry(service.clone()).or_default();
            slots.0.entry(number).or_default().0.push(Arc::clone(task));
        }
        for slot in services.values_mut().flat_map(|s| s.0.values_mut()) {
            slot.0
                .sort_by(|a, b| (a.meta.created_at, &a.id).cmp(&(b.meta.created_at, &b.id)));
        }
        services
    }

    /// The slots that hold a replica, or the last word of one that is not to be restarted.
    pub(super) fn live(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.0
            .iter()
            .filter(|(_, slot)| slot.is_live())
            .map(|(number, slot)| (*number, slot))
    }
}

/// The tasks of one slot, oldest first.
#[derive(Debug, Default)]
pub(super) struct Slot(pub Vec<Arc<Task>>);

impl Slot {
    /// The tasks that are wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.0.iter().filter(|t| t.is_wanted())
    }

    /// The tasks that were not scaled away: those vanish and tell nothing of the slot.
    pub(super) fn history(&self) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.0.iter().filter(|t| t.desired != DesiredState::Remove)
    }

    /// The newest task of its history.
    pub(super) fn newest(&self) -> Option<&Arc<Task>> {
        self.history().next_back()
    }

    fn is_live(&self) -> bool {
        self.wanted().next().is_some()
            || self
                .newest()
                .is_some_and(|task| !restart::should_restart(task, self))
    }

    /// Wants those of its tasks stopped that `which` names.
    pub(super) fn stop(
        &mut self,
        tx: &mut Tx<'_>,
        desired: DesiredState,
        which: impl Fn(&Task) -> bool,
    ) {
        for task in self.0.iter_mut().filter(|t| which(t)) {
            stop(tx, Task::clone(task), desired);
            refresh(tx, task);
        }
    }

    /// Makes a new task in this slot.
    pub(super) fn create(
        &mut self,
        tx: &mut Tx<'_>,
        service: &Service,
        number: u64,
        not_before: Option<Timestamp>,
    ) {
        let mut task = Arc::new(new_task(tx, service, number, not_before));
        tx.put(Object::Task(Task::clone(&task)));
        refresh(tx, &mut task);
        self.0.push(task);
    }

    /// Lets a waiting task start.
    pub(super) fn start(&mut self, tx: &mut Tx<'_>, index: usize) {
        if let Some(task) = self.0.get_mut(index) {
            tx.put(Object::Task(Task {
                desired: DesiredState::Running,
                ..Task::clone(task)
            }));
            refresh(tx, task);
        }
    }
}

/// Takes over what the transaction stored.
fn refresh(tx: &Tx<'_>, task: &mut Arc<Task>) {
    if let Some(stored) = tx.task(&task.id) {
        *task = Arc::clone(stored);
    }
}
