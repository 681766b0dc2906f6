//! The wires of the lab: namespaces joined by veths to one bridge.
//!
//! Must not know what runs in the namespaces.

use anyhow::Result;

use super::layout::{
    CLIENT, CLIENT_NUMBER, PREFIX_LEN, PREFIX6_LEN, SWITCH, SWITCH_NUMBER, address, address6, netns,
};
use crate::cmd::Cmd;

/// A host's end of its wire.
pub const UPLINK: &str = "eth0";
const BRIDGE: &str = "br0";

/// Makes the switch, the outside client and one wire per host, all with packets up to `mtu` bytes.
pub fn create(nodes: u8, mtu: u16) -> Result<()> {
    let switch = netns(SWITCH);
    create_namespace(SWITCH)?;
    ip(&format!(
        "-n {switch} link add {BRIDGE} mtu {mtu} type bridge forward_delay 0 mcast_snooping 0"
    ))?;
    add_addresses(&switch, BRIDGE, SWITCH_NUMBER)?;
    ip(&format!("-n {switch} link set {BRIDGE} up"))?;
    refuse_every_time(&switch)?;
    plug(CLIENT, CLIENT_NUMBER, mtu)?;
    for index in 1..=nodes {
        plug(&format!("n{index}"), index, mtu)?;
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

/// Makes a namespace and plugs it into the switch, as hosts are, with both addresses of `number`
/// and the switch as the way to anywhere else.
pub fn plug(name: &str, number: u8, mtu: u16) -> Result<()> {
    create_namespace(name)?;
    let (host, switch, port) = (netns(name), netns(SWITCH), port(name));
    ip(&format!(
        "link add {UPLINK} mtu {mtu} netns {host} type veth peer name {port} mtu {mtu} \
         netns {switch}"
    ))?;
    ip(&format!("-n {switch} link set {port} master {BRIDGE} up"))?;
    add_addresses(&host, UPLINK, number)?;
    ip(&format!("-n {host} link set {UPLINK} up"))?;
    for gateway in [address(SWITCH_NUMBER), address6(SWITCH_NUMBER)] {
        ip(&format!("-n {host} route add default via {gateway}"))?;
    }
    Ok(())
}

/// Gives a device of a namespace both addresses of a number, usable at once.
fn add_addresses(namespace: &str, device: &str, number: u8) -> Result<()> {
    let (v4, v6) = (address(number), address6(number));
    let add = format!("-n {namespace} addr add");
    ip(&format!("{add} {v4}/{PREFIX_LEN} dev {device}"))?;
    ip(&format!("{add} {v6}/{PREFIX6_LEN} dev {device} nodad"))
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
