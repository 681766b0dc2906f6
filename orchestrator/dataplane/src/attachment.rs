//! A container's endpoint on an overlay network, as this host attaches it.
//!
//! What an attachment is stands in the alias of the host's end of its veth pair. So it lives
//! exactly as long as the device, and a new daemon finds it there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use orch_core::network::Vni;

use crate::Error;

/// What the names of the host's ends of veth pairs begin with.
const HOST_PREFIX: &str = "ov";
/// What the names of the containers' ends begin with, until the engine renames them.
const CONTAINER_PREFIX: &str = "op";
/// How many digits of the endpoint's id names have: a device's name has at most 15 bytes.
const ID_DIGITS: usize = 11;
/// What an alias of ours begins with; the number is the version of its format.
const ALIAS_MARK: &str = "orchd/2";
/// What the aliases of earlier daemons begin with: they hold one address with its prefix length.
const ALIAS_MARK_1: &str = "orchd/1";
/// Stands in an alias for an address of a family that there is none of.
const NO_ADDRESS: &str = "-";
/// Longest alias that the kernel keeps, in bytes.
const ALIAS_BYTES_MAX: usize = 255;

/// A container's endpoint on an overlay network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The engine's id of the endpoint: hexadecimal digits, 11 or more.
    pub endpoint_id: String,
    /// What tells containers apart: equal for all endpoints of one, without blanks.
    pub sandbox_id: String,
    /// The network.
    pub vni: Vni,
    /// The endpoint's IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The endpoint's IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Link-layer address of the container's end.
    pub mac: [u8; 6],
}

impl Attachment {
    /// The link-layer address of the container's end, made of its address as Docker does: so it
    /// is the same whenever the address is.
    pub fn mac_address(address: IpAddr) -> [u8; 6] {
        let [a, b, c, d] = match address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => {
                let [.., a, b, c, d] = address.octets();
                [a, b, c, d]
            }
        };
        [0x02, 0x42, a, b, c, d]
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Checks what the devices' names and the alias are made of.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let refuse = |reason: &str| {
            Err(Error::Attachment {
                endpoint: self.endpoint_id.clone(),
                reason: reason.into(),
            })
        };
        let id = &self.endpoint_id;
        if id.len() < ID_DIGITS || !id.bytes().all(is_digit) {
            return refuse("its id must be 11 or more hexadecimal digits in lower case");
        }
        if self.sandbox_id.is_empty() || self.sandbox_id.contains(char::is_whitespace) {
            return refuse("its sandbox's id must be there and have no blanks");
        }
        if self.addresses().next().is_none() {
            return refuse("it has no address");
        }
        if self.alias().len() > ALIAS_BYTES_MAX {
            return refuse("the ids of the endpoint and of its sandbox are too long");
        }
        Ok(())
    }

    /// Name of the host's end.
    pub(crate) fn host_device(&self) -> String {
        format!("{HOST_PREFIX}{}", &self.endpoint_id[..ID_DIGITS])
    }

    /// Name of the container's end, before the engine moves it.
    pub(crate) fn container_device(&self) -> String {
        format!("{CONTAINER_PREFIX}{}", &self.endpoint_id[..ID_DIGITS])
    }

    /// The alias of the host's end.
    pub(crate) fn alias(&self) -> String {
        format!(
            "{ALIAS_MARK} {} {} {} {} {} {}",
            self.endpoint_id,
            self.sandbox_id,
            self.vni,
            optional(self.v4),
            optional(self.v6),
            Mac(self.mac)
        )
    }

    /// Reads an alias; `None` when it is not one of ours.
    pub(crate) fn from_alias(alias: &str) -> Option<Self> {
        let fields: Vec<_> = alias.split(' ').collect();
        let (endpoint_id, sandbox_id, vni, (v4, v6), mac) = match fields.as_slice() {
            [ALIAS_MARK, endpoint, sandbox, vni, v4, v6, mac] => {
                (endpoint, sandbox, vni, (parse(v4)?, parse(v6)?), mac)
            }
            [ALIAS_MARK_1, endpoint, sandbox, vni, address, mac] => {
                let addresses = match address.parse::<IpNet>().ok()?.addr() {
                    IpAddr::V4(v4) => (Some(v4), None),
                    IpAddr::V6(v6) => (None, Some(v6)),
                };
                (endpoint, sandbox, vni, addresses, mac)
            }
            _ => return None,
        };
        let attachment = Self {
            endpoint_id: (*endpoint_id).to_owned(),
            sandbox_id: (*sandbox_id).to_owned(),
            vni: Vni(vni.parse().ok()?),
            v4,
            v6,
            mac: mac.parse::<Mac>().ok()?.0,
        };
        attachment.validate().ok()?;
        Some(attachment)
    }

    /// A number for the container, the same for all of its attachments: 64-bit FNV-1a of the
    /// sandbox's id, which differs between containers for all practical purposes.
    pub(crate) fn sandbox_number(&self) -> u64 {
        self.sandbox_id
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }
}

