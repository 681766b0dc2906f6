//! The devices of this host: the tunnel, the host link, the uplinks, the tasks' veth pairs.
//!
//! ```text
//!   task ═ op… ── ov…   orch0 ── orch0p            orch-vx        eth0
//!              veth  ▲   │ host link ▲             │ tunnel ▲      ▲ uplink
//!          task_ingress  │      host_ingress   VXLAN   overlay_   uplink_
//!                     host's stack             to peers ingress   ingress
//! ```
//!
//! A device that is right is left as it is: a restart must not lose a packet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use orch_ebpf_common::{Address, MacAddress};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};

use crate::Error;
use crate::attachment::{self, Attachment};
use crate::netlink::{Device, DeviceKind, Netlink, Route};
use crate::outside::Outside;

/// The tunnel to the other hosts.
const TUNNEL: &str = "orch-vx";
/// The end of the host link that the host's stack uses.
const HOST_LINK: &str = "orch0";
/// The end of the host link that the programs use.
const HOST_LINK_PEER: &str = "orch0p";
/// Bytes that VXLAN adds behind the IP header: UDP and VXLAN headers, and the inner Ethernet
/// header.
const TUNNEL_OVERHEAD: u32 = 8 + 8 + 14;
/// Bytes of an IPv4 header without options.
const IPV4_HEADER: u32 = 20;
/// Bytes of an IPv6 header.
const IPV6_HEADER: u32 = 40;
/// The tunnel device is not what limits packets: the tasks' devices are.
const TUNNEL_MTU: u32 = 65485;

/// What the host's part consists of.
#[derive(Debug, Clone)]
pub(crate) struct HostDevices {
    /// The tunnel.
    pub tunnel: Device,
    /// The stack's end of the host link.
    pub host_link: Device,
    /// The programs' end of the host link.
    pub host_link_peer: Device,
    /// The device that has the node's address.
    pub underlay: Device,
    /// Largest packet of a task, in bytes, that fits the tunnel.
    pub task_mtu: u32,
}

fn task_mtu(underlay: &Device, node: IpAddr) -> u32 {
    let header = match node {
        IpAddr::V4(_) => IPV4_HEADER,
        IpAddr::V6(_) => IPV6_HEADER,
    };
    underlay.mtu.saturating_sub(header + TUNNEL_OVERHEAD)
}

/// Brings the host's part up, and changes only what is not right yet.
pub(crate) async fn bring_up(
    netlink: &Netlink,
    node: IpAddr,
    vxlan_port: u16,
) -> Result<HostDevices, Error> {
    let underlay = underlay(netlink, node).await?;
    let task_mtu = task_mtu(&underlay, node);
    let tunnel = bring_up_tunnel(netlink, vxlan_port).await?;
    let (host_link, host_link_peer) = bring_up_host_link(netlink, task_mtu).await?;
    Ok(HostDevices {
        tunnel,
        host_link,
        host_link_peer,
        underlay,
        task_mtu,
    })
}

/// Leads what the host sends to the mesh into the host link, under the address that the outside
/// knows the host by: tasks of other hosts see it.
pub(crate) async fn route_host_link(
    netlink: &Netlink,
    host_link: &Device,
    outside: &Outside,
) -> Result<(), Error> {
    for (own, prefix, source) in [
        (
            Address::HOST_LINK,
            Address::HOST_LINK_PREFIX,
            outside.source_v4,
        ),
        (
            Address::HOST_LINK_V6,
            Address::HOST_LINK_PREFIX_V6,
            outside.source_v6,
        ),
    ] {
        let own = IpAddr::from(own);
        if own.is_ipv6() && !has_ipv6() {
            continue;
        }
        netlink.add_address(host_link, own).await?;
        let range = IpNet::new_assert(own, prefix).trunc();
        netlink
            .route(range, host_link, source.unwrap_or(own))
            .await?;
    }
    Ok(())
}

