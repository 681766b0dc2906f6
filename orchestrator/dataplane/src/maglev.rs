//! Maglev tables: which backend a conversation's hash leads to, the same on every host.
//!
//! Pure, and a function of the set alone, so that every host builds the same table: what loses its
//! flow, or comes in through another host, meets the same backend again. Each backend has an order
//! of its own in which it wants the entries; in turn each takes the first free one that it wants
//! (Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016,
//! section 3.4). So shares are even, and a backend that goes moves few conversations of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use orch_ebpf_common::service::{MAGLEV_SLOTS, mix};
use orch_ebpf_common::{Backend, Maglev};

/// Marks an entry that no backend has taken yet; the slots of sets are below it.
const FREE: u16 = u16::MAX;

/// The table of a set; its values are the positions in `backends`. `None` for an empty set.
pub(crate) fn table(backends: &BTreeSet<Backend>) -> Option<Arc<Maglev>> {
    if backends.is_empty() {
        return None;
    }
    let mut entries = [FREE; MAGLEV_SLOTS];
    // More backends than entries could not all have one.
    let mut orders: Vec<(u16, Order)> = (0..FREE)
        .zip(backends)
        .take(MAGLEV_SLOTS)
        .map(|(slot, backend)| (slot, Order::of(backend)))
        .collect();
    let mut free = MAGLEV_SLOTS;
    loop {
        for (slot, order) in &mut orders {
            let entry = order.first(|entry| entries[entry] == FREE);
            entries[entry] = *slot;
            free -= 1;
            if free == 0 {
                return Some(Arc::new(Maglev(entries)));
            }
        }
    }
}

/// The order in which a backend wants the entries: a walk in steps of one length, which meets each
/// entry once because their number is a prime.
struct Order {
    next: usize,
    step: usize,
}

impl Order {
    fn of(backend: &Backend) -> Self {
        let words = backend.address.words().map(|word| u64::from(word.get()));
        let place = u64::from(backend.vni.get()) << 16 | u64::from(backend.port.get());
        let identity = [words[0] << 32 | words[1], words[2] << 32 | words[3], place];
        let hash = identity.into_iter().fold(0, |hash, word| mix(hash ^ word));
        Self {
            next: below(hash, MAGLEV_SLOTS),
            step: 1 + below(mix(hash), MAGLEV_SLOTS - 1),
        }
    }

    /// The first entry from here on that is `free`, of which there must be one.
    fn first(&mut self, free: impl Fn(usize) -> bool) -> usize {
        loop {
            let entry = self.next;
            self.next = (self.next + self.step) % MAGLEV_SLOTS;
            if free(entry) {
                return entry;
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below a usize"
)]
fn below(hash: u64, limit: usize) -> usize {
    (hash % limit as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use orch_ebpf_common::{Be16, Vni};

    use super::*;

    fn backend(number: u8) -> Backend {
        Backend {
            vni: Vni::new(4096),
            address: IpAddr::from([10, 0, 10, number]).into(),
            port: Be16::new(80),
            reserved: 0,
        }
    }

    fn set(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<Backend> {
        numbers.into_iter().map(backend).collect()
    }

    /// The backend of every entry.
    fn choices(backends: &BTreeSet<Backend>) -> Vec<Backend> {
        let backends: Vec<_> = backends.iter().copied().collect();
        let set = backends.iter().copied().collect();
        let table = table(&set).unwrap();
        table
            .0
            .iter()
            .map(|slot| backends[usize::from(*slot)])
            .collect()
    }

    #[test]
    fn every_backend_has_its_share() {
        for count in [1, 2, 3, 7, 100] {
            let backends = set(0..count);
            let choices = choices(&backends);
            let fair = MAGLEV_SLOTS / usize::from(count);
            for backend in &backends {
                let share = choices.iter().filter(|choice| *choice == backend).count();
                assert!((fair..=fair + 1).contains(&share), "{share} of {fair}");
            }
        }
    }

    #[test]
    fn a_backend_that_goes_moves_few_conversations_of_others() {
        for count in [2, 5, 20, 100] {
            let before = choices(&set(0..count));
            for gone in [0, count / 2, count - 1] {
                let after = choices(&set((0..count).filter(|number| *number != gone)));
                let moved = before
                    .iter()
                    .zip(&after)
                    .filter(|(before, after)| **before != backend(gone) && before != after)
                    .count();
                assert!(
                    moved < MAGLEV_SLOTS / 20,
                    "{moved} moved with {count} backends"
                );
            }
        }
    }

    #[test]
    fn the_table_is_known_to_every_host() {
        let chosen = choices(&set([7, 8, 9]));
        let head: Vec<_> = chosen[..8]
            .iter()
            .map(|b| b.address.v4().bytes()[3])
            .collect();
        assert_eq!(
            head,
            [7, 9, 8, 7, 8, 7, 8, 9],
            "a change of the table moves conversations in an upgrade"
        );
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        assert_eq!(table(&BTreeSet::new()), None);
    }

    #[test]
    fn clients_spread_over_all_entries() {
        let mut counts = vec![0_u32; 16];
        for client in 0..=255_u8 {
            for port in 40000..40100 {
                let address = IpAddr::from([198, 51, 100, client]).into();
                let entry = Maglev::entry(&address, Be16::new(port), 6);
                counts[entry * 16 / MAGLEV_SLOTS] += 1;
            }
        }
        let fair = 256 * 100 / 16;
        assert!(
            counts.iter().all(|count| count.abs_diff(fair) < fair / 10),
            "{counts:?}"
        );
    }
}
