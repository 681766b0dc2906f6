//! `/orch/net/...`: what this host's data plane does and holds.
//!
//! Counters, flows and maps are those of the host that is asked; a node serves no other node's.
//! Only a trace goes from host to host, because it is computed.

mod flows;
mod target;
mod trace;

use axum::Json;
use axum::extract::State;
use orch_dataplane::{Difference, Inspection, MapContent};
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::extract::Params;
use crate::daemon::Membership;
use crate::netplane::{self, NetPlane};

pub use flows::{flows, services};
pub use trace::trace;

impl Api {
    /// This host's data plane, or why it has none.
    pub(super) fn plane(&self) -> Result<NetPlane, ApiError> {
        if let Some(plane) = self.daemon.plane() {
            return Ok(plane);
        }
        let why = match self.daemon.membership() {
            Membership::Inactive => "this host is in no swarm: \"orchctl swarm init\" or \
                                     \"orchctl swarm join\" brings its data plane up"
                .to_owned(),
            Membership::Error(reason) => {
                format!("this node cannot take part in its swarm: {reason}")
            }
            Membership::Pending | Membership::Member(_) => {
                "the data plane of this host is starting or stopping; try again in a moment"
                    .to_owned()
            }
        };
        Err(ApiError::new(http::StatusCode::SERVICE_UNAVAILABLE, why))
    }
}

/// `GET /orch/net/drops`: how many packets were dropped here since the maps were made, by reason.
pub async fn drops(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let drops = api.plane()?.look(|plane| plane.drops()).await?;
    let shown = drops.into_iter().map(|(reason, packets)| {
        json!({ "reason": reason.name(), "packets": packets, "meaning": reason.meaning() })
    });
    Ok(Json(shown.collect()))
}

/// `GET /orch/net/tables?map=NAME`: the maps against what was written into them. With a map's
/// name, its entries too.
pub async fn tables(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let inspection = api.plane()?.look(|plane| plane.inspect(false)).await?;
    show(&inspection, params.text("map"), false)
}

/// `POST /orch/net/tables?map=NAME`: the same, and puts right what differs.
pub async fn heal(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let inspection = api.plane()?.look(|plane| plane.inspect(true)).await?;
    netplane::log_healed(&inspection);
    show(&inspection, params.text("map"), true)
}

fn show(inspection: &Inspection, map: &str, healed: bool) -> Result<Json<Value>, ApiError> {
    let known: Vec<_> = inspection.maps.iter().map(|found| found.map).collect();
    let wanted = |found: &&MapContent| found.map.eq_ignore_ascii_case(map);
    let entries = match (map, inspection.maps.iter().find(wanted)) {
        ("", _) => None,
        (_, Some(found)) => Some(show_entries(found)),
        (_, None) => {
            let known = known.join(", ");
            let message = format!("there is no map {map}: use one of {known}");
            return Err(ApiError::new(http::StatusCode::NOT_FOUND, message));
        }
    };
    let differences: Vec<_> = inspection.differences.iter().map(show_difference).collect();
    let maps: Vec<_> = inspection
        .maps
        .iter()
        .map(|found| {
            let of_map = inspection.differences.iter().filter(|d| d.map == found.map);
            json!({
                "map": found.map,
                "wanted": found.wanted,
                "found": found.entries.len(),
                "differences": of_map.count(),
            })
        })
        .collect();
    Ok(Json(json!({
        "maps": maps,
        "differences": differences,
        "healed": healed,
        "entries": entries,
    })))
}

fn show_entries(found: &MapContent) -> Vec<Value> {
    let entries = found.entries.iter();
    entries
        .map(|(key, value)| json!({ "key": key, "value": value }))
        .collect()
}

fn show_difference(difference: &Difference) -> Value {
    json!({
        "map": difference.map,
        "kind": difference.kind(),
        "key": difference.key,
        "found": difference.found,
        "wanted": difference.wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection() -> Inspection {
        Inspection {
            maps: vec![MapContent {
                map: "PEERS",
                wanted: 2,
                entries: vec![("192.0.2.1".into(), "1".into())],
            }],
            differences: vec![Difference {
                map: "PEERS",
                key: "192.0.2.2".into(),
                found: None,
                wanted: Some("1".into()),
            }],
        }
    }

    #[test]
    fn a_map_is_shown_with_its_differences() {
        let Json(shown) = show(&inspection(), "", true).unwrap();
        assert_eq!(
            shown["maps"][0],
            json!({ "map": "PEERS", "wanted": 2, "found": 1, "differences": 1 })
        );
        assert_eq!(shown["differences"][0]["kind"], "missing");
        assert_eq!(
            (&shown["healed"], &shown["entries"]),
            (&json!(true), &Value::Null)
        );
    }

    #[test]
    fn entries_come_when_their_map_is_named() {
        let Json(shown) = show(&inspection(), "peers", false).unwrap();
        assert_eq!(shown["entries"][0]["key"], "192.0.2.1");
        assert!(show(&inspection(), "PEARS", false).is_err());
    }
}
