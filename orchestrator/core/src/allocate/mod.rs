//! Gives out what must be unique in the cluster: tunnel identifiers, address ranges, addresses
//! of services and tasks, published ports.
//!
//! What is taken is read from the state each time; there is no memory beside it. What cannot be
//! given stays pending, with the reason on the task, and is tried again in every pass.

mod addresses;
mod endpoints;
mod ports;
mod subnets;
mod tasks;
#[cfg(test)]
mod tests;

pub use addresses::{AddressBook, AddressError};
pub use ports::check_ports;
pub(crate) use subnets::overlap;
pub use subnets::{free_vni, subnets};

use crate::ids::NetworkId;
use crate::objects::ServiceSpec;
use crate::store::{State, Tx};

/// Gives services their addresses and ports, then tasks their addresses.
pub(crate) fn run(tx: &mut Tx<'_>) {
    let mut book = AddressBook::of(tx);
    let refusals = endpoints::settle(tx, &mut book);
    tasks::settle(tx, &mut book, &refusals);
}

/// The networks that a service's tasks are attached to, with its aliases there: those it names,
/// or the ingress network.
fn networks_of(state: &State, spec: &ServiceSpec) -> Vec<(NetworkId, Vec<String>)> {
    let named = spec.networks();
    if named.is_empty() {
        let ingress = state.networks().find(|n| n.spec.ingress);
        return ingress
            .map(|n| (n.id.clone(), Vec::new()))
            .into_iter()
            .collect();
    }
    named
        .iter()
        .map(|n| (n.target.clone(), n.aliases.clone()))
        .collect()
}
