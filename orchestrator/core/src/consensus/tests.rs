//! A group of members with a disk and a network made of plain values.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::*;
use crate::store::Entropy;

mod membership;

/// A disk: what is in it was durable.
#[derive(Debug, Clone, Default)]
struct Disk(Rc<RefCell<Content>>);

#[derive(Debug, Default)]
struct Content {
    hard_state: HardState,
    snapshot: Snapshot,
    entries: BTreeMap<u64, Entry>,
}

impl Disk {
    /// The disk of a founding member: the members are in the first snapshot.
    fn founded(voters: &[u64]) -> Self {
        let disk = Self::default();
        let mut content = disk.0.borrow_mut();
        let metadata = content.snapshot.mut_metadata();
        metadata.index = 1;
        metadata.term = 1;
        metadata.mut_conf_state().set_voters(voters.to_vec());
        content.hard_state.term = 1;
        content.hard_state.commit = 1;
        drop(content);
        disk
    }

    fn write(&self, batch: Batch) {
        let mut content = self.0.borrow_mut();
        if let Some(snapshot) = batch.snapshot {
            content.entries.clear();
            content.snapshot = snapshot;
        }
        if let Some(first) = batch.entries.first() {
            content.entries.split_off(&first.index);
        }
        content
            .entries
            .extend(batch.entries.into_iter().map(|e| (e.index, e)));
        if let Some(hard_state) = batch.hard_state {
            content.hard_state = hard_state;
        }
    }
}

impl LogStore for Disk {
    fn restored(&self) -> Result<Restored, LogError> {
        let content = self.0.borrow();
        let members = content.snapshot.get_metadata().get_conf_state().clone();
        Ok(Restored {
            hard_state: content.hard_state.clone(),
            members,
        })
    }

    fn entries(&self, low: u64, high: u64, _: Option<u64>) -> Result<Vec<Entry>, LogError> {
        Ok(self
            .0
            .borrow()
            .entries
            .range(low..high)
            .map(|(_, e)| e.clone())
            .collect())
    }

    fn term(&self, index: u64) -> Result<u64, LogError> {
        let content = self.0.borrow();
        let metadata = content.snapshot.get_metadata();
        if index == metadata.index {
            return Ok(metadata.term);
        }
        content
            .entries
            .get(&index)
            .map(|e| e.term)
            .ok_or(LogError::Unavailable)
    }

    fn first_index(&self) -> Result<u64, LogError> {
        Ok(self.0.borrow().snapshot.get_metadata().index + 1)
    }

    fn last_index(&self) -> Result<u64, LogError> {
        let content = self.0.borrow();
        let last = content.entries.last_key_value().map(|(i, _)| *i);
        Ok(last.unwrap_or(content.snapshot.get_metadata().index))
    }

    fn snapshot(&self) -> Result<Snapshot, LogError> {
        Ok(self.0.borrow().snapshot.clone())
    }
}

struct World {
    disks: BTreeMap<u64, Disk>,
    members: BTreeMap<u64, Member<Disk>>,
    wire: VecDeque<Message>,
    applied: BTreeMap<u64, Vec<(u64, Vec<u8>)>>,
    refused: Vec<u64>,
    readable: Vec<(u64, u64)>,
}

impl World {
    fn new(voters: &[u64]) -> Self {
        let disks: BTreeMap<_, _> = voters
            .iter()
            .map(|id| (*id, Disk::founded(voters)))
            .collect();
        let mut group = Self {
            disks,
            members: BTreeMap::new(),
            wire: VecDeque::new(),
            applied: BTreeMap::new(),
            refused: Vec::new(),
            readable: Vec::new(),
        };
        for id in voters {
            group.start(*id);
        }
        group
    }

