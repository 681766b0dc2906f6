//! Who the members are, and how the group becomes what it should be.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::{ConfChange, ConfChangeType};

/// Time-outs of an election after which a member that was not heard of counts as inactive.
const SILENT_ELECTIONS: u64 = 3;

/// A change of who the members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipChange {
    /// This one gets the log and has no vote.
    AddLearner(u64),
    /// This learner has a vote from then on.
    Promote(u64),
    /// This one is no member any more.
    Remove(u64),
}

impl MembershipChange {
    pub(super) fn encoded(self) -> ConfChange {
        let (kind, id) = match self {
            Self::AddLearner(id) => (ConfChangeType::AddLearnerNode, id),
            Self::Promote(id) => (ConfChangeType::AddNode, id),
            Self::Remove(id) => (ConfChangeType::RemoveNode, id),
        };
        let mut change = ConfChange {
            node_id: id,
            ..ConfChange::default()
        };
        change.set_change_type(kind);
        change
    }
}

/// The members, as one of them knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Those with a vote.
    pub voters: BTreeSet<u64>,
    /// Those without.
    pub learners: BTreeSet<u64>,
    /// Learners that have nearly all of the log. Only a leader knows of any.
    pub caught_up: BTreeSet<u64>,
    /// Those that were heard of lately, the one who tells included. Followers hear of the leader.
    pub active: BTreeSet<u64>,
    /// Whether a change is on its way.
    pub changing: bool,
}

/// What a leader does next so that the members are those who should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Propose this.
    Change(MembershipChange),
    /// Let that member lead: this one is to go.
    TransferTo(u64),
}

impl Group {
    /// What the leader `me` does next so that the members are the `wanted` ones: joiners learn,
    /// vote once they have caught up, and then others go, one at a time. `None`: nothing, or
    /// nothing that is safe now.
    pub fn next(&self, wanted: &BTreeSet<u64>, me: u64) -> Option<Step> {
        if self.changing {
            return None;
        }
        let known = |id: &&u64| self.voters.contains(id) || self.learners.contains(id);
        let change = |change| Some(Step::Change(change));
        if let Some(id) = self.learners.difference(wanted).next() {
            return change(MembershipChange::Remove(*id));
        }
        if let Some(id) = wanted.iter().find(|id| !known(id)) {
            return change(MembershipChange::AddLearner(*id));
        }
        let ready = self.caught_up.intersection(&self.active);
        if let Some(id) = ready.into_iter().next()
            && self.commits_with(&self.voters.iter().chain([id]).copied().collect())
        {
            return change(MembershipChange::Promote(*id));
        }
        let leaving: Vec<u64> = self.voters.difference(wanted).copied().collect();
        let others = leaving.iter().find(|id| **id != me);
        if let Some(id) = others {
            return self
                .can_spare(*id)
                .then_some(Step::Change(MembershipChange::Remove(*id)));
        }
        if leaving.is_empty() || !self.can_spare(me) {
            return None;
        }
        let successor = self
            .voters
            .intersection(wanted)
            .find(|id| self.active.contains(id));
        successor.copied().map(Step::TransferTo)
    }

    /// Whether the others go on without this member.
    pub fn can_spare(&self, id: u64) -> bool {
        if !self.voters.contains(&id) {
            return true;
        }
        let left: BTreeSet<u64> = self.voters.iter().copied().filter(|v| *v != id).collect();
        !left.is_empty() && self.commits_with(&left)
    }

    /// Whether enough of these voters are active to commit anything.
    fn commits_with(&self, voters: &BTreeSet<u64>) -> bool {
        voters.intersection(&self.active).count() > voters.len() / 2
    }
}

/// When members were heard of last, in ticks.
#[derive(Debug)]
pub(super) struct Heard {
    now: u64,
    patience: u64,
    last: BTreeMap<u64, u64>,
}

impl Heard {
    pub(super) fn new(election_tick: u32) -> Self {
        Self {
            now: 0,
            patience: u64::from(election_tick) * SILENT_ELECTIONS,
            last: BTreeMap::new(),
        }
    }

    pub(super) fn tick(&mut self) {
        self.now += 1;
        let (now, patience) = (self.now, self.patience);
        self.last.retain(|_, at| now - *at <= patience);
    }

    pub(super) fn from(&mut self, id: u64) {
        self.last.insert(id, self.now);
    }

    /// Those heard of lately, and `me`.
    pub(super) fn lately(&self, me: u64) -> BTreeSet<u64> {
        self.last.keys().copied().chain([me]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    /// A group in which everybody is well.
    fn group(voters: &[u64], learners: &[u64]) -> Group {
        Group {
            voters: set(voters),
            learners: set(learners),
            caught_up: set(learners),
            active: set(&[voters, learners].concat()),
            changing: false,
        }
    }

    fn change(change: MembershipChange) -> Option<Step> {
        Some(Step::Change(change))
    }

    #[test]
    fn a_joiner_learns_catches_up_and_votes() {
        let wanted = set(&[1, 2]);
        let add = change(MembershipChange::AddLearner(2));
        assert_eq!(group(&[1], &[]).next(&wanted, 1), add);
        let mut learning = group(&[1], &[2]);
        learning.caught_up.clear();
        assert_eq!(learning.next(&wanted, 1), None);
        let promote = change(MembershipChange::Promote(2));
        assert_eq!(group(&[1], &[2]).next(&wanted, 1), promote);
        assert_eq!(group(&[1, 2], &[]).next(&wanted, 1), None);
    }

    #[test]
    fn one_change_at_a_time() {
        let mut busy = group(&[1], &[]);
        busy.changing = true;
        assert_eq!(busy.next(&set(&[1, 2]), 1), None);
    }

    #[test]
    fn nobody_gets_a_vote_or_loses_one_when_nothing_could_be_committed_then() {
        // Two of three are left; a fourth that is silent would need three.
        let mut group = group(&[1, 2, 3], &[4]);
        group.active = set(&[1, 2]);
        assert_eq!(group.next(&set(&[1, 2, 3, 4]), 1), None);
        // The silent one may go, the one that is needed may not.
        assert!(group.can_spare(3));
        assert!(!group.can_spare(2));
        assert_eq!(group.next(&set(&[1, 3, 4]), 1), None);
        let remove = change(MembershipChange::Remove(3));
        assert_eq!(group.next(&set(&[1, 2, 4]), 1), remove);
    }

    #[test]
    fn a_leader_that_is_to_go_lets_another_lead_first() {
        let group = group(&[1, 2, 3], &[]);
        assert_eq!(group.next(&set(&[2, 3]), 1), Some(Step::TransferTo(2)));
        let remove = change(MembershipChange::Remove(1));
        assert_eq!(group.next(&set(&[2, 3]), 2), remove);
    }

    #[test]
    fn the_last_one_stays() {
        assert_eq!(group(&[1], &[]).next(&set(&[]), 1), None);
        assert!(!group(&[1], &[]).can_spare(1));
    }

    #[test]
    fn who_is_silent_for_long_is_not_active() {
        let mut heard = Heard::new(2);
        heard.from(5);
        for _ in 0..6 {
            heard.tick();
        }
        assert_eq!(heard.lately(1), set(&[1, 5]));
        heard.tick();
        assert_eq!(heard.lately(1), set(&[1]));
    }
}
