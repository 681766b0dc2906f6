//! Neighbour discovery (RFC 4861): what ARP is to IPv4.

use crate::address::{Address, MacAddress};
use crate::bytes::{Be16, Be32};

/// A neighbour solicitation or advertisement with the option that names a link-layer address; a
/// solicitation may lack it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourMessage {
    /// ICMPv6 type.
    pub kind: u8,
    /// Zero.
    pub code: u8,
    /// Checksum of the message.
    pub checksum: Be16,
    /// Of an advertisement: the constants below.
    pub flags: Be32,
    /// The address asked for.
    pub target: Address,
    /// Which option, and its length in units of 8 bytes.
    pub option: Be16,
    /// The link-layer address.
    pub mac: MacAddress,
}

impl NeighbourMessage {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the option, which is where a solicitation may end.
    pub const OPTION: usize = core::mem::offset_of!(Self, option);
    /// Type of a router solicitation, the first of neighbour discovery's.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Type of a neighbour solicitation.
    pub const SOLICITATION: u8 = 135;
    /// Type of a neighbour advertisement.
    pub const ADVERTISEMENT: u8 = 136;
    /// Type of a redirect, the last of neighbour discovery's.
    pub const REDIRECT: u8 = 137;

    /// The sender is a router.
    const ROUTER: u32 = 1 << 31;
    /// It answers a question.
    const SOLICITED: u32 = 1 << 30;
    /// It replaces what was known.
    const OVERRIDE: u32 = 1 << 29;
    /// The target's link-layer address, one unit long.
    const TARGET_MAC: Be16 = Be16::from_bytes([2, 1]);

    /// The advertisement that says that `target` is at `mac`, checksum not filled in.
    #[inline(always)]
    pub const fn advertisement(
        target: Address,
        mac: MacAddress,
        is_router: bool,
        is_solicited: bool,
    ) -> Self {
        let router = if is_router { Self::ROUTER } else { 0 };
        let solicited = if is_solicited { Self::SOLICITED } else { 0 };
        Self {
            kind: Self::ADVERTISEMENT,
            code: 0,
            checksum: Be16::ZERO,
            flags: Be32::new(router | solicited | Self::OVERRIDE),
            target,
            option: Self::TARGET_MAC,
            mac,
        }
    }

    /// One's complement sum of the message, checksum included.
    #[inline(always)]
    pub fn sum(&self) -> u32 {
        use crate::checksum::{add_address, add_pair, add_word};
        let mac = self.mac.0;
        let mut sum = add_pair(self.checksum.raw() as u32, self.kind, self.code);
        sum = add_address(add_word(sum, self.flags), &self.target) + self.option.raw() as u32;
        sum = add_pair(sum, mac[0], mac[1]);
        add_pair(add_pair(sum, mac[2], mac[3]), mac[4], mac[5])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum;

    #[test]
    fn an_advertisement_says_who_is_where() {
        let target = Address::HOST_LINK_V6;
        let made = NeighbourMessage::advertisement(target, MacAddress::GATEWAY, true, true);
        assert_eq!(made.flags.bytes(), [0xe0, 0, 0, 0]);
        assert_eq!(made.option.bytes(), [2, 1]);
        let probed = NeighbourMessage::advertisement(target, MacAddress::GATEWAY, false, false);
        assert_eq!(probed.flags.bytes(), [0x20, 0, 0, 0]);
        let whole = NeighbourMessage {
            checksum: checksum::finish(made.sum()),
            ..made
        };
        assert_eq!(checksum::finish(whole.sum()), Be16::ZERO);
    }
}
