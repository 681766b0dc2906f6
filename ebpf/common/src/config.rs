//! What the programs must know about this host.

use crate::address::{Address, MacAddress};

/// The only entry of `CONFIG`. All zero until the loader has written it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// `SO_NETNS_COOKIE` of the host's network namespace: the socket hooks, which see every
    /// process of the kernel, act only on sockets of this namespace.
    pub netns_cookie: u64,
    /// The host's underlay address: tunnel source, and source of tasks' traffic to the outside.
    pub node: Address,
    /// The collect-metadata VXLAN device.
    pub vxlan_ifindex: u32,
    /// The host's end of the host link (`orch0`). Packets for the host's stack enter there.
    /// Must have IPv4 forwarding enabled, because route look-ups are made on its behalf.
    pub host_ifindex: u32,
    /// Where tasks' traffic to the outside goes if the routing table has no better answer.
    pub uplink_ifindex: u32,
    /// Link-layer address of `orch0`.
    pub host_mac: MacAddress,
    /// Zero.
    pub reserved: [u8; 6],
}
