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
mod dns;
mod egress;
mod flows;
mod frames;
mod icmp_error;
mod mesh;
mod task;
mod vip;
mod world;

use world::World;

#[test]
fn the_kernel_accepts_every_program() {
    World::new();
}
