//! What is measured: routes through the network, and which is compared with which.
//!
//! A pure table. Must not know how a route is built or measured.

use std::fmt;

use serde::Serialize;

/// One way from a client to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// Two plain namespaces on the switch, wired as hosts are, without any program of ours.
    Underlay,
    /// Two plain namespaces joined by one veth.
    Veth,
    /// 127.0.0.1 in a plain namespace.
    Loopback,
    /// From one host to another, to a port that is not published.
    HostToHost,
    /// From a task to the address of a task on its host.
    TaskHere,
    /// From a task to the address of a task on another host.
    TaskThere,
    /// From a task to a VIP whose backend is on its host.
    VipHere,
    /// From a task to a VIP whose backend is on another host.
    VipThere,
    /// From outside to a published port of the host that runs the backend.
    PublishedDirect,
    /// From outside to a published port of a host that does not run the backend.
    PublishedThrough,
    /// From a host to its own 127.0.0.1 at a published port, backend on that host.
    PublishedLoopback,
    /// From a container to one on another host through Docker's own overlay.
    DockerOverlay,
    /// From one container to another through Docker's own bridge.
    DockerBridge,
    /// From a host to 127.0.0.1 at a port of `docker run -p`: Docker's proxy.
    DockerProxy,
    /// From outside through an nft DNAT rule to a namespace behind that host.
    NftDnat,
    /// From outside through HAProxy on that host to the same namespace.
    HaProxy,
    /// To the last of so many services of ours, on one host.
    Ours(u16),
    /// To the last of so many services that nft translates, on one host.
    Nft(u16),
}

impl Route {
    /// What people call it.
    pub fn title(self) -> String {
        let fixed = match self {
            Self::Underlay => "bare underlay",
            Self::Veth => "bare veth",
            Self::Loopback => "bare loopback",
            Self::HostToHost => "host to host, port not published",
            Self::TaskHere => "task to task, same host",
            Self::TaskThere => "task to task, other host",
            Self::VipHere => "VIP, backend on the same host",
            Self::VipThere => "VIP, backend on another host",
            Self::PublishedDirect => "published port, host with the backend",
            Self::PublishedThrough => "published port, host without a backend",
            Self::PublishedLoopback => "127.0.0.1:published",
            Self::DockerOverlay => "Docker's overlay, other host",
            Self::DockerBridge => "Docker's bridge, same host",
            Self::DockerProxy => "127.0.0.1 with docker run -p",
            Self::NftDnat => "nft DNAT, host with the server",
            Self::HaProxy => "HAProxy, host with the server",
            Self::Ours(count) => return format!("VIP, one of {count}"),
            Self::Nft(count) => return format!("nft DNAT, one of {count} services"),
        };
        fixed.to_owned()
    }
}

/// What is taken from one measurement of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median round trip of 64 bytes over TCP, in µs, with sockets that sleep.
    P50,
    /// 99th percentile of the same.
    P99,
    /// Median round trip with sockets that are polled without ever sleeping, in µs.
    BusyP50,
    /// 99th percentile of the same.
    BusyP99,
    /// What one TCP stream carries, in Gbit/s.
    Throughput,
    /// Connections that one client opens, uses once and closes, each second.
    Rate,
}

impl Metric {
    fn less_is_better(self) -> bool {
        !matches!(self, Self::Throughput | Self::Rate)
    }

    /// True when a ratio to the baseline is as good as `aim` or better.
    pub fn meets(self, ratio: f64, aim: f64) -> bool {
        if self.less_is_better() {
            ratio <= aim
        } else {
            ratio >= aim
        }
    }

    /// An aim in words of mathematics.
    pub fn bound(self, aim: f64) -> String {
        let sign = if self.less_is_better() { "≤" } else { "≥" };
        format!("{sign} {aim:.2}")
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::BusyP50 => "p50 µs, busy polling",
            Self::BusyP99 => "p99 µs, busy polling",
            Self::Throughput => "Gbit/s",
            Self::Rate => "connections/s",
        })
    }
}

/// Two routes that are measured right after each other, again and again.
#[derive(Debug)]
pub struct Pair {
    /// What the other is compared with.
    pub baseline: Route,
    /// What is looked at.
    pub measured: Route,
    /// What is measured of both.
    pub metrics: &'static [Metric],
    /// What the ratio of the two should be.
    pub aims: &'static [(Metric, f64)],
}

/// With sockets that sleep, and throughput.
const PLAIN: &[Metric] = &[Metric::P50, Metric::P99, Metric::Throughput];
/// Also with sockets that are polled.
const BUSY: &[Metric] = &[
    Metric::P50,
    Metric::P99,
    Metric::BusyP50,
    Metric::BusyP99,
    Metric::Throughput,
];

