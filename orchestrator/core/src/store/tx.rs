//! Transactions: decisions against a snapshot, recorded as changes.

use std::ops::Deref;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::state::{Change, Object, ObjectKey, State};
use crate::time::Timestamp;

/// Randomness as an input: the same seed gives the same ids and choices.
#[derive(Debug, Clone)]
pub struct Entropy(StdRng);

impl Entropy {
    /// A source that repeats itself for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// The next 128 random bits, as ids want them.
    pub fn bits(&mut self) -> u128 {
        (u128::from(self.0.next_u64()) << 64) | u128::from(self.0.next_u64())
    }
}

/// A decision in the making: reads see its own writes, nothing else does.
///
/// A transaction that is dropped has no effect. What it decided is [`Tx::into_changes`], to be
/// committed as one entry.
#[derive(Debug)]
pub struct Tx<'a> {
    now: Timestamp,
    entropy: &'a mut Entropy,
    working: State,
    changes: Vec<Change>,
}

impl Deref for Tx<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.working
    }
}

impl<'a> Tx<'a> {
    /// A transaction against `base` at the moment `now`.
    pub fn new(base: &State, now: Timestamp, entropy: &'a mut Entropy) -> Self {
        Self {
            now,
            entropy,
            working: base.clone(),
            changes: Vec::new(),
        }
    }

    /// The moment of the decision.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// 128 random bits for a new id or a choice.
    pub fn random(&mut self) -> u128 {
        self.entropy.bits()
    }

    /// Creates or replaces an object and stamps its `updated_at` (and `created_at` when new).
    pub fn put(&mut self, mut object: Object) {
        let meta = match &mut object {
            Object::Cluster(o) => &mut o.meta,
            Object::Node(o) => &mut o.meta,
            Object::Service(o) => &mut o.meta,
            Object::Task(o) => &mut o.meta,
            Object::Network(o) => &mut o.meta,
        };
        if meta.version == 0 && meta.created_at == Timestamp::default() {
            meta.created_at = self.now;
        }
        meta.updated_at = self.now;
        let version = meta.version;
        self.working.put(version, object.clone());
        self.changes.push(Change::Put(object));
    }

    /// Removes an object; nothing happens when it is not there.
    pub fn remove(&mut self, key: ObjectKey) {
        if self.working.remove(&key) {
            self.changes.push(Change::Remove(key));
        }
    }

    /// Whether nothing was decided so far.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What was decided, in order, to be committed as one entry.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}
