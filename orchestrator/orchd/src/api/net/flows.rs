//! `/orch/net/flows` and `/orch/net/services`: who talks to whom through this host.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use orch_core::network::Vni;
use orch_dataplane::{
    FlowDecision, FlowEntry, FlowEvent, FlowExit, FlowOrigin, FlowState, FlowTables,
};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::netplane::NetPlane;

/// `GET /orch/net/flows?service=NAME&follow=1`: a JSON line for each conversation that goes on
/// here; then, with `follow`, one for each that begins, is refused or dropped.
pub async fn flows(State(api): State<Api>, params: Params) -> Result<Response, ApiError> {
    let plane = api.plane()?;
    let service = Some(params.text("service")).filter(|name| !name.is_empty());
    // Listening begins first, so that none is missed in between.
    let events = match params.flag("follow") {
        true => Some(plane.flow_events().await?),
        false => None,
    };
    let entries = entries(&plane).await?;
    let now = conversations(&entries)
        .filter(|(forward, _)| service.is_none_or(|name| forward.service.as_deref() == Some(name)))
        .map(|(forward, back)| line(&show_flow(forward, back)));
    let now: Vec<Bytes> = now.collect();
    let later = events.map(|events| follow(events, service.map(str::to_owned)));
    let later = stream::iter(later).flatten();
    let lines = stream::iter(now).chain(later).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(lines));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

/// `GET /orch/net/services`: what went through each service here, and when it was read.
pub async fn services(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let plane = api.plane()?;
    let counters = plane.look(|plane| plane.service_counters()).await?;
    let time = SystemTime::now();
    let mut live = BTreeMap::<String, u64>::new();
    for entry in entries(&plane).await? {
        if is_led(&entry) && entry.state != FlowState::Closing {
            *live.entry(entry.service.unwrap_or_default()).or_default() += 1;
        }
    }
    let services = counters.into_iter().map(|(name, counted)| {
        json!({
            "service": name,
            "live": live.get(&name).copied().unwrap_or_default(),
            "flows": counted.flows,
            "packets": counted.packets,
            "bytes": counted.bytes,
            "refused": counted.refused,
        })
    });
    let services: Vec<_> = services.collect();
    Ok(Json(json!({ "time": nanos(time), "services": services })))
}

/// The connection tables. Reading them blocks, and the data plane's owner need not wait for it.
async fn entries(plane: &NetPlane) -> Result<Vec<FlowEntry>, ApiError> {
    let tables: FlowTables = plane.look(|plane| plane.flow_tables()).await?;
    let broken = |why: String| {
        let message = format!("the connection tables could not be read: {why}");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    };
    let read = tokio::task::spawn_blocking(move || tables.entries());
    let read = read.await.map_err(|error| broken(error.to_string()))?;
    read.map_err(|error| broken(error.to_string()))
}

/// Whether this host chose a backend for it.
fn is_led(entry: &FlowEntry) -> bool {
    matches!(entry.origin, FlowOrigin::Vip | FlowOrigin::Published)
}

/// The directions that conversations began in, each with its way back.
fn conversations(entries: &[FlowEntry]) -> impl Iterator<Item = (&FlowEntry, Option<&FlowEntry>)> {
    type Key = (Option<Vni>, u8, SocketAddr, SocketAddr);
    let key =
        |entry: &FlowEntry| -> Key { (entry.vni, entry.protocol, entry.source, entry.destination) };
    let by_key: BTreeMap<Key, &FlowEntry> = entries.iter().map(|e| (key(e), e)).collect();
    let forward = entries.iter().filter(|e| e.origin != FlowOrigin::Reply);
    forward.map(move |entry| {
        let back = (
            entry.new_vni,
            entry.protocol,
            entry.new_destination,
            entry.new_source,
        );
        (entry, by_key.get(&back).copied())
    })
}