    /// Starts or restarts a member: its memory is gone, its disk is not.
    fn start(&mut self, id: u64) {
        let settings = Settings {
            id,
            applied: self.disks[&id].0.borrow().snapshot.get_metadata().index,
            election_tick: 10,
            heartbeat_tick: 1,
        };
        let disk = self.disks[&id].clone();
        let member = Member::start(disk, settings, Entropy::from_seed(id)).unwrap();
        self.members.insert(id, member);
        self.applied.insert(id, Vec::new());
    }

    fn carry_out(&mut self, id: u64, effects: Effects) -> bool {
        self.wire.extend(effects.send);
        self.refused.extend(effects.refused);
        self.readable.extend(effects.readable);
        for committed in effects.apply {
            match committed {
                Committed::Entry { index, data, .. } if !data.is_empty() => {
                    self.applied.get_mut(&id).unwrap().push((index, data));
                }
                Committed::Entry { .. } | Committed::Snapshot { .. } => {}
            }
        }
        match effects.persist {
            Some(batch) => {
                self.disks[&id].write(batch);
                true
            }
            None => false,
        }
    }

    /// Runs until nobody has anything to do and the wire is empty.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for id in self.members.keys().copied().collect::<Vec<_>>() {
                while let Some(effects) = self.members.get_mut(&id).unwrap().poll().unwrap() {
                    idle = false;
                    if self.carry_out(id, effects) {
                        let effects = self.members.get_mut(&id).unwrap().persisted().unwrap();
                        self.carry_out(id, effects);
                    }
                }
            }
            while let Some(message) = self.wire.pop_front() {
                let (from, to) = (message.from, message.to);
                let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
                let arrived = self.members.contains_key(&to);
                if let Some(member) = self.members.get_mut(&to) {
                    idle = false;
                    member.input(Input::Receive(Box::new(message)));
                }
                if let Some(member) = self.members.get_mut(&from).filter(|_| is_snapshot) {
                    member.input(Input::SnapshotSent { to, arrived });
                }
            }
            if idle {
                return;
            }
        }
    }

    /// A member that is to join: it has nothing but an id.
    fn blank(&mut self, id: u64) {
        self.disks.insert(id, Disk::default());
        self.start(id);
    }

    /// Lets time pass for all.
    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            for id in self.members.keys().copied().collect::<Vec<_>>() {
                self.input(id, Input::Tick);
            }
        }
    }

    /// The one that leads, in the highest term.
    fn leader(&self) -> u64 {
        let led = self
            .members
            .iter()
            .map(|(id, member)| (member.leadership(), *id));
        let led = led.filter(|(leadership, _)| leadership.established);
        led.max_by_key(|(leadership, _)| leadership.term).unwrap().1
    }

    /// Takes a snapshot where one is asked for, as a leader's shell does.
    fn snapshot_where_wanted(&mut self) {
        for (id, member) in &self.members {
            if member.wants_snapshot() {
                let snapshot = member.snapshot(b"state".to_vec());
                self.disks[id].0.borrow_mut().snapshot = snapshot;
            }
        }
    }

    /// Follows what the leader says is next, until the members are the wanted ones.
    fn reshape(&mut self, wanted: &[u64]) {
        let wanted: BTreeSet<u64> = wanted.iter().copied().collect();
        for _ in 0..200 {
            self.ticks(1);
            self.snapshot_where_wanted();
            let leader = self.leader();
            let group = self.members[&leader].group();
            match group.next(&wanted, leader) {
                Some(Step::Change(change)) => self.input(leader, Input::Change(change)),
                Some(Step::TransferTo(id)) => self.input(leader, Input::TransferTo(id)),
                None if group.voters == wanted && group.learners.is_empty() => return,
                None => {}
            }
        }
        panic!("the members are not {wanted:?}");
    }

    fn input(&mut self, id: u64, input: Input) {
        self.members.get_mut(&id).unwrap().input(input);
        self.settle();
    }

    fn propose(&mut self, id: u64, tag: u64, data: &[u8]) {
        self.input(
            id,
            Input::Propose {
                tag,
                data: data.to_vec(),
            },
        );
    }

    fn values(&self, id: u64) -> Vec<&[u8]> {
        self.applied[&id]
            .iter()
            .map(|(_, data)| data.as_slice())
            .collect()
    }
}

