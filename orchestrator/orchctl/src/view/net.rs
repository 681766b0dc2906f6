//! `net drops` and `net ls`.

use crate::{
    format::{Column, Listing, Row},
    model::{Difference, DropCount, Entry, MapSummary},
};

/// The columns of `net drops`.
pub const DROPS: Listing = Listing {
    columns: &[
        Column::new("Reason", "REASON"),
        Column::new("Packets", "PACKETS"),
        Column::new("Meaning", "MEANING"),
    ],
    table: "{{.Reason}}\t{{.Packets}}\t{{.Meaning}}",
    quiet: "{{.Reason}}",
};

/// One row per reason, the most frequent first; those that never happened only with `all`.
pub fn drop_rows(drops: &[DropCount], all: bool) -> Vec<Row> {
    let mut shown: Vec<&DropCount> = drops
        .iter()
        .filter(|drop| all || drop.packets > 0)
        .collect();
    shown.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.reason.cmp(&b.reason)));
    let row = |drop: &&DropCount| {
        vec![
            drop.reason.clone(),
            drop.packets.to_string(),
            drop.meaning.clone(),
        ]
    };
    shown.iter().map(row).collect()
}

/// The columns of `net ls`.
pub const MAPS: Listing = Listing {
    columns: &[
        Column::new("Map", "MAP"),
        Column::new("Wanted", "WANTED"),
        Column::new("Found", "FOUND"),
        Column::new("Differences", "DIFFERENCES"),
    ],
    table: "{{.Map}}\t{{.Wanted}}\t{{.Found}}\t{{.Differences}}",
    quiet: "{{.Map}}",
};

/// One row per map.
pub fn map_rows(maps: &[MapSummary]) -> Vec<Row> {
    let row = |map: &MapSummary| {
        vec![
            map.map.clone(),
            map.wanted.to_string(),
            map.found.to_string(),
            map.differences.to_string(),
        ]
    };
    maps.iter().map(row).collect()
}

/// The columns of `net ls MAP`.
pub const ENTRIES: Listing = Listing {
    columns: &[Column::new("Key", "KEY"), Column::new("Value", "VALUE")],
    table: "{{.Key}}\t{{.Value}}",
    quiet: "{{.Key}}",
};

/// One row per entry.
pub fn entry_rows(entries: &[Entry]) -> Vec<Row> {
    let row = |entry: &Entry| vec![entry.key.clone(), entry.value.clone()];
    entries.iter().map(row).collect()
}

/// What was wrong with an entry, and whether it still is.
pub fn difference(difference: &Difference, healed: bool) -> String {
    let Difference {
        map,
        kind,
        key,
        found,
        wanted,
    } = difference;
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let state = if healed { "healed" } else { "not healed" };
    format!(
        "{map} {key}: {kind} (found {}, wanted {}), {state}",
        value(found),
        value(wanted)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_that_happened_are_shown_by_their_number() {
        let drop = |reason: &str, packets| DropCount {
            reason: reason.into(),
            packets,
            meaning: "Why.".into(),
        };
        let drops = [drop("a", 1), drop("b", 0), drop("c", 20)];
        let rows = drop_rows(&drops, false);
        assert_eq!(
            DROPS.render(&rows, None, false).unwrap(),
            "REASON    PACKETS   MEANING\nc         20        Why.\na         1         Why.\n"
        );
        assert_eq!(drop_rows(&drops, true).len(), 3);
    }

    #[test]
    fn a_difference_says_what_was_there_and_what_must_be() {
        let altered = Difference {
            map: "PEERS".into(),
            kind: "missing".into(),
            key: "192.0.2.1".into(),
            found: None,
            wanted: Some("1".into()),
        };
        assert_eq!(
            difference(&altered, true),
            "PEERS 192.0.2.1: missing (found nothing, wanted 1), healed"
        );
    }
}
