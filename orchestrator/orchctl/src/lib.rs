//! `orchctl`: docker's nouns, verbs and flags over orchd's Engine API socket.
//!
//! The way of a command: `args` (clap) and `flags` (values parsed at the edge) → `spec` (pure:
//! flags to the API's JSON) → `client` (the only place that knows HTTP) → `view` and `format`
//! (pure: models to docker's text) → stdout. `progress` follows a service until it converges.

pub mod args;
pub mod client;
pub mod commands;
pub mod flags;
pub mod format;
pub mod model;
pub mod output;
pub mod progress;
pub mod spec;
pub mod view;
