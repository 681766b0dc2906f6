//! The Internet Protocol's header.

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

    /// All zeros.
    pub const EMPTY: Self = Self {
        version_ihl: 0,
        tos: 0,
        total_len: Be16::ZERO,
        id: Be16::ZERO,
        fragment: Be16::ZERO,
        ttl: 0,
        protocol: 0,
        checksum: Be16::ZERO,
        source: Be32::ZERO,
        destination: Be32::ZERO,
    };

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

    /// Whether it is one part of several, and so may lack the transport header.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.fragment.get() & (Self::MORE_FRAGMENTS | Self::OFFSET) != 0
    }

    /// Whether it is for many: multicast, or broadcast on the link.
    #[inline(always)]
    pub const fn is_to_many(&self) -> bool {
        self.destination.get() >> 28 == 0xe || self.destination.get() == u32::MAX
    }

    /// The header of an answer to this packet's sender that carries `payload` bytes.
    #[inline(always)]
    pub fn reply(&self, protocol: u8, payload: u16) -> Self {
        let mut header = Self {
            version_ihl: 0x45,
            tos: 0,
            total_len: Be16::new(Self::LEN as u16 + payload),
            id: Be16::ZERO,
            fragment: Be16::new(Self::DONT_FRAGMENT),
            ttl: 64,
            protocol,
            checksum: Be16::ZERO,
            source: self.destination,
            destination: self.source,
        };
        header.checksum = checksum::finish(header.sum());
        header
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

    /// One's complement sum of the pseudo header that TCP and UDP checksums begin with.
    #[inline(always)]
    pub fn pseudo_sum(&self, payload: u16) -> u32 {
        checksum::add_word(0, self.source)
            + checksum::add_word(0, self.destination)
            + checksum::add_pair(0, 0, self.protocol)
            + Be16::new(payload).raw() as u32
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
        assert_eq!(checksum::finish(HEADER.reply(ICMP, 8).sum()), Be16::ZERO);
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
    fn fragments_and_multicast_are_recognised() {
        assert!(!HEADER.is_fragment());
        assert!(
            Ipv4Header {
                fragment: Be16::new(0x2000),
                ..HEADER
            }
            .is_fragment()
        );
        assert!(
            Ipv4Header {
                fragment: Be16::new(0x0001),
                ..HEADER
            }
            .is_fragment()
        );
        let to = |bytes| Ipv4Header {
            destination: Be32::from_bytes(bytes),
            ..HEADER
        };
        assert!(!HEADER.is_to_many());
        assert!(to([224, 0, 0, 1]).is_to_many());
        assert!(to([239, 255, 255, 255]).is_to_many());
        assert!(to([255, 255, 255, 255]).is_to_many());
        assert!(!to([240, 0, 0, 1]).is_to_many());
    }
}
