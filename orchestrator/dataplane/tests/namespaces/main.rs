//! The data plane between real network namespaces: real sockets, real `ping`, real programs.
//!
//! Needs root, and `ip`, `nsenter` and `ping`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod cluster;
mod healing;
mod host;
mod ipv6;
mod lab;
mod lifecycle;
mod loopback;
mod mesh;
mod networks;
mod overlay;
mod probe;
mod published;
mod refusals;
mod sizes;
mod sockets;
mod to_v4;
mod upgrade;
