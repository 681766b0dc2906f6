//! The pure core of orchd: everything that decides.
//!
//! Architecture invariant: nothing here touches a socket, a file, a clock, a thread or the
//! process-wide random source. Time and randomness come in as values, effects go out as values,
//! so that every decision can be replayed from a seed.

pub mod agent;
pub mod allocate;
pub mod consensus;
pub mod control;
pub mod dispatch;
#[cfg(test)]
mod fixture;
pub mod ids;
pub mod lead;
pub mod network;
pub mod objects;
pub mod orchestrate;
pub mod planted;
#[cfg(test)]
mod properties;
pub mod reconcile;
pub mod schedule;
pub mod store;
pub mod task_state;
pub mod time;
pub mod validate;
