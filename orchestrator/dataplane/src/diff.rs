//! The operations that lead from what the kernel holds to what it must hold.
//!
//! Pure. The order makes every moment in between a sound one: what others refer to comes first
//! and goes last, a frontend's set is swapped by the one write of `FRONTENDS`, and an entry that
//! is right is never touched.

use std::collections::{BTreeMap, BTreeSet};

use orch_ebpf_common::{Backend, BackendKey, Frontend, FrontendKey, MaglevKey, MemberKey};

use crate::maglev;
use crate::tables::{Change, Operation, Tables, with_maps};
use crate::wanted::{Set, Wanted};

macro_rules! define_repairs {
    ($($field:ident, $variant:ident, $name:literal, $kind:ident, $key:ty => $value:ty;)*) => {
        /// Operations that put right what was changed behind the loader's back: from `found` to
        /// `written`, entry by entry, so that a set keeps its generation.
        pub(crate) fn repairs(found: &Tables, written: &Tables) -> Vec<Operation> {
            let mut steps = Steps::default();
            $(steps.table(&found.$field, &written.$field, Operation::$variant);)*
            steps.deletes.reverse();
            steps.puts.into_iter().chain(steps.deletes).collect()
        }
    };
}

with_maps!(define_repairs);

/// Operations that lead from `held` to `wanted`, in the order in which to make them.
pub(crate) fn diff(held: &Tables, wanted: &Wanted) -> Vec<Operation> {
    let mut places = Steps::default();
    let tables = &wanted.tables;
    places.table(
        &held.local_addresses,
        &tables.local_addresses,
        Operation::LocalAddress,
    );
    places.table(&held.peers, &tables.peers, Operation::Peer);
    places.table(&held.networks, &tables.networks, Operation::Network);
    places.table(&held.subnets, &tables.subnets, Operation::Subnet);
    places.table(&held.endpoints, &tables.endpoints, Operation::Endpoint);
    places.table(&held.sandboxes, &tables.sandboxes, Operation::Sandbox);
    places.table(
        &held.sandbox_addresses,
        &tables.sandbox_addresses,
        Operation::SandboxAddress,
    );
    places.table(
        &held.attachments,
        &tables.attachments,
        Operation::Attachment,
    );
    places.table(&held.sources, &tables.sources, Operation::Source);
    let mut services = Services::new(held, wanted.version);
    for (frontend, set) in &wanted.sets {
        services.swap(*frontend, set);
    }
    for frontend in held
        .frontends
        .keys()
        .filter(|key| !wanted.sets.contains_key(key))
    {
        services
            .steps
            .delete(Operation::Frontend(Change::Delete(*frontend)));
    }
    services.sweep(&wanted.sets);
    let mut names = Steps::default();
    names.table(&held.names, &tables.names, Operation::Name);

    let Services {
        steps: services, ..
    } = services;
    let puts = [places.puts, services.puts, names.puts];
    let deletes = [names.deletes, services.deletes, places.deletes];
    puts.into_iter().chain(deletes).flatten().collect()
}

/// Operations that add, and operations that remove.
#[derive(Default)]
struct Steps {
    puts: Vec<Operation>,
    deletes: Vec<Operation>,
}

impl Steps {
    fn put(&mut self, operation: Operation) {
        self.puts.push(operation);
    }

    fn delete(&mut self, operation: Operation) {
        self.deletes.push(operation);
    }

    /// The difference of one table whose entries do not depend on each other.
    fn table<K: Ord + Clone, V: PartialEq + Clone>(
        &mut self,
        held: &BTreeMap<K, V>,
        wanted: &BTreeMap<K, V>,
        operation: impl Fn(Change<K, V>) -> Operation,
    ) {
        for (key, value) in wanted {
            if held.get(key) != Some(value) {
                self.put(operation(Change::Put(key.clone(), value.clone())));
            }
        }
        for key in held.keys().filter(|key| !wanted.contains_key(key)) {
            self.delete(operation(Change::Delete(key.clone())));
        }
    }
}

/// The differences of `FRONTENDS`, `BACKENDS`, `MAGLEV` and `MEMBERS`, which belong together.
struct Services<'a> {
    held: &'a Tables,
    version: u64,
    /// The generation that each frontend has in the end.
    generations: BTreeMap<FrontendKey, Frontend>,
    steps: Steps,
}

