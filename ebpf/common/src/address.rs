//! Addresses: of networks, of hosts, of links; and the few that the data plane gives a meaning.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::Be32;

/// A VXLAN network identifier; zero stands for the host's own world, outside any overlay.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(Be32);

impl Vni {
    /// The host's own world.
    pub const HOST: Self = Self(Be32::ZERO);

    /// From the identifier's number.
    #[inline(always)]
    pub const fn new(id: u32) -> Self {
        Self(Be32::new(id))
    }

    /// The identifier's number.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// An IPv6 address, or an IPv4 address in its mapped form `::ffff:a.b.c.d`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([Be32; 4]);

impl Address {
    /// The unspecified address; in a [`crate::FrontendKey`]: every IPv6 address of this host.
    pub const UNSPECIFIED: Self = Self([Be32::ZERO; 4]);
    /// In a [`crate::FrontendKey`]: every IPv4 address of this host.
    pub const ANY_V4: Self = Self::from_v4(Be32::ZERO);
    /// The host's end of the host link: tasks' packets to the host arrive for it (DNS listener).
    pub const HOST_LINK: Self = Self::new_v4(169, 254, 42, 1);
    /// The published ports of this host, as its own processes see them.
    pub const MESH: Self = Self::new_v4(169, 254, 42, 2);
    /// The source address under which tasks reach services of their own host.
    pub const TASKS: Self = Self::new_v4(169, 254, 42, 3);
    /// Prefix length of the range that the three link addresses above are in.
    pub const HOST_LINK_PREFIX: u8 = 24;
    /// [`Self::HOST_LINK`] of IPv6. The range spells "orchd" behind a unique local prefix.
    pub const HOST_LINK_V6: Self = Self::new_link_v6(1);
    /// [`Self::MESH`] of IPv6.
    pub const MESH_V6: Self = Self::new_link_v6(2);
    /// [`Self::TASKS`] of IPv6.
    pub const TASKS_V6: Self = Self::new_link_v6(3);
    /// Prefix length of the range that the three IPv6 addresses above are in.
    pub const HOST_LINK_PREFIX_V6: u8 = 64;

    const fn new_v4(a: u8, b: u8, c: u8, d: u8) -> Self {
        Self::from_v4(Be32::from_bytes([a, b, c, d]))
    }

    const fn new_link_v6(last: u32) -> Self {
        Self([
            Be32::new(0xfd6f_7263),
            Be32::new(0x6864_0000),
            Be32::ZERO,
            Be32::new(last),
        ])
    }

    /// [`Self::HOST_LINK`] of a family.
    #[inline(always)]
    pub const fn host_link(is_v4: bool) -> Self {
        if is_v4 {
            Self::HOST_LINK
        } else {
            Self::HOST_LINK_V6
        }
    }

    /// [`Self::MESH`] of a family.
    #[inline(always)]
    pub const fn mesh(is_v4: bool) -> Self {
        if is_v4 { Self::MESH } else { Self::MESH_V6 }
    }

    /// [`Self::TASKS`] of a family.
    #[inline(always)]
    pub const fn tasks(is_v4: bool) -> Self {
        if is_v4 { Self::TASKS } else { Self::TASKS_V6 }
    }

    /// Every address of a family.
    #[inline(always)]
    pub const fn any(is_v4: bool) -> Self {
        if is_v4 {
            Self::ANY_V4
        } else {
            Self::UNSPECIFIED
        }
    }

    /// From an IPv4 address.
    #[inline(always)]
    pub const fn from_v4(address: Be32) -> Self {
        Self([Be32::ZERO, Be32::ZERO, Be32::new(0xffff), address])
    }

    /// From the four words of an IPv6 address, each in network byte order.
    #[inline(always)]
    pub const fn from_words(words: [Be32; 4]) -> Self {
        Self(words)
    }

    /// The four words, each in network byte order.
    #[inline(always)]
    pub const fn words(&self) -> [Be32; 4] {
        self.0
    }

    /// The sixteen bytes as they go into a packet.
    #[inline(always)]
    pub const fn bytes(&self) -> [u8; 16] {
        let [first, second, third, fourth] = self.0;
        let ([a, b, c, d], [e, f, g, h]) = (first.bytes(), second.bytes());
        let ([i, j, k, l], [m, n, o, p]) = (third.bytes(), fourth.bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        // One branch, because the verifier follows each.
        const MAPPED: u32 = Be32::new(0xffff).raw();
        self.0[0].raw() | self.0[1].raw() | (self.0[2].raw() ^ MAPPED) == 0
    }

    /// Whether it is for many: multicast, or broadcast on the link.
    #[inline(always)]
    pub fn is_to_many(&self) -> bool {
        if self.is_v4() {
            self.v4().get() >> 28 == 0xe || self.v4().get() == u32::MAX
        } else {
            self.0[0].get() >> 24 == 0xff
        }
    }

    /// Whether it is good on its link only (RFC 4291 section 2.5.6).
    #[inline(always)]
    pub const fn is_link_local_v6(&self) -> bool {
        self.0[0].get() >> 22 == 0xfe80 >> 6
    }

    /// The last four bytes: the IPv4 address where [`Self::is_v4`] holds.
    #[inline(always)]
    pub const fn v4(&self) -> Be32 {
        self.0[3]
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_v4(Be32::from_bytes(address.octets()))
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        let o = address.octets();
        Self([
            Be32::from_bytes([o[0], o[1], o[2], o[3]]),
            Be32::from_bytes([o[4], o[5], o[6], o[7]]),
            Be32::from_bytes([o[8], o[9], o[10], o[11]]),
            Be32::from_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Self::V6(Ipv6Addr::from(address.bytes())).to_canonical()
    }
}

/// A link-layer address.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// What every neighbour and every gateway of a task looks like: 02:"orch":01.
    pub const GATEWAY: Self = Self([0x02, b'o', b'r', b'c', b'h', 0x01]);
    /// To everyone on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["10.0.10.7", "fd00::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
            assert_eq!(Address::from(ip).is_v4(), ip.is_ipv4());
        }
        assert_eq!(IpAddr::from(Address::MESH), IpAddr::from([169, 254, 42, 2]));
        assert_eq!(
            IpAddr::from(Address::MESH_V6),
            "fd6f:7263:6864::2".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn addresses_of_many_and_of_the_link_are_recognised() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        for many in ["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"] {
            assert!(address(many).is_to_many(), "{many}");
        }
        for one in ["240.0.0.1", "10.0.0.255", "fd00::1", "::"] {
            assert!(!address(one).is_to_many(), "{one}");
        }
        assert!(address("fe80::1").is_link_local_v6() && address("febf::1").is_link_local_v6());
        assert!(!address("fec0::1").is_link_local_v6() && !Address::MESH.is_link_local_v6());
    }

    #[test]
    fn a_mapped_address_equals_the_v4_one() {
        let mapped: Ipv6Addr = "::ffff:1.2.3.4".parse().unwrap();
        assert_eq!(
            Address::from(mapped),
            Address::from(Ipv4Addr::new(1, 2, 3, 4))
        );
        assert_eq!(Address::from(mapped).v4().bytes(), [1, 2, 3, 4]);
    }
}
