//! Specs of networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Verdict, invalid, unimplemented};
use crate::allocate;
use crate::control::ControlError;
use crate::objects::NetworkSpec;
use crate::objects::network::IpamConfig;

/// A longer prefix leaves no address beside the gateway.
const MAX_PREFIX: u8 = 30;
/// The same for IPv6.
const MAX_PREFIX_V6: u8 = 126;
/// Ranges in which no network's hosts can be: this host, its links, groups; and the host link of
/// every host's data plane (the last one; that of IPv4 is in 169.254.0.0/16).
const NOT_FOR_HOSTS: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
    (
        IpAddr::V6(Ipv6Addr::new(0xfd6f, 0x7263, 0x6864, 0, 0, 0, 0, 0)),
        64,
    ),
];
/// Networks that every engine has.
const PREDEFINED: [&str; 4] = ["bridge", "default", "host", "none"];

/// Checks a network before it is created.
pub fn network_spec(spec: &NetworkSpec) -> Verdict {
    name(&spec.name)?;
    if spec.ingress && spec.attachable {
        return invalid("ingress network cannot be attachable");
    }
    if spec.ingress && spec.internal {
        return invalid("ingress network cannot be internal");
    }
    if let Some(option) = spec.driver_options.keys().next() {
        return unimplemented(format!("network option \"{option}\" is not supported"));
    }
    for (index, config) in spec.ipam.iter().enumerate() {
        ipam(config)?;
        if config.subnet.addr().is_ipv6() && !spec.ipv6 {
            return invalid(format!(
                "subnet {} is IPv6: enable IPv6 for the network (--ipv6)",
                config.subnet
            ));
        }
        if spec.ipam[..index]
            .iter()
            .any(|c| allocate::overlap(c.subnet, config.subnet))
        {
            return invalid(format!(
                "subnet {} overlaps with another one",
                config.subnet
            ));
        }
    }
    Ok(())
}

fn name(name: &str) -> Verdict {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !first || !chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return invalid(format!(
            "invalid network name \"{name}\": only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed"
        ));
    }
    if PREDEFINED.contains(&name) {
        return Err(ControlError::PermissionDenied(format!(
            "operation is not permitted on predefined {name} network"
        )));
    }
    Ok(())
}

fn ipam(config: &IpamConfig) -> Verdict {
    let subnet = config.subnet;
    if subnet.trunc() != subnet {
        return invalid(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        ));
    }
    let longest = match subnet {
        IpNet::V4(_) => MAX_PREFIX,
        IpNet::V6(_) => MAX_PREFIX_V6,
    };
    if subnet.prefix_len() > longest || subnet.prefix_len() == 0 {
        return invalid(format!(
            "invalid subnet {subnet}: its size must be between /1 and /{longest}"
        ));
    }
    let mut reserved = NOT_FOR_HOSTS.iter();
    if reserved.any(|(ip, prefix)| allocate::overlap(IpNet::new_assert(*ip, *prefix), subnet)) {
        return invalid(format!("invalid subnet {subnet}: not a range for hosts"));
    }
    if let Some(gateway) = config.gateway
        && (!subnet.contains(&gateway)
            || gateway == subnet.network()
            || (gateway.is_ipv4() && gateway == subnet.broadcast()))
    {
        return invalid(format!(
            "invalid gateway {gateway}: not a host of subnet {subnet}"
        ));
    }
    if let Some(range) = config.range
        && (!subnet.contains(&range) || range.trunc() != range)
    {
        return invalid(format!(
            "invalid ip-range {range}: not a part of subnet {subnet}"
        ));
    }
    Ok(())
}
