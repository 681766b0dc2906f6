//! Which nodes are alive: book-keeping of sessions, heartbeats and signs of life, without a clock.
//!
//! A node whose session ended may be a daemon that starts again, or a host that is gone. So its
//! host is asked: its kernel answers whether the daemon runs or not. While the host answers only
//! heartbeats count. When it does not, nothing is led there any more within half a second, and a
//! little later its tasks are somebody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::NodeId;
use crate::time::Timestamp;

/// Heartbeats that a node may miss before it counts as down.
const MISSED_BEATS: u32 = 3;
/// As many times longer a node may take to come back after a change of the leader.
const LEADER_CHANGE_GRACE: u32 = 2;
/// Ticks that a host has to answer a question.
const ANSWER_TICKS: u32 = 3;
/// Questions in a row without an answer after which a host is unreachable.
const QUESTIONS: u32 = 3;
/// Ticks that nodes have to come back after a change of the leader, before their hosts are asked.
const RETURN_TICKS: u32 = 10;
/// The end of time.
const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);
/// How often one looks at least, to know that this manager itself goes on.
const LOOK: Duration = Duration::from_secs(1);

/// How long nodes and their hosts are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Nodes beat this often, from their next beat on.
    pub heartbeat: Duration,
    /// The unit of everything that concerns hosts.
    pub tick: Duration,
    /// How long the tasks of a host that does not answer are waited for.
    pub host_loss_delay: Duration,
}

impl Patience {
    /// How long a host has to answer a question.
    pub fn answer(&self) -> Duration {
        self.tick * ANSWER_TICKS
    }
}

/// The sessions that nodes hold with this manager.
#[derive(Debug, Clone)]
pub struct Sessions {
    patience: Patience,
    nodes: BTreeMap<NodeId, Contact>,
    /// When one looked last.
    looked: Timestamp,
    /// Nothing is due before this moment: beats come by the thousand, and put everything off.
    earliest: Timestamp,
}

#[derive(Debug, Clone)]
struct Contact {
    /// When a beat is overdue.
    beat_by: Timestamp,
    /// Present on nodes without a session.
    lost: Option<Lost>,
}

/// A node without a session.
#[derive(Debug, Clone, Default)]
struct Lost {
    /// When the host is asked next; `None` while a question is on its way.
    ask_at: Option<Timestamp>,
    /// Questions without an answer since the last one that was answered.
    unanswered: u32,
    /// When the host counts as gone; `None` while it is not unreachable.
    gone_at: Option<Timestamp>,
}

/// What was found out about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Its host does not answer.
    Unreachable,
    /// Its host answers again.
    Reachable,
    /// It counts as down: its heartbeats did not come.
    MissedBeats,
    /// It counts as down: its host did not answer for too long.
    HostGone,
}

/// What time has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Nodes that count as down; they have no session any more.
    pub down: Vec<(NodeId, Finding)>,
    /// Nodes whose hosts are to be asked.
    pub ask: Vec<NodeId>,
}

impl Contact {
    fn is_down(&self, now: Timestamp) -> Option<Finding> {
        // Nobody expects beats of a host that does not answer.
        match self.lost.as_ref().and_then(|lost| lost.gone_at) {
            Some(gone_at) => (gone_at <= now).then_some(Finding::HostGone),
            None => (self.beat_by <= now).then_some(Finding::MissedBeats),
        }
    }

    fn next(&self) -> Timestamp {
        let Some(lost) = &self.lost else {
            return self.beat_by;
        };
        let judged = lost.gone_at.unwrap_or(self.beat_by);
        lost.ask_at.map_or(judged, |at| at.min(judged))
    }

    /// Nothing of it could be noticed for so long.
    fn put_off(&mut self, by: Duration) {
        self.beat_by = self.beat_by + by;
        if let Some(gone_at) = self.lost.as_mut().and_then(|lost| lost.gone_at.as_mut()) {
            *gone_at = *gone_at + by;
        }
    }
}

impl Sessions {
    /// No sessions yet.
    pub fn new(patience: Patience, now: Timestamp) -> Self {
        Self {
            patience,
            nodes: BTreeMap::new(),
            looked: now,
            earliest: NEVER,
        }
    }

    /// How long nodes and hosts are waited for.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Waits so long from now on.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// A node that had a session with the manager that led before: it is given more time.
    pub fn expect(&mut self, node: NodeId, now: Timestamp) {
        let contact = Contact {
            beat_by: now + self.patience.heartbeat * MISSED_BEATS * LEADER_CHANGE_GRACE,
            lost: Some(Lost {
                ask_at: Some(now + self.patience.tick * RETURN_TICKS),
                ..Lost::default()
            }),
        };
        self.insert(node, contact);
    }

    /// A node registered.
    pub fn opened(&mut self, node: NodeId, now: Timestamp) {
        let contact = Contact {
            beat_by: now + self.patience.heartbeat * MISSED_BEATS,
            lost: None,
        };
        self.insert(node, contact);
    }

