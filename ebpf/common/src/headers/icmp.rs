//! ICMP's header, of both versions.

use crate::bytes::Be16;
use crate::checksum;
use crate::headers::{Ipv4Header, Ipv6Header, NeighbourMessage};

/// An ICMP header (RFC 792, RFC 4443), as echo messages use it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpHeader {
    /// Message type.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Checksum of the message.
    pub checksum: Be16,
    /// Identifier of an echo.
    pub id: Be16,
    /// Sequence number of an echo.
    pub sequence: Be16,
}

/// What a message is for, whatever the version calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpMessage {
    /// Asks for an echo.
    EchoRequest,
    /// Is one.
    EchoReply,
    /// Says that a packet, which it quotes, did not arrive.
    Error,
    /// Is between neighbours of one link: neighbour discovery, multicast listeners.
    Neighbour,
    /// Anything else.
    Other,
}

/// What did not exist for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// A way to the network.
    Network,
    /// The address.
    Host,
    /// Somebody who listens on the port.
    Port,
}

impl IcmpHeader {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the checksum.
    pub const CHECKSUM: usize = core::mem::offset_of!(Self, checksum);
    /// Offset of an echo's identifier.
    pub const ID: usize = core::mem::offset_of!(Self, id);

    /// By how many bytes a packet grows when it becomes IPv6.
    const GROWTH: u32 = (Ipv6Header::LEN - Ipv4Header::LEN) as u32;
    /// What every link passes (RFC 8200 section 5).
    const MIN_MTU_V6: u32 = 1280;

    /// What the message is for.
    #[inline(always)]
    pub const fn message(&self, is_v4: bool) -> IcmpMessage {
        if is_v4 {
            return match self.kind {
                8 => IcmpMessage::EchoRequest,
                0 => IcmpMessage::EchoReply,
                // Unreachable, time exceeded, parameter problem.
                3 | 11 | 12 => IcmpMessage::Error,
                _ => IcmpMessage::Other,
            };
        }
        const LISTENER_FIRST: u8 = 130;
        const LISTENER_REPORT: u8 = 143;
        match self.kind {
            128 => IcmpMessage::EchoRequest,
            129 => IcmpMessage::EchoReply,
            // Unreachable, packet too big, time exceeded, parameter problem.
            1..=4 => IcmpMessage::Error,
            LISTENER_FIRST..=NeighbourMessage::REDIRECT | LISTENER_REPORT => IcmpMessage::Neighbour,
            _ => IcmpMessage::Other,
        }
    }

    /// Type and code of echo requests.
    #[inline(always)]
    pub const fn echo_request(is_v4: bool) -> Be16 {
        Be16::from_bytes([if is_v4 { 8 } else { 128 }, 0])
    }

    /// Type and code of echo replies.
    #[inline(always)]
    pub const fn echo_reply(is_v4: bool) -> Be16 {
        Be16::from_bytes([if is_v4 { 0 } else { 129 }, 0])
    }

    /// A destination unreachable message, checksum not filled in.
    #[inline(always)]
    pub const fn unreachable(is_v4: bool, what: Unreachable) -> Self {
        let (kind, code) = match (is_v4, what) {
            (true, Unreachable::Network) => (3, 0),
            (true, Unreachable::Host) => (3, 1),
            (true, Unreachable::Port) => (3, 3),
            (false, Unreachable::Network) => (1, 0),
            (false, Unreachable::Host) => (1, 3),
            (false, Unreachable::Port) => (1, 4),
        };
        Self::error(kind, code)
    }

    /// Tells the size that would have passed, in bytes; checksum not filled in (RFC 1191 section 4,
    /// RFC 4443 section 3.2).
    #[inline(always)]
    pub const fn too_big(is_v4: bool, mtu: u32) -> Self {
        let (kind, code) = if is_v4 { (3, 4) } else { (2, 0) };
        Self {
            kind,
            code,
            checksum: Be16::ZERO,
            // Zero for IPv4, whose sizes have 16 bits.
            id: Be16::new((mtu >> 16) as u16),
            sequence: Be16::new(mtu as u16),
        }
    }

    /// The error that says the same in the other version, checksum not filled in; `None` if that
    /// has no word for it (RFC 7915 sections 4.2 and 5.2).
    #[inline(always)]
    pub fn in_other_family(&self, is_v4: bool) -> Option<Self> {
        if is_v4 { self.in_v6() } else { self.in_v4() }
    }

    #[inline(always)]
    fn in_v6(&self) -> Option<Self> {
        let mtu = u32::from(self.sequence.get()) + Self::GROWTH;
        Some(match (self.kind, self.code) {
            (3, 0 | 1 | 5..=8 | 11 | 12) => Self::error(1, 0),
            (3, 3) => Self::error(1, 4),
            // A router that does not say which size would pass means any.
            (3, 4) if mtu < Self::MIN_MTU_V6 => Self::too_big(false, Self::MIN_MTU_V6),
            (3, 4) => Self::too_big(false, mtu),
            (3, 9 | 10 | 13 | 15) => Self::error(1, 1),
            (11, code) => Self::error(3, code),
            _ => return None,
        })
    }

