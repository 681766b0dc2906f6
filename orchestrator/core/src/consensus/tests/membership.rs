//! Members that come and go, and reads among them.

use super::*;

/// Three members that became so one after the other.
fn grown() -> World {
    let mut world = World::new(&[1]);
    world.input(1, Input::Campaign);
    world.propose(1, 1, b"a");
    world.blank(2);
    world.blank(3);
    world.reshape(&[1, 2, 3]);
    world.propose(1, 2, b"b");
    world.ticks(1);
    world
}

#[test]
fn members_join_by_a_snapshot_and_then_vote() {
    let world = grown();
    for id in [2, 3] {
        // What was before is in the snapshot.
        assert_eq!(world.values(id), [b"b"]);
        assert_eq!(world.members[&id].group().voters, BTreeSet::from([1, 2, 3]));
    }
    assert_eq!(world.members[&1].group().active, BTreeSet::from([1, 2, 3]));
}

#[test]
fn a_joiner_that_has_nothing_yet_has_no_vote() {
    let mut world = World::new(&[1]);
    world.input(1, Input::Campaign);
    let wanted = BTreeSet::from([1, 2]);
    // It is not there yet.
    for _ in 0..20 {
        let group = world.members[&1].group();
        if let Some(Step::Change(change)) = group.next(&wanted, 1) {
            assert_eq!(change, MembershipChange::AddLearner(2));
            world.input(1, Input::Change(change));
        }
        world.ticks(1);
        world.snapshot_where_wanted();
    }
    world.propose(1, 1, b"a");
    assert_eq!(world.values(1), [b"a"]);
    world.blank(2);
    world.reshape(&[1, 2]);
    assert_eq!(world.members[&2].group().voters, wanted);
}

#[test]
fn a_founder_that_starts_again_does_not_lead_by_itself() {
    let mut world = grown();
    let old = world.members.remove(&1).unwrap().leadership().term;
    world.ticks(60);
    let leader = world.leader();
    world.propose(leader, 3, b"c");
    let others: Vec<_> = [2, 3]
        .map(|id| (id, world.members.remove(&id).unwrap()))
        .into();
    // It comes back while the others cannot be reached.
    world.start(1);
    world.input(1, Input::Campaign);
    world.ticks(100);
    assert!(!world.members[&1].leadership().established);
    assert_eq!(
        world.members[&1].leadership().term,
        old,
        "nor does it force an election"
    );
    world.members.extend(others);
    world.ticks(60);
    assert!(world.values(1).contains(&b"c".as_slice()));
}

#[test]
fn a_leader_that_is_to_go_hands_over_and_goes() {
    let mut world = grown();
    world.reshape(&[2, 3]);
    let leader = world.leader();
    assert_ne!(leader, 1);
    world.propose(leader, 5, b"d");
    world.ticks(1);
    for id in [2, 3] {
        assert_eq!(world.values(id).last(), Some(&b"d".as_slice()));
    }
    assert_ne!(world.values(1).last(), Some(&b"d".as_slice()));
    world.reshape(&[leader]);
    world.propose(leader, 6, b"e");
    assert_eq!(world.values(leader).last(), Some(&b"e".as_slice()));
}

#[test]
fn a_read_waits_for_the_leader_and_for_a_majority() {
    let mut world = grown();
    let committed = world.applied[&1].last().unwrap().0;
    world.input(2, Input::Read { tag: 9 });
    assert_eq!(world.readable, [(9, committed)]);
    world.input(1, Input::Read { tag: 10 });
    assert_eq!(world.readable.last(), Some(&(10, committed)));
    // A leader that is cut off does not know that it leads no more.
    for id in [2, 3] {
        world.members.remove(&id);
    }
    world.input(1, Input::Read { tag: 11 });
    assert!(world.members[&1].leadership().established);
    assert_eq!(world.readable.len(), 2);
    world.ticks(30);
    assert!(!world.members[&1].leadership().established);
}

#[test]
fn one_that_was_cut_off_returns_without_an_election() {
    let mut world = grown();
    let away = world.members.remove(&3).unwrap();
    let mut alone = World::new(&[]);
    alone.disks.insert(3, world.disks[&3].clone());
    alone.applied.insert(3, Vec::new());
    alone.members.insert(3, away);
    alone.ticks(200);
    let before = world.members[&1].leadership();
    world.members.insert(3, alone.members.remove(&3).unwrap());
    world.ticks(30);
    assert_eq!(world.members[&1].leadership(), before);
    assert_eq!(world.members[&3].leadership().leader, Some(1));
}

#[test]
fn the_disk_knows_that_a_change_of_the_members_is_committed() {
    let mut world = World::new(&[1]);
    world.input(1, Input::Campaign);
    world.input(1, Input::Change(MembershipChange::AddLearner(2)));
    assert!(world.members[&1].group().learners.contains(&2));
    let disk = world.disks[&1].0.borrow();
    let (index, last) = disk.entries.last_key_value().unwrap();
    assert_eq!(last.get_entry_type(), EntryType::EntryConfChange);
    assert_eq!(disk.hard_state.commit, *index);
}

#[test]
fn a_leader_that_is_removed_leaves_the_lead_to_others() {
    let mut world = World::new(&[1, 2, 3]);
    world.input(2, Input::Campaign);
    world.input(2, Input::Change(MembershipChange::Remove(2)));
    assert!(!world.members[&2].leadership().established);
    world.ticks(60);
    let leader = world.leader();
    assert_ne!(leader, 2);
    world.propose(leader, 1, b"a");
    assert_eq!(world.values(leader), [b"a"]);
    // Who is outside stands for no election.
    world.ticks(60);
    assert_eq!(world.leader(), leader);
}
