//! The same packet paths as they carry IPv6, where the families differ on the wire.

mod egress;
mod headers;
mod icmp_error;
mod mesh;
mod neighbours;
mod task;
mod to_v4;
mod vip;
