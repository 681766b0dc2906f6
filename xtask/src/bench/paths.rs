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
    /// From one container to another through Docker's own bridge.
    DockerBridge,
    /// From a host to 127.0.0.1 at a port of `docker run -p`: Docker's proxy.
    DockerProxy,
    /// From outside through an nft DNAT rule to a namespace behind that host.
    NftDnat,
}

impl Route {
    /// All routes.
    pub const ALL: [Self; 14] = [
        Self::Underlay,
        Self::Veth,
        Self::Loopback,
        Self::HostToHost,
        Self::TaskHere,
        Self::TaskThere,
        Self::VipHere,
        Self::VipThere,
        Self::PublishedDirect,
        Self::PublishedThrough,
        Self::PublishedLoopback,
        Self::DockerBridge,
        Self::DockerProxy,
        Self::NftDnat,
    ];

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
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
            Self::DockerBridge => "Docker's bridge, same host",
            Self::DockerProxy => "127.0.0.1 with docker run -p",
            Self::NftDnat => "nft DNAT, host with the server",
        }
    }
}

/// What is taken from one measurement of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median round trip of 64 bytes over TCP, in µs.
    P50,
    /// 99th percentile of the same.
    P99,
    /// What one TCP stream carries, in Gbit/s.
    Throughput,
}

impl Metric {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 3] = [Self::P50, Self::P99, Self::Throughput];

    /// True when a ratio to the baseline is as good as `aim` or better.
    pub fn meets(self, ratio: f64, aim: f64) -> bool {
        match self {
            Self::P50 | Self::P99 => ratio <= aim,
            Self::Throughput => ratio >= aim,
        }
    }

    /// An aim in words of mathematics.
    pub fn bound(self, aim: f64) -> String {
        match self {
            Self::P50 | Self::P99 => format!("≤ {aim:.2}"),
            Self::Throughput => format!("≥ {aim:.2}"),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::Throughput => "Gbit/s",
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
    /// What the ratio of the two should be.
    pub aims: &'static [(Metric, f64)],
}

/// At most what a bare veth costs, and a little.
const SAME_HOST: &[(Metric, f64)] = &[(Metric::P50, 1.05)];
/// The p99 is what Docker's own overlay had on the development machine, as ratio of its pairs.
const OTHER_HOST: &[(Metric, f64)] = &[
    (Metric::P50, 1.12),
    (Metric::P99, 1.19),
    (Metric::Throughput, 0.90),
];
/// A VIP should cost nothing beyond the task's address.
const AS_TASK: &[(Metric, f64)] = &[(Metric::P50, 1.02), (Metric::Throughput, 0.98)];

const fn pair(measured: Route, baseline: Route, aims: &'static [(Metric, f64)]) -> Pair {
    Pair {
        baseline,
        measured,
        aims,
    }
}

/// Everything that is compared; an empty list of aims is for those that only put the others into
/// perspective.
pub const PAIRS: &[Pair] = &[
    pair(Route::TaskHere, Route::Veth, SAME_HOST),
    pair(Route::VipHere, Route::Veth, SAME_HOST),
    pair(Route::VipHere, Route::TaskHere, AS_TASK),
    pair(Route::DockerBridge, Route::Veth, &[]),
    pair(Route::HostToHost, Route::Underlay, &[]),
    pair(Route::TaskThere, Route::Underlay, OTHER_HOST),
    pair(Route::VipThere, Route::Underlay, OTHER_HOST),
    pair(Route::VipThere, Route::TaskThere, AS_TASK),
    pair(Route::PublishedDirect, Route::Underlay, &[]),
    pair(
        Route::PublishedThrough,
        Route::Underlay,
        &[(Metric::P50, 1.20)],
    ),
    pair(Route::NftDnat, Route::Underlay, &[]),
    pair(
        Route::PublishedLoopback,
        Route::Loopback,
        &[(Metric::Throughput, 0.90)],
    ),
    pair(Route::DockerProxy, Route::Loopback, &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_measured_and_none_against_itself() {
        for route in Route::ALL {
            let used = |pair: &&Pair| pair.baseline == route || pair.measured == route;
            assert!(PAIRS.iter().any(|pair| used(&pair)), "{route:?}");
        }
        assert!(PAIRS.iter().all(|pair| pair.baseline != pair.measured));
    }

    #[test]
    fn less_time_and_more_throughput_are_better() {
        assert!(Metric::P50.meets(1.05, 1.05) && !Metric::P50.meets(1.06, 1.05));
        assert!(Metric::Throughput.meets(0.95, 0.90) && !Metric::Throughput.meets(0.89, 0.90));
    }
}
