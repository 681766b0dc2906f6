//! A leader whose entries are committed as soon as it asks.

use super::*;
use crate::consensus::MembershipChange;
use crate::fixture::{Bench, service_spec};
use crate::objects::node::Role;

const TICK: Duration = Duration::from_millis(50);

/// The bench's cluster with a leader.
struct Led {
    bench: Bench,
    lead: Lead,
    group: Group,
    elapsed: Duration,
    asked: Vec<NodeId>,
    reshaped: Vec<Step>,
}

impl Led {
    /// Every node has a session.
    fn new(bench: Bench, nodes: usize) -> Self {
        let mut led = Self {
            lead: Lead::begin(1, bench.state.clone(), TICK, at(&bench, Duration::ZERO)),
            bench,
            group: Group {
                voters: [1].into(),
                active: [1].into(),
                ..Group::default()
            },
            elapsed: Duration::ZERO,
            asked: Vec::new(),
            reshaped: Vec::new(),
        };
        for index in 0..nodes {
            let (node, now) = (led.bench.node(index), led.now());
            led.lead.opened(node, "s".to_owned(), now);
        }
        led.settle();
        led
    }

    fn now(&self) -> Moment {
        at(&self.bench, self.elapsed)
    }

    /// Does what the leader wants until it wants nothing.
    fn settle(&mut self) {
        let now = self.now();
        while let Some(act) = self.lead.next(now, &self.group, &mut self.bench.entropy) {
            match act {
                Act::Ask(nodes) => self.asked.extend(nodes.into_keys()),
                Act::Commit(changes) => {
                    let version = self.bench.state.version() + 1;
                    self.bench.state.apply(version, &changes).unwrap();
                    self.lead.committed(self.bench.state.clone());
                }
                Act::Reshape(step) => self.reshaped.push(step),
            }
        }
    }

    /// Time passes in small steps: a leader that does not look for long takes it for its own fault.
    fn pass(&mut self, mut span: Duration) {
        while !span.is_zero() {
            let step = span.min(Duration::from_millis(500));
            self.elapsed += step;
            self.bench.now = self.bench.now + step;
            self.settle();
            span -= step;
        }
    }

    fn answer(&mut self, answered: bool) {
        let now = self.now();
        for node in std::mem::take(&mut self.asked) {
            self.lead.asked(node, answered, now);
        }
        self.settle();
    }

    fn state(&self, index: usize) -> NodeState {
        let node = self.bench.state.node(&self.bench.node(index));
        node.unwrap().status.state
    }
}

fn at(bench: &Bench, elapsed: Duration) -> Moment {
    Moment {
        wall: bench.now,
        steady: Timestamp::default() + elapsed,
    }
}

/// A service of two tasks on two nodes, the second of which does not answer any more.
fn with_silent_host() -> (Led, crate::ids::ServiceId) {
    let mut bench = Bench::with_nodes(2);
    let id = bench.create(service_spec("s", 2));
    bench.obey();
    let mut led = Led::new(bench, 2);
    let (node, now) = (led.bench.node(1), led.now());
    led.lead.broken(&node, "an older one", now);
    led.settle();
    assert_eq!(led.asked, []);
    led.lead.broken(&node, "s", now);
    led.settle();
    for _ in 0..3 {
        assert_eq!(led.asked, std::slice::from_ref(&node));
        led.answer(false);
    }
    (led, id)
}

#[test]
fn tasks_of_a_silent_host_are_waited_for_and_then_replaced() {
    let (mut led, id) = with_silent_host();
    assert_eq!(led.state(1), NodeState::Unreachable);
    let node = led.bench.node(1);
    let there = |led: &Led| {
        let wanted = led.bench.wanted(&id);
        wanted
            .iter()
            .filter(|t| t.node.as_ref() == Some(&node))
            .count()
    };
    led.pass(Duration::from_millis(2_499));
    assert_eq!(there(&led), 1);
    led.pass(Duration::from_millis(1));
    assert_eq!((led.state(1), there(&led)), (NodeState::Down, 0));
}

#[test]
fn a_host_that_answers_again_is_ready_without_its_daemon() {
    let (mut led, _) = with_silent_host();
    led.answer(true);
    assert_eq!(led.state(1), NodeState::Ready);
    // What was found out and is over by now needs no entry.
    let version = led.bench.state.version();
    led.pass(Duration::from_millis(150));
    let (node, now) = (led.bench.node(1), led.now());
    for answered in [false, false, false, true] {
        led.lead.asked(node.clone(), answered, now);
    }
    led.settle();
    assert_eq!(led.bench.state.version(), version);
}

#[test]
fn what_had_no_room_is_written_down_later() {
    let (mut led, _) = with_silent_host();
    led.pass(Duration::from_millis(2_000));
    led.elapsed += Duration::from_millis(500);
    let now = led.now();
    let act = led.lead.next(now, &led.group, &mut led.bench.entropy);
    let questions = matches!(act, Some(Act::Ask(_)));
    let act = match questions {
        true => led.lead.next(now, &led.group, &mut led.bench.entropy),
        false => act,
    };
    assert!(matches!(act, Some(Act::Commit(_))), "{act:?}");
    led.lead.refused(now);
    assert_eq!(led.lead.next(now, &led.group, &mut led.bench.entropy), None);
    assert_eq!(led.state(1), NodeState::Unreachable);
    led.pass(PAUSE);
    assert_eq!(led.state(1), NodeState::Down);
}

#[test]
fn a_step_towards_another_group_is_taken_again_when_it_got_lost() {
    let mut led = Led::new(Bench::with_nodes(2), 2);
    led.bench.update_node(1, |spec| spec.role = Role::Manager);
    let node = led.bench.node(1);
    let address = "192.0.2.2:2377".parse().unwrap();
    led.bench
        .write(|tx| control::enroll(tx, &node, 22, address))
        .unwrap();
    led.lead.committed(led.bench.state.clone());
    led.settle();
    let add = Step::Change(MembershipChange::AddLearner(22));
    assert_eq!(led.reshaped, [add]);
    led.pass(STEP_PAUSE - Duration::from_millis(1));
    assert_eq!(led.reshaped, [add]);
    led.pass(Duration::from_millis(1));
    assert_eq!(led.reshaped, [add, add]);
    // It learns now, and there is nothing left to do until it has caught up.
    led.group.learners.insert(22);
    led.pass(STEP_PAUSE);
    assert_eq!(led.reshaped, [add, add]);
    led.group.caught_up.insert(22);
    led.group.active.insert(22);
    led.settle();
    let promote = Step::Change(MembershipChange::Promote(22));
    assert_eq!(led.reshaped, [add, add, promote]);
}

#[test]
fn a_beat_counts_for_the_session_that_is_there() {
    let mut led = Led::new(Bench::with_nodes(2), 2);
    let (node, now) = (led.bench.node(1), led.now());
    assert!(led.lead.beat(&node, "s", now));
    assert!(!led.lead.beat(&node, "another", now));
    led.lead.closed(&node);
    assert!(!led.lead.beat(&node, "s", now));
}