#[test]
fn a_sole_member_elects_itself_at_once_and_commits() {
    let mut group = World::new(&[7]);
    assert!(!group.members[&7].leadership().established);
    group.input(7, Input::Campaign);
    assert!(group.members[&7].leadership().established);
    group.propose(7, 1, b"a");
    assert_eq!(group.values(7), [b"a"]);
}

#[test]
fn a_restarted_member_applies_again_what_was_committed() {
    let mut group = World::new(&[7]);
    group.input(7, Input::Campaign);
    group.propose(7, 1, b"a");
    group.propose(7, 2, b"b");
    group.start(7);
    group.input(7, Input::Campaign);
    assert_eq!(group.values(7), [b"a", b"b"]);
    group.propose(7, 3, b"c");
    assert_eq!(group.values(7), [b"a", b"b", b"c"]);
}

#[test]
fn nothing_is_applied_before_it_is_durable() {
    let mut group = World::new(&[7]);
    group.input(7, Input::Campaign);
    let member = group.members.get_mut(&7).unwrap();
    member.input(Input::Propose {
        tag: 1,
        data: b"a".to_vec(),
    });
    let effects = member.poll().unwrap().unwrap();
    assert!(effects.apply.is_empty());
    let batch = effects.persist.unwrap();
    assert_eq!(batch.entries.len(), 1);
    // Whatever comes meanwhile waits for the disk, and then shares one batch.
    member.input(Input::Propose {
        tag: 2,
        data: b"b".to_vec(),
    });
    member.input(Input::Propose {
        tag: 3,
        data: b"c".to_vec(),
    });
    assert!(member.poll().unwrap().is_none());
    group.disks[&7].write(batch);
    let effects = group.members.get_mut(&7).unwrap().persisted().unwrap();
    assert_eq!(effects.apply.len(), 1);
    let next = group.members.get_mut(&7).unwrap().poll().unwrap().unwrap();
    assert_eq!(next.persist.unwrap().entries.len(), 2);
}

#[test]
fn three_members_agree_and_a_follower_refuses_proposals() {
    let mut group = World::new(&[1, 2, 3]);
    group.input(1, Input::Campaign);
    for id in [1, 2, 3] {
        assert_eq!(group.members[&id].leadership().leader, Some(1));
    }
    group.propose(1, 1, b"a");
    group.propose(2, 2, b"lost");
    assert_eq!(group.refused, [2]);
    group.input(1, Input::Tick);
    for id in [1, 2, 3] {
        assert_eq!(group.values(id), [b"a"]);
    }
}

#[test]
fn a_new_leader_takes_over_when_the_old_one_is_gone() {
    let mut group = World::new(&[1, 2, 3]);
    group.input(1, Input::Campaign);
    group.propose(1, 1, b"a");
    group.members.remove(&1);
    for _ in 0..60 {
        for id in [2, 3] {
            group.input(id, Input::Tick);
        }
    }
    let leader = group.members[&2].leadership().leader.unwrap();
    assert_ne!(leader, 1);
    group.propose(leader, 2, b"b");
    assert_eq!(group.values(leader), [b"a".as_slice(), b"b"]);
    // The old leader returns with its disk, follows and catches up.
    group.start(1);
    for _ in 0..3 {
        group.input(leader, Input::Tick);
    }
    assert_eq!(group.values(1), [b"a".as_slice(), b"b"]);
}

#[test]
fn a_snapshot_names_the_last_applied_entry_and_the_members() {
    let mut group = World::new(&[7]);
    group.input(7, Input::Campaign);
    group.propose(7, 1, b"a");
    let index = group.applied[&7][0].0;
    let snapshot = group.members[&7].snapshot(b"state".to_vec());
    assert_eq!(snapshot.get_metadata().index, index);
    assert_eq!(snapshot.get_metadata().get_conf_state().get_voters(), [7]);
}
