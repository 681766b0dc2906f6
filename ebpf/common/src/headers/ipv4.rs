//! The Internet Protocol's header.

use super::Part;
use crate::bytes::{Be16, Be32};
use crate::checksum;

/// An IPv4 header without its options (RFC 791).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Version 4 and the header's length in words.
    pub version_ihl: u8,
    /// Type of service.
    pub tos: u8,
    /// Length of header and payload in bytes.
    pub total_len: Be16,
    /// Identification of the datagram's fragments.
    pub id: Be16,
    /// Flags and fragment offset.
    pub fragment: Be16,
    /// Hops left.
    pub ttl: u8,
    /// What it carries.
    pub protocol: u8,
    /// Checksum of the header.
    pub checksum: Be16,
    /// Source address.
    pub source: Be32,
    /// Destination address.
    pub destination: Be32,
}

impl Ipv4Header {
    /// Length in bytes without options.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the checksum.
    pub const CHECKSUM: usize = core::mem::offset_of!(Self, checksum);
    /// Offset of the source address.
    pub const SOURCE: usize = core::mem::offset_of!(Self, source);
    /// Offset of the destination address.
    pub const DESTINATION: usize = core::mem::offset_of!(Self, destination);

    const MORE_FRAGMENTS: u16 = 0x2000;
    const DONT_FRAGMENT: u16 = 0x4000;
    const OFFSET: u16 = 0x1fff;

    /// Length of the header with its options, 20 to 60; `None` if the header contradicts itself
    /// or `available`, the number of bytes from its start to the packet's end.
    #[inline(always)]
    pub const fn header_len(&self, available: u32) -> Option<usize> {
        let len = (self.version_ihl & 0x0f) as usize * 4;
        let total = self.total_len.get() as usize;
        if self.version_ihl >> 4 != 4 || len < Self::LEN || total < len || total as u32 > available
        {
            return None;
        }
        Some(len)
    }

    /// Which part of a datagram it is.
    #[inline(always)]
    pub const fn part(&self) -> Part {
        let fragment = self.fragment.get();
        Part::new(
            fragment & Self::OFFSET != 0,
            fragment & Self::MORE_FRAGMENTS != 0,
        )
    }

    /// Whether a router may cut it into fragments.
    #[inline(always)]
    pub const fn may_be_cut(&self) -> bool {
        self.fragment.get() & Self::DONT_FRAGMENT == 0
    }

    /// The header of a packet that this host makes and that carries `payload` bytes.
    #[inline(always)]
    pub fn new(source: Be32, destination: Be32, protocol: u8, payload: u16) -> Self {
        let mut header = Self {
            version_ihl: 0x45,
            tos: 0,
            total_len: Be16::new(Self::LEN as u16 + payload),
            id: Be16::ZERO,
            fragment: Be16::new(Self::DONT_FRAGMENT),
            ttl: 64,
            protocol,
            checksum: Be16::ZERO,
            source,
            destination,
        };
        header.checksum = checksum::finish(header.sum());
        header
    }

    /// The same for a packet that another host made.
    #[inline(always)]
    pub fn passed_on(mut self, tos: u8, ttl: u8) -> Self {
        self.tos = tos;
        self.ttl = ttl;
        self.checksum = Be16::ZERO;
        self.checksum = checksum::finish(self.sum());
        self
    }

    /// One's complement sum of the header without options, checksum included.
    #[inline(always)]
    pub fn sum(&self) -> u32 {
        checksum::add_pair(0, self.version_ihl, self.tos)
            + self.total_len.raw() as u32
            + self.id.raw() as u32
            + self.fragment.raw() as u32
            + checksum::add_pair(0, self.ttl, self.protocol)
            + self.checksum.raw() as u32
            + checksum::add_word(0, self.source)
            + checksum::add_word(0, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{ICMP, UDP};

    const HEADER: Ipv4Header = Ipv4Header {
        version_ihl: 0x45,
        tos: 0,
        total_len: Be16::new(0x73),
        id: Be16::ZERO,
        fragment: Be16::new(0x4000),
        ttl: 64,
        protocol: UDP,
        checksum: Be16::new(0xb861),
        source: Be32::from_bytes([192, 168, 0, 1]),
        destination: Be32::from_bytes([192, 168, 0, 199]),
    };

    #[test]
    fn a_right_header_sums_to_all_ones() {
        assert_eq!(checksum::finish(HEADER.sum()), Be16::ZERO);
        let made = Ipv4Header::new(HEADER.source, HEADER.destination, ICMP, 8);
        assert_eq!(checksum::finish(made.sum()), Be16::ZERO);
        let passed_on = made.passed_on(0xb8, 7);
        assert_eq!((passed_on.tos, passed_on.ttl), (0xb8, 7));
        assert_eq!(checksum::finish(passed_on.sum()), Be16::ZERO);
    }

    #[test]
    fn contradicting_lengths_are_refused() {
        assert_eq!(HEADER.header_len(0x73), Some(20));
        assert_eq!(
            HEADER.header_len(0x72),
            None,
            "the packet ends before the datagram"
        );
        assert_eq!(
            Ipv4Header {
                version_ihl: 0x44,
                ..HEADER
            }
            .header_len(200),
            None
        );
        assert_eq!(
            Ipv4Header {
                version_ihl: 0x65,
                ..HEADER
            }
            .header_len(200),
            None
        );
        let short = Ipv4Header {
            version_ihl: 0x4f,
            total_len: Be16::new(40),
            ..HEADER
        };
        assert_eq!(
            short.header_len(200),
            None,
            "the header is longer than the datagram"
        );
        let options = Ipv4Header {
            version_ihl: 0x46,
            ..HEADER
        };
        assert_eq!(options.header_len(200), Some(24));
    }

    #[test]
    fn fragments_are_recognised() {
        let with = |fragment| Ipv4Header {
            fragment: Be16::new(fragment),
            ..HEADER
        };
        assert_eq!(HEADER.part(), Part::Whole);
        assert_eq!(with(0x2000).part(), Part::First);
        assert_eq!(with(0x2001).part(), Part::Later);
        assert_eq!(with(0x0001).part(), Part::Later);
        assert!(with(0x2000).may_be_cut() && !HEADER.may_be_cut());
    }
}