/// Leads what the host sends to the networks' `ranges` into the host link, and nothing else but
/// what [`route_host_link`] leads there. A range that another device leads to is left to that one.
pub(crate) async fn route_networks(
    netlink: &Netlink,
    host_link: &Device,
    outside: &Outside,
    ranges: &BTreeSet<IpNet>,
) -> Result<(), Error> {
    let (ours, others): (Vec<_>, Vec<_>) = netlink
        .routes()
        .await?
        .into_iter()
        .partition(|route| route.device == host_link.name);
    let others: Vec<_> = others.into_iter().map(|route| route.range).collect();
    let wanted = routable(ranges, &others, has_ipv6());
    let own = [
        IpNet::new_assert(Address::HOST_LINK.into(), Address::HOST_LINK_PREFIX).trunc(),
        IpNet::new_assert(Address::HOST_LINK_V6.into(), Address::HOST_LINK_PREFIX_V6).trunc(),
    ];
    for route in &ours {
        let is_single = route.range.prefix_len() == route.range.max_prefix_len();
        if !(wanted.contains(&route.range) || own.contains(&route.range) || is_single) {
            netlink.unroute(route.range, host_link).await?;
        }
    }
    for range in wanted {
        let (source, own) = match range {
            IpNet::V4(_) => (outside.source_v4, Address::HOST_LINK),
            IpNet::V6(_) => (outside.source_v6, Address::HOST_LINK_V6),
        };
        let source = source.unwrap_or(own.into());
        let is_there = |route: &Route| route.range == range && route.source == Some(source);
        if !ours.iter().any(is_there) {
            netlink.route(range, host_link, source).await?;
        }
    }
    Ok(())
}

/// The ranges that no other device leads to already. A default route leads everywhere and does not
/// count.
fn routable(ranges: &BTreeSet<IpNet>, others: &[IpNet], has_ipv6: bool) -> BTreeSet<IpNet> {
    let is_taken = |range: &IpNet| {
        let holds = |other: &&IpNet| other.prefix_len() > 0 && other.contains(range);
        others.iter().any(|other| holds(&other))
    };
    let fits = |range: &&IpNet| (range.addr().is_ipv4() || has_ipv6) && !is_taken(range);
    ranges.iter().filter(fits).copied().collect()
}

async fn underlay(netlink: &Netlink, node: IpAddr) -> Result<Device, Error> {
    let missing = || Error::NoNodeAddress(node);
    let addresses = netlink.addresses().await?;
    let index = addresses
        .iter()
        .find(|found| found.address == node)
        .ok_or_else(missing)?
        .device;
    let devices = netlink.devices().await?;
    devices
        .into_iter()
        .find(|device| device.index == index)
        .ok_or_else(missing)
}

async fn bring_up_tunnel(netlink: &Netlink, port: u16) -> Result<Device, Error> {
    let wanted = DeviceKind::Vxlan {
        port,
        external: true,
    };
    let found = netlink.device(TUNNEL).await?;
    if let Some(device) = &found
        && device.kind != wanted
    {
        tracing::warn!(device = TUNNEL, ?wanted, found = ?device.kind, "replacing the tunnel");
        netlink.delete(device.index).await?;
    }
    if found.is_none_or(|device| device.kind != wanted) {
        add_tunnel(netlink, TUNNEL, port).await?;
        set_sysctl("ipv6", TUNNEL, "disable_ipv6", "1")?;
    }
    let device = netlink.expect_device(TUNNEL).await?;
    if !device.up {
        netlink
            .set_up(&device)
            .await
            .map_err(|error| port_taken(error, port))?;
    }
    Ok(device)
}

/// Creates a VXLAN device for tunnel keys that come with each packet. Such a device listens for
/// both families (`vxlan_sock_add` in the kernel's `drivers/net/vxlan/vxlan_core.c`); over IPv6 it
/// takes packets without a UDP checksum, too (RFC 6935), which is the sender's choice per packet.
pub(crate) async fn add_tunnel(netlink: &Netlink, name: &str, port: u16) -> Result<(), Error> {
    let message = LinkMessageBuilder::<LinkVxlan>::new(name)
        .collect_metadata(true)
        .learning(false)
        // An ingress host names the published port in it, for services with direct return.
        .gbp()
        .udp_zero_csum6_rx(true)
        .port(port)
        .mtu(TUNNEL_MTU)
        .build();
    netlink.add(name, message).await
}

