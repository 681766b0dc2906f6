//! The manager: the real store and the real decisions, over a log that is a hash.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orch_core::control::ControlError;
use orch_core::dispatch::{self, Assignment, Due, Patience, Sessions};
use orch_core::ids::NodeId;
use orch_core::reconcile;
use orch_core::store::{Change, Entropy, State, Tx};
use orch_core::time::Timestamp;

use super::{Violation, ensure, invariants};

pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// The defaults of a swarm.
pub(super) const PATIENCE: Patience = Patience {
    heartbeat: HEARTBEAT,
    tick: Duration::from_millis(50),
    host_loss_delay: Duration::from_millis(2500),
};
/// Entries after which the second replica is compared with the first.
const COMPARE_EVERY: u64 = 64;

/// A manager and a second replica that is fed by its serialised log.
#[derive(Debug)]
pub(super) struct Manager {
    pub state: State,
    replica: State,
    entropy: Entropy,
    pub sessions: Sessions,
    /// The nodes that registered with this life of the manager.
    registered: BTreeSet<NodeId>,
    /// What each node with a session was told last.
    told: BTreeMap<NodeId, Assignment>,
    /// When time alone calls for a pass.
    pub wake_at: Option<Timestamp>,
    pub log_hash: u64,
}

impl Manager {
    pub(super) fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            state: State::default(),
            replica: State::default(),
            entropy: Entropy::from_seed(seed),
            sessions: Sessions::new(PATIENCE, now),
            registered: BTreeSet::new(),
            told: BTreeMap::new(),
            wake_at: None,
            log_hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Runs an operation, commits what it decided and all that follows from it. An operation
    /// that was refused changes nothing, and is no violation.
    pub(super) fn write<T>(
        &mut self,
        now: Timestamp,
        decide: impl FnOnce(&mut Tx<'_>) -> Result<T, ControlError>,
    ) -> Result<Result<T, ControlError>, Violation> {
        let mut tx = Tx::new(&self.state, now, &mut self.entropy);
        let result = decide(&mut tx);
        if result.is_ok() {
            let changes = tx.into_changes();
            self.commit(now, &changes)?;
            self.reconcile(now)?;
        }
        Ok(result)
    }

    /// Decides until there is nothing left to decide.
    pub(super) fn reconcile(&mut self, now: Timestamp) -> Result<(), Violation> {
        let first = reconcile::step(&self.state, now, &mut self.entropy);
        self.commit(now, &first.changes)?;
        let second = reconcile::step(&self.state, now, &mut self.entropy);
        ensure!(
            second.changes.is_empty(),
            "a second pass at the same moment changes {:#?}\nafter the first changed {:#?}",
            second.changes,
            first.changes
        );
        ensure!(
            second.wake_at.is_none_or(|at| at > now),
            "a pass asks for one in the past"
        );
        self.wake_at = second.wake_at;
        Ok(())
    }

    fn commit(&mut self, now: Timestamp, changes: &[Change]) -> Result<(), Violation> {
        if changes.is_empty() {
            return Ok(());
        }
        let index = self.state.version() + 1;
        invariants::anytime_moves_are_legal(&self.state, changes)?;
        let entry =
            rmp_serde::to_vec_named(changes).map_err(|e| Violation(format!("encode: {e}")))?;
        for byte in now.as_nanos().to_be_bytes().iter().chain(&entry) {
            self.log_hash = (self.log_hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let decoded: Vec<Change> =
            rmp_serde::from_slice(&entry).map_err(|e| Violation(format!("decode: {e}")))?;
        ensure!(decoded == changes, "an entry does not survive its encoding");
        self.state
            .apply(index, changes)
            .map_err(|e| Violation(e.to_string()))?;
        self.replica
            .apply(index, &decoded)
            .map_err(|e| Violation(e.to_string()))?;
        if index.is_multiple_of(COMPARE_EVERY) {
            self.replicas_agree()?;
        }
        invariants::anytime(&self.state)
    }

    pub(super) fn replicas_agree(&self) -> Result<(), Violation> {
        ensure!(self.state == self.replica, "two replicas of one log differ");
        Ok(())
    }

    /// Stops and starts again: the state survives, sessions do not.
    pub(super) fn restart(&mut self, now: Timestamp) -> Result<(), Violation> {
        let bytes =
            rmp_serde::to_vec_named(&self.state).map_err(|e| Violation(format!("encode: {e}")))?;
        let state: State =
            rmp_serde::from_slice(&bytes).map_err(|e| Violation(format!("decode: {e}")))?;
        ensure!(
            state == self.state,
            "the state does not survive its snapshot"
        );
        self.state = state;
        self.sessions = Sessions::new(PATIENCE, now);
        self.registered.clear();
        self.told.clear();
        let nodes: Vec<NodeId> = self.state.nodes().map(|n| n.id.clone()).collect();
        for node in nodes {
            self.sessions.expect(node, now);
        }
        Ok(())
    }

    /// Whether the node is held for alive.
    pub(super) fn has_session(&self, node: &NodeId) -> bool {
        self.registered.contains(node)
    }

    /// The node registered: it has to be told everything.
    pub(super) fn opened(&mut self, now: Timestamp, node: &NodeId) {
        self.sessions.opened(node.clone(), now);
        self.registered.insert(node.clone());
        self.told.remove(node);
    }

    /// The connection of the node's session is gone.
    pub(super) fn broken(&mut self, now: Timestamp, node: &NodeId) {
        self.sessions.broken(node, now);
        self.registered.remove(node);
    }

    /// Which nodes are down by now, and whose hosts are to be asked.
    pub(super) fn due(&mut self, now: Timestamp) -> Due {
        let due = self.sessions.due(now);
        for (node, _) in &due.down {
            self.registered.remove(node);
        }
        due
    }

    /// The node's assignment, if it differs from what it was told last.
    pub(super) fn news_for(&mut self, node: &NodeId) -> Option<Assignment> {
        let assignment = dispatch::assignment(&self.state, node)?;
        if self
            .told
            .get(node)
            .is_some_and(|told| told.same_content(&assignment))
        {
            return None;
        }
        self.told.insert(node.clone(), assignment.clone());
        Some(assignment)
    }
}
