//! Users who ask for anything at any time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use orch_core::consensus::Group;
use orch_core::control::{self, ControlError};
use orch_core::ids::{NetworkId, ServiceId};
use orch_core::network::Protocol;
use orch_core::objects::network::IpamConfig;
use orch_core::objects::node::{Availability, Role};
use orch_core::objects::service::{
    EndpointMode, EndpointSpec, FailureAction, PortConfig, PublishMode, ServiceMode, UpdateConfig,
    UpdateOrder,
};
use orch_core::objects::task::{
    ContainerSpec, NetworkAttachmentConfig, RestartCondition, RestartPolicy, TaskSpec,
};
use orch_core::objects::{NetworkSpec, Node, ServiceSpec};
use orch_core::store::{State, Tx};

use super::dice::Dice;

/// Does something at random. Many of these requests must be refused.
pub(super) fn act(tx: &mut Tx<'_>, group: &Group, dice: &mut Dice) -> Result<(), ControlError> {
    match (dice.number(0..=99), any_service(tx, dice)) {
        (0..=19, _) | (_, None) => create_service(tx, dice),
        (20..=59, Some((id, version))) => update_service(tx, dice, &id, version),
        (60..=64, Some((id, version))) => control::rollback_service(tx, &id, version),
        (65..=72, Some((id, _))) => control::remove_service(tx, &id),
        (73..=84, _) => create_network(tx, dice),
        (85..=89, _) => remove_network(tx, dice),
        (90..=95, _) => set_availability(tx, group, dice),
        _ => set_role(tx, group, dice),
    }
}

fn any_service(state: &State, dice: &mut Dice) -> Option<(ServiceId, u64)> {
    let services: Vec<_> = state
        .services()
        .map(|s| (s.id.clone(), s.meta.version))
        .collect();
    dice.pick(&services)
}

fn create_service(tx: &mut Tx<'_>, dice: &mut Dice) -> Result<(), ControlError> {
    let name = format!("s{}", dice.number(0..=5));
    let order = order_of(&name);
    let spec = ServiceSpec {
        name,
        labels: BTreeMap::new(),
        task: TaskSpec {
            container: ContainerSpec {
                image: "image:1".to_owned(),
                ..ContainerSpec::default()
            },
            restart: restart(dice),
            networks: networks(tx, dice),
            ..TaskSpec::default()
        },
        mode: ServiceMode::Replicated {
            replicas: dice.number(0..=5),
        },
        networks: Vec::new(),
        update: update(dice, order),
        rollback: update(dice, order).map(|config| UpdateConfig {
            failure_action: FailureAction::Pause,
            ..config
        }),
        endpoint: endpoint(dice),
    };
    control::create_service(tx, spec).map(|_| ())
}

fn update_service(
    tx: &mut Tx<'_>,
    dice: &mut Dice,
    id: &ServiceId,
    version: u64,
) -> Result<(), ControlError> {
    let Some(service) = tx.service(id) else {
        return Ok(());
    };
    let mut spec = service.spec.clone();
    match dice.number(0..=7) {
        0..=2 => {
            spec.mode = ServiceMode::Replicated {
                replicas: dice.number(0..=5),
            }
        }
        3 => spec.task.force_update += 1,
        4 => spec.task.container.image = format!("image:{}", dice.number(1..=3)),
        5 => spec.endpoint = endpoint(dice),
        6 => spec.task.networks = networks(tx, dice),
        _ => spec.update = update(dice, order_of(&spec.name)),
    }
    control::update_service(tx, id, version, spec)
}

fn restart(dice: &mut Dice) -> Option<RestartPolicy> {
    let policy = |condition, delay: u64, max_attempts| {
        Some(RestartPolicy {
            condition,
            delay: Some(Duration::from_millis(delay)),
            max_attempts,
            window: None,
        })
    };
    match dice.number(0..=9) {
        0 => policy(RestartCondition::None, 1000, 0),
        1 => policy(RestartCondition::OnFailure, 1000, 2),
        2 => policy(RestartCondition::Any, 500, 0),
        3 => policy(RestartCondition::Any, 1000, 3),
        _ => None,
    }
}

/// The order in which a service of that name is updated, for good.
pub(super) fn order_of(name: &str) -> UpdateOrder {
    match name {
        "s0" | "s1" | "s2" => UpdateOrder::StopFirst,
        _ => UpdateOrder::StartFirst,
    }
}

