//! Runs the programs in the kernel on single packets and compares every byte of the result.
//!
//! Needs root. The object is `target/bpf/orch-bpf.o` of the workspace, made by
//! `cargo xtask build-ebpf`, or what `ORCH_BPF_OBJECT` names.
//!
//! A test run does not carry out redirects, has no tunnel key and calls no socket hooks: what
//! depends on these is shown by the lab's scenarios.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a world that cannot be set up is a failed test, and a test may say why"
)]

mod arp;
mod choice;
mod counters;
mod datagram;
mod dns;
mod egress;
mod flows;
mod fragments;
mod frames;
mod host;
mod hostile;
mod icmp_error;
mod ingress;
mod ipv6;
mod mesh;
mod mss;
mod mtu;
mod probe;
mod property;
mod retired;
mod sctp;
mod stack;
mod task;
mod trace;
mod vip;
mod world;

use world::World;

/// How many instructions the kernel may follow to prove a program safe: two fifths of its limit, so
/// that older kernels, which see fewer paths as the same, can do it too.
const VERIFIED_MAX: u32 = 400_000;

#[test]
fn the_kernel_accepts_every_program_without_effort() {
    let effort = World::new().verified();
    let most = effort.iter().max_by_key(|(_, instructions)| *instructions);
    assert!(most.unwrap().1 <= VERIFIED_MAX, "{effort:?}");
}