/// Of one of many services.
const SERVICES: &[Metric] = &[Metric::P50, Metric::P99, Metric::Rate];

/// At most what a bare veth costs, and a little.
const SAME_HOST: &[(Metric, f64)] = &[(Metric::P50, 1.05)];
const OTHER_HOST: &[(Metric, f64)] = &[
    (Metric::P50, 1.12),
    (Metric::BusyP50, 1.25),
    (Metric::Throughput, 0.90),
];
/// No worse than Docker's own.
const AS_DOCKER: &[(Metric, f64)] = &[(Metric::P99, 1.00)];
/// A VIP should cost nothing beyond the task's address.
const AS_TASK: &[(Metric, f64)] = &[(Metric::P50, 1.02), (Metric::Throughput, 0.98)];
/// A service should not feel how many others there are.
const AS_ONE: &[(Metric, f64)] = &[(Metric::P50, 1.02), (Metric::Rate, 0.98)];
const THROUGH: &[(Metric, f64)] = &[(Metric::P50, 1.20)];
const OWN_LOOPBACK: &[(Metric, f64)] = &[(Metric::Throughput, 0.90)];

const fn pair(
    measured: Route,
    baseline: Route,
    metrics: &'static [Metric],
    aims: &'static [(Metric, f64)],
) -> Pair {
    Pair {
        baseline,
        measured,
        metrics,
        aims,
    }
}

/// Everything that is compared; an empty list of aims is for those that only put the others into
/// perspective.
pub const PAIRS: &[Pair] = &[
    pair(Route::TaskHere, Route::Veth, BUSY, SAME_HOST),
    pair(Route::VipHere, Route::Veth, BUSY, SAME_HOST),
    pair(Route::VipHere, Route::TaskHere, PLAIN, AS_TASK),
    pair(Route::DockerBridge, Route::Veth, PLAIN, &[]),
    pair(Route::HostToHost, Route::Underlay, PLAIN, &[]),
    pair(Route::TaskThere, Route::Underlay, BUSY, OTHER_HOST),
    pair(Route::VipThere, Route::Underlay, BUSY, OTHER_HOST),
    pair(Route::VipThere, Route::TaskThere, PLAIN, AS_TASK),
    pair(Route::DockerOverlay, Route::Underlay, BUSY, &[]),
    pair(Route::TaskThere, Route::DockerOverlay, PLAIN, AS_DOCKER),
    pair(Route::VipThere, Route::DockerOverlay, PLAIN, AS_DOCKER),
    pair(Route::PublishedDirect, Route::Underlay, PLAIN, &[]),
    pair(Route::PublishedThrough, Route::Underlay, PLAIN, THROUGH),
    pair(Route::NftDnat, Route::Underlay, PLAIN, &[]),
    pair(Route::HaProxy, Route::Underlay, PLAIN, &[]),
    pair(
        Route::PublishedLoopback,
        Route::Loopback,
        PLAIN,
        OWN_LOOPBACK,
    ),
    pair(Route::DockerProxy, Route::Loopback, PLAIN, &[]),
    pair(Route::Ours(1), Route::Nft(1), SERVICES, &[]),
    pair(Route::Ours(100), Route::Ours(1), SERVICES, AS_ONE),
    pair(Route::Ours(1_000), Route::Ours(1), SERVICES, AS_ONE),
    pair(Route::Ours(10_000), Route::Ours(1), SERVICES, AS_ONE),
    pair(Route::Nft(100), Route::Nft(1), SERVICES, &[]),
    pair(Route::Nft(1_000), Route::Nft(1), SERVICES, &[]),
    pair(Route::Nft(10_000), Route::Nft(1), SERVICES, &[]),
    pair(Route::Ours(10_000), Route::Nft(10_000), SERVICES, &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_is_measured_against_itself() {
        assert!(PAIRS.iter().all(|pair| pair.baseline != pair.measured));
    }

    #[test]
    fn only_what_is_measured_has_an_aim() {
        for pair in PAIRS {
            let measured = |(metric, _): &(Metric, f64)| pair.metrics.contains(metric);
            assert!(pair.aims.iter().all(measured), "{pair:?}");
        }
    }

    #[test]
    fn less_time_and_more_throughput_are_better() {
        assert!(Metric::P50.meets(1.05, 1.05) && !Metric::P50.meets(1.06, 1.05));
        assert!(Metric::Throughput.meets(0.95, 0.90) && !Metric::Throughput.meets(0.89, 0.90));
    }
}
