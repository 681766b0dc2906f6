//! TCP's header, and the reset that refuses a segment.

use crate::bytes::{Be16, Be32};
use crate::checksum;

/// A TCP header without options (RFC 9293).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpHeader {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
    /// Sequence number.
    pub sequence: Be32,
    /// Acknowledgement number.
    pub acknowledgement: Be32,
    /// The header's length in words, in the upper half.
    pub data_offset: u8,
    /// Control bits.
    pub flags: u8,
    /// Receive window.
    pub window: Be16,
    /// Checksum.
    pub checksum: Be16,
    /// Urgent pointer.
    pub urgent: Be16,
}

impl TcpHeader {
    /// Length in bytes without options.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the checksum.
    pub const CHECKSUM: usize = core::mem::offset_of!(Self, checksum);
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Ends a connection at once.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;

    /// Whether it is the first segment of a connection.
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.flags & (Self::SYN | Self::ACK | Self::RST) == Self::SYN
    }

    /// Whether it is the first segment of one direction of a connection.
    #[inline(always)]
    pub const fn synchronizes(&self) -> bool {
        self.flags & Self::SYN != 0
    }

    /// Length in bytes with its options; `None` if it contradicts itself or `available`, the number
    /// of bytes from its start to the packet's end.
    #[inline(always)]
    pub const fn header_len(&self, available: usize) -> Option<usize> {
        let len = (self.data_offset >> 4) as usize * 4;
        if len < Self::LEN || len > available {
            return None;
        }
        Some(len)
    }

    /// Whether it ends a connection, or one direction of it.
    #[inline(always)]
    pub const fn closes(&self) -> bool {
        self.flags & (Self::FIN | Self::RST) != 0
    }

    /// What a host without such a connection answers (RFC 9293 section 3.10.7.1), checksum not
    /// filled in; `None` for a reset, which is never answered. `segment` is the length of the
    /// whole segment, header included.
    #[inline(always)]
    pub const fn reset(&self, segment: u16) -> Option<Self> {
        if self.flags & Self::RST != 0 {
            return None;
        }
        let header = (self.data_offset >> 4) as u16 * 4;
        let has_ack = self.flags & Self::ACK != 0;
        let consumed = segment.saturating_sub(header) as u32
            + (self.flags & Self::SYN != 0) as u32
            + (self.flags & Self::FIN != 0) as u32;
        Some(Self {
            source: self.destination,
            destination: self.source,
            sequence: if has_ack {
                self.acknowledgement
            } else {
                Be32::ZERO
            },
            acknowledgement: if has_ack {
                Be32::ZERO
            } else {
                Be32::new(self.sequence.get().wrapping_add(consumed))
            },
            data_offset: 5 << 4,
            flags: if has_ack {
                Self::RST
            } else {
                Self::RST | Self::ACK
            },
            window: Be16::ZERO,
            checksum: Be16::ZERO,
            urgent: Be16::ZERO,
        })
    }

    /// One's complement sum of the header without options, checksum included.
    #[inline(always)]
    pub fn sum(&self) -> u32 {
        self.source.raw() as u32
            + self.destination.raw() as u32
            + checksum::add_word(0, self.sequence)
            + checksum::add_word(0, self.acknowledgement)
            + checksum::add_pair(0, self.data_offset, self.flags)
            + self.window.raw() as u32
            + self.checksum.raw() as u32
            + self.urgent.raw() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: TcpHeader = TcpHeader {
        source: Be16::new(40000),
        destination: Be16::new(80),
        sequence: Be32::new(u32::MAX),
        acknowledgement: Be32::ZERO,
        data_offset: 10 << 4,
        flags: TcpHeader::SYN,
        window: Be16::new(64240),
        checksum: Be16::new(0x1234),
        urgent: Be16::ZERO,
    };

    #[test]
    fn a_syn_is_refused_with_an_acknowledging_reset() {
        let reset = SYN.reset(40).unwrap();
        assert_eq!(
            (reset.source, reset.destination),
            (SYN.destination, SYN.source)
        );
        assert_eq!(reset.flags, TcpHeader::RST | TcpHeader::ACK);
        assert_eq!((reset.sequence.get(), reset.acknowledgement.get()), (0, 0));
        assert!(SYN.opens() && SYN.synchronizes());
    }

    #[test]
    fn data_and_fin_count_into_the_acknowledgement() {
        let segment = TcpHeader {
            flags: TcpHeader::FIN,
            sequence: Be32::new(100),
            ..SYN
        };
        assert_eq!(segment.reset(45).unwrap().acknowledgement.get(), 106);
        assert!(segment.closes() && !SYN.closes());
    }

    #[test]
    fn a_segment_with_ack_is_refused_with_its_own_number() {
        let segment = TcpHeader {
            flags: TcpHeader::ACK,
            acknowledgement: Be32::new(77),
            ..SYN
        };
        let reset = segment.reset(1400).unwrap();
        assert_eq!(reset.flags, TcpHeader::RST);
        assert_eq!((reset.sequence.get(), reset.acknowledgement.get()), (77, 0));
        assert!(!segment.opens());
    }

    #[test]
    fn contradicting_lengths_are_refused() {
        assert_eq!(SYN.header_len(40), Some(40));
        assert_eq!(SYN.header_len(39), None);
        let short = TcpHeader {
            data_offset: 4 << 4,
            ..SYN
        };
        assert_eq!(short.header_len(40), None);
    }

    #[test]
    fn a_reset_is_never_answered() {
        assert_eq!(
            TcpHeader {
                flags: TcpHeader::RST,
                ..SYN
            }
            .reset(40),
            None
        );
    }
}
