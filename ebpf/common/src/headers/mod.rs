//! Packet headers as they lie on the wire, and the replies that are made from them.

use crate::address::MacAddress;
use crate::bytes::Be16;

mod arp;
mod icmp;
mod ipv4;
mod ipv6;
mod neighbour;
pub mod sctp;
mod tcp;
pub mod tcp_options;

pub use arp::ArpMessage;
pub use icmp::{IcmpHeader, IcmpMessage, Unreachable};
pub use ipv4::Ipv4Header;
pub use ipv6::{ExtensionHeader, FragmentHeader, Ipv6Header};
pub use neighbour::NeighbourMessage;
pub use sctp::SctpHeader;
pub use tcp::TcpHeader;

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub const ICMP_V6: u8 = 58;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of SCTP.
pub const SCTP: u8 = 132;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// IP protocol number of a family's ICMP.
#[inline(always)]
pub const fn icmp(is_v4: bool) -> u8 {
    if is_v4 { ICMP } else { ICMP_V6 }
}

/// Which part of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its beginning, with the transport header.
    First,
    /// Another part.
    Later,
}

impl Part {
    /// By what its fragment header says: not at the beginning, and not the end.
    #[inline(always)]
    const fn new(has_offset: bool, more: bool) -> Self {
        match (has_offset, more) {
            (true, _) => Self::Later,
            (false, true) => Self::First,
            (false, false) => Self::Whole,
        }
    }
}

/// An Ethernet header without tags.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Who should take the frame.
    pub destination: MacAddress,
    /// Who sent it.
    pub source: MacAddress,
    /// What it carries.
    pub ether_type: Be16,
}

impl EthernetHeader {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the EtherType.
    pub const ETHER_TYPE: usize = core::mem::offset_of!(Self, ether_type);
}

/// A UDP header (RFC 768).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpHeader {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
    /// Length of header and payload in bytes.
    pub len: Be16,
    /// Checksum; zero if the sender made none.
    pub checksum: Be16,
}

impl UdpHeader {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the checksum.
    pub const CHECKSUM: usize = core::mem::offset_of!(Self, checksum);
    /// A checksum that came out as zero, which would say that there is none.
    pub const ZERO_SUM: Be16 = Be16::new(0xffff);

    /// One's complement sum of the header, checksum included.
    #[inline(always)]
    pub const fn sum(&self) -> u32 {
        self.source.raw() as u32
            + self.destination.raw() as u32
            + self.len.raw() as u32
            + self.checksum.raw() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_length_on_the_wire() {
        assert_eq!(EthernetHeader::LEN, 14);
        assert_eq!(size_of::<ArpMessage>(), 28);
        assert_eq!(Ipv4Header::LEN, 20);
        assert_eq!((Ipv6Header::LEN, Ipv6Header::SOURCE), (40, 8));
        assert_eq!(size_of::<ExtensionHeader>(), 2);
        assert_eq!(FragmentHeader::LEN, 8);
        assert_eq!((NeighbourMessage::LEN, NeighbourMessage::OPTION), (32, 24));
        assert_eq!(TcpHeader::LEN, 20);
        assert_eq!(UdpHeader::LEN, 8);
        assert_eq!(IcmpHeader::LEN, 8);
        assert_eq!((SctpHeader::LEN, SctpHeader::CHECKSUM), (16, 8));
        assert_eq!((Ipv4Header::CHECKSUM, Ipv4Header::SOURCE), (10, 12));
        assert_eq!(
            (
                TcpHeader::CHECKSUM,
                UdpHeader::CHECKSUM,
                IcmpHeader::CHECKSUM
            ),
            (16, 6, 2)
        );
    }
}
