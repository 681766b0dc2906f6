//! Keys and values of the maps in words, for people who look at them.

use std::net::IpAddr;
use std::sync::Arc;

use orch_ebpf_common::{
    Address, Attachment, Backend, BackendKey, Config, Endpoint, EndpointKey, Frontend, FrontendKey,
    Maglev, MaglevKey, MemberKey, NameAddresses, NameKey, Network, Sandbox, SandboxAddressKey,
    SourceKey, Subnet, SubnetKey, Vni,
};

use crate::tables::{SourcePrefix, SubnetPrefix};

/// A key or a value that people can read.
pub(crate) trait Shown {
    /// Its text, on one line.
    fn shown(&self) -> String;
}

/// The name of an IP protocol.
pub fn protocol_name(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmpv6".into(),
        132 => "sctp".into(),
        other => format!("protocol {other}"),
    }
}

fn ip(address: Address) -> String {
    IpAddr::from(address).to_string()
}

/// An address of a network, as `4096/10.0.10.7`; of the host, without a number.
fn in_network(vni: Vni, address: Address) -> String {
    match vni {
        Vni::HOST => ip(address),
        _ => format!("{}/{}", vni.get(), ip(address)),
    }
}

fn flags(held: u32, names: &[(u32, &'static str)]) -> String {
    let set = names.iter().filter(|(bit, _)| held & bit != 0);
    set.map(|(_, name)| format!(" {name}")).collect()
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Shown for $type {
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
numbers!(u32, u64);

impl Shown for Vni {
    fn shown(&self) -> String {
        self.get().to_string()
    }
}

impl Shown for Address {
    fn shown(&self) -> String {
        ip(*self)
    }
}

impl Shown for EndpointKey {
    fn shown(&self) -> String {
        in_network(self.vni, self.address)
    }
}

impl Shown for SubnetPrefix {
    fn shown(&self) -> String {
        let (bits, SubnetKey { vni, address }) = self;
        let whole = SubnetKey::prefix_len(address.is_v4(), 0);
        let prefix = bits.saturating_sub(whole);
        format!("{}/{prefix}", in_network(*vni, *address))
    }
}

impl Shown for SandboxAddressKey {
    fn shown(&self) -> String {
        format!("{} {}", self.sandbox, ip(self.address))
    }
}

impl Shown for FrontendKey {
    fn shown(&self) -> String {
        if self.protocol == Self::ANY_PROTOCOL {
            return in_network(self.vni, self.address);
        }
        let address = match IpAddr::from(self.address) {
            IpAddr::V4(v4) if v4.is_unspecified() => "*".to_owned(),
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) if v6.is_unspecified() => "[*]".to_owned(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let protocol = protocol_name(self.protocol);
        format!("{address}:{}/{protocol}", self.port.get())
    }
}

impl Shown for BackendKey {
    fn shown(&self) -> String {
        format!(
            "{} generation {} slot {}",
            self.frontend.shown(),
            self.generation,
            self.slot
        )
    }
}

impl Shown for MaglevKey {
    fn shown(&self) -> String {
        format!("{} generation {}", self.frontend.shown(), self.generation)
    }
}

impl Shown for Arc<Maglev> {
    fn shown(&self) -> String {
        let backends = self.0.iter().max().map_or(0, |slot| slot + 1);
        format!("a table over {backends} backends")
    }
}

impl Shown for SourcePrefix {
    fn shown(&self) -> String {
        let (bits, SourceKey { frontend, client }) = self;
        let whole = SourceKey::prefix_len(client.is_v4(), 0);
        let prefix = bits.saturating_sub(whole);
        format!("{} from {}/{prefix}", frontend.shown(), ip(*client))
    }
}

impl Shown for MemberKey {
    fn shown(&self) -> String {
        format!("{} {}", self.frontend.shown(), self.backend.shown())
    }
}

impl Shown for NameKey {
    fn shown(&self) -> String {
        let mut text = format!("{}/", self.vni.get());
        let mut rest = &self.name[..];
        while let Some((&length, after)) = rest.split_first()
            && length != 0
            && after.len() >= usize::from(length)
        {
            let (label, next) = after.split_at(usize::from(length));
            text.push_str(&label.escape_ascii().to_string());
            text.push('.');
            rest = next;
        }
        text
    }
}

impl Shown for Network {
    fn shown(&self) -> String {
        match self.flags & Self::INTERNAL {
            0 => "open".into(),
            _ => "internal".into(),
        }
    }
}

impl Shown for Subnet {
    fn shown(&self) -> String {
        format!("of {} gateway {}", self.vni.get(), ip(self.gateway))
    }
}

impl Shown for Endpoint {
    fn shown(&self) -> String {
        let node = ip(self.node);
        match self.ifindex {
            0 => format!("on {node}"),
            ifindex => format!("on {node} device {ifindex} mac {}", mac(self.mac.0)),
        }
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

impl Shown for Attachment {
    fn shown(&self) -> String {
        let addresses = [self.v4, self.v6].into_iter();
        let addresses: Vec<_> = addresses
            .filter(|address| *address != Address::UNSPECIFIED)
            .map(|address| in_network(self.vni, address))
            .collect();
        format!("{} of sandbox {}", addresses.join(" "), self.sandbox)
    }
}

impl Shown for Sandbox {
    fn shown(&self) -> String {
        let networks = self.networks.iter().take(self.count as usize);
        let networks: Vec<_> = networks.map(Shown::shown).collect();
        format!("networks {}", networks.join(" "))
    }
}

impl Shown for Frontend {
    fn shown(&self) -> String {
        let names = [
            (Self::MAGLEV, "maglev"),
            (Self::DIRECT_RETURN, "dsr"),
            (Self::SOURCES, "sources"),
            (Self::SOURCES_ONLY, "sources-only"),
            (Self::RETIRED, "retired"),
        ];
        let affinity = match self.affinity {
            0 => String::new(),
            seconds => format!(" affinity {seconds}s"),
        };
        format!(
            "{} backends, generation {} service {}{affinity}{}",
            self.count,
            self.generation,
            self.service,
            flags(self.flags, &names)
        )
    }
}

impl Shown for Backend {
    fn shown(&self) -> String {
        let address = in_network(self.vni, self.address);
        match self.port.get() {
            0 => address,
            port => format!("{address} port {port}"),
        }
    }
}

impl Shown for NameAddresses {
    fn shown(&self) -> String {
        let v4 = self.v4.iter().take(self.count_v4 as usize);
        let v4 = v4.map(|address| ip(Address::from_v4(*address)));
        let v6 = self.v6.iter().take(self.count_v6 as usize);
        let all: Vec<_> = v4.chain(v6.map(|address| ip(*address))).collect();
        match all.is_empty() {
            true => "no addresses".into(),
            false => all.join(" "),
        }
    }
}

impl Shown for Config {
    fn shown(&self) -> String {
        format!(
            "node {} outside {} {} devices vxlan {} host {} uplink {} mtu {} flags {}",
            ip(self.node),
            ip(self.outside_v4),
            ip(self.outside_v6),
            self.vxlan_ifindex,
            self.host_ifindex,
            self.uplink_ifindex,
            self.overlay_mtu,
            self.flags
        )
    }
}

#[cfg(test)]
mod tests {
    use orch_ebpf_common::Be16;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn frontends_read_as_people_write_them() {
        let vip = FrontendKey::vip(Vni::new(4096), address("10.0.10.2"));
        assert_eq!(vip.shown(), "4096/10.0.10.2");
        let port = Be16::new(8080);
        assert_eq!(FrontendKey::published(true, 6, port).shown(), "*:8080/tcp");
        assert_eq!(
            FrontendKey::published(false, 6, port).shown(),
            "[*]:8080/tcp"
        );
        let one = FrontendKey::published_at(address("fd00::1"), 17, port);
        assert_eq!(one.shown(), "[fd00::1]:8080/udp");
    }

    #[test]
    fn a_name_reads_as_a_name_whatever_its_bytes() {
        let name = NameKey::new(Vni::new(4096), "tasks.web").unwrap();
        assert_eq!(name.shown(), "4096/tasks.web.");
        let damaged = NameKey {
            vni: Vni::new(1),
            name: [0xff; 128],
        };
        assert_eq!(damaged.shown(), "1/");
    }

    #[test]
    fn a_subnet_has_the_prefix_of_its_family() {
        let key = |text: &str| SubnetKey {
            vni: Vni::new(7),
            address: address(text),
        };
        let v4 = (SubnetKey::prefix_len(true, 24), key("10.0.10.0"));
        assert_eq!(v4.shown(), "7/10.0.10.0/24");
        let v6 = (SubnetKey::prefix_len(false, 64), key("fd00::"));
        assert_eq!(v6.shown(), "7/fd00::/64");
    }
}
