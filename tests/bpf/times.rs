//! Nanoseconds per packet of each program, by test run: what `cargo xtask bench programs` runs.
//! Prints JSON, a list of paths.
//!
//! Where a packet that was handled leads to the same path again, the kernel runs the program many
//! times in a row ("warm"). Where it does not, every run is a call of its own with a packet of its
//! own ("cold"): such a run finds the caches as other work left them, and what the kernel needs to
//! begin and end a run is taken off, as the difference between both ways of running the cheapest
//! path.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a world that cannot be set up is a failed measurement; the result goes to stdout"
)]
#![allow(dead_code, reason = "tests use more of the frames and of the world")]

mod frames;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::programs::{TestRun, TestRunOptions};
use orch_ebpf_common::{Endpoint, EndpointKey, FrontendKey, MacAddress, Phase};
use serde_json::json;

use frames::{FROM_CLIENT, Link, arp, neighbour, ping, syn, udp};
use world::{
    CLIENT, CLIENT_MAC, CLIENT_V6, LOCAL, LOCAL_V6, NODE, OTHER_NODE, OUTSIDE, OUTSIDE_V6, REMOTE,
    REMOTE_V6, VIP, VIP_V6, VNI, World, published, vip, vip_v6,
};

/// Runs in a row of the warm way; a run takes so little that the clock's steps would show.
const WARM: u32 = 10_000;
/// Calls of the cold way, of which the median counts.
const COLD: u16 = 2_000;
/// Every path is measured once a round, so that what changes slowly meets all of them.
const ROUNDS: u16 = 7;
const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
/// Two virtual addresses that are each other's backends: a packet that was translated is one that
/// has to be translated again. A pair on this host and a pair on the other one.
const LOCAL_PAIR: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 10, 101), Ipv4Addr::new(10, 0, 10, 102)];
const REMOTE_PAIR: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 10, 103), Ipv4Addr::new(10, 0, 10, 104)];
const LOCAL_PAIR_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 0x101),
    Ipv6Addr::new(0xfd00, 10, 0, 0, 0, 0, 0, 0x102),
];
/// The same of published ports.
const PORT_PAIR: [u16; 2] = [8080, 8081];
/// The path that does least: the overhead of a cold run is measured with it.
const CHEAPEST: &str = "uplink: not ours";

/// A path through a program.
struct Path {
    name: &'static str,
    program: &'static str,
    /// A frame that takes it; the number makes it another conversation.
    frame: fn(u16) -> Vec<u8>,
    warm: bool,
}

const fn path(
    name: &'static str,
    program: &'static str,
    warm: bool,
    frame: fn(u16) -> Vec<u8>,
) -> Path {
    Path {
        name,
        program,
        frame,
        warm,
    }
}

const TASK: &str = "task_ingress";
const UPLINK: &str = "uplink_ingress";

const PATHS: &[Path] = &[
    path(CHEAPEST, UPLINK, true, |_| {
        syn(FROM_OUTSIDE, (OUTSIDE, 40_000), (NODE, 22))
    }),
    path("task: to a task here, no translation", TASK, true, |_| {
        syn(FROM_CLIENT, (CLIENT, 40_000), (LOCAL, 80))
    }),
    path("task: to a task there, no translation", TASK, true, |_| {
        syn(FROM_CLIENT, (CLIENT, 40_000), (REMOTE, 80))
    }),
    path("task: flow hit, backend here", TASK, true, |_| {
        frames::segment(FROM_CLIENT, (CLIENT, 40_000), (LOCAL_PAIR[0], 80), b"x")
    }),
    path("task: flow hit, backend there", TASK, true, |_| {
        frames::segment(FROM_CLIENT, (CLIENT, 40_000), (REMOTE_PAIR[0], 80), b"x")
    }),
    path("uplink: flow hit, backend there", UPLINK, true, |_| {
        let to = (NODE, PORT_PAIR[0]);
        frames::segment(FROM_OUTSIDE, (OUTSIDE, 40_000), to, b"x")
    }),
    path("task: new flow to a VIP", TASK, false, |number| {
        syn(FROM_CLIENT, (CLIENT, number), (VIP, 80))
    }),
    path(
        "uplink: new flow to a published port",
        UPLINK,
        false,
        |number| syn(FROM_OUTSIDE, (OUTSIDE, number), (NODE, 8082)),
    ),
    path("task: echo of a VIP", TASK, false, |number| {
        ping(FROM_CLIENT, CLIENT, VIP, number)
    }),
    path("task: ARP", TASK, false, |_| {
        let to_all = Link([0xff; 6], CLIENT_MAC);
        arp(to_all, 1, (CLIENT_MAC, CLIENT), ([0; 6], REMOTE))
    }),
    path("task: name", TASK, false, |number| {
        let to = (Ipv4Addr::new(8, 8, 8, 8), 53);
        udp(FROM_CLIENT, (CLIENT, number), to, &question())
    }),
    path(
        "task: to a task here, no translation, IPv6",
        TASK,
        true,
        |_| syn(FROM_CLIENT, (CLIENT_V6, 40_000), (LOCAL_V6, 80)),
    ),
    path("task: flow hit, backend here, IPv6", TASK, true, |_| {
        let to = (LOCAL_PAIR_V6[0], 80);
        frames::segment(FROM_CLIENT, (CLIENT_V6, 40_000), to, b"x")
    }),
    path("task: new flow to a VIP, IPv6", TASK, false, |number| {
        syn(FROM_CLIENT, (CLIENT_V6, number), (VIP_V6, 80))
    }),
    path("task: echo of a VIP, IPv6", TASK, false, |number| {
        ping(FROM_CLIENT, CLIENT_V6, VIP_V6, number)
    }),
    path("task: neighbour solicitation", TASK, false, |_| {
        let to = neighbour::solicited_node(REMOTE_V6);
        let to_some = Link([0x33, 0x33, 0xff, 0, 0, 9], CLIENT_MAC);
        neighbour::solicitation(to_some, CLIENT_V6, to, REMOTE_V6)
    }),
    path("task: drop of a spoofed source, IPv6", TASK, true, |_| {
        syn(FROM_CLIENT, (OUTSIDE_V6, 40_000), (LOCAL_V6, 80))
    }),
    path("task: drop of a spoofed source", TASK, true, |_| {
        syn(FROM_CLIENT, (OUTSIDE, 40_000), (LOCAL, 80))
    }),
];