fn port_taken(error: Error, port: u16) -> Error {
    if let Error::Netlink { source, .. } = error {
        let action = format!(
            "open the tunnel on UDP port {port} (is it in use? choose another one with \
             --data-path-port)"
        );
        return Error::Netlink { action, source };
    }
    error
}

async fn bring_up_host_link(netlink: &Netlink, mtu: u32) -> Result<(Device, Device), Error> {
    let is_pair = |device: &Option<Device>| {
        device
            .as_ref()
            .is_some_and(|device| matches!(device.kind, DeviceKind::Veth { .. }))
    };
    let ends = (
        netlink.device(HOST_LINK).await?,
        netlink.device(HOST_LINK_PEER).await?,
    );
    if !(is_pair(&ends.0) && is_pair(&ends.1)) {
        netlink.delete_named(HOST_LINK).await?;
        netlink.delete_named(HOST_LINK_PEER).await?;
        let pair = LinkVeth::new(HOST_LINK, HOST_LINK_PEER).arp(false).build();
        netlink.add(HOST_LINK, pair).await?;
    }
    for (family, key, value) in [
        // Nobody is on this link but the host: no addresses of its own making, no routers.
        ("ipv6", "addr_gen_mode", "1"),
        ("ipv6", "accept_ra", "0"),
        ("ipv6", "accept_dad", "0"),
        ("ipv6", "disable_ipv6", "0"),
        // The programs look up routes on behalf of this device.
        ("ipv4", "forwarding", "1"),
        ("ipv6", "forwarding", "1"),
        ("ipv4", "rp_filter", "0"),
    ] {
        set_sysctl(family, HOST_LINK, key, value)?;
    }
    set_sysctl("ipv6", HOST_LINK_PEER, "disable_ipv6", "1")?;
    let stack = set_mtu_and_up(netlink, HOST_LINK, mtu).await?;
    let peer = set_mtu_and_up(netlink, HOST_LINK_PEER, mtu).await?;
    Ok((stack, peer))
}

async fn set_mtu_and_up(netlink: &Netlink, name: &str, mtu: u32) -> Result<Device, Error> {
    let device = netlink.expect_device(name).await?;
    if device.mtu != mtu || !device.up {
        let message = LinkUnspec::new_with_index(device.index)
            .mtu(mtu)
            .up()
            .build();
        netlink.change(name, message).await?;
    }
    Ok(device)
}

/// Creates the veth pair of an attachment, down as yet; returns the host's end.
pub(crate) async fn add_pair(
    netlink: &Netlink,
    attachment: &Attachment,
    mtu: u32,
) -> Result<Device, Error> {
    let host = attachment.host_device();
    let container = LinkMessageBuilder::<LinkUnspec>::new()
        .name(attachment.container_device())
        .mtu(mtu)
        .address(attachment.mac.to_vec())
        .build();
    let pair = LinkMessageBuilder::<LinkVeth>::new(&host, "")
        .mtu(mtu)
        .address(MacAddress::GATEWAY.0.to_vec())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(container)))
        .build();
    netlink.add(&host, pair).await?;
    let device = netlink.expect_device(&host).await?;
    if let Err(error) = mark(netlink, attachment, &device).await {
        netlink.delete(device.index).await?;
        return Err(error);
    }
    Ok(device)
}

/// Writes on the host's end what it is for.
async fn mark(netlink: &Netlink, attachment: &Attachment, device: &Device) -> Result<(), Error> {
    let alias = LinkUnspec::new_with_index(device.index)
        .alias(attachment.alias())
        .build();
    netlink.change(&device.name, alias).await?;
    set_sysctl("ipv6", &device.name, "disable_ipv6", "1")
}

