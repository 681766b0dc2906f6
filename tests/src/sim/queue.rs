//! What is going to happen, in the order of virtual time; first come first served at one moment.

use std::collections::BTreeMap;

use orch_core::time::Timestamp;

/// Events by time.
#[derive(Debug)]
pub(super) struct Queue<E> {
    next: u64,
    events: BTreeMap<(Timestamp, u64), E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            next: 0,
            events: BTreeMap::new(),
        }
    }
}

impl<E> Queue<E> {
    pub(super) fn at(&mut self, time: Timestamp, event: E) {
        self.events.insert((time, self.next), event);
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, E)> {
        self.events
            .pop_first()
            .map(|((time, _), event)| (time, event))
    }
}
