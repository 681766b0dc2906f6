//! The connection tables: what to do with the packets of one direction of a conversation.
//!
//! A conversation begins in `OPENING` and moves to `FLOWS`, both directions at once, when it has
//! proved to be one: TCP with the client's first segment after the answer, everything else with
//! the first answer. So a flood of openings pushes out other openings only. A reader looks into
//! `FLOWS` first.

use crate::address::{Address, Vni};
use crate::bytes::{Be16, Be32};

/// Entries of `FLOWS`, two per conversation, unless the loader is told another number.
pub const FLOW_ENTRIES: u32 = 262_144;
/// The same of `OPENING`.
pub const OPENING_ENTRIES: u32 = 65_536;
/// Entries of `FRAGMENTS`, one per datagram in pieces, unless the loader is told another number.
pub const FRAGMENT_ENTRIES: u32 = 8_192;

/// One direction of a conversation, as a packet shows it before any rewrite.
///
/// An ICMP echo request carries its identifier in `source_port`, a reply in `destination_port`;
/// the other one is zero. So [`Self::reversed`] leads from request to reply.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    /// The network in which the packet was seen.
    pub vni: Vni,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
    /// Zero, but in a packet from the tunnel whose client talks through another ingress host to
    /// the same task from the same port: then what tells that host apart, never zero.
    pub branch: Be16,
}

impl FlowKey {
    /// The other direction of the same conversation, seen in `vni`.
    #[inline(always)]
    pub const fn reversed(&self, vni: Vni) -> Self {
        Self {
            vni,
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
            reserved: 0,
            branch: Be16::ZERO,
        }
    }
}

/// How a packet leaves, after the rewrite.
#[repr(u8)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// To the task that has the new destination address in [`Flow::vni`], wherever it runs.
    #[default]
    Endpoint = 0,
    /// Through the tunnel to the host [`Flow::node`], in the network [`Flow::vni`].
    Tunnel = 1,
    /// To the host's own stack.
    Host = 2,
    /// Out of the device [`Flow::ifindex`], to the next hop that the routing table names.
    Uplink = 3,
}

/// Why an entry exists.
#[repr(u8)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// It is the way back of a conversation's answers.
    #[default]
    Reply = 0,
    /// The key's destination is a service's virtual address.
    Vip = 1,
    /// The key's destination port is published on this host.
    Published = 2,
    /// The conversation needs a rewrite, but no backend had to be chosen.
    Direct = 3,
    /// An outside client came through the tunnel, from a published port of the host [`Flow::node`].
    Ingress = 4,
}

/// How far a conversation is, as far as it decides for how long its ports stay taken.
#[repr(u8)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has come in this direction yet.
    #[default]
    Opening = 0,
    /// Packets have come, so that both sides know of the conversation.
    Established = 1,
    /// TCP: one side has ended it.
    Closing = 2,
}

/// Key of `FRAGMENTS`: the datagram that a fragment is part of.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FragmentKey {
    /// The network in which the fragment was seen.
    pub vni: Vni,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification; IPv4 has 16 bits of it.
    pub id: Be32,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// What the first fragment says that the later ones do not. As in [`FlowKey`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FragmentPorts {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
}

/// What to do with a packet that matches a [`FlowKey`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Source address after the rewrite.
    pub source: Address,
    /// Destination address after the rewrite.
    pub destination: Address,
    /// Source port after the rewrite.
    pub source_port: Be16,
    /// Destination port after the rewrite.
    pub destination_port: Be16,
    /// Network of the delivery.
    pub vni: Vni,
    /// Host of [`Delivery::Tunnel`] and of [`Origin::Ingress`], else unspecified.
    pub node: Address,
    /// Device of [`Delivery::Uplink`], else 0.
    pub ifindex: u32,
    /// Second of `CLOCK_MONOTONIC` in which a packet last matched; refreshed at most once a second.
    pub last_seen: u32,
    /// A [`Delivery`].
    pub delivery: u8,
    /// An [`Origin`].
    pub origin: u8,
    /// A [`Phase`].
    pub phase: u8,
    /// A combination of the constants below.
    pub flags: u8,
    /// Index into `SERVICES`; 0 if no service is involved.
    pub service: u32,
    /// Second of `CLOCK_MONOTONIC` in which the conversation began.
    pub opened: u32,
    /// Generation of the frontend's set in which the backend was last seen to be.
    pub generation: u32,
    /// Packets of this direction. Two CPUs that count at the same instant may count one.
    pub packets: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
}

impl Flow {
    /// Entries of an established TCP or SCTP conversation may be taken over after this many idle
    /// seconds.
    pub const TCP_IDLE_SECONDS: u32 = 6 * 3600;
    /// The same for those that nobody answered or that were closed, and for other protocols.
    pub const OTHER_IDLE_SECONDS: u32 = 60;

    /// The frontend is one of a single address of the host, not of all.
    pub const ONE_ADDRESS: u8 = 1;
    /// Answers leave the backend's host straight to the client.
    pub const DIRECT_RETURN: u8 = 2;
    /// The key of the other direction has a [`FlowKey::branch`].
    pub const BRANCH: u8 = 4;

    /// Whether nothing has matched for so long that another conversation may take its place.
    #[inline(always)]
    pub const fn is_stale(&self, protocol: u8, now: u32) -> bool {
        let has_end = matches!(protocol, crate::headers::TCP | crate::headers::SCTP);
        let limit = if has_end && self.phase == Phase::Established as u8 {
            Self::TCP_IDLE_SECONDS
        } else {
            Self::OTHER_IDLE_SECONDS
        };
        // Another CPU may have seen a packet in a second that has not begun yet here.
        now.saturating_sub(self.last_seen) > limit
    }
}

/// The ports that stand for tasks' conversations outside their network, on addresses of the host.
/// Above Linux's default ephemeral range, so the host's own sockets do not use them.
pub const NAT_PORTS: core::ops::RangeInclusive<u16> = 61000..=65535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reversing_twice_leads_back() {
        let key = FlowKey {
            vni: Vni::new(4097),
            source: Address::MESH,
            destination: Address::TASKS,
            source_port: Be16::new(1),
            destination_port: Be16::new(2),
            protocol: 6,
            reserved: 0,
            branch: Be16::ZERO,
        };
        assert_ne!(key.reversed(key.vni), key);
        assert_eq!(key.reversed(Vni::HOST).reversed(key.vni), key);
    }

    fn flow(phase: Phase) -> Flow {
        Flow {
            last_seen: 10,
            phase: phase as u8,
            ..Flow::default()
        }
    }

    #[test]
    fn only_established_tcp_stays_for_long() {
        let established = flow(Phase::Established);
        assert!(!established.is_stale(6, 10 + 3600));
        assert!(!established.is_stale(132, 10 + 3600));
        assert!(established.is_stale(17, 10 + 3600));
        assert!(established.is_stale(6, 11 + Flow::TCP_IDLE_SECONDS));
        for phase in [Phase::Opening, Phase::Closing] {
            assert!(!flow(phase).is_stale(6, 10 + Flow::OTHER_IDLE_SECONDS));
            assert!(flow(phase).is_stale(6, 11 + Flow::OTHER_IDLE_SECONDS));
        }
    }

    #[test]
    fn a_clock_that_lags_behind_makes_nothing_stale() {
        assert!(!flow(Phase::Opening).is_stale(17, 9));
    }
}
