//! Gives out what must be unique in the cluster: tunnel identifiers, address ranges, addresses
//! of services and tasks, published ports.
//!
//! What is taken is read from the state each time; there is no memory beside it. What cannot be
//! given stays pending, with the reason on the task, and is tried again in every pass.

mod addresses;
mod endpoints;
mod ports;
mod retired;
mod subnets;
mod tasks;
#[cfg(test)]
mod tests;

pub use addresses::{AddressBook, AddressError};
pub use ports::check_ports;
pub use retired::REST;
pub(crate) use retired::settle as retire;
pub(crate) use subnets::overlap;
pub use subnets::{free_vni, subnets};

use crate::store::Tx;

/// Gives services their addresses and ports, then tasks their addresses.
pub(crate) fn run(tx: &mut Tx<'_>) {
    let mut book = AddressBook::of(tx);
    let refusals = endpoints::settle(tx, &mut book);
    tasks::settle(tx, &mut book, &refusals);
}
