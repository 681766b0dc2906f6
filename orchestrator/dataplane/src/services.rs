//! The numbers under which the programs count services.
//!
//! Pure. Names are not known in the kernel: a number is what a service's frontends in the kernel
//! already have, and a free one otherwise. So numbers, and what was counted under them, outlive a
//! daemon as long as one of the service's frontends does.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::network::DesiredNetwork;
use orch_ebpf_common::service::SERVICE_COUNTERS;
use orch_ebpf_common::{Frontend, FrontendKey};

use crate::wanted::frontend_key;

/// Names of services, by number.
pub(crate) type Names = BTreeMap<u32, String>;

/// The number of each service that has a frontend.
#[derive(Debug, Default)]
pub(crate) struct ServiceNumbers {
    numbers: BTreeMap<String, u32>,
    /// The number that was given last: one that became free rests for as long as possible.
    last: u32,
}

impl ServiceNumbers {
    /// Numbers exactly the services of `desired`, and returns the numbers that have a new owner.
    pub fn follow(
        &mut self,
        desired: &DesiredNetwork,
        held: &BTreeMap<FrontendKey, Frontend>,
    ) -> Vec<u32> {
        let wanted: BTreeSet<&String> = desired
            .frontends
            .values()
            .map(|pool| &pool.service)
            .filter(|name| !name.is_empty())
            .collect();
        self.numbers.retain(|name, _| wanted.contains(name));
        let mut taken: BTreeSet<u32> = self.numbers.values().copied().collect();
        for (frontend, pool) in &desired.frontends {
            let known = held.get(&frontend_key(frontend));
            let known = known.map(|held| held.service).filter(|number| *number != 0);
            if let Some(number) = known
                && wanted.contains(&pool.service)
                && !self.numbers.contains_key(&pool.service)
                && taken.insert(number)
            {
                self.numbers.insert(pool.service.clone(), number);
            }
        }
        let mut given = Vec::new();
        for name in wanted {
            if self.numbers.contains_key(name) {
                continue;
            }
            // Beyond what there is room for, services are counted with nobody's.
            let Some(number) = self.free(&taken) else {
                tracing::warn!(service = name, "too many services to count this one");
                break;
            };
            self.last = number;
            taken.insert(number);
            self.numbers.insert(name.clone(), number);
            given.push(number);
        }
        given
    }

    fn free(&self, taken: &BTreeSet<u32>) -> Option<u32> {
        (self.last + 1..SERVICE_COUNTERS)
            .chain(1..=self.last)
            .find(|number| !taken.contains(number))
    }

    /// The number of a service; 0 if it has none.
    pub fn number(&self, service: &str) -> u32 {
        self.numbers.get(service).copied().unwrap_or_default()
    }

    /// The names, by number.
    pub fn names(&self) -> Names {
        let swap = |(name, number): (&String, &u32)| (*number, name.clone());
        self.numbers.iter().map(swap).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use orch_core::network::{Frontend as CoreFrontend, Pool, Vni};

    use super::*;

    fn frontend(last: u8) -> CoreFrontend {
        CoreFrontend::Vip {
            vni: Vni(4096),
            address: IpAddr::from([10, 0, 10, last]),
        }
    }

    fn desired(services: &[(&str, u8)]) -> DesiredNetwork {
        let frontends = services.iter().map(|(service, last)| {
            let pool = Pool {
                service: (*service).to_owned(),
                ..Pool::default()
            };
            (frontend(*last), pool)
        });
        DesiredNetwork {
            frontends: frontends.collect(),
            ..DesiredNetwork::default()
        }
    }

    fn held(entries: &[(u8, u32)]) -> BTreeMap<FrontendKey, Frontend> {
        let entry = |(last, service): &(u8, u32)| {
            let key = frontend_key(&frontend(*last));
            let value = Frontend {
                service: *service,
                ..Frontend::default()
            };
            (key, value)
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn frontends_of_a_service_share_its_number() {
        let mut numbers = ServiceNumbers::default();
        let given = numbers.follow(&desired(&[("web", 2), ("web", 3), ("", 4)]), &held(&[]));
        assert_eq!(
            (given, numbers.number("web"), numbers.number("")),
            (vec![1], 1, 0)
        );
    }

    #[test]
    fn a_number_outlives_the_daemon() {
        let mut numbers = ServiceNumbers::default();
        let held = held(&[(2, 7), (3, 7), (4, 0)]);
        let given = numbers.follow(&desired(&[("db", 4), ("web", 3)]), &held);
        assert_eq!((numbers.number("web"), numbers.number("db")), (7, 1));
        assert_eq!(given, [1]);
        assert_eq!(numbers.names()[&7], "web");
    }

    #[test]
    fn a_number_that_became_free_rests() {
        let mut numbers = ServiceNumbers::default();
        numbers.follow(&desired(&[("a", 2), ("b", 3)]), &held(&[]));
        numbers.follow(&desired(&[("b", 3)]), &held(&[]));
        assert_eq!(
            numbers.follow(&desired(&[("b", 3), ("c", 4)]), &held(&[])),
            [3]
        );
        assert_eq!(numbers.number("a"), 0);
    }

    #[test]
    fn two_services_never_share_a_number_that_is_held() {
        // An address that went from one service to another.
        let mut numbers = ServiceNumbers::default();
        numbers.follow(&desired(&[("a", 2), ("b", 3)]), &held(&[(2, 5), (3, 5)]));
        assert_ne!(numbers.number("a"), numbers.number("b"));
    }
}
