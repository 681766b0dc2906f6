//! How clients find services: virtual addresses and published ports.

use std::collections::BTreeMap;

use super::{AddressBook, ports};
use crate::ids::{NetworkId, ServiceId};
use crate::network::{Family, networks_of};
use crate::objects::service::{EndpointMode, VirtualIp};
use crate::objects::{Network, Service};
use crate::store::{Object, Tx};

/// Why a service did not get all it needs, for those that did not.
pub(super) type Refusals = BTreeMap<ServiceId, String>;

/// Brings every service's endpoint in line with its spec: what is no longer wanted is freed
/// first, so that it can serve others in the same pass.
pub(super) fn settle(tx: &mut Tx<'_>, book: &mut AddressBook) -> Refusals {
    let services: Vec<Service> = tx.services().map(|s| Service::clone(s)).collect();
    let mut refusals = Refusals::new();
    let mut settled = Vec::new();
    for mut service in services {
        let old = service.endpoint.clone();
        let wanted = wanted_networks(tx, &service);
        free_vips(&mut service, &wanted, book);
        if service.endpoint.spec != service.spec.endpoint {
            match ports::settle(tx, &service) {
                Ok(ports) => {
                    service.endpoint.ports = ports;
                    service.endpoint.spec = service.spec.endpoint.clone();
                }
                Err(reason) => {
                    refusals.insert(service.id.clone(), reason);
                }
            }
        }
        if service.endpoint != old {
            tx.put(Object::Service(service.clone()));
        }
        settled.push((service, wanted));
    }
    for (service, wanted) in settled {
        if let Err(reason) = take_vips(tx, service.clone(), &wanted, book) {
            refusals.insert(service.id, reason);
        }
    }
    refusals
}

fn wanted_networks(tx: &Tx<'_>, service: &Service) -> Vec<NetworkId> {
    match service.spec.endpoint.mode {
        EndpointMode::DnsRoundRobin => Vec::new(),
        EndpointMode::Vip => networks_of(tx, &service.spec)
            .into_iter()
            .map(|(network, _)| network.clone())
            .collect(),
    }
}

fn free_vips(service: &mut Service, wanted: &[NetworkId], book: &mut AddressBook) {
    service.endpoint.vips.retain(|vip| {
        let keep = wanted.contains(&vip.network);
        if !keep {
            book.release(&vip.network, vip.address.addr());
        }
        keep
    });
}

fn take_vips(
    tx: &mut Tx<'_>,
    mut service: Service,
    wanted: &[NetworkId],
    book: &mut AddressBook,
) -> Result<(), String> {
    for id in wanted {
        let found = tx
            .network(id)
            .ok_or_else(|| format!("network {id} not found"))?;
        let mut network = Network::clone(found);
        for family in network.families() {
            let mut vips = service.endpoint.vips.iter();
            if vips.any(|vip| vip.network == *id && Family::of(vip.address.addr()) == family) {
                continue;
            }
            let address = book
                .take_next(&mut network, family)
                .map_err(|e| e.to_string())?;
            tx.put(Object::Network(network.clone()));
            service.endpoint.vips.push(VirtualIp {
                network: id.clone(),
                address,
            });
            tx.put(Object::Service(service.clone()));
        }
    }
    Ok(())
}
