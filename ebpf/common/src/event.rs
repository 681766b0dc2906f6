//! What the programs tell of single conversations, through the ring `EVENTS`.

use crate::flow::FlowKey;
use crate::{Address, Be16};

/// What became of a conversation's first packet.
#[repr(u8)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decision {
    /// A flow was opened.
    #[default]
    Opened = 0,
    /// It was refused, with an answer.
    Refused = 1,
    /// It was dropped.
    Dropped = 2,
}

/// One record of the ring. Records are lost, not waited for, when the ring is full.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowEvent {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub time: u64,
    /// The packet as it came.
    pub key: FlowKey,
    /// Destination after the rewrite; unspecified if none was chosen.
    pub backend: Address,
    /// Destination port after the rewrite.
    pub backend_port: Be16,
    /// A [`Decision`].
    pub decision: u8,
    /// With [`Decision::Dropped`]: a [`crate::DropReason`].
    pub reason: u8,
    /// Index into `SERVICES`.
    pub service: u32,
    /// Length of the packet in bytes, Ethernet header included.
    pub len: u32,
    /// The device it came in by.
    pub ifindex: u32,
    /// Zero.
    pub reserved: u32,
}
