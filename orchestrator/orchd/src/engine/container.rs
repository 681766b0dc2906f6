//! From a task to the request that creates its container: the only place where the two meet.
//!
//! Every field of the task's spec is honoured or refused; none is dropped.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount as ApiMount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountTmpfsOptions, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig,
    NetworkConnectRequest, NetworkingConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptions,
};
use ipnet::IpNet;
use orch_core::agent::container_name;
use orch_core::ids::{NetworkId, NodeId};
use orch_core::objects::task::{
    ContainerSpec, Healthcheck, Mount, MountSource, NetworkAttachment, Resources, TaskOwner,
};
use orch_core::objects::{Network, Task};

use super::error::found;
use super::{CALL_TIMEOUT, Engine, EngineError, START_TIMEOUT};

/// Labels that task containers carry, as Swarm sets them; tools select by them.
pub mod labels {
    /// Marks task containers; empty.
    pub const TASK: &str = "com.docker.swarm.task";
    /// The task's id.
    pub const TASK_ID: &str = "com.docker.swarm.task.id";
    /// The task's name, which is the container's.
    pub const TASK_NAME: &str = "com.docker.swarm.task.name";
    /// The node's id.
    pub const NODE_ID: &str = "com.docker.swarm.node.id";
    /// The service's id.
    pub const SERVICE_ID: &str = "com.docker.swarm.service.id";
    /// The service's name.
    pub const SERVICE_NAME: &str = "com.docker.swarm.service.name";
}

/// Time between the stop signal and SIGKILL when the spec names none.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A task asks for what no container can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It is attached to a network that this node was not told of.
    #[error("network {0} is not known on this node")]
    UnknownNetwork(NetworkId),
    /// It has no container of ours.
    #[error("task {0} is an attachment of a foreign container")]
    NoContainer(String),
    /// A bind mount has a propagation mode that does not exist.
    #[error(
        "invalid propagation mode \"{0}\" of a bind mount: \
         use private, rprivate, shared, rshared, slave or rslave"
    )]
    Propagation(String),
    /// A line for `/etc/hosts` is not an address and names.
    #[error("invalid hosts entry \"{0}\": expected an address and host names")]
    Hosts(String),
}

/// All that is needed to create a task's container.
#[derive(Debug, Clone, PartialEq)]
pub struct NewContainer {
    /// Its name.
    pub name: String,
    /// The create request, with the first network.
    pub body: ContainerCreateBody,
    /// Names of the further networks and its place in each, to be connected before the start:
    /// engines before API 1.44 take one network at creation.
    pub further_networks: Vec<(String, EndpointSettings)>,
}

impl Engine {
    /// Creates a container that does not exist yet.
    pub async fn create_container(&self, new: NewContainer) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(&new.name).build();
        let docker = self.docker(CALL_TIMEOUT)?;
        docker
            .create_container(Some(options), new.body)
            .await
            .map_err(self.error())?;
        Ok(())
    }

    /// Connects a container to those of `networks` that it is not connected to.
    pub async fn connect_container(
        &self,
        id: &str,
        networks: Vec<(String, EndpointSettings)>,
    ) -> Result<(), EngineError> {
        if networks.is_empty() {
            return Ok(());
        }
        let docker = self.docker(CALL_TIMEOUT)?;
        let seen = docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await;
        let settings = seen.map_err(self.error())?.network_settings;
        let connected = settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        for (network, settings) in networks {
            if !connected.contains_key(&network) {
                let request = NetworkConnectRequest {
                    container: id.to_owned(),
                    endpoint_config: Some(settings),
                };
                docker
                    .connect_network(&network, request)
                    .await
                    .map_err(self.error())?;
            }
        }
        Ok(())
    }

    /// Starts a container; one that runs already is fine.
    pub async fn start_container(&self, id: &str) -> Result<(), EngineError> {
        let docker = self.docker(START_TIMEOUT)?;
        docker
            .start_container(id, None::<StartContainerOptions>)
            .await
            .map_err(self.error())
    }

    /// Stops a container: its stop signal, then SIGKILL once the grace period that it was created
    /// with is over. `grace` repeats it (`None`: 10 s), so that the engine is given the time.
    /// A container that does not run or does not exist is fine.
    pub async fn stop_container(
        &self,
        id: &str,
        grace: Option<Duration>,
    ) -> Result<(), EngineError> {
        let limit = grace.unwrap_or(DEFAULT_GRACE).saturating_add(CALL_TIMEOUT);
        let docker = self.docker(limit)?;
        let stopped = docker
            .stop_container(id, None::<StopContainerOptions>)
            .await;
        found(stopped.map_err(self.error())).map(drop)
    }

    /// Kills and removes a container with its anonymous volumes; one that does not exist is fine.
    pub async fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let options = RemoveContainerOptionsBuilder::new()
            .v(true)
            .force(true)
            .build();
        match docker
            .remove_container(id, Some(options))
            .await
            .map_err(self.error())
        {
            // Another removal is under way.
            Err(EngineError::Conflict(_)) => Ok(()),
            result => found(result).map(drop),
        }
    }
}

