//! Networks, the tasks on them, and how this host reaches each.

use crate::address::{Address, MacAddress, Vni};

/// An overlay network that this host knows.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// A combination of the constants below.
    pub flags: u32,
}

impl Network {
    /// Tasks on it must not reach the outside.
    pub const INTERNAL: u32 = 1;
}

/// Key of the `SUBNETS` trie: the data behind the trie's prefix length.
///
/// The prefix length counts from the first bit of the VNI: [`Self::prefix_len`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubnetKey {
    /// The network.
    pub vni: Vni,
    /// The range's first address, or the address that is looked for.
    pub address: Address,
}

impl SubnetKey {
    /// The prefix length of a look-up: every bit counts.
    pub const FULL: u32 = 32 + 128;

    /// The prefix length of an entry; `prefix` as written behind the range's slash.
    pub const fn prefix_len(is_v4: bool, prefix: u8) -> u32 {
        32 + if is_v4 { 96 } else { 0 } + prefix as u32
    }
}

/// An address range of a network. Under [`Vni::HOST`] the trie has the ranges of all networks, as
/// the host's own processes see them.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    /// The network that the range is of.
    pub vni: Vni,
    /// The anycast gateway.
    pub gateway: Address,
    /// The directed broadcast address; unspecified for IPv6.
    pub broadcast: Address,
}

/// Key of `ENDPOINTS`, and with [`Vni::HOST`] of `LOCAL_ADDRESSES`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKey {
    /// The network.
    pub vni: Vni,
    /// The task's address in it.
    pub address: Address,
}

/// Where a task's address is.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Underlay address of its host.
    pub node: Address,
    /// The host's end of its veth when it is attached to this host; else 0. With 0 and `node`
    /// equal to [`crate::Config::node`] the task has no interface yet: packets to it are dropped.
    pub ifindex: u32,
    /// Link-layer address of the container's end; only meaningful with an `ifindex`.
    pub mac: MacAddress,
    /// Zero.
    pub reserved: [u8; 2],
}

/// What is behind the host's end of a task's veth.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The container it belongs to: a number that is the same for all of its attachments and for
    /// no other container's (the cookie of its network namespace serves well).
    pub sandbox: u64,
    /// The network.
    pub vni: Vni,
    /// The IPv4 source address this veth may send from; unspecified if it has none. Another one
    /// is accepted if `SANDBOX_ADDRESSES` says that another attachment of the container has it.
    pub v4: Address,
    /// The same for IPv6. Link-local addresses may be sent from for neighbour discovery only.
    pub v6: Address,
    /// Zero.
    pub reserved: u32,
}

impl Attachment {
    /// Its address of a family.
    #[inline(always)]
    pub const fn address(&self, is_v4: bool) -> Address {
        if is_v4 { self.v4 } else { self.v6 }
    }
}

/// Key of `SANDBOX_ADDRESSES`: which network an address of a container belongs to. A container
/// may answer through another interface than the one it was asked through.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SandboxAddressKey {
    /// The container, as in [`Attachment::sandbox`].
    pub sandbox: u64,
    /// An address of one of its attachments.
    pub address: Address,
}

/// The networks of a container, in which its DNS questions are answered in turn.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sandbox {
    /// How many of `networks` count; at most [`Self::NETWORKS`].
    pub count: u32,
    /// The networks, in any order; a question is tried in that of the veth it came by first.
    pub networks: [Vni; Self::NETWORKS],
}

impl Sandbox {
    /// Names are looked for in this many networks of a container.
    pub const NETWORKS: usize = 8;
}
