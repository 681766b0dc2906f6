//! Networks: created with everything allocated, or refused.

use super::ControlError;
use crate::allocate;
use crate::ids::NetworkId;
use crate::objects::{Meta, Network, NetworkSpec};
use crate::store::{Object, ObjectKey, Tx};
use crate::validate;

/// Creates a network with its tunnel identifier and its address ranges.
pub fn create_network(tx: &mut Tx<'_>, spec: NetworkSpec) -> Result<NetworkId, ControlError> {
    validate::network_spec(&spec)?;
    if tx.network_by_name(&spec.name).is_some() {
        return Err(ControlError::AlreadyExists {
            kind: "network".into(),
            name: spec.name,
        });
    }
    if spec.ingress
        && let Some(other) = tx.networks().find(|n| n.spec.ingress)
    {
        return Err(ControlError::FailedPrecondition(format!(
            "ingress network ({}) is already present",
            other.id
        )));
    }
    let subnets = allocate::subnets(tx, &spec)?;
    let vni = allocate::free_vni(tx)?;
    let id = NetworkId::from_random(tx.random());
    tx.put(Object::Network(Network {
        id: id.clone(),
        meta: Meta::default(),
        spec,
        vni,
        subnets,
        last_address: None,
        last_address_v6: None,
    }));
    Ok(id)
}

/// Removes a network that nothing uses.
pub fn remove_network(tx: &mut Tx<'_>, id: &NetworkId) -> Result<(), ControlError> {
    let network = tx
        .network(id)
        .ok_or_else(|| ControlError::not_found("network", id))?;
    let name = network.spec.name.clone();
    let ingress = network.spec.ingress;
    let uses = |service: &crate::objects::Service| {
        let networks = service.spec.networks();
        networks.iter().any(|n| n.target == *id) || (ingress && networks.is_empty())
    };
    if let Some(service) = tx.services().find(|s| uses(s)) {
        return Err(ControlError::FailedPrecondition(format!(
            "network {name} is in use by service {}",
            service.spec.name
        )));
    }
    let holds = |task: &crate::objects::Task| {
        !task.status.state.is_terminal() && task.attachments.iter().any(|a| a.network == *id)
    };
    if let Some(task) = tx.tasks().find(|t| holds(t)) {
        return Err(ControlError::FailedPrecondition(format!(
            "network {name} is in use by task {}",
            task.id
        )));
    }
    tx.remove(ObjectKey::Network(id.clone()));
    Ok(())
}
