//! `flows` and `net services`.

use crate::{
    format::{Column, Listing, Row, bytes_size, human_duration},
    model::{Counters, Flow, ServiceCounters},
};

/// The columns of `flows`.
pub const FLOWS: Listing = Listing {
    columns: &[
        Column::new("Protocol", "PROTO"),
        Column::new("Source", "SOURCE"),
        Column::new("Destination", "DESTINATION"),
        Column::new("Backend", "BACKEND"),
        Column::new("Verdict", "VERDICT"),
        Column::new("Packets", "PACKETS"),
        Column::new("Bytes", "BYTES"),
        Column::new("Age", "AGE"),
        Column::new("Idle", "IDLE"),
        Column::new("Exit", "EXIT"),
        Column::new("Service", "SERVICE"),
        Column::new("Network", "NETWORK"),
    ],
    table: "{{.Protocol}}\t{{.Source}}\t{{.Destination}}\t{{.Backend}}\t{{.Verdict}}\t\
            {{.Packets}}\t{{.Bytes}}\t{{.Age}}",
    quiet: "{{.Source}}",
};

/// One row; packets and bytes are those of both directions.
pub fn flow_row(flow: &Flow) -> Row {
    let is_flow = flow.kind == "flow";
    let seconds = |seconds: u64| match is_flow {
        true => human_duration(i64::try_from(seconds).unwrap_or(i64::MAX)),
        false => String::new(),
    };
    let verdict = match flow.kind.as_str() {
        "lost" => format!("{} events lost", flow.events),
        _ => flow.verdict.clone(),
    };
    vec![
        flow.protocol.clone(),
        flow.source.clone(),
        flow.destination.clone(),
        flow.backend.clone().unwrap_or_default(),
        verdict,
        (flow.packets + flow.answer_packets).to_string(),
        size(flow.bytes + flow.answer_bytes),
        seconds(flow.age),
        seconds(flow.idle),
        flow.exit.clone(),
        flow.service.clone().unwrap_or_default(),
        flow.network.map_or_else(String::new, |vni| vni.to_string()),
    ]
}

/// How many of the columns a growing table shows.
const LINE_COLUMNS: usize = 8;

/// The heading of a table that grows, with cells of `wide` characters for addresses.
pub fn flow_heading(wide: usize) -> String {
    let headings = FLOWS.columns.iter().map(|column| column.header.to_owned());
    cells(headings, wide)
}

/// A line of a table that grows.
pub fn flow_line(flow: &Flow, wide: usize) -> String {
    cells(flow_row(flow).into_iter(), wide) + "\n"
}

fn cells(cells: impl Iterator<Item = String>, wide: usize) -> String {
    let line: String = cells
        .take(LINE_COLUMNS)
        .enumerate()
        .map(|(at, cell)| match at {
            1..=4 => format!("{cell:<wide$} "),
            _ => format!("{cell:<9} "),
        })
        .collect();
    line.trim_end().to_owned()
}

fn size(bytes: u64) -> String {
    bytes_size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// The columns of `net services`.
pub const COUNTERS: Listing = Listing {
    columns: &[
        Column::new("Service", "SERVICE"),
        Column::new("Live", "LIVE"),
        Column::new("Flows", "FLOWS"),
        Column::new("Rate", "NEW/S"),
        Column::new("Packets", "PACKETS"),
        Column::new("Bytes", "BYTES"),
        Column::new("Refused", "REFUSED"),
    ],
    table: "{{.Service}}\t{{.Live}}\t{{.Flows}}\t{{.Rate}}\t{{.Packets}}\t{{.Bytes}}\t\
            {{.Refused}}",
    quiet: "{{.Service}}",
};

/// One row per service; the rate of new conversations is that between the two looks.
pub fn counter_rows(before: &Counters, after: &Counters) -> Vec<Row> {
    let seconds = after.time.saturating_sub(before.time) as f64 / 1e9;
    let rate = |service: &ServiceCounters| {
        let known = before.services.iter();
        let mut known = known.filter(|known| known.service == service.service);
        let flows = known.next().map_or(service.flows, |known| known.flows);
        let begun = service.flows.saturating_sub(flows) as f64;
        if seconds > 0.0 { begun / seconds } else { 0.0 }
    };
    let row = |service: &ServiceCounters| {
        vec![
            service.service.clone(),
            service.live.to_string(),
            service.flows.to_string(),
            format!("{:.1}", rate(service)),
            service.packets.to_string(),
            size(service.bytes),
            service.refused.to_string(),
        ]
    };
    after.services.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn a_flow_shows_both_directions_and_an_event_its_verdict() {
        let flow: Flow = decode(
            r#"{"kind": "flow", "protocol": "tcp", "source": "10.0.0.7:4000",
                "destination": "10.0.0.2:80", "backend": "10.0.0.8:80", "verdict": "established",
                "packets": 7, "bytes": 700, "answer_packets": 5, "answer_bytes": 1348, "age": 10}"#,
        )
        .unwrap();
        let event: Flow = decode(
            r#"{"kind": "event", "protocol": "udp", "source": "10.0.0.7:1", "backend": null,
                "destination": "10.0.0.2:53", "verdict": "refused", "packets": 1, "bytes": 60}"#,
        )
        .unwrap();
        assert_eq!(
            FLOWS
                .render(&[flow_row(&flow), flow_row(&event)], None, false)
                .unwrap(),
            "PROTO     SOURCE          DESTINATION   BACKEND       VERDICT       PACKETS   BYTES     \
             AGE\n\
             tcp       10.0.0.7:4000   10.0.0.2:80   10.0.0.8:80   established   12        2KiB      \
             10 seconds\n\
             udp       10.0.0.7:1      10.0.0.2:53                 refused       1         60B       \
             \n"
        );
    }

    #[test]
    fn new_connections_are_counted_between_two_looks() {
        let counters = |time, flows| Counters {
            time,
            services: vec![ServiceCounters {
                service: "web".into(),
                flows,
                ..ServiceCounters::default()
            }],
        };
        let rows = counter_rows(&counters(0, 10), &counters(2_000_000_000, 13));
        assert_eq!(rows[0][..4], ["web", "0", "13", "1.5"]);
        // A look that begins to count a service cannot know its rate.
        let rows = counter_rows(&Counters::default(), &counters(2_000_000_000, 13));
        assert_eq!(rows[0][3], "0.0");
    }
}
