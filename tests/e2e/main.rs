//! End-to-end scenarios in the lab: real engines, real orchd, real kernels' networks.
//!
//! `cargo xtask test e2e` builds what they need and runs them as root, one after the other.

mod bad_input;
mod disk;
mod engine_restart;
mod harness;
mod hosts;
mod joining;
mod lab;
mod managers;
mod matrix;
mod observability;
mod service_options;
mod story;
mod unfit;
mod watch;
