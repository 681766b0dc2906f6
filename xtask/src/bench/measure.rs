//! How one route is measured: sockperf for the time of a round trip, iperf3 for throughput, our
//! own `probe` for connections a second.
//!
//! Must not know which route it is.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::machine;
use super::paths::Metric;
use super::scene::Probe;
use crate::cmd::{Cmd, Output};
use crate::lab::place::Place;
use crate::wait::{self, secs};
use crate::workspace;

/// Where sockperf's server listens, with a blocking socket.
pub const SOCKPERF_PORT: u16 = 11_111;
/// Where sockperf's server listens that polls its socket without ever sleeping.
pub const BUSY_PORT: u16 = 11_112;
/// Where the server of connections a second listens.
pub const RATE_PORT: u16 = 11_113;
/// Where iperf3's server listens.
pub const IPERF_PORT: u16 = 5201;

/// Starts the servers that sleep while nobody asks, in the background.
pub fn serve(place: &Place) -> Result<()> {
    // Whoever keeps the pipes of the command open would be waited for.
    let script = format!(
        "exec </dev/null >/dev/null 2>&1; {} serve server {RATE_PORT} & \
         sockperf server --tcp -p {SOCKPERF_PORT} & exec iperf3 -s -p {IPERF_PORT}",
        workspace::binary("probe").display()
    );
    let setsid = place.cmd("setsid")?;
    setsid.args(["-f", "sh", "-c", &script]).ok().map(drop)
}

/// What one measurement of one route gave.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The machine's load average right before.
    pub load: f64,
    /// What was measured.
    #[serde(flatten)]
    pub figures: BTreeMap<Metric, f64>,
}

/// Measures a route, for `seconds` with each program that the metrics want.
pub fn measure(probe: &Probe, metrics: &[Metric], seconds: u32) -> Result<Sample> {
    let load = machine::load()?;
    let mut figures = BTreeMap::new();
    let wants = |metric| metrics.contains(&metric);
    if wants(Metric::P50) {
        let (p50, p99) = round_trips(probe, seconds)?;
        figures.extend([(Metric::P50, p50), (Metric::P99, p99)]);
    }
    if wants(Metric::BusyP50) {
        let (p50, p99) = busy_round_trips(probe, seconds)?;
        figures.extend([(Metric::BusyP50, p50), (Metric::BusyP99, p99)]);
    }
    if wants(Metric::Throughput) {
        figures.insert(Metric::Throughput, throughput(probe, seconds)?);
    }
    if wants(Metric::Rate) {
        figures.insert(Metric::Rate, connections(probe, seconds)?);
    }
    Ok(Sample { load, figures })
}

/// Waits until a route carries traffic, which warms it up as well.
pub fn ready(probe: &Probe, title: &str) -> Result<()> {
    wait::until(&format!("an answer: {title}"), secs(60), || {
        round_trips(probe, 1)
    })
    .map(drop)
}

fn round_trips(probe: &Probe, seconds: u32) -> Result<(f64, f64)> {
    ping_pong(probe, probe.port(SOCKPERF_PORT), &[], seconds)
}

/// With both ends polling. The server only lives for the measurement: it takes a whole processor.
fn busy_round_trips(probe: &Probe, seconds: u32) -> Result<(f64, f64)> {
    let server = probe.server.cmd("sockperf")?;
    let _server = server
        .words("server --tcp --nonblocked -p")
        .arg(BUSY_PORT.to_string())
        .background()?;
    wait::until("an answer with busy polling", secs(20), || {
        ping_pong(probe, probe.port(BUSY_PORT), &["--nonblocked"], seconds)
    })
}

fn ping_pong(probe: &Probe, port: u16, options: &[&str], seconds: u32) -> Result<(f64, f64)> {
    let output = run(
        probe
            .place
            .cmd("sockperf")?
            .words("ping-pong --tcp --full-rtt -m 64 -i")
            .args([&probe.address, "-p", &port.to_string()])
            .args(["-t", &seconds.to_string()])
            .args(options),
        seconds,
    )?;
    // Its exit status is 0 whatever happens.
    let text = &output.stdout;
    let read = percentile(text, "50.000").zip(percentile(text, "99.000"));
    read.with_context(|| format!("sockperf has measured nothing: {}", output.shown()))
}

fn connections(probe: &Probe, seconds: u32) -> Result<f64> {
    let target = format!("tcp,{},{}", probe.address, probe.port(RATE_PORT));
    let client = probe.place.cmd(workspace::binary("probe"))?;
    let output = run(
        client.args(["rate", &target, &seconds.to_string()]),
        seconds,
    )?;
    let read = output.stdout.trim().parse();
    read.with_context(|| format!("probe has measured nothing: {}", output.shown()))
}

fn throughput(probe: &Probe, seconds: u32) -> Result<f64> {
    let output = run(
        probe
            .place
            .cmd("iperf3")?
            .args(["-J", "-c", &probe.address])
            .args(["-p", &probe.port(IPERF_PORT).to_string()])
            .args(["-t", &seconds.to_string()]),
        seconds,
    )?;
    gbit_per_s(&output.stdout)
        .with_context(|| format!("iperf3 has measured nothing: {}", output.shown()))
}

/// A program that cannot connect would try for minutes.
fn run(cmd: Cmd, seconds: u32) -> Result<Output> {
    cmd.limit(secs(u64::from(seconds) + 15)).output()
}

/// The value of a line such as `sockperf: ---> percentile 50.000 =   13.359`.
fn percentile(output: &str, which: &str) -> Option<f64> {
    let prefix = format!("percentile {which} =");
    let value = output.lines().find_map(|line| line.split_once(&prefix))?.1;
    value.trim().parse().ok()
}

/// What arrived at the server.
fn gbit_per_s(output: &str) -> Option<f64> {
    let report: Value = serde_json::from_str(output).ok()?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64()?;
    Some(bits / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_from_what_sockperf_prints() {
        let output = "sockperf: ---> percentile 99.000 =   17.576\n\
                      sockperf: ---> percentile 90.000 =   14.161\n\
                      sockperf: ---> percentile 50.000 =   13.359\n";
        assert_eq!(percentile(output, "50.000"), Some(13.359));
        assert_eq!(percentile(output, "99.000"), Some(17.576));
        let refused = "sockperf: ERROR: Can`t connect socket (errno=111 Connection refused)";
        assert_eq!(percentile(refused, "50.000"), None);
    }

    #[test]
    fn throughput_is_what_iperf3_says_was_received() {
        let report = r#"{"end": {"sum_sent": {"bits_per_second": 3e9},
                                 "sum_received": {"bits_per_second": 2.5e9}}}"#;
        assert_eq!(gbit_per_s(report), Some(2.5));
        assert_eq!(
            gbit_per_s(r#"{"end": {}, "error": "unable to connect"}"#),
            None
        );
    }
}
