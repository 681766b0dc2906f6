//! Published ports: no two services answer on the same one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::control::ControlError;
use crate::ids::ServiceId;
use crate::network::Protocol;
use crate::objects::service::{PortConfig, PublishMode};
use crate::objects::{Service, ServiceSpec};
use crate::store::State;

/// Where ports that nobody named are taken from.
const AUTOMATIC: RangeInclusive<u16> = 30_000..=32_767;

/// Refuses ports that a service other than `own` has. On hosts, several services may name the
/// same port: the scheduler keeps their tasks apart.
pub fn check_ports(
    state: &State,
    own: Option<&ServiceId>,
    spec: &ServiceSpec,
) -> Result<(), ControlError> {
    let options = spec.endpoint_options();
    for service in state.services().filter(|s| Some(&s.id) != own) {
        let other_options = service.spec.endpoint_options();
        for theirs in named(&service.spec.endpoint.ports).chain(named(&service.endpoint.ports)) {
            let both_host = |ours: &PortConfig| {
                ours.mode == PublishMode::Host && theirs.mode == PublishMode::Host
            };
            let clash = spec
                .endpoint
                .ports
                .iter()
                .any(|ours| options.clash(ours, &other_options, theirs) && !both_host(ours));
            if clash {
                return Err(in_use(theirs, service));
            }
        }
    }
    Ok(())
}

fn named(ports: &[PortConfig]) -> impl Iterator<Item = &PortConfig> {
    ports.iter().filter(|p| p.published.is_some())
}

fn in_use(port: &PortConfig, service: &Service) -> ControlError {
    let how = match port.mode {
        PublishMode::Ingress => "an ingress port",
        PublishMode::Host => "a host-published port",
    };
    ControlError::invalid(format!(
        "port '{}' is already in use by service '{}' ({}) as {how}",
        port.published.unwrap_or_default(),
        service.spec.name,
        service.id
    ))
}

/// The ports of a service with every published port chosen. A choice made before is kept for
/// the same name, protocol and target; without a free port the error says so.
pub(super) fn settle(state: &State, service: &Service) -> Result<Vec<PortConfig>, String> {
    let others = state.services().filter(|s| s.id != service.id);
    let mut taken: BTreeSet<(Protocol, u16)> = others
        .flat_map(|s| s.endpoint.ports.iter().chain(&s.spec.endpoint.ports))
        .chain(&service.spec.endpoint.ports)
        .filter_map(|p| Some((p.protocol, p.published?)))
        .collect();
    let mut before = service.endpoint.ports.clone();
    let mut ports = Vec::new();
    for wanted in &service.spec.endpoint.ports {
        let mut port = wanted.clone();
        if port.published.is_none() {
            let kept = before
                .iter()
                .position(|b| same_port(b, wanted) && !is_taken(&taken, b))
                .and_then(|index| before.remove(index).published);
            let free = || {
                AUTOMATIC
                    .into_iter()
                    .find(|p| !taken.contains(&(wanted.protocol, *p)))
            };
            let chosen = kept.or_else(free).ok_or_else(|| {
                format!(
                    "no free port to publish {}/{} on: {} to {} are all in use",
                    wanted.target,
                    wanted.protocol,
                    AUTOMATIC.start(),
                    AUTOMATIC.end()
                )
            })?;
            taken.insert((wanted.protocol, chosen));
            port.published = Some(chosen);
        }
        ports.push(port);
    }
    Ok(ports)
}

fn same_port(a: &PortConfig, b: &PortConfig) -> bool {
    a.name == b.name && a.protocol == b.protocol && a.target == b.target
}

fn is_taken(taken: &BTreeSet<(Protocol, u16)>, port: &PortConfig) -> bool {
    port.published
        .is_some_and(|p| taken.contains(&(port.protocol, p)))
}
