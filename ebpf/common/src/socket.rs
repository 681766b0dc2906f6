//! What the socket hooks remember, so that applications see the address they asked for.

use crate::address::Address;
use crate::bytes::Be16;

/// Key of `ORIGINAL_DESTINATIONS`: a socket and the published port it talks to.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketKey {
    /// The socket's cookie.
    pub cookie: u64,
    /// The published port.
    pub port: Be16,
    /// Zero.
    pub reserved: [u8; 6],
}

/// The address of this host that the application named.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OriginalDestination {
    /// IPv4, or IPv6 for the loopback address `::1`.
    pub address: Address,
}
