//! What the BPF programs and their loader agree on: map layouts, packet headers, checksums.
//!
//! # Who writes which map
//!
//! | Map | Type | Key → value | Written by, when |
//! |---|---|---|---|
//! | `CONFIG` | array of 1 | 0 → [`Config`] | loader: at start, when devices or addresses change |
//! | `LOCAL_ADDRESSES` | hash | [`EndpointKey`] (VNI 0) → `u32` 1, with [`FrontendKey::HAS_OWN_PORTS`] 3 | loader: the host's own addresses |
//! | `PEERS` | hash | [`Address`] → `u32` 1 | loader: `DesiredNetwork::peers` |
//! | `NETWORKS` | hash | [`Vni`] → [`Network`] | loader: `DesiredNetwork::networks` |
//! | `SUBNETS` | LPM trie | [`SubnetKey`] → [`Subnet`] | loader: subnets of each network, and of all for the host |
//! | `ENDPOINTS` | hash | [`EndpointKey`] → [`Endpoint`] | loader: `DesiredNetwork::endpoints`, attach and detach |
//! | `ATTACHMENTS` | hash | `u32` ifindex → [`Attachment`] | loader: before the program is attached to a veth |
//! | `SANDBOX_ADDRESSES` | hash | [`SandboxAddressKey`] → [`Vni`] | loader: one per attachment |
//! | `SANDBOXES` | hash | `u64` sandbox → [`Sandbox`] | loader: networks of a sandbox |
//! | `FRONTENDS` | hash | [`FrontendKey`] → [`Frontend`] | loader: see [`service`] for the order |
//! | `BACKENDS` | hash | [`BackendKey`] → [`Backend`] | loader: see [`service`] |
//! | `MEMBERS` | hash | [`MemberKey`] → `u32` generation | loader: see [`service`] |
//! | `MAGLEV` | hash | [`MaglevKey`] → [`Maglev`] | loader: see [`service`] |
//! | `SOURCES` | LPM trie | [`SourceKey`] → `u32` [`SourceKey::ALLOW`] or `DENY` | loader: client ranges of published ports |
//! | `NAMES` | hash | [`NameKey`] → [`NameAddresses`] | loader: `DesiredNetwork::names` |
//! | `FLOWS` | LRU hash | [`FlowKey`] → [`Flow`] | programs |
//! | `OPENING` | LRU hash | [`FlowKey`] → [`Flow`] | programs |
//! | `AFFINITY` | LRU hash | [`AffinityKey`] → [`Affinity`] | programs |
//! | `FRAGMENTS` | LRU hash | [`FragmentKey`] → [`FragmentPorts`] | programs |
//! | `ORIGINAL_DESTINATIONS` | LRU hash | [`SocketKey`] → [`OriginalDestination`] | programs |
//! | `SERVICES` | per-CPU array | service's number → [`ServiceCounters`] | programs; the loader reads |
//! | `EVENTS` | ring | [`FlowEvent`] | programs while [`Config::EVENTS`] is set; the loader reads |
//! | `DROPS` | per-CPU array | [`DropReason`] as `u32` → `u64` | programs; the loader reads |
//!
//! All of them are declared with pinning by name; the programs' per-CPU scratch room is not.
//! Integers of keys and values are in network byte order where their type says so ([`Be16`],
//! [`Be32`], [`Vni`], [`Address`]) and in the host's order otherwise. No layout has padding bytes
//! that are not a named field.
//!
//! # What fits, and what happens beyond
//!
//! | Map | Entries | When it is full |
//! |---|---|---|
//! | `FLOWS` | 262144, two per conversation | the entries that were used longest ago go |
//! | `OPENING` | 65536, two per conversation | the same; an opening that is answered late is lost |
//! | `AFFINITY` | 65536 | the same; such a client may meet another backend |
//! | `FRAGMENTS` | 8192 | the same; later fragments of such a datagram are dropped |
//! | `ORIGINAL_DESTINATIONS` | 65536 | the same; such a socket sees the mesh address as its peer |
//! | `BACKENDS`, `MEMBERS` | 262144 | the loader's change is refused, said, and tried again |
//! | `ENDPOINTS`, `FRONTENDS`, `NAMES` | 65536 | as before |
//! | `SERVICES` | 16384 | further services are not counted |
//! | `EVENTS` | 256 KiB | records are lost |
//! | all others | 4096 | as before |
//!
//! A connection to a virtual address whose entries went is refused with a reset at its next
//! segment; one to a published port is led to the same backend again, and other conversations are
//! decided anew. Conversations between two tasks need no entry.
//! Tables that give old entries away take their memory at the start: `FLOWS` 50 MB, `OPENING` 13,
//! `AFFINITY` 8, `ORIGINAL_DESTINATIONS` 5, `FRAGMENTS` 1. The loader can be told other sizes,
//! but for the fourth. A published port takes 32 KiB of `MAGLEV` while it has a backend.
#![no_std]

