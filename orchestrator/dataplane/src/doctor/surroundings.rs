//! The host's network around the cluster's: sizes of packets, and ranges of addresses.

use ipnet::IpNet;

use super::Check;
use crate::netlink::{Device, Route};

/// The smallest packet size that every IPv6 link must take (RFC 8200, section 5).
const SMALLEST: u32 = 1280;
/// Bytes that a tunnel over IPv6 adds: IPv6, UDP and VXLAN headers, and the inner Ethernet header.
const OVERHEAD: u32 = 40 + 8 + 8 + 14;

/// Whether the devices to the outside take packets of a useful and of the same size.
pub(super) fn packet_sizes<'a>(uplinks: impl Iterator<Item = &'a Device>) -> Check {
    let mut sizes: Vec<(u32, &str)> = uplinks.map(|up| (up.mtu, up.name.as_str())).collect();
    sizes.sort_unstable();
    let shown: Vec<_> = sizes
        .iter()
        .map(|(mtu, name)| format!("{name} {mtu}"))
        .collect();
    let shown = shown.join(", ");
    let (found, fix) = match (sizes.first(), sizes.last()) {
        (Some((smallest, _)), _) if *smallest < SMALLEST + OVERHEAD => (
            Err(format!("{shown}: so small that tasks get no IPv6")),
            "set the MTU of these devices to 1350 at least, with `ip link set DEVICE mtu 1350`",
        ),
        (Some((smallest, _)), Some((largest, _))) if smallest != largest => (
            Err(format!("{shown}: they differ")),
            "set the same MTU on all devices, or tunnel over the one with the smallest \
             (`--data-path-addr`); tasks get what fits the tunnel's device",
        ),
        (None, _) | (_, None) => (
            Err("no device leads to the outside".to_owned()),
            "give this host an address that the other hosts can reach",
        ),
        _ => (Ok(shown), ""),
    };
    Check::new("packet size", found, fix).at_most_warning()
}

/// Whether the host already routes addresses elsewhere that the cluster gives or gave to networks.
pub(super) fn address_ranges(ranges: &[IpNet], routes: &[Route]) -> Check {
    let overlap = |route: &&Route| {
        let range = route.range;
        let meet = |other: &&IpNet| other.contains(&range) || range.contains(*other);
        range.prefix_len() > 0 && ranges.iter().any(|range| meet(&range))
    };
    let overlapping: Vec<String> = routes
        .iter()
        .filter(overlap)
        .map(|route| format!("{} (device {})", route.range, route.device))
        .collect();
    let found = match overlapping.is_empty() {
        true => Ok("no route of this host leads into the cluster's".to_owned()),
        false => Err(format!("this host routes {}", overlapping.join(", "))),
    };
    let fix = "tasks cannot reach what is behind these routes where a network of the cluster has \
               the same addresses: choose others with `network create --subnet`, or with \
               `swarm init --default-addr-pool`";
    Check::new("address ranges", found, fix).at_most_warning()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::DeviceKind;

    fn device(name: &str, mtu: u32) -> Device {
        Device {
            index: 2,
            name: name.into(),
            up: true,
            loopback: false,
            mtu,
            mac: [0; 6],
            alias: None,
            kind: DeviceKind::Other,
        }
    }

    #[test]
    fn packet_sizes_that_differ_or_are_too_small_are_told() {
        let sizes = |mtus: &[u32]| {
            let devices: Vec<_> = mtus.iter().map(|mtu| device("eth0", *mtu)).collect();
            packet_sizes(devices.iter())
        };
        assert!(sizes(&[1500, 1500]).fix.is_empty());
        for (mtus, word) in [
            (&[9000, 1500][..], "differ"),
            (&[1300], "no IPv6"),
            (&[], "no"),
        ] {
            let check = sizes(mtus);
            assert!(check.detail.contains(word) && !check.failed(), "{check}");
        }
    }

    #[test]
    fn a_route_into_the_cluster_s_ranges_is_told() {
        let route = |range: &str| Route {
            range: range.parse().unwrap(),
            device: "eth1".into(),
            source: None,
        };
        let ranges = ["10.0.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()];
        let check = |range| address_ranges(&ranges, &[route("0.0.0.0/0"), route(range)]);
        for range in ["10.0.5.0/24", "10.0.0.0/8", "fd00::/64"] {
            assert!(check(range).detail.contains(range), "{range}");
        }
        for range in ["10.1.0.0/16", "192.168.0.0/24", "fd01::/64"] {
            assert!(check(range).fix.is_empty(), "{range}");
        }
    }
}
