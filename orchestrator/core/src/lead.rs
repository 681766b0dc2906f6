//! What a leader does of its own accord, as a step machine without effects.
//!
//! [`Lead`] lives for as long as a manager leads and says what is to be done next: ask hosts,
//! commit what was found out about nodes or what reconciliation decided, bring the raft group
//! nearer to what the state wants. It owns the order of these things and all that is remembered
//! only while one leads, sessions above all. It must not know how entries are committed, how hosts
//! are asked, or who else writes.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::consensus::{Group, Step};
use crate::control;
use crate::dispatch::{Finding, Patience, Sessions};
use crate::ids::NodeId;
use crate::objects::node::NodeState;
use crate::objects::{ClusterSpec, Node};
use crate::reconcile;
use crate::store::{Change, Entropy, State, Tx};
use crate::time::Timestamp;

/// Passes of reconciliation in a row after which something is wrong with the deciders.
const MAX_PASSES: u32 = 200;
/// Pause before it is tried again when there was no room on the disk, or it did not settle.
const PAUSE: Duration = Duration::from_secs(1);
/// Time after which a step towards another raft group is taken again: it may have got lost.
const STEP_PAUSE: Duration = Duration::from_millis(500);

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What users call the time. Somebody may set it.
    pub wall: Timestamp,
    /// Time since some fixed moment, which only ever goes on: nodes are judged by it.
    pub steady: Timestamp,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Ask the hosts of these nodes, at their addresses for tunnels, whether they are there; the
    /// answers go to [`Lead::asked`].
    Ask(BTreeMap<NodeId, Option<IpAddr>>),
    /// Commit this as one entry, then call [`Lead::committed`] or [`Lead::refused`].
    Commit(Vec<Change>),
    /// Change the raft group. Nothing is told of the outcome: the group shows it.
    Reshape(Step),
}

/// What a manager knows while it leads.
#[derive(Debug)]
pub struct Lead {
    /// This manager in the raft group.
    id: u64,
    tick: Duration,
    state: State,
    sessions: Sessions,
    /// The session that each node has.
    live: BTreeMap<NodeId, String>,
    /// What was found out about nodes and is not written down yet.
    findings: BTreeMap<NodeId, Finding>,
    /// When time alone calls for another pass.
    wake_at: Option<Timestamp>,
    /// Nothing is committed before this moment.
    not_before: Option<Timestamp>,
    /// The step towards the wanted raft group that was taken last, and when.
    step: Option<(Step, Timestamp)>,
    /// The version of the state and the group for which no step is left to take.
    shaped: Option<(u64, Group)>,
    /// Whether the state may need reconciliation.
    dirty: bool,
    passes: u32,
}

impl Lead {
    /// The manager `id` leads from now on; `tick` is the unit of time in which hosts are missed.
    pub fn begin(id: u64, state: State, tick: Duration, now: Moment) -> Self {
        let mut sessions = Sessions::new(patience(&state, tick), now.steady);
        let alive = |n: &&Arc<Node>| n.status.state != NodeState::Down;
        for node in state.nodes().filter(alive) {
            sessions.expect(node.id.clone(), now.steady);
        }
        Self {
            id,
            tick,
            state,
            sessions,
            live: BTreeMap::new(),
            findings: BTreeMap::new(),
            wake_at: None,
            not_before: None,
            step: None,
            shaped: None,
            dirty: true,
            passes: 0,
        }
    }

    /// The latest committed state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was found out about nodes and is not written down yet.
    pub fn findings(&self) -> &BTreeMap<NodeId, Finding> {
        &self.findings
    }

    /// How long nodes and hosts are waited for.
    pub fn patience(&self) -> Patience {
        self.sessions.patience()
    }

    /// Something was committed, by whomever.
    pub fn committed(&mut self, state: State) {
        self.sessions.set_patience(patience(&state, self.tick));
        self.state = state;
        self.dirty = true;
    }

    /// What was to be committed has no room: it is decided anew a little later.
    pub fn refused(&mut self, now: Moment) {
        self.not_before = Some(now.wall + PAUSE);
        self.dirty = true;
    }

    /// Whether reconciliation changes the state again and again: something is wrong with the
    /// deciders, and they make a pause.
    pub fn is_unsettled(&self) -> bool {
        self.passes >= MAX_PASSES
    }

    /// What is to be done now; `None`: nothing for [`Self::idle`].
    pub fn next(&mut self, now: Moment, group: &Group, entropy: &mut Entropy) -> Option<Act> {
        let asked = self.look(now);
        if !asked.is_empty() {
            return Some(Act::Ask(asked));
        }
        if self.not_before.is_some_and(|at| at > now.wall) {
            return None;
        }
        if self.not_before.take().is_some() {
            self.passes = 0;
        }
        let state = self.state.clone();
        self.write_down(&state, now, entropy)
            .or_else(|| self.reconcile(&state, now, entropy))
            .or_else(|| self.reshape(&state, now, group, entropy))
    }

