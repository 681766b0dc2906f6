//! Which nodes are alive: book-keeping of sessions and heartbeats, without a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::NodeId;
use crate::time::Timestamp;

/// Heartbeats that a node may miss before it counts as down.
const MISSED_BEATS: u32 = 3;
/// As many times longer a node may take to come back after a change of the leader.
const LEADER_CHANGE_GRACE: u32 = 2;

/// The sessions that nodes hold with this manager.
#[derive(Debug, Clone)]
pub struct Sessions {
    period: Duration,
    deadlines: BTreeMap<NodeId, Timestamp>,
}

impl Sessions {
    /// No sessions yet; nodes beat every `period`.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            deadlines: BTreeMap::new(),
        }
    }

    /// Nodes beat every `period` from their next beat on.
    pub fn set_period(&mut self, period: Duration) {
        self.period = period;
    }

    /// A node that had a session with the manager that led before: it is given more time.
    pub fn expect(&mut self, node: NodeId, now: Timestamp) {
        self.deadlines
            .insert(node, now + self.period * MISSED_BEATS * LEADER_CHANGE_GRACE);
    }

    /// A node registered.
    pub fn opened(&mut self, node: NodeId, now: Timestamp) {
        self.deadlines
            .insert(node, now + self.period * MISSED_BEATS);
    }

    /// A node reported that it lives. `false` when it has no session and must register again.
    pub fn beat(&mut self, node: &NodeId, now: Timestamp) -> bool {
        match self.deadlines.get_mut(node) {
            Some(deadline) => {
                *deadline = now + self.period * MISSED_BEATS;
                true
            }
            None => false,
        }
    }

    /// A node said good-bye or was removed.
    pub fn closed(&mut self, node: &NodeId) {
        self.deadlines.remove(node);
    }

    /// Ends the sessions whose nodes have not been heard of in time and returns those nodes.
    pub fn expired(&mut self, now: Timestamp) -> Vec<NodeId> {
        let gone: Vec<_> = self
            .deadlines
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(n, _)| n.clone())
            .collect();
        for node in &gone {
            self.deadlines.remove(node);
        }
        gone
    }

    /// When [`expired`](Self::expired) may next return something.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn node(n: u128) -> NodeId {
        NodeId::from_random(n)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_is_down_after_three_periods_without_a_beat() {
        let mut sessions = Sessions::new(PERIOD);
        sessions.opened(node(1), at(0));
        assert!(sessions.beat(&node(1), at(5)));
        assert_eq!(sessions.next_deadline(), Some(at(20)));
        assert_eq!(sessions.expired(at(19)), []);
        assert_eq!(sessions.expired(at(20)), [node(1)]);
        assert_eq!(sessions.expired(at(21)), []);
    }

    #[test]
    fn a_beat_without_a_session_asks_for_registration() {
        let mut sessions = Sessions::new(PERIOD);
        assert!(!sessions.beat(&node(1), at(0)));
        sessions.opened(node(1), at(0));
        sessions.closed(&node(1));
        assert!(!sessions.beat(&node(1), at(1)));
        assert_eq!(sessions.next_deadline(), None);
    }

    #[test]
    fn after_a_change_of_the_leader_nodes_have_twice_the_time() {
        let mut sessions = Sessions::new(PERIOD);
        sessions.expect(node(1), at(0));
        assert_eq!(sessions.expired(at(29)), []);
        assert_eq!(sessions.expired(at(30)), [node(1)]);
    }
}
