//! The wires of the lab: namespaces joined by veths to one bridge.
//!
//! Must not know what runs in the namespaces.

use anyhow::Result;

use super::layout::{
    CLIENT, PREFIX_LEN, SWITCH, client_address, host_address, netns, switch_address,
};
use crate::cmd::Cmd;

/// A host's end of its wire.
pub const UPLINK: &str = "eth0";
const BRIDGE: &str = "br0";

/// Makes the switch, the outside client and one wire per host.
pub fn create(nodes: u8) -> Result<()> {
    let switch = netns(SWITCH);
    create_namespace(SWITCH)?;
    ip(&format!(
        "-n {switch} link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0"
    ))?;
    ip(&format!(
        "-n {switch} addr add {}/{PREFIX_LEN} dev {BRIDGE}",
        switch_address()
    ))?;
    ip(&format!("-n {switch} link set {BRIDGE} up"))?;
    refuse_every_time(&switch)?;
    plug(CLIENT, &client_address())?;
    for index in 1..=nodes {
        plug(&format!("n{index}"), &host_address(index))?;
    }
    Ok(())
}

/// The kernel only says "port unreachable" a few times a second to one host; a resolver that asks
/// for several names at once would wait 5 s for the answers that are left out.
fn refuse_every_time(switch: &str) -> Result<()> {
    let limit = "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit";
    let net = format!("--net=/run/netns/{switch}");
    Cmd::new("nsenter")
        .args([&net, "--", "sh", "-c", limit])
        .ok()
        .map(drop)
}

/// Takes the carrier from a host's wire, as pulling the cable does.
pub fn cut(name: &str) -> Result<()> {
    ip(&format!(
        "-n {} link set {} down",
        netns(SWITCH),
        port(name)
    ))
}

/// Puts the cable back.
pub fn heal(name: &str) -> Result<()> {
    ip(&format!("-n {} link set {} up", netns(SWITCH), port(name)))
}

/// Makes a namespace and plugs it into the switch, as hosts are.
pub fn plug(name: &str, address: &str) -> Result<()> {
    create_namespace(name)?;
    let (host, switch, port) = (netns(name), netns(SWITCH), port(name));
    ip(&format!(
        "link add {UPLINK} netns {host} type veth peer name {port} netns {switch}"
    ))?;
    ip(&format!("-n {switch} link set {port} master {BRIDGE} up"))?;
    ip(&format!(
        "-n {host} addr add {address}/{PREFIX_LEN} dev {UPLINK}"
    ))?;
    ip(&format!("-n {host} link set {UPLINK} up"))?;
    ip(&format!(
        "-n {host} route add default via {}",
        switch_address()
    ))
}

/// Makes a namespace of the lab, with nothing but a loopback; it ends with the lab.
pub fn create_namespace(name: &str) -> Result<()> {
    let name = netns(name);
    ip(&format!("netns add {name}"))?;
    ip(&format!("-n {name} link set lo up"))
}

/// Joins two namespaces by a veth and nothing else; each gets one end with its address.
pub fn join(ends: [(&str, &str); 2]) -> Result<()> {
    let [one, other] = ends.map(|(name, _)| netns(name));
    let [at_one, at_other] = [0, 1].map(|end: usize| format!("to-{}", ends[1 - end].0));
    ip(&format!(
        "link add {at_one} netns {one} type veth peer name {at_other} netns {other}"
    ))?;
    for ((name, address), device) in ends.into_iter().zip([at_one, at_other]) {
        let name = netns(name);
        ip(&format!(
            "-n {name} addr add {address}/{PREFIX_LEN} dev {device}"
        ))?;
        ip(&format!("-n {name} link set {device} up"))?;
    }
    Ok(())
}

fn port(name: &str) -> String {
    format!("to-{name}")
}

fn ip(words: &str) -> Result<()> {
    Cmd::new("ip").words(words).ok().map(drop)
}
