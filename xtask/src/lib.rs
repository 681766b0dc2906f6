//! The project's tasks. The lab and the user's story are public, so that the end-to-end tests
//! play the same scenes as `cargo xtask demo`.

#![allow(clippy::print_stdout, reason = "a task runner talks to its user")]

pub mod bench;
pub mod cmd;
pub mod demo;
pub mod ebpf;
pub mod interrupt;
pub mod lab;
pub mod lint;
pub mod setup;
pub mod sim;
pub mod story;
pub mod test;
pub mod vm;
pub mod wait;
pub mod workspace;
