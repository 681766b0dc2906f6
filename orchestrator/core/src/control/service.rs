//! Services: create, update, roll back, remove.

use super::ControlError;
use crate::allocate;
use crate::ids::ServiceId;
use crate::objects::node::TakenPort;
use crate::objects::service::{PublishMode, UpdateState, UpdateStatus};
use crate::objects::task::TaskOwner;
use crate::objects::{Meta, Service, ServiceSpec, Task};
use crate::orchestrate;
use crate::store::{Object, ObjectKey, State, Tx};
use crate::task_state::DesiredState;
use crate::validate;

fn get(tx: &Tx<'_>, id: &ServiceId) -> Result<Service, ControlError> {
    tx.service(id)
        .map(|s| Service::clone(s))
        .ok_or_else(|| ControlError::not_found("service", id))
}

/// Creates a service. Its tasks, addresses and ports follow by reconciliation.
pub fn create_service(tx: &mut Tx<'_>, spec: ServiceSpec) -> Result<ServiceId, ControlError> {
    validate::service_spec(&spec)?;
    check_networks(tx, &spec)?;
    allocate::check_ports(tx, None, &spec)?;
    if tx.service_by_name(&spec.name).is_some() {
        return Err(ControlError::AlreadyExists {
            kind: "service".into(),
            name: spec.name,
        });
    }
    let id = ServiceId::from_random(tx.random());
    tx.put(Object::Service(Service {
        id: id.clone(),
        meta: Meta::default(),
        spec,
        spec_version: 1,
        previous_spec: None,
        endpoint: crate::objects::service::Endpoint::default(),
        update_status: None,
    }));
    Ok(id)
}

/// Replaces a service's spec. Tasks are replaced only if the task spec differs.
pub fn update_service(
    tx: &mut Tx<'_>,
    id: &ServiceId,
    version: u64,
    spec: ServiceSpec,
) -> Result<(), ControlError> {
    let service = get(tx, id)?;
    if service.meta.version != version {
        return Err(ControlError::OutOfSequence);
    }
    validate::service_spec(&spec)?;
    validate::service_update(&service.spec, &spec)?;
    check_networks(tx, &spec)?;
    allocate::check_ports(tx, Some(id), &spec)?;
    let previous = service.spec.clone();
    let mut service = with_spec(service, spec);
    service.previous_spec = Some(Box::new(previous));
    service.update_status = None;
    tx.put(Object::Service(service));
    Ok(())
}

/// Goes back to the spec before the last update; a second rollback undoes the first.
pub fn rollback_service(tx: &mut Tx<'_>, id: &ServiceId, version: u64) -> Result<(), ControlError> {
    let mut service = get(tx, id)?;
    if service.meta.version != version {
        return Err(ControlError::OutOfSequence);
    }
    let previous = service.previous_spec.take().ok_or_else(|| {
        ControlError::FailedPrecondition(format!("service {id} does not have a previous spec"))
    })?;
    check_networks(tx, &previous)?;
    allocate::check_ports(tx, Some(id), &previous)?;
    let current = service.spec.clone();
    let mut service = with_spec(service, *previous);
    service.previous_spec = Some(Box::new(current));
    service.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted,
        started_at: tx.now(),
        completed_at: None,
        message: "manually requested rollback".to_owned(),
    });
    tx.put(Object::Service(service));
    Ok(())
}

/// The service with another spec; the version counts changes of what its tasks run.
fn with_spec(mut service: Service, spec: ServiceSpec) -> Service {
    if service.spec.task != spec.task {
        service.spec_version += 1;
    }
    service.spec = spec;
    service
}

/// Removes a service. Its tasks are told to stop and vanish once they have.
pub fn remove_service(tx: &mut Tx<'_>, id: &ServiceId) -> Result<(), ControlError> {
    get(tx, id)?;
    let tasks: Vec<Task> = tx
        .tasks()
        .filter(|t| matches!(&t.owner, TaskOwner::Service { id: owner, .. } if owner == id))
        .map(|t| Task::clone(t))
        .collect();
    for task in tasks {
        orchestrate::stop(tx, task, DesiredState::Remove);
    }
    tx.remove(ObjectKey::Service(id.clone()));
    Ok(())
}

/// Every network of the spec exists and may be used by services.
pub(crate) fn check_networks(state: &State, spec: &ServiceSpec) -> Result<(), ControlError> {
    for config in spec.networks() {
        let network = state
            .network(&config.target)
            .ok_or_else(|| ControlError::not_found("network", &config.target))?;
        if network.spec.ingress {
            return Err(ControlError::invalid(format!(
                "Service cannot be explicitly attached to the ingress network {:?}",
                network.spec.name
            )));
        }
    }
    if spec.networks().is_empty() && !state.networks().any(|n| n.spec.ingress) {
        return Err(ControlError::FailedPrecondition(
            "service needs ingress network, but no ingress network is present".to_owned(),
        ));
    }
    Ok(())
}

/// What the user of a service should know of the hosts: published ports that are a process's too.
pub fn service_warnings(state: &State, service: &Service) -> Vec<String> {
    let mut warnings = Vec::new();
    for node in state.nodes().filter(|n| n.may_serve()) {
        for taken in &node.taken_ports {
            let ports = service.endpoint.ports.iter();
            let ours = ports
                .filter(|p| p.mode == PublishMode::Ingress && p.protocol == taken.protocol)
                .any(|p| p.published == Some(taken.port));
            if ours {
                let TakenPort {
                    protocol,
                    port,
                    holder,
                } = taken;
                let node = node.name();
                warnings.push(format!(
                    "{node}: port {port}/{protocol} is also held by {holder}, which its clients \
                     no longer reach"
                ));
            }
        }
    }
    warnings
}
