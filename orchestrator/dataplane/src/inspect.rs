//! What the maps hold against what was written into them.
//!
//! Pure. The maps are this daemon's alone to write, so an entry that differs was changed behind
//! its back: by another program, or by a hand.

use orch_ebpf_common::Config;

use crate::shown::Shown;
use crate::tables::{Change, Operation, Tables, with_maps};

/// What was found in all maps that the loader fills.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Every map, with its entries.
    pub maps: Vec<MapContent>,
    /// What is not as it must be, or was not until it was put right.
    pub differences: Vec<Difference>,
}

/// The content of one map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapContent {
    /// Its name.
    pub map: &'static str,
    /// How many entries it must have.
    pub wanted: usize,
    /// Keys and values that it has, in words.
    pub entries: Vec<(String, String)>,
}

/// An entry that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Name of the map.
    pub map: &'static str,
    /// Its key, in words.
    pub key: String,
    /// The value found, in words; `None`: there was none.
    pub found: Option<String>,
    /// The value that it must have; `None`: it must not be there.
    pub wanted: Option<String>,
}

impl Difference {
    /// What is wrong, in one word.
    pub fn kind(&self) -> &'static str {
        match (&self.found, &self.wanted) {
            (None, _) => "missing",
            (Some(_), None) => "unexpected",
            (Some(_), Some(_)) => "altered",
        }
    }
}

macro_rules! define_inspection {
    ($($field:ident, $variant:ident, $name:literal, $kind:ident, $key:ty => $value:ty;)*) => {
        /// The content of the maps, `found` against `wanted`, without the differences.
        fn contents(found: &Tables, wanted: &Tables) -> Vec<MapContent> {
            vec![$(MapContent {
                map: $name,
                wanted: wanted.$field.len(),
                entries: found
                    .$field
                    .iter()
                    .map(|(key, value)| (key.shown(), value.shown()))
                    .collect(),
            },)*]
        }

        /// What is wrong with the entry of `found` that `repair` puts right.
        fn difference(repair: &Operation, found: &Tables) -> Difference {
            match repair {
                $(Operation::$variant(Change::Put(key, value)) => Difference {
                    map: $name,
                    key: key.shown(),
                    found: found.$field.get(key).map(Shown::shown),
                    wanted: Some(value.shown()),
                },
                Operation::$variant(Change::Delete(key)) => Difference {
                    map: $name,
                    key: key.shown(),
                    found: found.$field.get(key).map(Shown::shown),
                    wanted: None,
                },)*
            }
        }
    };
}

with_maps!(define_inspection);

impl Inspection {
    /// Puts into words what was found, and what `repairs` put right.
    pub(crate) fn new(found: &Tables, wanted: &Tables, repairs: &[Operation]) -> Self {
        Self {
            maps: contents(found, wanted),
            differences: repairs
                .iter()
                .map(|repair| difference(repair, found))
                .collect(),
        }
    }

    /// Adds the one entry of `CONFIG`.
    pub(crate) fn add_config(&mut self, found: &Config, wanted: &Config) {
        self.maps.push(MapContent {
            map: "CONFIG",
            wanted: 1,
            entries: vec![("0".to_owned(), found.shown())],
        });
        if found != wanted {
            self.differences.push(Difference {
                map: "CONFIG",
                key: "0".to_owned(),
                found: Some(found.shown()),
                wanted: Some(wanted.shown()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use orch_ebpf_common::{Address, Network, Vni};

    use super::*;
    use crate::diff::repairs;

    fn peer(last: u8) -> Address {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let mut wanted = Tables::default();
        wanted.peers.insert(peer(1), 1);
        wanted.networks.insert(Vni::new(4096), Network { flags: 0 });
        let mut found = Tables::default();
        found.peers.insert(peer(9), 1);
        let internal = Network {
            flags: Network::INTERNAL,
        };
        found.networks.insert(Vni::new(4096), internal);

        let inspection = Inspection::new(&found, &wanted, &repairs(&found, &wanted));

        let mut told: Vec<_> = inspection
            .differences
            .iter()
            .map(|found| (found.map, found.kind(), found.key.as_str()))
            .collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                ("NETWORKS", "altered", "4096"),
                ("PEERS", "missing", "192.0.2.1"),
                ("PEERS", "unexpected", "192.0.2.9"),
            ]
        );
        let peers = inspection.maps.iter().find(|map| map.map == "PEERS");
        let peers = peers.unwrap();
        assert_eq!((peers.wanted, peers.entries.len()), (1, 1));
    }

    #[test]
    fn repairs_lead_to_what_is_wanted() {
        let mut wanted = Tables::default();
        wanted.peers.insert(peer(1), 1);
        let mut found = Tables::default();
        found.peers.insert(peer(9), 1);
        for repair in repairs(&found, &wanted) {
            found.record(&repair);
        }
        assert_eq!(found, wanted);
        assert_eq!(repairs(&found, &wanted), []);
    }
}
