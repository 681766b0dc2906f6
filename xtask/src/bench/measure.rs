//! How one route is measured: sockperf for the time of a round trip, iperf3 for throughput.
//!
//! Must not know which route it is.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::machine;
use super::paths::Metric;
use super::scene::Probe;
use crate::cmd::{Cmd, Output};
use crate::lab::place::Place;
use crate::wait::{self, secs};

/// Where sockperf's server listens.
pub const SOCKPERF_PORT: u16 = 11111;
/// Where iperf3's server listens.
pub const IPERF_PORT: u16 = 5201;

/// Starts both servers in the background.
pub fn serve(place: &Place) -> Result<()> {
    // Whoever keeps the pipes of the command open would be waited for.
    let script = format!(
        "exec </dev/null >/dev/null 2>&1; \
         sockperf server --tcp -p {SOCKPERF_PORT} & exec iperf3 -s -p {IPERF_PORT}"
    );
    let setsid = place.cmd("setsid")?;
    setsid.args(["-f", "sh", "-c", &script]).ok().map(drop)
}

/// What one measurement of one route gave.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// The machine's load average right before.
    pub load: f64,
    /// Median round trip, in µs.
    pub p50_us: f64,
    /// 99th percentile of round trips, in µs.
    pub p99_us: f64,
    /// One stream, in Gbit/s.
    pub gbit_per_s: f64,
}

impl Sample {
    /// The figure of a metric.
    pub fn get(&self, metric: Metric) -> f64 {
        match metric {
            Metric::P50 => self.p50_us,
            Metric::P99 => self.p99_us,
            Metric::Throughput => self.gbit_per_s,
        }
    }
}

/// Measures a route for `seconds` with either program.
pub fn measure(probe: &Probe, seconds: u32) -> Result<Sample> {
    let load = machine::load()?;
    let (p50_us, p99_us) = round_trips(probe, seconds)?;
    let gbit_per_s = throughput(probe, seconds)?;
    Ok(Sample {
        load,
        p50_us,
        p99_us,
        gbit_per_s,
    })
}

/// Waits until a route carries traffic, which warms it up as well.
pub fn ready(probe: &Probe, title: &str) -> Result<()> {
    wait::until(&format!("an answer: {title}"), secs(60), || {
        measure(probe, 1)
    })
    .map(drop)
}

fn round_trips(probe: &Probe, seconds: u32) -> Result<(f64, f64)> {
    let output = run(
        probe
            .place
            .cmd("sockperf")?
            .words("ping-pong --tcp --full-rtt -m 64 -i")
            .args([&probe.address, "-p", &probe.sockperf_port.to_string()])
            .args(["-t", &seconds.to_string()]),
        seconds,
    )?;
    // Its exit status is 0 whatever happens.
    let text = &output.stdout;
    let read = percentile(text, "50.000").zip(percentile(text, "99.000"));
    read.with_context(|| format!("sockperf has measured nothing: {}", output.shown()))
}

fn throughput(probe: &Probe, seconds: u32) -> Result<f64> {
    let output = run(
        probe
            .place
            .cmd("iperf3")?
            .args(["-J", "-c", &probe.address])
            .args(["-p", &probe.iperf_port.to_string()])
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
