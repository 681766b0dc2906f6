//! Specs of services.

use std::collections::BTreeSet;

use super::{Verdict, container, invalid, unimplemented};
use crate::objects::service::{FailureAction, ServiceMode, UpdateConfig};
use crate::objects::task::{NetworkAttachmentConfig, Placement, ResourceAmounts};
use crate::objects::{EndpointOptions, ServiceSpec, TaskSpec};
use crate::schedule::{Constraint, Preference};

/// Length of a DNS label.
const MAX_NAME_LEN: usize = 63;
/// More tasks than this would not find addresses in any network.
const MAX_REPLICAS: u64 = 65_536;
const MIN_NANO_CPUS: u64 = 1_000_000;
const MIN_MEMORY_BYTES: u64 = 4 << 20;
const MILLION: u32 = 1_000_000;

/// Checks a service before it is created or changed.
pub fn service_spec(spec: &ServiceSpec) -> Verdict {
    name(&spec.name)?;
    task_spec(&spec.task)?;
    networks(&spec.task.networks)?;
    networks(&spec.networks)?;
    let ServiceMode::Replicated { replicas } = spec.mode;
    if replicas > MAX_REPLICAS {
        return invalid(format!(
            "invalid number of replicas {replicas}: at most {MAX_REPLICAS}"
        ));
    }
    if let Some(update) = &spec.update {
        update_config(update)?;
    }
    if let Some(rollback) = &spec.rollback {
        update_config(rollback)?;
        if rollback.failure_action == FailureAction::Rollback {
            return invalid("a rollback cannot be rolled back: use pause or continue");
        }
    }
    endpoint(spec)
}

/// Checks what an update may not change.
pub fn service_update(old: &ServiceSpec, new: &ServiceSpec) -> Verdict {
    if old.name != new.name {
        return unimplemented("renaming services is not supported");
    }
    if old.networks != new.networks
        && (old.task.networks.is_empty() || new.task.networks.is_empty())
    {
        return unimplemented("changing network in service is not supported");
    }
    Ok(())
}

/// `^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$`, which is: letters, digits, `-` and `_`, with a letter
/// or digit at both ends.
fn name(name: &str) -> Verdict {
    if name.is_empty() {
        return invalid("meta: name must be provided");
    }
    if name.len() > MAX_NAME_LEN {
        return invalid("name must be 63 characters or fewer");
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !name.chars().all(inner) || !ends(name.chars().next()) || !ends(name.chars().last()) {
        return invalid("name must be valid as a DNS name component");
    }
    Ok(())
}

fn task_spec(spec: &TaskSpec) -> Verdict {
    container::container_spec(&spec.container)?;
    resources(&spec.resources.limits)?;
    resources(&spec.resources.reservations)?;
    if spec.resources.reservations.pids != 0 {
        return invalid("processes can be limited but not reserved");
    }
    if spec.log_driver.as_ref().is_some_and(|d| d.name.is_empty()) {
        return invalid("log driver must have a name");
    }
    placement(&spec.placement)
}

fn resources(amounts: &ResourceAmounts) -> Verdict {
    if amounts.nano_cpus != 0 && amounts.nano_cpus < MIN_NANO_CPUS {
        return invalid("invalid cpu value: Must be at least 0.001");
    }
    if amounts.memory_bytes != 0 && amounts.memory_bytes < MIN_MEMORY_BYTES {
        return invalid(format!(
            "invalid memory value {}: Must be at least 4MiB",
            amounts.memory_bytes
        ));
    }
    Ok(())
}

fn placement(placement: &Placement) -> Verdict {
    for expression in &placement.constraints {
        if let Err(error) = Constraint::parse(expression) {
            return invalid(error.to_string());
        }
    }
    for descriptor in &placement.preferences {
        if let Err(error) = Preference::parse(descriptor) {
            return invalid(error.to_string());
        }
    }
    Ok(())
}

fn networks(networks: &[NetworkAttachmentConfig]) -> Verdict {
    let mut seen = BTreeSet::new();
    for network in networks {
        if !seen.insert(&network.target) {
            return invalid(format!("network {} is named twice", network.target));
        }
        if let Some(option) = network.driver_options.keys().next() {
            return unimplemented(format!("network option \"{option}\" is not supported"));
        }
        if let Some(alias) = network.aliases.iter().find(|a| !is_dns_name(a)) {
            return invalid(format!("network alias \"{alias}\" is not a DNS name"));
        }
    }
    Ok(())
}

/// Whether it can be asked for: DNS labels, also with `_`, separated by dots.
pub(crate) fn is_dns_name(name: &str) -> bool {
    const MAX_DNS_NAME_LEN: usize = 253;
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= MAX_NAME_LEN
            && l.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    name.len() <= MAX_DNS_NAME_LEN && name.split('.').all(label)
}

fn update_config(config: &UpdateConfig) -> Verdict {
    if config.max_failure_millionths > MILLION {
        return invalid("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1");
    }
    Ok(())
}

fn endpoint(spec: &ServiceSpec) -> Verdict {
    let options = EndpointOptions::from_labels(&spec.labels);
    let options = options.or_else(|error| invalid(error.to_string()))?;
    if let Err(error) = options.check_ports(&spec.endpoint) {
        return invalid(error.to_string());
    }
    for (index, port) in spec.endpoint.ports.iter().enumerate() {
        if port.target == 0 {
            return invalid("EndpointSpec: a published port needs a target port");
        }
        if port.published == Some(0) {
            return invalid("EndpointSpec: 0 is not a port; leave it out to have one chosen");
        }
        let before = spec.endpoint.ports.iter().take(index);
        if before
            .into_iter()
            .any(|other| options.clash(other, &options, port))
        {
            return invalid("EndpointSpec: duplicate published ports provided");
        }
    }
    Ok(())
}