fn show_flow(forward: &FlowEntry, back: Option<&FlowEntry>) -> Value {
    let exit = match forward.exit {
        FlowExit::Task => "task".to_owned(),
        FlowExit::Node(node) => format!("tunnel to {node}"),
        FlowExit::Host => "host".to_owned(),
        FlowExit::Uplink(device) => format!("uplink {device}"),
    };
    let state = match forward.state {
        FlowState::Opening => "opening",
        FlowState::Established => "established",
        FlowState::Closing => "closing",
    };
    let origin = match forward.origin {
        FlowOrigin::Reply => "reply",
        FlowOrigin::Vip => "vip",
        FlowOrigin::Published => "published",
        FlowOrigin::Direct => "direct",
        FlowOrigin::Ingress => "ingress",
    };
    json!({
        "kind": "flow",
        "network": forward.vni.map(|vni| vni.0),
        "protocol": orch_dataplane::protocol_name(forward.protocol),
        "source": forward.source.to_string(),
        "destination": forward.destination.to_string(),
        "backend": forward.new_destination.to_string(),
        "verdict": state,
        "origin": origin,
        "exit": exit,
        "service": forward.service,
        "packets": forward.packets,
        "bytes": forward.bytes,
        "answer_packets": back.map_or(0, |back| back.packets),
        "answer_bytes": back.map_or(0, |back| back.bytes),
        "age": forward.age.as_secs(),
        "idle": forward.idle.as_secs(),
    })
}

/// The events for one service or for all, as lines; ends with the data plane.
fn follow(events: Receiver<FlowEvent>, service: Option<String>) -> impl Stream<Item = Bytes> {
    stream::unfold((events, service), |(mut events, service)| async move {
        loop {
            match events.recv().await {
                Ok(event) if service.is_none() || event.service == service => {
                    return Some((line(&show_event(&event)), (events, service)));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => {
                    let lost = json!({ "kind": "lost", "events": count });
                    return Some((line(&lost), (events, service)));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

fn show_event(event: &FlowEvent) -> Value {
    let verdict = match event.decision {
        FlowDecision::Opened => "opened".to_owned(),
        FlowDecision::Refused => "refused".to_owned(),
        FlowDecision::Dropped(reason) => format!("dropped: {}", reason.name()),
    };
    json!({
        "kind": "event",
        "time": nanos(event.time),
        "network": event.vni.map(|vni| vni.0),
        "protocol": orch_dataplane::protocol_name(event.protocol),
        "source": event.source.to_string(),
        "destination": event.destination.to_string(),
        "backend": event.backend.map(|backend| backend.to_string()),
        "verdict": verdict,
        "service": event.service,
        "packets": 1,
        "bytes": event.len,
    })
}

/// Nanoseconds since 1970.
fn nanos(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(origin: FlowOrigin, ends: [&str; 4], packets: u64) -> FlowEntry {
        let [source, destination, new_source, new_destination] =
            ends.map(|text| text.parse().unwrap());
        FlowEntry {
            vni: Some(Vni(4096)),
            protocol: 6,
            source,
            destination,
            new_source,
            new_destination,
            new_vni: Some(Vni(4096)),
            origin,
            state: FlowState::Established,
            exit: FlowExit::Task,
            service: Some("web".into()),
            age: Duration::from_secs(10),
            idle: Duration::from_secs(1),
            packets,
            bytes: packets * 100,
            direct_return: false,
        }
    }

    #[test]
    fn the_two_directions_of_a_conversation_are_one_line() {
        let (client, vip, backend) = ("10.0.0.7:4000", "10.0.0.2:80", "10.0.0.8:80");
        let entries = [
            entry(FlowOrigin::Reply, [backend, client, vip, client], 5),
            entry(FlowOrigin::Vip, [client, vip, client, backend], 7),
        ];
        let shown: Vec<_> = conversations(&entries)
            .map(|(forward, back)| show_flow(forward, back))
            .collect();
        assert_eq!(shown.len(), 1);
        for (field, value) in [
            ("source", json!(client)),
            ("destination", json!(vip)),
            ("backend", json!(backend)),
            ("verdict", json!("established")),
            ("packets", json!(7)),
            ("answer_bytes", json!(500)),
        ] {
            assert_eq!(shown[0][field], value, "{field}");
        }
    }
}