pub mod address;
pub mod bytes;
pub mod checksum;
pub mod config;
pub mod dns;
pub mod drops;
pub mod event;
pub mod flow;
pub mod headers;
pub mod names;
#[cfg(feature = "user")]
mod pod;
pub mod service;
pub mod socket;
pub mod topology;

pub use address::{Address, MacAddress, Vni};
pub use bytes::{Be16, Be32};
pub use config::Config;
pub use drops::DropReason;
pub use event::{Decision, FlowEvent};
pub use flow::{Delivery, Flow, FlowKey, FragmentKey, FragmentPorts, Origin, Phase};
pub use names::{NameAddresses, NameKey};
pub use service::{
    Affinity, AffinityKey, Backend, BackendKey, Frontend, FrontendKey, Maglev, MaglevKey,
    MemberKey, ServiceCounters, SourceKey,
};
pub use socket::{OriginalDestination, SocketKey};
pub use topology::{
    Attachment, Endpoint, EndpointKey, Network, Sandbox, SandboxAddressKey, Subnet, SubnetKey,
};

/// Raised with every change of a map's layout. It names the directory of the pinned maps, so that
/// a loader never takes over maps that it would misread.
pub const LAYOUT_VERSION: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes without padding: what the kernel compares and hashes is all of it.
    #[test]
    fn layouts_have_no_hidden_bytes() {
        assert_eq!(size_of::<Config>(), 8 + 3 * 16 + 5 * 4 + 6 + 6);
        assert_eq!(size_of::<Network>(), 4);
        assert_eq!(size_of::<SubnetKey>(), 4 + 16);
        assert_eq!(size_of::<Subnet>(), 4 + 16 + 16);
        assert_eq!(size_of::<EndpointKey>(), 4 + 16);
        assert_eq!(size_of::<Endpoint>(), 16 + 4 + 6 + 2);
        assert_eq!(size_of::<Attachment>(), 8 + 4 + 16 + 16 + 4);
        assert_eq!(size_of::<SandboxAddressKey>(), 8 + 16);
        assert_eq!(size_of::<Sandbox>(), 4 + 8 * 4);
        assert_eq!(size_of::<FrontendKey>(), 4 + 16 + 2 + 1 + 1);
        assert_eq!(size_of::<Frontend>(), 5 * 4);
        assert_eq!(size_of::<BackendKey>(), 24 + 4 + 4);
        assert_eq!(size_of::<Backend>(), 4 + 16 + 2 + 2);
        assert_eq!(size_of::<MemberKey>(), 24 + 24);
        assert_eq!(size_of::<FlowKey>(), 4 + 16 + 16 + 2 + 2 + 1 + 1 + 2);
        assert_eq!(
            size_of::<Flow>(),
            16 + 16 + 2 + 2 + 4 + 16 + 4 + 4 + 4 + 3 * 4 + 8 + 8
        );
        assert_eq!(size_of::<SocketKey>(), 8 + 2 + 6);
        assert_eq!(size_of::<OriginalDestination>(), 16);
        assert_eq!(size_of::<NameKey>(), 4 + 128);
        assert_eq!(size_of::<NameAddresses>(), 4 + 4 + 32 * 4 + 32 * 16);
        assert_eq!(size_of::<MaglevKey>(), 24 + 4);
        assert_eq!(size_of::<Maglev>(), 2 * 16_381);
        assert_eq!(size_of::<SourceKey>(), 24 + 16);
        assert_eq!(size_of::<AffinityKey>(), 24 + 16);
        assert_eq!(size_of::<Affinity>(), 24 + 4);
        assert_eq!(size_of::<ServiceCounters>(), 4 * 8);
        assert_eq!(size_of::<FragmentKey>(), 4 + 16 + 16 + 4 + 1 + 3);
        assert_eq!(size_of::<FragmentPorts>(), 4);
        assert_eq!(size_of::<FlowEvent>(), 8 + 44 + 16 + 2 + 1 + 1 + 3 * 4 + 4);
    }
}