/// Where a container's questions for names go when its spec names no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    /// To the host's resolvers, as the engine arranges it. On their way out of the container they
    /// pass the data plane, which answers for the cluster's names.
    OfEngine,
    /// To the gateway of the first network. Where the host's resolver is on its own loopback, the
    /// engine asks it from the host, and no question would pass the data plane.
    Gateway,
}

/// The container of `task` on the node `node`; `networks` are those the node was told of.
pub fn new_container(
    task: &Task,
    node: &NodeId,
    networks: &BTreeMap<NetworkId, Network>,
    resolver: Resolver,
) -> Result<NewContainer, SpecError> {
    let name = container_name(task).ok_or_else(|| SpecError::NoContainer(task.id.to_string()))?;
    let spec = &task.spec.container;
    let mut endpoints = task
        .attachments
        .iter()
        .map(|attachment| endpoint(attachment, networks))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    let first = endpoints.next();
    let network_mode = first
        .as_ref()
        .map_or("none", |(network, _)| network)
        .to_owned();
    let mut host_config = host_config(spec, &task.spec.resources)?;
    if resolver == Resolver::Gateway && host_config.dns.is_none() {
        host_config.dns = gateway(task, networks).map(|gateway| vec![gateway.to_string()]);
    }
    let body = ContainerCreateBody {
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        tty: Some(spec.tty),
        open_stdin: Some(spec.open_stdin),
        env: filled(&spec.env),
        // As in Swarm: a command replaces the image's entry point, arguments only its command.
        entrypoint: filled(&spec.command),
        cmd: filled(&spec.args),
        healthcheck: spec.healthcheck.as_ref().map(health_config),
        image: Some(spec.image.clone()),
        working_dir: spec.dir.clone(),
        labels: Some(container_labels(task, &name, node)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_period.map(grace_seconds),
        host_config: Some(HostConfig {
            network_mode: Some(network_mode),
            log_config: task
                .spec
                .log_driver
                .as_ref()
                .map(|driver| HostConfigLogConfig {
                    typ: Some(driver.name.clone()),
                    config: Some(unsorted(&driver.options)),
                }),
            ..host_config
        }),
        networking_config: first.map(|(network, settings)| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, settings)])),
        }),
        ..ContainerCreateBody::default()
    };
    Ok(NewContainer {
        name,
        body,
        further_networks: endpoints.collect(),
    })
}

fn host_config(spec: &ContainerSpec, resources: &Resources) -> Result<HostConfig, SpecError> {
    let limits = &resources.limits;
    Ok(HostConfig {
        restart_policy: Some(RestartPolicy {
            // The cluster restarts tasks; the engine must not.
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        init: spec.init,
        readonly_rootfs: Some(spec.read_only),
        group_add: filled(&spec.groups),
        dns: filled(
            &spec
                .dns
                .nameservers
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        ),
        dns_search: filled(&spec.dns.search),
        dns_options: filled(&spec.dns.options),
        extra_hosts: filled(&extra_hosts(&spec.hosts)?),
        mounts: filled(
            &spec
                .mounts
                .iter()
                .map(mount)
                .collect::<Result<Vec<_>, _>>()?,
        ),
        sysctls: (!spec.sysctls.is_empty()).then(|| unsorted(&spec.sysctls)),
        cap_add: filled(&spec.capability_add),
        cap_drop: filled(&spec.capability_drop),
        ulimits: filled(
            &spec
                .ulimits
                .iter()
                .map(|limit| ResourcesUlimits {
                    name: Some(limit.name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                })
                .collect::<Vec<_>>(),
        ),
        nano_cpus: amount(limits.nano_cpus),
        memory: amount(limits.memory_bytes),
        pids_limit: amount(limits.pids),
        // Reserved CPUs matter to the scheduler only: a host has no such thing.
        memory_reservation: amount(resources.reservations.memory_bytes),
        ..HostConfig::default()
    })
}

/// The container's place in one network: the network's name and the allocated addresses.
fn endpoint(
    attachment: &NetworkAttachment,
    networks: &BTreeMap<NetworkId, Network>,
) -> Result<(String, EndpointSettings), SpecError> {
    let network = networks
        .get(&attachment.network)
        .ok_or_else(|| SpecError::UnknownNetwork(attachment.network.clone()))?;
    let text = |wanted: fn(&&IpNet) -> bool| {
        attachment
            .addresses
            .iter()
            .find(wanted)
            .map(|address| address.addr().to_string())
    };
    // Names are the data plane's: an alias here would be answered by the engine, with the
    // containers of this host only.
    let settings = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: text(|address| matches!(address, IpNet::V4(_))),
            ipv6_address: text(|address| matches!(address, IpNet::V6(_))),
            link_local_ips: None,
        }),
        ..EndpointSettings::default()
    };
    Ok((network.spec.name.clone(), settings))
}