impl<'a> Services<'a> {
    fn new(held: &'a Tables, version: u64) -> Self {
        Self {
            held,
            version,
            generations: BTreeMap::new(),
            steps: Steps::default(),
        }
    }

    /// Gives `frontend` the set `wanted`, as a new generation unless it has exactly these backends.
    fn swap(&mut self, frontend: FrontendKey, wanted: &Set) {
        let held = self.held.frontends.get(&frontend);
        let mut value = wanted.frontend;
        if let Some(held) = held.filter(|held| self.holds(frontend, held, wanted)) {
            (value.generation, value.count) = (held.generation, held.count);
        } else {
            value.generation = self.next_generation(held);
            value.count = u32::try_from(wanted.backends.len()).unwrap_or(u32::MAX);
            self.put_set(frontend, &value, &wanted.backends);
        }
        if held != Some(&value) {
            self.steps
                .put(Operation::Frontend(Change::Put(frontend, value)));
        }
        self.generations.insert(frontend, value);
    }

    /// Writes the backends of a new generation.
    fn put_set(&mut self, frontend: FrontendKey, value: &Frontend, backends: &BTreeSet<Backend>) {
        let generation = value.generation;
        for (slot, backend) in (0..value.count).zip(backends) {
            let key = BackendKey {
                frontend,
                generation,
                slot,
            };
            self.steps
                .put(Operation::Backend(Change::Put(key, *backend)));
        }
        if value.flags & Frontend::MAGLEV != 0
            && let Some(table) = maglev::table(backends)
        {
            let key = MaglevKey {
                frontend,
                generation,
            };
            self.steps.put(Operation::Maglev(Change::Put(key, table)));
        }
        for backend in backends {
            let key = MemberKey {
                frontend,
                backend: *backend,
            };
            self.steps
                .put(Operation::Member(Change::Put(key, generation)));
        }
    }

    /// Higher than any before: that of the store, so that a frontend that went away and comes
    /// back does not bring back a generation that an old flow remembers.
    fn next_generation(&self, held: Option<&Frontend>) -> u32 {
        let version = u32::try_from(self.version).unwrap_or(u32::MAX);
        held.map_or(1, |held| held.generation.saturating_add(1))
            .max(version)
    }

    /// Whether the kernel's set is complete and equal to `wanted`.
    fn holds(&self, frontend: FrontendKey, held: &Frontend, wanted: &Set) -> bool {
        let generation = held.generation;
        let slots = (0..held.count).map(|slot| {
            self.held.backends.get(&BackendKey {
                frontend,
                generation,
                slot,
            })
        });
        let backends: Option<BTreeSet<Backend>> = slots.map(Option::<&_>::cloned).collect();
        let is_member = |backend: &Backend| {
            let member = self.held.members.get(&MemberKey {
                frontend,
                backend: *backend,
            });
            member.is_some_and(|member| *member >= generation)
        };
        let needs_table =
            wanted.frontend.flags & Frontend::MAGLEV != 0 && !wanted.backends.is_empty();
        let table = MaglevKey {
            frontend,
            generation,
        };
        held.count as usize == wanted.backends.len()
            && backends.as_ref() == Some(&wanted.backends)
            && wanted.backends.iter().all(is_member)
            && (!needs_table || self.held.maglev.contains_key(&table))
    }

