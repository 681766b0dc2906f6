//! Many services at once: of ours and of nft, each on a host of its own with a client and a server
//! behind it. Only the last of the services is used.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::measure::{RATE_PORT, SOCKPERF_PORT, serve};
use super::scene::Probe;
use crate::cmd::{Background, Cmd};
use crate::lab::host::{cmd_in, daemon_path};
use crate::lab::place::Place;
use crate::lab::{self, DEFAULT_MTU, MAX_NODES, RUN, links};
use crate::wait::secs;
use crate::workspace;

/// How many services there are, host by host.
pub const COUNTS: [u16; 4] = [1, 100, 1_000, 10_000];
/// As `fill` has it: the gateway, the client, the server and the first service.
const GATEWAY: &str = "10.64.0.1";
const CLIENT: &str = "10.64.0.2";
const SERVER: &str = "10.64.0.3";
const FIRST_SERVICE: u32 = u32::from_be_bytes([10, 64, 1, 0]);
/// The numbers on the switch of hosts with our services.
const FIRST_NUMBER: u8 = MAX_NODES + 10;

/// Whose services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Nft,
}

impl Whose {
    fn host(self, count: u16) -> String {
        match self {
            Self::Ours => format!("our{count}"),
            Self::Nft => format!("nft{count}"),
        }
    }
}

/// The data planes with many services: they live as long as this does.
#[derive(Debug)]
pub struct Many {
    _planes: Vec<Background>,
}

/// Makes all hosts, with their servers running.
pub fn create() -> Result<Many> {
    workspace::cargo()
        .words("build --quiet --package orch-dataplane --example fill")
        .limit(secs(1200))
        .through_ok()?;
    let mut planes = Vec::new();
    for (count, number) in COUNTS.into_iter().zip(FIRST_NUMBER..) {
        planes.push(create_ours(count, number)?);
        create_nft(count)?;
        for whose in [Whose::Ours, Whose::Nft] {
            serve(&server(whose, count))?;
        }
    }
    Ok(Many { _planes: planes })
}

/// From the client to the last of so many of our services.
pub fn ours(count: u16) -> Probe {
    probe(Whose::Ours, count)
}

/// From the client to the last of so many services that nft translates.
pub fn nft(count: u16) -> Probe {
    probe(Whose::Nft, count)
}

fn probe(whose: Whose, count: u16) -> Probe {
    let client = Place::Namespace(client_name(whose, count));
    Probe::new(client, service(count - 1), server(whose, count))
}

fn service(index: u16) -> String {
    std::net::Ipv4Addr::from(FIRST_SERVICE + u32::from(index)).to_string()
}

fn client_name(whose: Whose, count: u16) -> String {
    format!("{}c", whose.host(count))
}

fn server_name(whose: Whose, count: u16) -> String {
    format!("{}s", whose.host(count))
}

fn server(whose: Whose, count: u16) -> Place {
    Place::Namespace(server_name(whose, count))
}

fn create_ours(count: u16, number: u8) -> Result<Background> {
    let host = Whose::Ours.host(count);
    links::plug(&host, number, DEFAULT_MTU)?;
    // Pins in a BPF file system that ends with the process.
    let script = r#"mount -t bpf bpf /sys/fs/bpf && exec "$@""#;
    let mut plane = cmd_in(&host, "unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(workspace::target().join("debug/examples/fill"))
        .args([lab::address(number), count.to_string()])
        .background()?;
    let ends = [
        (client_name(Whose::Ours, count), CLIENT),
        (server_name(Whose::Ours, count), SERVER),
    ];
    for (name, address) in ends {
        let device = plane.line()?.context("fill has not filled anything")?;
        links::create_namespace(&name)?;
        let target = lab::netns(&name);
        let ip = |place: &str, words: String| cmd_in(place, "ip").words(&words).ok();
        ip(&host, format!("link set {device} netns {target} name eth0"))?;
        ip(&name, format!("addr add {address}/16 dev eth0"))?;
        ip(&name, "link set eth0 up".to_owned())?;
        ip(&name, format!("route add default via {GATEWAY}"))?;
    }
    Ok(plane)
}

/// In the shape that kube-proxy's nft mode has: one map from address and port to a chain for each
/// service, which translates.
fn create_nft(count: u16) -> Result<()> {
    let host = Whose::Nft.host(count);
    links::create_namespace(&host)?;
    let ends = [
        (client_name(Whose::Nft, count), "10.255.4"),
        (server_name(Whose::Nft, count), "10.255.5"),
    ];
    for (name, subnet) in &ends {
        links::create_namespace(name)?;
        let (own, gateway) = (format!("{subnet}.2"), format!("{subnet}.1"));
        links::join([(name, &own), (&host, &gateway)])?;
        let route = format!("route add default via {gateway}");
        cmd_in(name, "ip").words(&route).ok()?;
    }
    cmd_in(&host, "sh")
        .args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        .ok()?;
    let file = Path::new(RUN).join(format!("{host}.nft"));
    fs::write(&file, rules(count, "10.255.5.2"))?;
    let nft: Cmd = cmd_in(&host, "nft").env("PATH", daemon_path());
    nft.arg("-f").arg(&file).ok().map(drop)
}

fn rules(count: u16, server: &str) -> String {
    let chains = (0..count).map(|index| format!("chain s{index} {{ dnat to {server}; }}\n"));
    let elements = (0..count).flat_map(|index| {
        [SOCKPERF_PORT, RATE_PORT]
            .map(|port| format!("{} . {port} : goto s{index}", service(index)))
    });
    format!(
        "table ip bench {{\n{}\
         map services {{ type ipv4_addr . inet_service : verdict; elements = {{ {} }}; }}\n\
         chain prerouting {{ type nat hook prerouting priority -100; \
         ip daddr . tcp dport vmap @services; }}\n}}\n",
        chains.collect::<String>(),
        elements.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_counted_on_over_the_bytes_of_an_address() {
        assert_eq!(service(0), "10.64.1.0");
        assert_eq!(service(9_999), "10.64.40.15");
    }

    #[test]
    fn every_service_has_a_chain_and_an_element_for_each_port() {
        let rules = rules(100, "192.0.2.1");
        assert_eq!(rules.matches("dnat to 192.0.2.1").count(), 100);
        assert!(rules.contains("10.64.1.99 . 11111 : goto s99"));
        assert!(rules.contains("10.64.1.99 . 11113 : goto s99"));
    }
}