    fn insert(&mut self, node: NodeId, contact: Contact) {
        self.earliest = self.earliest.min(contact.next());
        self.nodes.insert(node, contact);
    }

    /// A node reported that it lives. `false` when it has no session and must register again.
    pub fn beat(&mut self, node: &NodeId, now: Timestamp) -> bool {
        match self.nodes.get_mut(node) {
            Some(contact) if contact.lost.is_none() => {
                contact.beat_by = now + self.patience.heartbeat * MISSED_BEATS;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The connection of a node's session is gone: its host is asked from now on.
    pub fn broken(&mut self, node: &NodeId, now: Timestamp) {
        if let Some(contact) = self.nodes.get_mut(node) {
            contact.lost.get_or_insert(Lost {
                ask_at: Some(now),
                ..Lost::default()
            });
            self.earliest = self.earliest.min(now);
        }
    }

    /// A question to the host of a node has been answered, or not in time. Returns what that means
    /// if it is news.
    pub fn asked(&mut self, node: &NodeId, answered: bool, now: Timestamp) -> Option<Finding> {
        self.earliest = self.earliest.min(now);
        let contact = self.nodes.get_mut(node)?;
        let lost = contact.lost.as_mut()?;
        if answered {
            lost.unanswered = 0;
            lost.ask_at = Some(now + self.patience.answer());
            lost.gone_at.take()?;
            // Its daemon needs a moment to connect.
            contact.beat_by = now + self.patience.heartbeat * MISSED_BEATS;
            return Some(Finding::Reachable);
        }
        // It has been waited for already.
        lost.ask_at = Some(now);
        lost.unanswered += 1;
        if lost.unanswered < QUESTIONS || lost.gone_at.is_some() {
            return None;
        }
        lost.gone_at = Some(now + self.patience.host_loss_delay);
        Some(Finding::Unreachable)
    }

    /// A node said good-bye or was removed.
    pub fn closed(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }

    /// What time has brought until `now`. A manager that could not look for a while, because its
    /// process was stopped, say, holds that time against nobody.
    pub fn due(&mut self, now: Timestamp) -> Due {
        let away = now.since(self.looked).saturating_sub(LOOK);
        self.looked = now;
        let mut due = Due::default();
        if now < self.earliest && away <= LOOK {
            return due;
        }
        for (node, contact) in &mut self.nodes {
            if away > LOOK {
                contact.put_off(away);
            }
            let down = contact.is_down(now);
            due.down.extend(down.map(|finding| (node.clone(), finding)));
            if let Some(lost) = &mut contact.lost
                && lost.ask_at.is_some_and(|at| at <= now)
            {
                lost.ask_at = None;
                due.ask.push(node.clone());
            }
        }
        for (node, _) in &due.down {
            self.nodes.remove(node);
        }
        let earliest = self.nodes.values().map(Contact::next).min();
        self.earliest = earliest.unwrap_or(NEVER);
        due
    }

    /// When [`due`](Self::due) is to be called next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let next = self.earliest.min(self.looked + LOOK);
        (!self.nodes.is_empty()).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        heartbeat: Duration::from_secs(5),
        tick: Duration::from_millis(50),
        host_loss_delay: Duration::from_millis(2500),
    };

    fn node(n: u128) -> NodeId {
        NodeId::from_random(n)
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::default() + Duration::from_millis(millis)
    }

    fn new() -> Sessions {
        Sessions::new(PATIENCE, at(0))
    }

    /// Goes on until nothing is waited for, or `until`; the host of every node that is asked is
    /// silent between two moments. Returns what was found out and when, in milliseconds.
    fn play(
        sessions: &mut Sessions,
        until: u64,
        silent: std::ops::Range<u64>,
    ) -> Vec<(u64, Finding)> {
        let mut told = Vec::new();
        let mut questions: Vec<(u64, NodeId)> = Vec::new();
        let mut now = sessions.looked.since(at(0)).as_millis() as u64;
        while now < until && sessions.next_deadline().is_some() {
            let due = sessions.due(at(now));
            told.extend(due.down.iter().map(|(_, finding)| (now, *finding)));
            questions.extend(due.ask.into_iter().map(|node| (now, node)));
            let patience = PATIENCE.answer().as_millis() as u64;
            questions.retain(|(asked, node)| {
                let answers = !silent.contains(asked);
                let over = answers || now >= asked + patience;
                if over {
                    let news = sessions.asked(node, answers, at(now));
                    told.extend(news.map(|finding| (now, finding)));
                }
                !over
            });
            now += 1;
        }
        told
    }

    #[test]
    fn a_node_is_down_after_three_periods_without_a_beat() {
        let mut sessions = new();
        sessions.opened(node(1), at(0));
        assert_eq!(play(&mut sessions, 5_000, 0..0), []);
        assert!(sessions.beat(&node(1), at(5_000)));
        assert_eq!(
            play(&mut sessions, 99_999, 0..0),
            [(20_000, Finding::MissedBeats)]
        );
        assert!(!sessions.beat(&node(1), at(21_000)));
    }

    #[test]
    fn a_beat_without_a_session_asks_for_registration() {
        let mut sessions = new();
        assert!(!sessions.beat(&node(1), at(0)));
        sessions.opened(node(1), at(0));
        sessions.broken(&node(1), at(1));
        assert!(!sessions.beat(&node(1), at(2)));
        sessions.closed(&node(1));
        assert!(!sessions.beat(&node(1), at(3)));
        assert_eq!(sessions.next_deadline(), None);
    }

    #[test]
    fn a_host_that_does_not_answer_is_unreachable_and_then_gone() {
        let mut sessions = new();
        sessions.opened(node(1), at(0));
        sessions.broken(&node(1), at(0));
        assert_eq!(
            play(&mut sessions, 99_999, 0..99_999),
            [(452, Finding::Unreachable), (2_952, Finding::HostGone)]
        );
    }

    #[test]
    fn while_its_host_answers_only_heartbeats_count() {
        let mut sessions = new();
        sessions.opened(node(1), at(0));
        sessions.broken(&node(1), at(0));
        assert_eq!(
            play(&mut sessions, 99_999, 0..0),
            [(15_000, Finding::MissedBeats)]
        );
    }

    #[test]
    fn a_host_that_answers_again_is_waited_for_anew() {
        let mut sessions = new();
        sessions.opened(node(1), at(0));
        sessions.broken(&node(1), at(0));
        let told = play(&mut sessions, 2_900, 0..2_400);
        let reachable = told[1].0;
        assert_eq!(told[0], (452, Finding::Unreachable));
        assert_eq!(told[1..], [(reachable, Finding::Reachable)]);
        assert!((2_400..2_600).contains(&reachable), "{reachable}");
        sessions.opened(node(1), at(2_900));
        assert_eq!(sessions.asked(&node(1), false, at(2_900)), None);
        assert_eq!(
            play(&mut sessions, 99_999, 0..99_999),
            [(17_900, Finding::MissedBeats)]
        );
    }

    #[test]
    fn a_host_may_be_waited_for_longer_than_for_heartbeats() {
        let mut sessions = new();
        sessions.set_patience(Patience {
            host_loss_delay: Duration::from_secs(60),
            ..PATIENCE
        });
        sessions.opened(node(1), at(0));
        sessions.broken(&node(1), at(0));
        let told = play(&mut sessions, 70_000, 0..40_000);
        let again = told[1].0;
        let late = [(452, Finding::Unreachable), (again, Finding::Reachable)];
        assert_eq!(told[..2], late);
        assert_eq!(told[2..], [(again + 15_000, Finding::MissedBeats)]);
    }

    #[test]
    fn a_question_that_is_late_is_no_silence() {
        let mut sessions = new();
        sessions.opened(node(1), at(0));
        sessions.broken(&node(1), at(0));
        assert_eq!(sessions.due(at(0)).ask, [node(1)]);
        // Whoever asks is busy: the question is still on its way, and is not asked twice.
        for millis in (0..5_000).step_by(500) {
            assert_eq!(sessions.due(at(millis)), Due::default());
        }
        assert_eq!(sessions.asked(&node(1), true, at(5_000)), None);
    }

    #[test]
    fn after_a_change_of_the_leader_nodes_have_time_to_return() {
        let mut sessions = new();
        sessions.expect(node(1), at(0));
        assert_eq!(sessions.next_deadline(), Some(at(500)));
        assert_eq!(
            play(&mut sessions, 99_999, 0..0),
            [(30_000, Finding::MissedBeats)]
        );
    }

    #[test]
    fn a_host_that_is_gone_with_the_leader_is_missed_too() {
        let mut sessions = new();
        sessions.expect(node(1), at(0));
        assert_eq!(
            play(&mut sessions, 99_999, 0..99_999),
            [(952, Finding::Unreachable), (3_452, Finding::HostGone)]
        );
    }

    #[test]
    fn a_manager_that_was_stopped_holds_that_time_against_nobody() {
        let mut sessions = new();
        sessions.opened(node(1), at(0));
        sessions.opened(node(2), at(0));
        sessions.broken(&node(2), at(0));
        assert_eq!(
            play(&mut sessions, 1_000, 0..1_000),
            [(452, Finding::Unreachable)]
        );
        let due = sessions.due(at(60_000));
        assert_eq!(due.down, []);
        assert_eq!(
            sessions.due(at(61_900)).down,
            [(node(2), Finding::HostGone)]
        );
        assert_eq!(sessions.due(at(63_000)).down, []);
        assert!(sessions.beat(&node(1), at(63_000)));
    }
}