    /// Removes slots and tables of other generations and members that are none any more, also
    /// those of frontends that are gone, and what a daemon left that died within a swap.
    fn sweep(&mut self, sets: &BTreeMap<FrontendKey, Set>) {
        for key in self.held.backends.keys() {
            let current = self.generations.get(&key.frontend);
            let used = current.is_some_and(|current| {
                current.generation == key.generation && key.slot < current.count
            });
            if !used {
                self.steps.delete(Operation::Backend(Change::Delete(*key)));
            }
        }
        for key in self.held.maglev.keys() {
            let current = self.generations.get(&key.frontend);
            if current.is_none_or(|current| current.generation != key.generation) {
                self.steps.delete(Operation::Maglev(Change::Delete(*key)));
            }
        }
        for key in self.held.members.keys() {
            if !sets
                .get(&key.frontend)
                .is_some_and(|set| set.backends.contains(&key.backend))
            {
                self.steps.delete(Operation::Member(Change::Delete(*key)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use orch_ebpf_common::{Address, Be16, Endpoint, EndpointKey, Vni};

    use super::*;

    fn address(last: u8) -> Address {
        IpAddr::from([10, 0, 10, last]).into()
    }

    fn vip(last: u8) -> FrontendKey {
        FrontendKey::vip(Vni::new(4096), address(last))
    }

    fn set(lasts: &[u8]) -> BTreeSet<Backend> {
        let backend = |last: &u8| Backend {
            vni: Vni::new(4096),
            address: address(*last),
            port: Be16::ZERO,
            reserved: 0,
        };
        lasts.iter().map(backend).collect()
    }

    fn of(backends: BTreeSet<Backend>) -> Set {
        Set {
            backends,
            frontend: Frontend::default(),
        }
    }

    fn wanted(version: u64, sets: &[(u8, &[u8])]) -> Wanted {
        let sets = sets
            .iter()
            .map(|(frontend, backends)| (vip(*frontend), of(set(backends))));
        Wanted {
            sets: sets.collect(),
            version,
            ..Wanted::default()
        }
    }

    fn apply(held: &mut Tables, wanted: &Wanted) -> Vec<Operation> {
        let operations = diff(held, wanted);
        operations
            .iter()
            .for_each(|operation| held.record(operation));
        operations
    }

    /// The backends to which the programs would send, by the maps alone.
    fn served(tables: &Tables, frontend: FrontendKey) -> Option<BTreeSet<Backend>> {
        let Frontend {
            generation, count, ..
        } = *tables.frontends.get(&frontend)?;
        let slot = |slot| {
            tables.backends[&BackendKey {
                frontend,
                generation,
                slot,
            }]
        };
        Some((0..count).map(slot).collect())
    }

    #[test]
    fn what_is_right_is_not_touched() {
        let mut held = Tables::default();
        let wanted = wanted(5, &[(2, &[7, 8]), (3, &[])]);
        assert!(!apply(&mut held, &wanted).is_empty());
        assert_eq!(diff(&held, &wanted), []);
    }

    #[test]
    fn a_set_is_swapped_by_one_write() {
        let mut held = Tables::default();
        apply(&mut held, &wanted(5, &[(2, &[7, 8])]));
        let operations = diff(&held, &wanted(6, &[(2, &[8, 9, 10])]));

        for operation in operations {
            let before = served(&held, vip(2));
            held.record(&operation);
            let after = served(&held, vip(2)).unwrap();
            if before != Some(after.clone()) {
                assert!(matches!(operation, Operation::Frontend(_)), "{operation:?}");
            }
            assert!(after == set(&[7, 8]) || after == set(&[8, 9, 10]));
        }

        assert_eq!(served(&held, vip(2)), Some(set(&[8, 9, 10])));
        assert_eq!((held.backends.len(), held.members.len()), (3, 3));
    }

    #[test]
    fn members_are_exactly_the_current_backends() {
        let mut held = Tables::default();
        apply(&mut held, &wanted(5, &[(2, &[7, 8])]));
        apply(&mut held, &wanted(6, &[(2, &[8])]));
        let generation = held.frontends[&vip(2)].generation;
        let current: BTreeSet<_> = held
            .members
            .iter()
            .filter(|(_, member)| **member >= generation)
            .map(|(key, _)| key.backend)
            .collect();
        assert_eq!(current, set(&[8]));
    }

    fn published(version: u64, backends: &[u8], options: Frontend) -> Wanted {
        let set = Set {
            backends: set(backends),
            frontend: Frontend {
                flags: options.flags | Frontend::MAGLEV,
                ..options
            },
        };
        Wanted {
            sets: BTreeMap::from([(FrontendKey::published(true, 6, Be16::new(80)), set)]),
            version,
            ..Wanted::default()
        }
    }

    #[test]
    fn the_table_of_a_published_port_goes_with_its_generation() {
        let mut held = Tables::default();
        for (version, backends, tables) in [(5, &[7, 8][..], 1), (6, &[8], 1), (7, &[], 0)] {
            let wanted = published(version, backends, Frontend::default());
            let operations = diff(&held, &wanted);
            let at = |wanted: fn(&Operation) -> bool| operations.iter().position(wanted);
            let swap = at(|operation| matches!(operation, Operation::Frontend(_)));
            let table = |operation: &_| matches!(operation, Operation::Maglev(Change::Put(..)));
            assert!(at(table).is_none_or(|table| Some(table) < swap));
            operations
                .iter()
                .for_each(|operation| held.record(operation));
            assert_eq!(held.maglev.len(), tables);
            let current = held.frontends.values().next().unwrap().generation;
            assert!(held.maglev.keys().all(|key| key.generation == current));
            assert_eq!(diff(&held, &wanted), []);
        }
    }

    #[test]
    fn options_change_without_a_new_set() {
        let mut held = Tables::default();
        apply(&mut held, &published(5, &[7], Frontend::default()));
        let options = Frontend {
            affinity: 60,
            ..Frontend::default()
        };
        let operations = apply(&mut held, &published(6, &[7], options));
        assert!(
            matches!(operations[..], [Operation::Frontend(_)]),
            "{operations:?}"
        );
    }

    #[test]
    fn an_empty_frontend_stays_and_refuses() {
        let mut held = Tables::default();
        apply(&mut held, &wanted(5, &[(2, &[7])]));
        apply(&mut held, &wanted(6, &[(2, &[])]));
        assert_eq!(served(&held, vip(2)), Some(BTreeSet::new()));
        assert!(held.backends.is_empty() && held.members.is_empty());
    }

    #[test]
    fn a_frontend_goes_before_its_backends() {
        let mut held = Tables::default();
        apply(&mut held, &wanted(5, &[(2, &[7])]));
        let operations = apply(&mut held, &wanted(6, &[]));
        assert!(matches!(
            operations[0],
            Operation::Frontend(Change::Delete(_))
        ));
        assert_eq!(held, Tables::default());
    }

    #[test]
    fn a_generation_never_comes_back() {
        let mut held = Tables::default();
        apply(&mut held, &wanted(5, &[(2, &[7])]));
        let first = held.frontends[&vip(2)].generation;
        apply(&mut held, &wanted(6, &[]));
        apply(&mut held, &wanted(7, &[(2, &[7])]));
        assert!(held.frontends[&vip(2)].generation > first);
        // Also when the same version is applied with another content.
        let second = held.frontends[&vip(2)].generation;
        apply(&mut held, &wanted(7, &[(2, &[9])]));
        assert!(held.frontends[&vip(2)].generation > second);
    }

    #[test]
    fn every_cut_within_a_swap_is_mended() {
        let (before, after) = (
            wanted(5, &[(2, &[7, 8])]),
            wanted(6, &[(2, &[9]), (3, &[7])]),
        );
        let mut start = Tables::default();
        apply(&mut start, &before);
        let mut whole = start.clone();
        let operations = apply(&mut whole, &after);
        for cut in 0..operations.len() {
            let mut held = start.clone();
            operations[..cut]
                .iter()
                .for_each(|operation| held.record(operation));
            apply(&mut held, &after);
            for frontend in [2, 3] {
                assert_eq!(
                    served(&held, vip(frontend)),
                    served(&whole, vip(frontend)),
                    "{cut}"
                );
            }
            assert_eq!((held.backends.len(), held.members.len()), (2, 2), "{cut}");
        }
    }

    #[test]
    fn endpoints_come_before_and_go_after_the_frontends_that_use_them() {
        let mut with = wanted(5, &[(2, &[7])]);
        let key = EndpointKey {
            vni: Vni::new(4096),
            address: address(7),
        };
        with.tables.endpoints.insert(key, Endpoint::default());
        let mut held = Tables::default();
        let up = apply(&mut held, &with);
        let down = apply(&mut held, &wanted(6, &[]));
        let at = |operations: &[Operation], endpoint: bool| {
            operations.iter().position(|operation| match endpoint {
                true => matches!(operation, Operation::Endpoint(_)),
                false => matches!(operation, Operation::Frontend(_)),
            })
        };
        assert!(at(&up, true) < at(&up, false));
        assert!(at(&down, true) > at(&down, false));
    }
}
