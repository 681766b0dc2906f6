//! What is around the programs, and changes by itself: uplinks, the host's addresses, and which
//! of them stand for its tasks on the outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::Error;
use crate::attachment;
use crate::devices::is_ours;
use crate::netlink::{Device, DeviceAddress, Netlink};

/// Somewhere outside, in ranges that no host has (RFC 5737, RFC 3849): the way there is the way
/// to everywhere.
const SOMEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// What changes around the programs: uplinks, addresses that others can reach, and containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    /// Devices through which the outside reaches this host.
    pub uplinks: BTreeMap<u32, Device>,
    /// Addresses of the host, on whatever device. Those of one link alone are left out for IPv6.
    pub addresses: BTreeSet<IpAddr>,
    /// Indices of the host's ends of attachments.
    pub attached: BTreeSet<u32>,
    /// The host's IPv4 address as the outside sees it.
    pub source_v4: Option<IpAddr>,
    /// The host's IPv6 address as the outside sees it.
    pub source_v6: Option<IpAddr>,
}

impl Outside {
    /// The addresses as the outside sees them.
    pub fn sources(&self) -> [Option<IpAddr>; 2] {
        [self.source_v4, self.source_v6]
    }
}

/// Looks at the devices and addresses that this host, whose underlay address is `node`, has now.
pub(crate) async fn look(netlink: &Netlink, node: IpAddr) -> Result<Outside, Error> {
    let devices = netlink.devices().await?;
    let addresses = netlink.addresses().await?;
    let mut outside = find_outside(devices, &addresses);
    let [source_v4, source_v6] = SOMEWHERE.map(|somewhere| {
        if node.is_ipv4() == somewhere.is_ipv4() {
            Some(node)
        } else {
            source(&outside, &addresses, somewhere, kernels_choice(somewhere))
        }
    });
    outside.source_v4 = source_v4;
    outside.source_v6 = source_v6;
    Ok(outside)
}

/// The source address that the kernel takes on the way to `target`; `None` without a way there.
/// Sends nothing.
fn kernels_choice(target: IpAddr) -> Option<IpAddr> {
    const DISCARD: u16 = 9;
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((target, DISCARD)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The host's address of `target`'s family that tasks are seen under: on the device that leads
/// there, if one does, and one that stays, if there is one. Connections outlive the kernel's own
/// choice, which may be a temporary address.
fn source(
    outside: &Outside,
    addresses: &[DeviceAddress],
    target: IpAddr,
    choice: Option<IpAddr>,
) -> Option<IpAddr> {
    let of_choice = |address: &DeviceAddress| Some(address.address) == choice;
    let device = addresses.iter().find(|a| of_choice(a)).map(|a| a.device);
    let usable = addresses.iter().filter(|address| {
        address.address.is_ipv4() == target.is_ipv4()
            && outside.uplinks.contains_key(&address.device)
            && is_reachable(address)
    });
    let best = usable.min_by_key(|address| {
        (
            Some(address.device) != device,
            address.transient,
            !of_choice(address),
            address.device,
        )
    });
    best.map(|address| address.address)
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
                .filter(|address| address.device == device.index && !address.tentative)
        };
        outside.addresses.extend(
            of_device()
                .map(|address| address.address)
                .filter(|address| !is_of_link(*address) || address.is_ipv4()),
        );
        if device.up && !is_docker_bridge(&device.name) && of_device().any(is_reachable) {
            outside.uplinks.insert(device.index, device);
        }
    }
    outside
}

/// Whether others than those on the link can reach an address.
fn is_reachable(address: &DeviceAddress) -> bool {
    address.global && !address.tentative && !is_of_link(address.address)
}

fn is_of_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether it is the bridge of a local network of the engine, behind which are containers only.
fn is_docker_bridge(name: &str) -> bool {
    let of_network = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    name == "docker0"
        || name == "docker_gwbridge"
        || name.strip_prefix("br-").is_some_and(of_network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::tests::device;
    use crate::netlink::DeviceKind;

    const VETH: DeviceKind = DeviceKind::Veth { peer: None };

    fn address(device: u32, address: &str) -> DeviceAddress {
        DeviceAddress {
            device,
            address: address.parse().unwrap(),
            global: true,
            tentative: false,
            transient: false,
        }
    }

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

    /// The source on the way out of a host with these addresses on `eth0` (2) and `eth1` (3).
    fn chosen(addresses: &[DeviceAddress], target: usize, choice: Option<&str>) -> Option<String> {
        let devices = vec![device(2, "eth0", VETH), device(3, "eth1", VETH)];
        let outside = find_outside(devices, addresses);
        let choice = choice.map(|text| text.parse().unwrap());
        let found = source(&outside, addresses, SOMEWHERE[target], choice);
        found.map(|address| address.to_string())
    }

    #[test]
    fn tasks_are_seen_under_an_address_that_stays() {
        let temporary = DeviceAddress {
            transient: true,
            ..address(3, "2001:db8:3::dead")
        };
        let addresses = [
            address(2, "198.51.100.7"),
            address(2, "2001:db8:2::7"),
            address(3, "fe80::1"),
            temporary,
            address(3, "2001:db8:3::7"),
        ];
        for (target, choice, expected) in [
            (1, Some("2001:db8:3::dead"), "2001:db8:3::7"),
            (1, Some("2001:db8:3::7"), "2001:db8:3::7"),
            (1, Some("2001:db8:2::7"), "2001:db8:2::7"),
            // No way out: any address that others can reach is better than none.
            (1, None, "2001:db8:2::7"),
            (0, None, "198.51.100.7"),
        ] {
            let found = chosen(&addresses, target, choice);
            assert_eq!(found.as_deref(), Some(expected), "{choice:?}");
        }
    }

    #[test]
    fn what_others_cannot_reach_is_no_source_and_of_ipv6_no_address_of_the_host() {
        let tentative = DeviceAddress {
            tentative: true,
            ..address(2, "2001:db8::7")
        };
        let addresses = [address(2, "fe80::1"), tentative];
        assert_eq!(chosen(&addresses, 1, None), None);
        let outside = find_outside(vec![device(2, "eth0", VETH)], &addresses);
        assert_eq!(outside, Outside::default());
    }
}