    #[inline(always)]
    fn in_v4(&self) -> Option<Self> {
        Some(match (self.kind, self.code) {
            (1, 0 | 2 | 3) => Self::error(3, 1),
            (1, 1) => Self::error(3, 10),
            (1, 4) => Self::error(3, 3),
            (2, _) if self.id.get() != 0 => Self::too_big(true, u16::MAX.into()),
            (2, _) => {
                let mtu = u32::from(self.sequence.get());
                Self::too_big(true, mtu.saturating_sub(Self::GROWTH))
            }
            (3, code) => Self::error(11, code),
            (4, 1) => Self::error(3, 2),
            _ => return None,
        })
    }

    #[inline(always)]
    const fn error(kind: u8, code: u8) -> Self {
        Self {
            kind,
            code,
            checksum: Be16::ZERO,
            id: Be16::ZERO,
            sequence: Be16::ZERO,
        }
    }

    /// One's complement sum of the header, checksum included.
    #[inline(always)]
    pub fn sum(&self) -> u32 {
        checksum::add_pair(0, self.kind, self.code)
            + self.checksum.raw() as u32
            + self.id.raw() as u32
            + self.sequence.raw() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_that_fits_lies_in_the_last_bytes() {
        let v4 = IcmpHeader::too_big(true, 1450);
        let v6 = IcmpHeader::too_big(false, 1450);
        assert_eq!((v4.kind, v4.code, v6.kind, v6.code), (3, 4, 2, 0));
        for header in [v4, v6] {
            assert_eq!((header.id.get(), header.sequence.get()), (0, 1450));
        }
    }

    #[test]
    fn errors_say_the_same_in_the_other_version() {
        let said = |is_v4, kind, code, mtu: u32| {
            let header = IcmpHeader {
                kind,
                code,
                ..IcmpHeader::too_big(is_v4, mtu)
            };
            let other = header.in_other_family(is_v4)?;
            Some((other.kind, other.code, other.sequence.get()))
        };
        for (v6, v4) in [
            ((1, 0, 0), Some((3, 1, 0))),
            ((1, 1, 0), Some((3, 10, 0))),
            ((1, 3, 0), Some((3, 1, 0))),
            ((1, 4, 0), Some((3, 3, 0))),
            ((1, 7, 0), None),
            ((2, 0, 1280), Some((3, 4, 1260))),
            ((2, 0, 7), Some((3, 4, 0))),
            ((2, 0, 70_000), Some((3, 4, 0xffff))),
            ((3, 1, 0), Some((11, 1, 0))),
            ((4, 1, 40), Some((3, 2, 0))),
            ((4, 0, 40), None),
        ] {
            assert_eq!(said(false, v6.0, v6.1, v6.2), v4, "{v6:?}");
        }
        for (v4, v6) in [
            ((3, 1, 0), Some((1, 0, 0))),
            ((3, 2, 0), None),
            ((3, 3, 0), Some((1, 4, 0))),
            ((3, 4, 1400), Some((2, 0, 1420))),
            ((3, 4, 0), Some((2, 0, 1280))),
            ((3, 13, 0), Some((1, 1, 0))),
            ((11, 0, 0), Some((3, 0, 0))),
            ((12, 0, 0), None),
        ] {
            assert_eq!(said(true, v4.0, v4.1, v4.2), v6, "{v4:?}");
        }
    }

    #[test]
    fn the_versions_number_their_messages_differently() {
        let message = |is_v4, kind| {
            let header = IcmpHeader::unreachable(is_v4, Unreachable::Host);
            IcmpHeader { kind, ..header }.message(is_v4)
        };
        assert_eq!(message(true, 3), IcmpMessage::Error);
        assert_eq!(message(false, 3), IcmpMessage::Error);
        assert_eq!(message(true, 1), IcmpMessage::Other);
        assert_eq!(message(false, 1), IcmpMessage::Error);
        assert_eq!(message(false, 12), IcmpMessage::Other);
        for kind in [130, 133, 135, 137, 143] {
            assert_eq!(message(false, kind), IcmpMessage::Neighbour, "{kind}");
            assert_eq!(message(true, kind), IcmpMessage::Other, "{kind}");
        }
        for is_v4 in [true, false] {
            let [request, reply] = [
                IcmpHeader::echo_request(is_v4),
                IcmpHeader::echo_reply(is_v4),
            ];
            let request = message(is_v4, request.bytes()[0]);
            let reply = message(is_v4, reply.bytes()[0]);
            assert_eq!(
                (request, reply),
                (IcmpMessage::EchoRequest, IcmpMessage::EchoReply)
            );
        }
    }
}
