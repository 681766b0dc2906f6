//! Neighbour resolution.

use super::ETHERTYPE_IPV4;
use crate::address::MacAddress;
use crate::bytes::Be16;

/// An ARP message for IPv4 over Ethernet (RFC 826).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpMessage {
    /// 1 for Ethernet.
    pub hardware: Be16,
    /// The EtherType of IPv4.
    pub protocol: Be16,
    /// 6.
    pub hardware_len: u8,
    /// 4.
    pub protocol_len: u8,
    /// 1 asks, 2 answers.
    pub operation: Be16,
    /// The sender's link-layer address.
    pub sender_mac: MacAddress,
    /// The sender's IPv4 address; zero when it probes for a duplicate.
    pub sender: [u8; 4],
    /// The wanted link-layer address.
    pub target_mac: MacAddress,
    /// The IPv4 address asked for.
    pub target: [u8; 4],
}

impl ArpMessage {
    /// Whether it asks for an IPv4 address over Ethernet.
    #[inline(always)]
    pub fn is_request(&self) -> bool {
        self.hardware.get() == 1
            && self.protocol.get() == ETHERTYPE_IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
            && self.operation.get() == 1
    }

    /// The answer: the asked address is at `mac`.
    #[inline(always)]
    pub const fn reply(&self, mac: MacAddress) -> Self {
        Self {
            operation: Be16::new(2),
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arp_answer_swaps_the_sides() {
        let request = ArpMessage {
            hardware: Be16::new(1),
            protocol: Be16::new(ETHERTYPE_IPV4),
            hardware_len: 6,
            protocol_len: 4,
            operation: Be16::new(1),
            sender_mac: MacAddress([2, 0, 0, 0, 0, 7]),
            sender: [10, 0, 10, 7],
            target_mac: MacAddress([0; 6]),
            target: [10, 0, 10, 1],
        };
        assert!(request.is_request());
        let reply = request.reply(MacAddress::GATEWAY);
        assert!(!reply.is_request());
        assert_eq!(
            (reply.sender_mac, reply.sender),
            (MacAddress::GATEWAY, [10, 0, 10, 1])
        );
        assert_eq!(
            (reply.target_mac, reply.target),
            (request.sender_mac, request.sender)
        );
        assert!(
            !ArpMessage {
                hardware_len: 8,
                ..request
            }
            .is_request()
        );
    }
}
