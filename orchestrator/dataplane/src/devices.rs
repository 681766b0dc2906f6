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
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnet::Ipv4Net;
use orch_ebpf_common::{Address, MacAddress};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};

use crate::Error;
use crate::attachment::{self, Attachment};
use crate::netlink::{Device, DeviceAddress, DeviceKind, Netlink};

/// The tunnel to the other hosts.
const TUNNEL: &str = "orch-vx";
/// The end of the host link that the host's stack uses.
const HOST_LINK: &str = "orch0";
/// The end of the host link that the programs use.
const HOST_LINK_PEER: &str = "orch0p";
/// Bytes that VXLAN adds: IPv4, UDP and VXLAN headers, and the inner Ethernet header.
const TUNNEL_OVERHEAD: u32 = 20 + 8 + 8 + 14;
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
}

impl HostDevices {
    /// Largest packet of a task, in bytes.
    pub fn task_mtu(&self) -> u32 {
        task_mtu(&self.underlay)
    }
}

fn task_mtu(underlay: &Device) -> u32 {
    underlay.mtu.saturating_sub(TUNNEL_OVERHEAD)
}

/// Brings the host's part up, and changes only what is not right yet.
pub(crate) async fn bring_up(
    netlink: &Netlink,
    node: Ipv4Addr,
    vxlan_port: u16,
) -> Result<HostDevices, Error> {
    let underlay = underlay(netlink, node).await?;
    let tunnel = bring_up_tunnel(netlink, vxlan_port).await?;
    let (host_link, host_link_peer) = bring_up_host_link(netlink, task_mtu(&underlay)).await?;
    let IpAddr::V4(address) = Address::HOST_LINK.into() else {
        return Err(Error::Object("IPv4 address of the host link".into()));
    };
    netlink.add_address(&host_link, address).await?;
    let range = Ipv4Net::new_assert(address, Address::HOST_LINK_PREFIX).trunc();
    netlink.route(range, &host_link, node).await?;
    Ok(HostDevices {
        tunnel,
        host_link,
        host_link_peer,
        underlay,
    })
}

async fn underlay(netlink: &Netlink, node: Ipv4Addr) -> Result<Device, Error> {
    let missing = || Error::NoNodeAddress(node.into());
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

/// Creates a VXLAN device for tunnel keys that come with each packet.
pub(crate) async fn add_tunnel(netlink: &Netlink, name: &str, port: u16) -> Result<(), Error> {
    let message = LinkMessageBuilder::<LinkVxlan>::new(name)
        .collect_metadata(true)
        .learning(false)
        // An ingress host names the published port in it, for services with direct return.
        .gbp()
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
        ("ipv6", "disable_ipv6", "1"),
        // The programs look up routes on behalf of this device.
        ("ipv4", "forwarding", "1"),
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

/// What changes around the programs: uplinks, addresses that others can reach, and containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    /// Devices through which the outside reaches this host.
    pub uplinks: BTreeMap<u32, Device>,
    /// Addresses of the host, on whatever device.
    pub addresses: BTreeSet<IpAddr>,
    /// Indices of the host's ends of attachments.
    pub attached: BTreeSet<u32>,
}

/// Looks at the devices and addresses that this host has now.
pub(crate) async fn outside(netlink: &Netlink) -> Result<Outside, Error> {
    Ok(find_outside(
        netlink.devices().await?,
        &netlink.addresses().await?,
    ))
}

fn find_outside(devices: Vec<Device>, addresses: &[DeviceAddress]) -> Outside {
    let attached = devices
        .iter()
        .filter(|device| attachment::is_host_end(&device.name))
        .map(|device| device.index);
    let mut outside = Outside {
        attached: attached.collect(),
        ..Outside::default()
    };
    for device in devices
        .into_iter()
        .filter(|device| !device.loopback && !is_ours(device))
    {
        let of_device = || {
            addresses
                .iter()
                .filter(|address| address.device == device.index)
        };
        outside
            .addresses
            .extend(of_device().map(|address| address.address));
        if device.up && !is_docker_bridge(&device.name) && of_device().any(is_global) {
            outside.uplinks.insert(device.index, device);
        }
    }
    outside
}

fn is_global(address: &DeviceAddress) -> bool {
    let link_local = match address.address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.global && !link_local
}

/// Whether it is the bridge of a local network of the engine, behind which are containers only.
fn is_docker_bridge(name: &str) -> bool {
    let of_network = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    name == "docker0"
        || name == "docker_gwbridge"
        || name.strip_prefix("br-").is_some_and(of_network)
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

/// Sets a knob of one device. A host without IPv6 has no such knobs and needs none.
fn set_sysctl(family: &str, device: &str, key: &str, value: &str) -> Result<(), Error> {
    let base = format!("/proc/sys/net/{family}");
    if !Path::new(&base).exists() {
        return Ok(());
    }
    let path = format!("{base}/conf/{device}/{key}");
    let current = fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))?;
    if current.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(Error::io(format!("write {value} to {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str, kind: DeviceKind) -> Device {
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

    fn address(device: u32, address: &str) -> DeviceAddress {
        DeviceAddress {
            device,
            address: address.parse().unwrap(),
            global: true,
        }
    }

    const VETH: DeviceKind = DeviceKind::Veth { peer: None };

    #[test]
    fn uplinks_are_where_the_outside_comes_in() {
        let down = Device {
            up: false,
            ..device(9, "eth9", DeviceKind::Other)
        };
        let devices = vec![
            device(1, "lo", DeviceKind::Other),
            device(2, "eth0", VETH),
            device(3, "docker0", DeviceKind::Other),
            device(4, "br-0123456789ab", DeviceKind::Other),
            device(5, "br0", DeviceKind::Other),
            device(6, "orch0", VETH),
            device(7, "ov0123456789a", VETH),
            device(8, "veth1234", VETH),
            down,
        ];
        let addresses = [
            address(1, "127.0.0.1"),
            address(2, "192.0.2.1"),
            address(2, "fe80::1"),
            address(3, "172.17.0.1"),
            address(4, "172.18.0.1"),
            address(5, "198.51.100.1"),
            address(6, "169.254.42.1"),
            address(9, "203.0.113.1"),
        ];

        let outside = find_outside(devices, &addresses);

        let uplinks: Vec<_> = outside
            .uplinks
            .values()
            .map(|device| &device.name)
            .collect();
        assert_eq!(uplinks, ["eth0", "br0"]);
        assert_eq!(outside.attached, BTreeSet::from([7]));
        for local in ["192.0.2.1", "172.17.0.1", "203.0.113.1"] {
            assert!(
                outside.addresses.contains(&local.parse().unwrap()),
                "{local}"
            );
        }
        for other in ["127.0.0.1", "169.254.42.1"] {
            assert!(
                !outside.addresses.contains(&other.parse().unwrap()),
                "{other}"
            );
        }
    }

    #[test]
    fn a_device_with_link_local_addresses_only_is_no_uplink() {
        let devices = vec![device(2, "eth0", VETH), device(3, "eth1", VETH)];
        let scope_link = DeviceAddress {
            global: false,
            ..address(3, "192.0.2.7")
        };
        let addresses = [address(2, "169.254.1.1"), address(2, "fe80::1"), scope_link];
        assert!(find_outside(devices, &addresses).uplinks.is_empty());
    }

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
    fn task_packets_fit_the_underlay() {
        assert_eq!(task_mtu(&device(2, "eth0", VETH)), 1450);
    }
}