/// Without a configuration the order is stop-first.
fn update(dice: &mut Dice, order: UpdateOrder) -> Option<UpdateConfig> {
    let actions = [
        FailureAction::Pause,
        FailureAction::Continue,
        FailureAction::Rollback,
    ];
    dice.percent(70).then(|| UpdateConfig {
        parallelism: dice.number(0..=2),
        delay: dice.millis(0..=2000),
        failure_action: dice.pick(&actions).unwrap_or(FailureAction::Pause),
        monitor: Some(dice.millis(0..=3000)),
        max_failure_millionths: if dice.percent(50) { 0 } else { 500_000 },
        order,
    })
}

fn endpoint(dice: &mut Dice) -> EndpointSpec {
    let mode = if dice.percent(75) {
        EndpointMode::Vip
    } else {
        EndpointMode::DnsRoundRobin
    };
    let ports = (0..dice.number(0..=2)).map(|index| PortConfig {
        name: String::new(),
        protocol: if dice.percent(80) {
            Protocol::Tcp
        } else {
            Protocol::Udp
        },
        target: 80 + u16::try_from(index).unwrap_or_default(),
        published: dice.percent(60).then(|| 8000 + dice.number(0..=5) as u16),
        mode: if dice.percent(85) {
            PublishMode::Ingress
        } else {
            PublishMode::Host
        },
    });
    EndpointSpec {
        mode,
        ports: ports.collect(),
    }
}

/// Mostly none, else up to two.
fn networks(state: &State, dice: &mut Dice) -> Vec<NetworkAttachmentConfig> {
    let all: Vec<NetworkId> = state
        .networks()
        .filter(|n| !n.spec.ingress)
        .map(|n| n.id.clone())
        .collect();
    let picked: std::collections::BTreeSet<NetworkId> = (0..dice.number(0..=2))
        .filter_map(|_| dice.pick(&all))
        .collect();
    let attach = |target| NetworkAttachmentConfig {
        target,
        aliases: vec!["alias".to_owned()],
        driver_options: BTreeMap::new(),
    };
    picked.into_iter().map(attach).collect()
}

/// Half of them with IPv6, and some with subnets of their own, which are so small that they may
/// run out of addresses.
fn create_network(tx: &mut Tx<'_>, dice: &mut Dice) -> Result<(), ControlError> {
    let ipv6 = dice.percent(50);
    let number = dice.number(0..=3) as u8;
    let v4 = Ipv4Addr::new(10, 9, 0, 16 * number).into();
    let v6 = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 16 * u16::from(number)).into();
    let small = [(v4, 28, true), (v6, 124, ipv6)];
    let ipam = small
        .into_iter()
        .filter(|(_, _, possible)| *possible && dice.percent(40))
        .map(|(address, prefix, _)| IpamConfig {
            subnet: IpNet::new_assert(address, prefix),
            gateway: None,
            range: None,
        })
        .collect();
    let spec = NetworkSpec {
        name: format!("net{}", dice.number(0..=3)),
        labels: BTreeMap::new(),
        attachable: dice.percent(70),
        internal: false,
        ingress: false,
        ipv6,
        ipam,
        driver_options: BTreeMap::new(),
    };
    control::create_network(tx, spec).map(|_| ())
}

fn remove_network(tx: &mut Tx<'_>, dice: &mut Dice) -> Result<(), ControlError> {
    let all: Vec<NetworkId> = tx
        .networks()
        .filter(|n| !n.spec.ingress)
        .map(|n| n.id.clone())
        .collect();
    match dice.pick(&all) {
        Some(id) => control::remove_network(tx, &id),
        None => Ok(()),
    }
}

fn set_availability(tx: &mut Tx<'_>, group: &Group, dice: &mut Dice) -> Result<(), ControlError> {
    let nodes: Vec<Node> = tx.nodes().map(|n| Node::clone(n)).collect();
    let Some(mut node) = dice.pick(&nodes) else {
        return Ok(());
    };
    let choices = [
        Availability::Active,
        Availability::Pause,
        Availability::Drain,
    ];
    node.spec.availability = dice.pick(&choices).unwrap_or(Availability::Active);
    control::update_node(tx, &node.id, node.meta.version, node.spec, group)
}

/// Promotes or demotes a node. There are at most five managers: more are of no use.
fn set_role(tx: &mut Tx<'_>, group: &Group, dice: &mut Dice) -> Result<(), ControlError> {
    const MOST: usize = 5;
    let nodes: Vec<Node> = tx.nodes().map(|n| Node::clone(n)).collect();
    let managers = nodes.iter().filter(|n| n.spec.role == Role::Manager);
    let may_promote = managers.count() < MOST;
    let Some(mut node) = dice.pick(&nodes) else {
        return Ok(());
    };
    node.spec.role = match node.spec.role {
        Role::Worker if may_promote => Role::Manager,
        Role::Worker | Role::Manager => Role::Worker,
    };
    control::update_node(tx, &node.id, node.meta.version, node.spec, group)
}
