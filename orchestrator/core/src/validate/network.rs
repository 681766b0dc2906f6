//! Specs of networks.

use super::{Verdict, invalid, unimplemented};
use crate::allocate;
use crate::control::ControlError;
use crate::objects::NetworkSpec;
use crate::objects::network::IpamConfig;

/// A longer prefix leaves no address beside the gateway.
const MAX_PREFIX: u8 = 30;
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
    if subnet.addr().is_ipv6() {
        return unimplemented(format!("subnet {subnet}: only IPv4 is supported"));
    }
    if subnet.trunc() != subnet {
        return invalid(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        ));
    }
    if subnet.prefix_len() > MAX_PREFIX || subnet.prefix_len() == 0 {
        return invalid(format!(
            "invalid subnet {subnet}: its size must be between /1 and /{MAX_PREFIX}"
        ));
    }
    let network = subnet.network();
    if network.is_loopback() || network.is_multicast() || network.is_unspecified() {
        return invalid(format!("invalid subnet {subnet}: not a range for hosts"));
    }
    if let Some(gateway) = config.gateway
        && (!subnet.contains(&gateway) || gateway == network || gateway == subnet.broadcast())
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