/// Asks for the addresses of `web`.
fn question() -> Vec<u8> {
    let mut message = vec![0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x03web\x00\x00\x01\x00\x01");
    message
}

fn main() {
    let mut world = build();
    let mut samples: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let cheapest = &PATHS[0];
    for round in 0..ROUNDS {
        let first = 10_000 + round * COLD;
        let overhead = cold(&mut world, cheapest, first) - warm(&mut world, cheapest);
        for path in PATHS {
            let nanoseconds = if path.warm {
                warm(&mut world, path)
            } else {
                (cold(&mut world, path, first) - overhead).max(0.0)
            };
            samples.entry(path.name).or_default().push(nanoseconds);
        }
    }
    let paths: Vec<_> = PATHS
        .iter()
        .map(|path| {
            let way = if path.warm { "warm" } else { "cold" };
            json!({"path": path.name, "way": way, "nanoseconds": samples[path.name]})
        })
        .collect();
    println!("{}", json!(paths));
}

fn build() -> World {
    let mut world = World::new();
    world.serve(vip(), 1, &[(LOCAL, None), (REMOTE, None)]);
    world.serve_v6(vip_v6(), 1, &[(LOCAL_V6, None), (REMOTE_V6, None)]);
    world.serve(published(8082), 1, &[(LOCAL, Some(80)), (REMOTE, Some(80))]);
    world.name(VNI, "web", &[VIP]);
    for (pair, node, ifindex) in [(LOCAL_PAIR, NODE, 1009), (REMOTE_PAIR, OTHER_NODE, 0)] {
        for (own, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            endpoint(&mut world, own, node, ifindex);
            world.serve(FrontendKey::vip(VNI, own.into()), 1, &[(other, None)]);
            world.run(TASK, &syn(FROM_CLIENT, (CLIENT, 40_000), (own, 80)));
        }
    }
    for (own, other) in [(0, 1), (1, 0)].map(|(a, b)| (LOCAL_PAIR_V6[a], LOCAL_PAIR_V6[b])) {
        endpoint(&mut world, own, NODE, 1009);
        world.serve_v6(FrontendKey::vip(VNI, own.into()), 1, &[(other, None)]);
        world.run(TASK, &syn(FROM_CLIENT, (CLIENT_V6, 40_000), (own, 80)));
    }
    endpoint(&mut world, NODE, OTHER_NODE, 0);
    for (own, other) in [(0, 1), (1, 0)] {
        let backend = (NODE, Some(PORT_PAIR[other]));
        world.serve(published(PORT_PAIR[own]), 1, &[backend]);
        let to = (NODE, PORT_PAIR[own]);
        world.run(UPLINK, &syn(FROM_OUTSIDE, (OUTSIDE, 40_000), to));
    }
    for (key, mut flow) in world.flows() {
        flow.phase = Phase::Established as u8;
        world.set("FLOWS", key, flow);
    }
    world
}

fn endpoint(world: &mut World, address: impl Into<IpAddr>, node: Ipv4Addr, ifindex: u32) {
    let key = EndpointKey {
        vni: VNI,
        address: address.into().into(),
    };
    let endpoint = Endpoint {
        node: node.into(),
        ifindex,
        mac: MacAddress([2, 0, 0, 0, 0, 9]),
        ..Endpoint::default()
    };
    world.set("ENDPOINTS", key, endpoint);
}

/// Mean of many runs in a row on one packet: each finds it as the one before left it.
fn warm(world: &mut World, path: &Path) -> f64 {
    time(world, path, 0, WARM)
}

/// Median of single runs, each on a packet of its own; `first` and the numbers after it have not
/// been used before.
fn cold(world: &mut World, path: &Path, first: u16) -> f64 {
    let mut times: Vec<f64> = (first..first + COLD)
        .map(|number| time(world, path, number, 1))
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds of one run.
fn time(world: &mut World, path: &Path, number: u16, repeat: u32) -> f64 {
    let options = TestRunOptions {
        data_in: Some(&(path.frame)(number)),
        repeat,
        ..TestRunOptions::default()
    };
    let result = world.program(path.program).test_run(options);
    result.unwrap().duration.as_nanos() as f64
}
