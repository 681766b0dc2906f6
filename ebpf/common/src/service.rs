//! Frontends and the backends behind them.
//!
//! A set of backends is swapped as a whole. For each changed frontend the loader
//!
//! 1. takes a new generation, one higher than that of the [`Frontend`] it replaces (1 if none),
//! 2. writes `BACKENDS` {frontend, new generation, slot 0..count},
//! 3. writes `MEMBERS` {frontend, backend} → new generation for each backend of the new set,
//! 4. writes `FRONTENDS`: from this instant new flows go to the new set,
//! 5. deletes the slots of the old generation and the members that are not in the new set.
//!
//! A frontend goes away by deleting it first, then its slots and members. A frontend without
//! backends stays, with a count of zero: it refuses.

use crate::address::{Address, Vni};
use crate::bytes::Be16;

/// Where clients knock.
///
/// * A VIP: its network, protocol [`Self::ANY_PROTOCOL`], its address, port 0.
/// * A published port: [`Vni::HOST`], the protocol's number, [`Address::UNSPECIFIED`], the port.
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

    /// A port of this host.
    #[inline(always)]
    pub const fn published(protocol: u8, port: Be16) -> Self {
        Self {
            vni: Vni::HOST,
            address: Address::UNSPECIFIED,
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
    /// Zero.
    pub flags: u32,
}

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