    /// How long there is nothing to do unless something happens.
    pub fn idle(&self, now: Moment) -> Duration {
        let held = self.not_before.filter(|at| *at > now.wall);
        let by_wall = [self.wake_at, held].into_iter().flatten();
        let by_wall = by_wall.map(|at| at.since(now.wall));
        // No step is taken while nothing may be committed.
        let step = self.step.filter(|_| held.is_none());
        let step = step.map(|(_, at)| at + STEP_PAUSE);
        let steady = [step, self.sessions.next_deadline()].into_iter().flatten();
        let steady = steady.map(|at| at.since(now.steady));
        by_wall.chain(steady).min().unwrap_or(Duration::MAX)
    }

    /// A node registered; a session that it had is over.
    pub fn opened(&mut self, node: NodeId, session: String, now: Moment) {
        self.findings.remove(&node);
        self.sessions.opened(node.clone(), now.steady);
        self.live.insert(node, session);
    }

    /// A node reported that it lives. `false` when it has no such session.
    pub fn beat(&mut self, node: &NodeId, session: &str, now: Moment) -> bool {
        self.has(node, session) && self.sessions.beat(node, now.steady)
    }

    /// The connection of a session is gone.
    pub fn broken(&mut self, node: &NodeId, session: &str, now: Moment) {
        if self.has(node, session) {
            self.live.remove(node);
            self.sessions.broken(node, now.steady);
        }
    }

    /// A node's host was asked whether it is there, and answered or not in time.
    pub fn asked(&mut self, node: NodeId, answered: bool, now: Moment) {
        let news = self.sessions.asked(&node, answered, now.steady);
        self.findings.extend(news.map(|finding| (node, finding)));
    }

    /// A node said good-bye or was removed.
    pub fn closed(&mut self, node: &NodeId) {
        self.live.remove(node);
        self.findings.remove(node);
        self.sessions.closed(node);
    }

    fn has(&self, node: &NodeId, session: &str) -> bool {
        self.live.get(node).is_some_and(|live| live == session)
    }

    /// What time has brought: nodes that are down, and hosts to be asked.
    fn look(&mut self, now: Moment) -> BTreeMap<NodeId, Option<IpAddr>> {
        if self.wake_at.is_some_and(|at| at <= now.wall) {
            self.wake_at = None;
            self.dirty = true;
        }
        let due = self.sessions.due(now.steady);
        for (node, _) in &due.down {
            self.live.remove(node);
        }
        self.findings.extend(due.down);
        let address = |id: &NodeId| self.state.node(id).and_then(|node| node.underlay());
        let asked = due.ask.into_iter();
        asked.map(|id| (id.clone(), address(&id))).collect()
    }

    fn write_down(&mut self, state: &State, now: Moment, entropy: &mut Entropy) -> Option<Act> {
        let mut tx = Tx::new(state, now.wall, entropy);
        for (node, finding) in &self.findings {
            control::record_finding(&mut tx, node, *finding);
        }
        let changes = tx.into_changes();
        if changes.is_empty() {
            self.findings.clear();
            return None;
        }
        // They stay until the state shows them.
        Some(Act::Commit(changes))
    }

    fn reconcile(&mut self, state: &State, now: Moment, entropy: &mut Entropy) -> Option<Act> {
        if !self.dirty {
            return None;
        }
        let outcome = reconcile::step(state, now.wall, entropy);
        self.wake_at = outcome.wake_at;
        if outcome.changes.is_empty() {
            self.dirty = false;
            self.passes = 0;
            return None;
        }
        self.passes += 1;
        if self.passes >= MAX_PASSES {
            self.not_before = Some(now.wall + PAUSE);
        }
        Some(Act::Commit(outcome.changes))
    }

    /// The next step towards the raft group that the state wants. A node that is out of the group
    /// is told so first.
    fn reshape(
        &mut self,
        state: &State,
        now: Moment,
        group: &Group,
        entropy: &mut Entropy,
    ) -> Option<Act> {
        // Heartbeats come by the thousand, and change neither the state nor the group.
        let shaped = self.shaped.as_ref();
        if shaped.is_some_and(|(version, known)| *version == state.version() && known == group) {
            return None;
        }
        let mut tx = Tx::new(state, now.wall, entropy);
        control::dismiss(&mut tx, group);
        let changes = tx.into_changes();
        if !changes.is_empty() {
            return Some(Act::Commit(changes));
        }
        let Some(step) = group.next(&control::wanted_members(state), self.id) else {
            self.step = None;
            self.shaped = Some((state.version(), group.clone()));
            return None;
        };
        if let Some((taken, at)) = self.step
            && taken == step
            && now.steady < at + STEP_PAUSE
        {
            return None;
        }
        self.step = Some((step, now.steady));
        Some(Act::Reshape(step))
    }
}

fn patience(state: &State, tick: Duration) -> Patience {
    let default = ClusterSpec::default();
    let spec = state.cluster().map_or(&default, |cluster| &cluster.spec);
    Patience {
        heartbeat: spec.heartbeat_period,
        tick,
        host_loss_delay: spec.options().host_loss_delay,
    }
}
