//! `network create`: flags to the API's request.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{Spec, SpecError};
use crate::{args::NetworkCreate, flags::LabelEntry};

/// Builds the request; gateways, ranges and auxiliary addresses go to the subnet they lie in.
pub fn create(args: &NetworkCreate) -> Result<Value, SpecError> {
    let mut spec = Spec::default();
    spec.set("Name", args.name.as_str());
    spec.set("Driver", args.driver.as_str());
    spec.set("Scope", args.scope.as_str());
    spec.set("Internal", args.internal);
    spec.set("Ingress", args.ingress);
    spec.set("Attachable", args.attachable.unwrap_or(false));
    spec.set("ConfigOnly", args.config_only);
    spec.set("Options", map(&args.opt));
    spec.set("Labels", map(&args.label));
    spec.set_some("EnableIPv4", args.ipv4);
    spec.set_some("EnableIPv6", args.ipv6);
    spec.set_some("ConfigFrom.Network", args.config_from.clone());
    spec.set("IPAM.Driver", args.ipam_driver.as_str());
    spec.set("IPAM.Options", map(&args.ipam_opt));
    spec.set("IPAM.Config", pools(args)?);
    Ok(spec.into_value())
}

fn map(entries: &[LabelEntry]) -> Map<String, Value> {
    entries
        .iter()
        .map(|entry| (entry.key.clone(), json!(entry.value)))
        .collect()
}

fn pools(args: &NetworkCreate) -> Result<Vec<Value>, SpecError> {
    let subnets = args
        .subnet
        .iter()
        .map(|text| Subnet::parse(text).map(|subnet| (subnet, Map::new())))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pools = Pools(subnets);
    for (index, (text, pool)) in args.subnet.iter().zip(&mut pools.0).enumerate() {
        pool.1.insert("Subnet".into(), json!(text));
        if args.subnet[..index].contains(text) {
            return Err(SpecError::new(format!("subnet {text} is given twice")));
        }
    }
    for range in &args.ip_range {
        let start = Subnet::parse(range)?.address;
        pools.put("IPRange", start, range, json!(range))?;
    }
    for gateway in &args.gateway {
        pools.put("Gateway", parse_address(gateway)?, gateway, json!(gateway))?;
    }
    for auxiliary in &args.aux_address {
        let address = parse_address(&auxiliary.value)?;
        let pool = pools.holding(address, &auxiliary.value)?;
        let slot = pool
            .entry("AuxiliaryAddresses")
            .or_insert_with(|| json!({}));
        slot[auxiliary.key.as_str()] = json!(auxiliary.value);
    }
    Ok(pools
        .0
        .into_iter()
        .map(|(_, pool)| Value::Object(pool))
        .collect())
}

/// The subnets with the IPAM entry that each becomes.
struct Pools(Vec<(Subnet, Map<String, Value>)>);

impl Pools {
    fn holding(&mut self, ip: IpAddr, text: &str) -> Result<&mut Map<String, Value>, SpecError> {
        let found = self.0.iter_mut().find(|(subnet, _)| subnet.contains(ip));
        found.map(|(_, pool)| pool).ok_or_else(|| {
            SpecError::new(format!(
                "no matching subnet for {text}: give its --subnet too"
            ))
        })
    }

    fn put(&mut self, key: &str, ip: IpAddr, text: &str, value: Value) -> Result<(), SpecError> {
        let pool = self.holding(ip, text)?;
        match pool.insert(key.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(SpecError::new(format!(
                "{text}: the same subnet cannot have more than one {key}"
            ))),
        }
    }
}

fn parse_address(text: &str) -> Result<IpAddr, SpecError> {
    text.parse()
        .map_err(|_| SpecError::new(format!("invalid IP address: {text}")))
}

/// A CIDR block, only to see what lies in it; the daemon judges the block itself.
struct Subnet {
    address: IpAddr,
    prefix: u32,
}

impl Subnet {
    fn parse(text: &str) -> Result<Self, SpecError> {
        let invalid = || SpecError::new(format!("invalid CIDR address: {text}"));
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix: u32 = prefix.parse().map_err(|_| invalid())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if prefix > width {
            return Err(invalid());
        }
        Ok(Self { address, prefix })
    }

    fn contains(&self, other: IpAddr) -> bool {
        let (mine, theirs, width) = match (self.address, other) {
            (IpAddr::V4(mine), IpAddr::V4(theirs)) => (
                u128::from(u32::from(mine)),
                u128::from(u32::from(theirs)),
                32,
            ),
            (IpAddr::V6(mine), IpAddr::V6(theirs)) => (u128::from(mine), u128::from(theirs), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let host_bits = width - self.prefix;
        mine.checked_shr(host_bits) == theirs.checked_shr(host_bits)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, NetworkCommand};

    fn build(line: &[&str]) -> Result<Value, SpecError> {
        let words = ["orchctl", "network", "create"].iter().chain(line);
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Network(NetworkCommand::Create(args)) = cli.command else {
            panic!()
        };
        create(&args)
    }

    #[test]
    fn an_attachable_overlay() {
        let request = build(&[
            "--driver",
            "overlay",
            "--subnet",
            "10.0.10.0/24",
            "--subnet",
            "fd00::/64",
            "--gateway",
            "fd00::1",
            "--ip-range",
            "10.0.10.128/25",
            "--attachable",
            "--ipv6",
            "-o",
            "com.docker.network.driver.mtu=1400",
            "--label",
            "a=b",
            "--aux-address",
            "host=10.0.10.9",
            "sandbox",
        ])
        .unwrap();
        assert_eq!(
            request,
            json!({
                "Name": "sandbox", "Driver": "overlay", "Scope": "", "Internal": false,
                "Ingress": false, "Attachable": true, "ConfigOnly": false, "EnableIPv6": true,
                "Options": {"com.docker.network.driver.mtu": "1400"}, "Labels": {"a": "b"},
                "IPAM": {
                    "Driver": "default", "Options": {},
                    "Config": [
                        {
                            "Subnet": "10.0.10.0/24", "IPRange": "10.0.10.128/25",
                            "AuxiliaryAddresses": {"host": "10.0.10.9"}
                        },
                        {"Subnet": "fd00::/64", "Gateway": "fd00::1"}
                    ]
                }
            })
        );
    }

    #[test]
    fn addresses_outside_every_subnet_are_refused() {
        for line in [
            &["--gateway", "10.0.0.1", "n"][..],
            &["--subnet", "10.0.0.0/24", "--gateway", "10.0.1.1", "n"],
            &["--subnet", "10.0.0.0", "n"],
            &["--subnet", "10.0.0.0/33", "n"],
            &[
                "--subnet",
                "10.0.0.0/24",
                "--gateway",
                "10.0.0.1",
                "--gateway",
                "10.0.0.2",
                "n",
            ],
        ] {
            assert!(build(line).is_err(), "{line:?}");
        }
    }
}
