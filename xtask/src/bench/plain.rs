//! The plain namespaces that ours is compared with: no orchd, no engine, no program of ours.
//!
//! They carry the lab's prefix, so that they end with the lab however it ends.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::measure::{BUSY_PORT, IPERF_PORT, RATE_PORT, SOCKPERF_PORT, serve};
use super::scene::Probe;
use crate::lab::host::{cmd_in, daemon_path};
use crate::lab::place::Place;
use crate::lab::{self, DEFAULT_MTU, MAX_NODES, links};

const LEFT: &str = "bare1";
const RIGHT: &str = "bare2";
const VETH_LEFT: &str = "pair1";
const VETH_RIGHT: &str = "pair2";
const VETH_SERVER: &str = "10.255.1.2";
const GATEWAY: &str = "dnat";
const BEHIND: &str = "behind";
const BEHIND_GATEWAY: &str = "10.255.2.2";
/// Added to a port where HAProxy listens for it.
const HAPROXY_OFFSET: u16 = 3_000;

/// Makes all of them, with their servers running.
pub fn create() -> Result<()> {
    links::plug(LEFT, number(LEFT), DEFAULT_MTU)?;
    links::plug(RIGHT, number(RIGHT), DEFAULT_MTU)?;
    for name in [VETH_LEFT, VETH_RIGHT, BEHIND] {
        links::create_namespace(name)?;
    }
    links::join([(VETH_LEFT, "10.255.1.1"), (VETH_RIGHT, VETH_SERVER)])?;
    create_gateway()?;
    for name in [LEFT, RIGHT, VETH_RIGHT, BEHIND] {
        serve(&at(name))?;
    }
    Ok(())
}

/// The switch between two plain namespaces.
pub fn underlay() -> Probe {
    Probe::new(at(LEFT), address(RIGHT), at(RIGHT))
}

/// One veth between two plain namespaces.
pub fn veth() -> Probe {
    Probe::new(at(VETH_LEFT), VETH_SERVER.to_owned(), at(VETH_RIGHT))
}

/// A plain namespace with itself.
pub fn loopback() -> Probe {
    Probe::new(at(LEFT), "127.0.0.1".to_owned(), at(LEFT))
}

/// Through the switch and an nft rule to a namespace behind the other.
pub fn dnat() -> Probe {
    Probe::new(at(LEFT), address(GATEWAY), at(BEHIND))
}

/// Through the switch and HAProxy to the same namespace.
pub fn haproxy() -> Probe {
    dnat().published(HAPROXY_OFFSET)
}

fn at(name: &str) -> Place {
    Place::Namespace(name.to_owned())
}

/// A number on the switch above those of hosts.
fn number(name: &str) -> u8 {
    let offset = match name {
        LEFT => 1,
        RIGHT => 2,
        _ => 3,
    };
    MAX_NODES + offset
}

fn address(name: &str) -> String {
    lab::address(number(name))
}

/// A host with one container behind it, in the shape that kube-proxy's nft mode and Docker's
/// port mapping give it.
fn create_gateway() -> Result<()> {
    let outside = address(GATEWAY);
    links::plug(GATEWAY, number(GATEWAY), DEFAULT_MTU)?;
    links::join([(GATEWAY, "10.255.2.1"), (BEHIND, BEHIND_GATEWAY)])?;
    cmd_in(BEHIND, "ip")
        .words("route add default via 10.255.2.1")
        .ok()?;
    cmd_in(GATEWAY, "sh")
        .args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        .ok()?;
    let rules = format!(
        "table ip bench {{ chain prerouting {{ type nat hook prerouting priority -100; \
         ip daddr {outside} tcp dport {{ {SOCKPERF_PORT}, {BUSY_PORT}, {IPERF_PORT} }} \
         dnat to {BEHIND_GATEWAY}; }}; }}"
    );
    let nft = cmd_in(GATEWAY, "nft").env("PATH", daemon_path());
    nft.arg(rules).ok()?;
    start_haproxy()
}

/// A proxy for TCP in the same place. It ends with the lab.
fn start_haproxy() -> Result<()> {
    let mut config = "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n \
                      timeout server 1h\n"
        .to_owned();
    for port in [SOCKPERF_PORT, BUSY_PORT, IPERF_PORT, RATE_PORT] {
        let outside = port + HAPROXY_OFFSET;
        config +=
            &format!("listen p{port}\n bind :{outside}\n server behind {BEHIND_GATEWAY}:{port}\n");
    }
    let file = Path::new(lab::RUN).join("haproxy.cfg");
    fs::write(&file, config)?;
    let haproxy = cmd_in(GATEWAY, "haproxy").env("PATH", daemon_path());
    haproxy.args(["-D", "-f"]).arg(file).ok().map(drop)
}
