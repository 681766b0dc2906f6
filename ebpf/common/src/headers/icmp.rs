//! ICMP's header, of both versions.

use crate::bytes::Be16;
use crate::checksum;
use crate::headers::NeighbourMessage;

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
        Self {
            kind,
            code,
            checksum: Be16::ZERO,
            id: Be16::ZERO,
            sequence: Be16::ZERO,
        }
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