/// An address as it stands in an alias.
fn optional(address: Option<impl fmt::Display>) -> String {
    address.map_or_else(|| NO_ADDRESS.to_owned(), |address| address.to_string())
}

/// Reads what [`optional`] wrote; `None` when it is neither an address nor the mark for none.
fn parse<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == NO_ADDRESS {
        return Some(None);
    }
    text.parse().ok().map(Some)
}

/// Whether a name is one that this module gives to a device, at whichever end.
pub(crate) fn is_attachment_device(name: &str) -> bool {
    is_host_end(name) || is_end(name, CONTAINER_PREFIX)
}

/// Whether a name is one that this module gives to the host's end of a pair.
pub(crate) fn is_host_end(name: &str) -> bool {
    is_end(name, HOST_PREFIX)
}

fn is_end(name: &str, prefix: &str) -> bool {
    let id = name.strip_prefix(prefix);
    id.is_some_and(|id| id.len() == ID_DIGITS && id.bytes().all(is_digit))
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A link-layer address as people write it.
struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes: Result<Vec<u8>, _> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect();
        bytes.map_err(drop)?.try_into().map(Self).map_err(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment() -> Attachment {
        Attachment {
            endpoint_id: "0123456789abcdef".repeat(4),
            sandbox_id: "/var/run/docker/netns/0a1b2c3d4e5f".into(),
            vni: Vni(4096),
            v4: Some([10, 0, 10, 7].into()),
            v6: None,
            mac: Attachment::mac_address([10, 0, 10, 7].into()),
        }
    }

    #[test]
    fn link_addresses_are_dockers() {
        assert_eq!(attachment().mac, [0x02, 0x42, 10, 0, 10, 7]);
        let v6 = "fd00::a00:a07".parse().unwrap();
        assert_eq!(Attachment::mac_address(v6), attachment().mac);
    }

    #[test]
    fn names_of_devices_are_short_enough_and_recognised() {
        let attachment = attachment();
        assert_eq!(attachment.host_device(), "ov0123456789a");
        assert_eq!(attachment.container_device(), "op0123456789a");
        for name in [attachment.host_device(), attachment.container_device()] {
            assert!(name.len() <= 15 && is_attachment_device(&name), "{name}");
        }
        for name in [
            "ov0123456789",
            "ov0123456789g",
            "eth0",
            "ovs-system",
            "orch0",
        ] {
            assert!(!is_attachment_device(name), "{name}");
        }
    }

    #[test]
    fn an_alias_holds_the_whole_attachment() {
        let mut longest = attachment();
        longest.sandbox_id = "f".repeat(64);
        longest.v4 = Some([255; 4].into());
        longest.v6 = "fd00:1111:2222:3333:4444:5555:6666:7777".parse().ok();
        let v6_only = Attachment {
            v4: None,
            ..longest.clone()
        };
        for attachment in [attachment(), longest, v6_only] {
            attachment.validate().unwrap();
            assert_eq!(
                Attachment::from_alias(&attachment.alias()),
                Some(attachment)
            );
        }
    }

    #[test]
    fn aliases_of_earlier_daemons_are_read() {
        let now = attachment();
        let (endpoint, sandbox) = (&now.endpoint_id, &now.sandbox_id);
        let then = format!("orchd/1 {endpoint} {sandbox} 4096 10.0.10.7/24 02:42:0a:00:0a:07");
        assert_eq!(Attachment::from_alias(&then), Some(now));
    }

    #[test]
    fn aliases_of_others_are_left_alone() {
        let good = attachment().alias();
        for alias in [
            "",
            "orchd/1",
            "orchd/2",
            "uplink to rack 7",
            &good[1..],
            &format!("{good} more"),
        ] {
            assert_eq!(Attachment::from_alias(alias), None, "{alias}");
        }
    }

    #[test]
    fn unfit_ids_are_refused() {
        for (endpoint, sandbox) in [
            ("short", "s"),
            ("0123456789abcdeG", "s"),
            ("0123456789a", ""),
            ("0123456789a", "a b"),
        ] {
            let bad = Attachment {
                endpoint_id: endpoint.into(),
                sandbox_id: sandbox.into(),
                ..attachment()
            };
            assert!(bad.validate().is_err(), "{endpoint:?} {sandbox:?}");
        }
        let nowhere = Attachment {
            v4: None,
            ..attachment()
        };
        assert!(nowhere.validate().is_err());
        let long = Attachment {
            sandbox_id: "s".repeat(200),
            ..attachment()
        };
        assert!(long.validate().is_err());
    }

    #[test]
    fn sandbox_numbers_follow_the_sandbox() {
        let other = Attachment {
            sandbox_id: "other".into(),
            ..attachment()
        };
        let same = Attachment {
            vni: Vni(5000),
            ..attachment()
        };
        assert_eq!(attachment().sandbox_number(), same.sandbox_number());
        assert_ne!(attachment().sandbox_number(), other.sandbox_number());
    }
}
