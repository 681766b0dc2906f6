//! Frontends and the backends behind them.
//!
//! A set of backends is swapped as a whole. For each changed frontend the loader
//!
//! 1. takes a new generation, one higher than that of the [`Frontend`] it replaces (1 if none),
//! 2. writes `BACKENDS` {frontend, new generation, slot 0..count},
//! 3. writes `MAGLEV` {frontend, new generation} if the frontend is a published port,
//! 4. writes `MEMBERS` {frontend, backend} → new generation for each backend of the new set,
//! 5. writes `FRONTENDS`: from this instant new flows go to the new set,
//! 6. deletes the slots and the table of the old generation, and the members that are not in the
//!    new set.
//!
//! A frontend goes away by deleting it first, then its slots and members. A frontend without
//! backends stays, with a count of zero: it refuses.

use crate::address::{Address, Vni};
use crate::bytes::Be16;

/// Where clients knock.
///
/// * A VIP: its network, protocol [`Self::ANY_PROTOCOL`], its address, port 0.
/// * A published port: [`Vni::HOST`], the protocol's number, [`Address::any`] of the family, the
///   port. Clients of IPv4 and of IPv6 have a frontend each, whose backends are the tasks'
///   addresses of that family. The loader leaves the one of IPv6 out if no task of the service can
///   have an IPv6 address, so that the host's own answer to such a client is not in the way of
///   another.
/// * The same on one address of the host only: that address. It is looked for first.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrontendKey {
    /// The network.
    pub vni: Vni,
    /// The virtual address.
    pub address: Address,
    /// The port.
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

impl FrontendKey {
    /// Every protocol.
    pub const ANY_PROTOCOL: u8 = 0;
    /// In the value of `LOCAL_ADDRESSES`: a port is published on this address alone.
    pub const HAS_OWN_PORTS: u32 = 2;

    /// A service's virtual address.
    #[inline(always)]
    pub const fn vip(vni: Vni, address: Address) -> Self {
        Self {
            vni,
            address,
            port: Be16::ZERO,
            protocol: Self::ANY_PROTOCOL,
            reserved: 0,
        }
    }

    /// A port of this host, on all of its addresses of a family.
    #[inline(always)]
    pub const fn published(is_v4: bool, protocol: u8, port: Be16) -> Self {
        Self::published_at(Address::any(is_v4), protocol, port)
    }

    /// A port of this host, on one address.
    #[inline(always)]
    pub const fn published_at(address: Address, protocol: u8, port: Be16) -> Self {
        Self {
            vni: Vni::HOST,
            address,
            port,
            protocol,
            reserved: 0,
        }
    }
}

/// The current set of a frontend.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontend {
    /// Which slots of `BACKENDS` hold it.
    pub generation: u32,
    /// How many slots.
    pub count: u32,
    /// A combination of the constants below.
    pub flags: u32,
    /// Index into `SERVICES`; frontends of one service share it.
    pub service: u32,
    /// For how many seconds after its last conversation a client comes to the same backend again;
    /// 0: it need not.
    pub affinity: u32,
}

impl Frontend {
    /// `MAGLEV` has a table of this generation, which chooses instead of chance.
    pub const MAGLEV: u32 = 1;
    /// Replies leave the backend's host straight to the client.
    pub const DIRECT_RETURN: u32 = 2;
    /// `SOURCES` names clients of this frontend; who is not named may come.
    pub const SOURCES: u32 = 4;
    /// With `SOURCES`: who is not named may not come.
    pub const SOURCES_ONLY: u32 = 8;
    /// The address is one that a task had until lately: conversations that it has go on while its
    /// endpoint is there, and only new ones are led to the backends.
    pub const RETIRED: u32 = 16;
}

/// Entries of `AFFINITY`, one per client and frontend, unless the loader is told another number.
pub const AFFINITY_ENTRIES: u32 = 65_536;

/// How many entries a Maglev table has: a prime, a hundred times the backends that it spreads
/// over within 1 % (Eisenbud et al., "Maglev", NSDI 2016, section 3.4).
pub const MAGLEV_SLOTS: usize = 16_381;

/// Key of `MAGLEV`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaglevKey {
    /// The frontend.
    pub frontend: FrontendKey,
    /// Generation of the set.
    pub generation: u32,
}

/// From the hash of a conversation to a slot of `BACKENDS`, the same on every host.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maglev(pub [u16; MAGLEV_SLOTS]);

impl Maglev {
    /// The entry for a client's conversations by a port and a protocol; with zeros for both, for
    /// all of its conversations.
    #[inline(always)]
    pub const fn entry(client: &Address, port: Be16, protocol: u8) -> usize {
        let words = client.words();
        let ends = ((port.get() as u64) << 8) | protocol as u64;
        let mut hash = 0;
        hash = mix(hash ^ ((words[0].get() as u64) << 32 | words[1].get() as u64));
        hash = mix(hash ^ ((words[2].get() as u64) << 32 | words[3].get() as u64));
        hash = mix(hash ^ ends);
        (hash % MAGLEV_SLOTS as u64) as usize
    }
}

/// Scatters a word over 64 bits: the step of the generator SplitMix64 (Steele et al., "Fast
/// splittable pseudorandom number generators", OOPSLA 2014).
#[inline(always)]
pub const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Key of the `SOURCES` trie: the data behind the trie's prefix length.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceKey {
    /// The frontend.
    pub frontend: FrontendKey,
    /// The range's first address, or the client that is looked for.
    pub client: Address,
}

impl SourceKey {
    /// The prefix length of a look-up: every bit counts.
    pub const FULL: u32 = 8 * (24 + 16);
    /// Value of a range whose clients may come.
    pub const ALLOW: u32 = 1;
    /// Value of a range whose clients may not come.
    pub const DENY: u32 = 0;

    /// The prefix length of an entry; `prefix` as written behind the range's slash.
    pub const fn prefix_len(is_v4: bool, prefix: u8) -> u32 {
        8 * 24 + if is_v4 { 96 } else { 0 } + prefix as u32
    }
}

/// Key of `AFFINITY`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AffinityKey {
    /// The frontend.
    pub frontend: FrontendKey,
    /// The client.
    pub client: Address,
}

/// Where a client went last.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Affinity {
    /// The backend.
    pub backend: Backend,
    /// Second of `CLOCK_MONOTONIC` in which its last conversation began.
    pub last_used: u32,
}

/// An entry of `SERVICES`, per CPU: what went through the frontends of one service, both
/// directions.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Conversations begun.
    pub flows: u64,
    /// Packets.
    pub packets: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
    /// Packets refused or denied, because no backend was there or the client may not come.
    pub refused: u64,
}

/// How many entries `SERVICES` has; the first is for what belongs to no service.
pub const SERVICE_COUNTERS: u32 = 16_384;

/// One slot of one generation of a frontend's set.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendKey {
    /// The frontend.
    pub frontend: FrontendKey,
    /// Generation of the set.
    pub generation: u32,
    /// From 0 to [`Frontend::count`] − 1.
    pub slot: u32,
}

/// A task that serves a frontend.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// The network over which it is reached.
    pub vni: Vni,
    /// Its address there.
    pub address: Address,
    /// Its port; 0 keeps the port that the client used.
    pub port: Be16,
    /// Zero.
    pub reserved: u16,
}

/// Key of `MEMBERS`: a backend is in a frontend's current set exactly if the stored generation is
/// at least [`Frontend::generation`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberKey {
    /// The frontend.
    pub frontend: FrontendKey,
    /// The backend.
    pub backend: Backend,
}