/// The gateway of the first network that a task is attached to.
fn gateway(task: &Task, networks: &BTreeMap<NetworkId, Network>) -> Option<IpAddr> {
    let network = networks.get(&task.attachments.first()?.network)?;
    Some(network.subnets.first()?.gateway)
}

fn container_labels(task: &Task, name: &str, node: &NodeId) -> HashMap<String, String> {
    let mut all = unsorted(&task.spec.container.labels);
    let mut set = |key: &str, value: &str| all.insert(key.to_owned(), value.to_owned());
    set(labels::TASK, "");
    set(labels::TASK_ID, task.id.as_str());
    set(labels::TASK_NAME, name);
    set(labels::NODE_ID, node.as_str());
    if let TaskOwner::Service { id, name, .. } = &task.owner {
        set(labels::SERVICE_ID, id.as_str());
        set(labels::SERVICE_NAME, name);
    }
    all
}

fn health_config(check: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: filled(&check.test),
        interval: check.interval.map(nanoseconds),
        timeout: check.timeout.map(nanoseconds),
        retries: amount(check.retries),
        start_period: check.start_period.map(nanoseconds),
        start_interval: check.start_interval.map(nanoseconds),
    }
}

fn mount(mount: &Mount) -> Result<ApiMount, SpecError> {
    let base = ApiMount {
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..ApiMount::default()
    };
    Ok(match &mount.source {
        MountSource::Bind { path, propagation } => ApiMount {
            typ: Some(MountType::BIND),
            source: Some(path.clone()),
            bind_options: propagation
                .as_ref()
                .map(|mode| {
                    mode.parse::<MountBindOptionsPropagationEnum>()
                        .map(|mode| MountBindOptions {
                            propagation: Some(mode),
                            ..MountBindOptions::default()
                        })
                        .map_err(|_| SpecError::Propagation(mode.clone()))
                })
                .transpose()?,
            ..base
        },
        MountSource::Volume {
            name,
            labels,
            driver,
            options,
            no_copy,
        } => ApiMount {
            typ: Some(MountType::VOLUME),
            source: name.clone(),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(*no_copy),
                labels: Some(unsorted(labels)),
                driver_config: (driver.is_some() || !options.is_empty()).then(|| {
                    MountVolumeOptionsDriverConfig {
                        name: driver.clone(),
                        options: Some(unsorted(options)),
                    }
                }),
                subpath: None,
            }),
            ..base
        },
        MountSource::Tmpfs { size_bytes, mode } => ApiMount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: size_bytes.map(saturated),
                mode: mode.map(i64::from),
                options: None,
            }),
            ..base
        },
    })
}

/// From lines `ADDRESS NAME...` to the engine's `NAME:ADDRESS`, one per name.
fn extra_hosts(lines: &[String]) -> Result<Vec<String>, SpecError> {
    let mut hosts = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let address = words.next().ok_or_else(|| SpecError::Hosts(line.clone()))?;
        let before = hosts.len();
        hosts.extend(words.map(|name| format!("{name}:{address}")));
        if hosts.len() == before {
            return Err(SpecError::Hosts(line.clone()));
        }
    }
    Ok(hosts)
}

/// The engine's maps are not sorted.
pub(super) fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// An empty list is the default of the image or engine.
fn filled<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// Zero is "not given".
fn amount(amount: u64) -> Option<i64> {
    (amount != 0).then(|| saturated(amount))
}

fn saturated(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Whole seconds, rounded up: a grace period is never cut short.
fn grace_seconds(grace: Duration) -> i64 {
    saturated(
        grace
            .as_secs()
            .saturating_add(u64::from(grace.subsec_nanos() > 0)),
    )
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
