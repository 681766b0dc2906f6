//! What the programs must know about this host.

use crate::address::{Address, MacAddress};

/// The only entry of `CONFIG`. All zero until the loader has written it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// `SO_NETNS_COOKIE` of the host's network namespace: the socket hooks, which see every
    /// process of the kernel, act only on sockets of this namespace.
    pub netns_cookie: u64,
    /// The host's underlay address, of either family: what the other hosts tunnel to.
    pub node: Address,
    /// Source of tasks' IPv4 traffic to the outside; unspecified if the host has none.
    pub outside_v4: Address,
    /// Source of tasks' IPv6 traffic to the outside; unspecified if the host has none.
    pub outside_v6: Address,
    /// The collect-metadata VXLAN device.
    pub vxlan_ifindex: u32,
    /// The host's end of the host link (`orch0`). Packets for the host's stack enter there.
    /// Must have forwarding enabled for both families, because route look-ups are made on its
    /// behalf.
    pub host_ifindex: u32,
    /// Where tasks' traffic to the outside goes if the routing table has no better answer.
    pub uplink_ifindex: u32,
    /// Largest IP packet of a task, in bytes, that fits the tunnel without outer fragments.
    pub overlay_mtu: u32,
    /// A combination of the constants below.
    pub flags: u32,
    /// Link-layer address of `orch0`.
    pub host_mac: MacAddress,
    /// Zero.
    pub reserved: [u8; 6],
}

impl Config {
    /// Somebody reads the ring of flow events.
    pub const EVENTS: u32 = 1;

    /// Source of tasks' traffic of a family to the outside.
    #[inline(always)]
    pub const fn outside(&self, is_v4: bool) -> Address {
        if is_v4 {
            self.outside_v4
        } else {
            self.outside_v6
        }
    }
}
