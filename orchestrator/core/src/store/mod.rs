//! The replicated store: all objects of the cluster, and nothing else.
//!
//! The store owns lookups, versions and the deterministic application of committed changes. It
//! must not know who decides, how entries are replicated or where they are kept: a [`Tx`] turns a
//! decision into [`Change`]s, consensus commits them, and [`State::apply`] makes them true on
//! every manager alike. A `State` is a persistent value: cloning it is cheap and gives a snapshot.

mod state;
mod tx;

pub use state::{ApplyError, Change, Object, ObjectKey, State};
pub use tx::{Entropy, Tx};
