//! The header of version 6 of the Internet Protocol, and the ones that may follow it.

use super::Part;
use crate::address::Address;
use crate::bytes::{Be16, Be32};
use crate::checksum;

/// An IPv6 header (RFC 8200 section 3).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Header {
    /// Version 6, traffic class and flow label.
    pub version_class_label: Be32,
    /// Length in bytes of what follows the header.
    pub payload_len: Be16,
    /// What follows the header.
    pub next: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
}

impl Ipv6Header {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the source address.
    pub const SOURCE: usize = core::mem::offset_of!(Self, source);
    /// Offset of the destination address.
    pub const DESTINATION: usize = core::mem::offset_of!(Self, destination);
    /// The hop limit of messages that no router may have passed on (RFC 4861 section 3.1).
    pub const FROM_LINK: u8 = 255;

    /// Bits of the flow label, which lies behind the traffic class.
    const CLASS_SHIFT: u32 = 20;

    /// Length of header and payload; `None` if the header is of another version, or contradicts
    /// `available`, the number of bytes from its start to the packet's end.
    #[inline(always)]
    pub const fn total_len(&self, available: u32) -> Option<usize> {
        let total = Self::LEN + self.payload_len.get() as usize;
        if self.version_class_label.get() >> 28 != 6 || total as u32 > available {
            return None;
        }
        Some(total)
    }

    /// The header of a packet that this host makes and that carries `payload` bytes.
    #[inline(always)]
    pub const fn new(source: Address, destination: Address, next: u8, payload: u16) -> Self {
        Self {
            version_class_label: Be32::new(6 << 28),
            payload_len: Be16::new(payload),
            next,
            hop_limit: 64,
            source,
            destination,
        }
    }

    /// The same for a packet that another host made.
    #[inline(always)]
    pub const fn passed_on(mut self, traffic_class: u8, hop_limit: u8) -> Self {
        let class = (traffic_class as u32) << Self::CLASS_SHIFT;
        self.version_class_label = Be32::new(self.version_class_label.get() | class);
        self.hop_limit = hop_limit;
        self
    }

    /// One's complement sum of the header.
    #[inline(always)]
    pub const fn sum(&self) -> u32 {
        let sum = checksum::add_word(0, self.version_class_label) + self.payload_len.raw() as u32;
        let sum = checksum::add_pair(sum, self.next, self.hop_limit);
        checksum::add_address(checksum::add_address(sum, &self.source), &self.destination)
    }

    /// The traffic class, which is what IPv4 calls the type of service.
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        (self.version_class_label.get() >> Self::CLASS_SHIFT) as u8
    }
}

/// The beginning of a hop-by-hop, routing or destination options header (RFC 8200 section 4).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionHeader {
    /// What follows the header.
    pub next: u8,
    /// Its length in units of 8 bytes, the first unit not counted.
    pub units: u8,
}

impl ExtensionHeader {
    /// How many are passed over before the transport header. RFC 8200 section 4.1 knows of four.
    pub const MAX: usize = 6;

    /// Whether a header of this number is one of those.
    #[inline(always)]
    pub const fn is_known(next: u8) -> bool {
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const DESTINATION_OPTIONS: u8 = 60;
        matches!(next, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS)
    }

    /// Its length in bytes.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        (self.units as usize + 1) * 8
    }
}

/// A fragment header (RFC 8200 section 4.5).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentHeader {
    /// What the whole datagram carries behind its fragment header.
    pub next: u8,
    /// Zero.
    pub reserved: u8,
    /// Offset and flags.
    pub fragment: Be16,
    /// Identification of the datagram's fragments.
    pub id: Be32,
}

impl FragmentHeader {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// The header's number.
    pub const NUMBER: u8 = 44;

    const MORE_FRAGMENTS: u16 = 1;
    const OFFSET: u16 = 0xfff8;

    /// Which part of a datagram it is. A datagram in one fragment is whole (RFC 6946).
    #[inline(always)]
    pub const fn part(&self) -> Part {
        let fragment = self.fragment.get();
        Part::new(
            fragment & Self::OFFSET != 0,
            fragment & Self::MORE_FRAGMENTS != 0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::UDP;

    const HEADER: Ipv6Header = Ipv6Header::new(Address::MESH_V6, Address::TASKS_V6, UDP, 100);

    #[test]
    fn contradicting_lengths_are_refused() {
        assert_eq!(HEADER.total_len(140), Some(140));
        assert_eq!(HEADER.total_len(139), None);
        let other = Ipv6Header {
            version_class_label: Be32::new(4 << 28),
            ..HEADER
        };
        assert_eq!(other.total_len(140), None);
    }

    #[test]
    fn the_sum_is_that_of_the_bytes() {
        // 6000:0000 0064 1140 fd6f:7263:6864::2 and ::3 of the same network.
        let network = 0xfd6f + 0x7263 + 0x6864;
        let sum = 0x6000 + 0x64 + 0x1140 + 2 * network + 2 + 3;
        let folded = ((sum & 0xffff) + (sum >> 16)) as u16;
        assert_eq!(checksum::fold(HEADER.sum()), folded.to_be());
    }

    #[test]
    fn the_traffic_class_lies_between_version_and_label() {
        let passed_on = HEADER.passed_on(0xb8, 7);
        assert_eq!(passed_on.version_class_label.get(), 0x6b80_0000);
        assert_eq!((passed_on.traffic_class(), passed_on.hop_limit), (0xb8, 7));
    }

    #[test]
    fn extension_headers_count_in_units_of_eight() {
        let options = |units| ExtensionHeader { next: UDP, units };
        assert_eq!(options(0).header_len(), 8);
        assert_eq!(options(255).header_len(), 2048);
        assert!(ExtensionHeader::is_known(0) && !ExtensionHeader::is_known(UDP));
    }

    #[test]
    fn a_datagram_in_one_fragment_is_whole() {
        let fragment = |fragment| FragmentHeader {
            next: UDP,
            reserved: 0,
            fragment: Be16::new(fragment),
            id: Be32::new(7),
        };
        assert_eq!(fragment(0).part(), Part::Whole);
        assert_eq!(fragment(1).part(), Part::First);
        assert_eq!(
            (fragment(8).part(), fragment(9).part()),
            (Part::Later, Part::Later)
        );
    }
}
