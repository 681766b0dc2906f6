//! ICMP's header.

use crate::bytes::Be16;
use crate::checksum;

/// An ICMP header (RFC 792), as echo messages use it.
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

impl IcmpHeader {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the checksum.
    pub const CHECKSUM: usize = core::mem::offset_of!(Self, checksum);
    /// Offset of an echo's identifier.
    pub const ID: usize = core::mem::offset_of!(Self, id);
    /// Type of an echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Type of an echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Type of a destination unreachable message.
    pub const UNREACHABLE: u8 = 3;
    /// Type of a time exceeded message.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Type of a parameter problem message.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Unreachable: the host.
    pub const HOST: u8 = 1;
    /// Unreachable: the port.
    pub const PORT: u8 = 3;

    /// A destination unreachable message, checksum not filled in.
    #[inline(always)]
    pub const fn unreachable(code: u8) -> Self {
        Self {
            kind: Self::UNREACHABLE,
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