/// The attachments that the devices tell of, by the index of the host's end. Pairs that a daemon
/// left half made are removed.
pub(crate) async fn attachments(netlink: &Netlink) -> Result<BTreeMap<u32, Attachment>, Error> {
    let mut attachments = BTreeMap::new();
    for device in netlink.devices().await? {
        if !(attachment::is_host_end(&device.name) && is_ours(&device)) {
            continue;
        }
        match device.alias.as_deref().and_then(Attachment::from_alias) {
            Some(attachment) => {
                attachments.insert(device.index, attachment);
            }
            None => {
                tracing::info!(
                    device = device.name,
                    "removing a device that was left half made"
                );
                netlink.delete(device.index).await?;
            }
        }
    }
    Ok(attachments)
}

/// Whether a device was made here, now or by a daemon that is gone.
pub(crate) fn is_ours(device: &Device) -> bool {
    let veth = matches!(device.kind, DeviceKind::Veth { .. });
    match device.name.as_str() {
        TUNNEL => matches!(device.kind, DeviceKind::Vxlan { .. }),
        HOST_LINK | HOST_LINK_PEER => veth,
        name => veth && attachment::is_attachment_device(name),
    }
}

/// Removes every device of ours in this namespace.
pub(crate) async fn remove_all(netlink: &Netlink) -> Result<(), Error> {
    for device in netlink
        .devices()
        .await?
        .iter()
        .filter(|device| is_ours(device))
    {
        netlink.delete(device.index).await?;
    }
    Ok(())
}

/// Whether the kernel of this host has IPv6.
fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Sets a knob of one device. A host without IPv6 has no such knobs and needs none.
fn set_sysctl(family: &str, device: &str, key: &str, value: &str) -> Result<(), Error> {
    if family == "ipv6" && !has_ipv6() {
        return Ok(());
    }
    let path = format!("/proc/sys/net/{family}/conf/{device}/{key}");
    let current = fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))?;
    if current.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(Error::io(format!("write {value} to {path}")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn device(index: u32, name: &str, kind: DeviceKind) -> Device {
        Device {
            index,
            name: name.into(),
            up: true,
            loopback: name == "lo",
            mtu: 1500,
            mac: [0; 6],
            alias: None,
            kind,
        }
    }

    const VETH: DeviceKind = DeviceKind::Veth { peer: None };

    #[test]
    fn devices_of_others_are_not_ours_by_name_alone() {
        assert!(is_ours(&device(2, "ov0123456789a", VETH)));
        assert!(is_ours(&device(
            3,
            TUNNEL,
            DeviceKind::Vxlan {
                port: 1,
                external: true
            }
        )));
        assert!(!is_ours(&device(4, "ov0123456789a", DeviceKind::Other)));
        assert!(!is_ours(&device(5, "orch1", VETH)));
    }

    #[test]
    fn a_range_that_the_host_routes_elsewhere_is_left_alone() {
        let nets = |texts: &[&str]| -> BTreeSet<IpNet> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let ranges = nets(&["10.0.1.0/24", "10.1.1.0/24", "10.2.1.0/24", "fd00:1::/64"]);
        let others = nets(&["0.0.0.0/0", "10.1.0.0/16", "10.2.1.0/25", "::/0"]);
        let others: Vec<_> = others.into_iter().collect();
        let expected = nets(&["10.0.1.0/24", "10.2.1.0/24", "fd00:1::/64"]);
        assert_eq!(routable(&ranges, &others, true), expected);
        assert_eq!(routable(&ranges, &others, false).len(), 2);
    }

    #[test]
    fn task_packets_fit_the_underlay() {
        let underlay = device(2, "eth0", VETH);
        for (node, mtu) in [("192.0.2.1", 1450), ("2001:db8::1", 1430)] {
            assert_eq!(task_mtu(&underlay, node.parse().unwrap()), mtu);
        }
    }
}
