//! Properties of whole passes under random requests, reports and failures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::consensus::Group;
use crate::control;
use crate::dispatch::{Finding, TaskReport};
use crate::fixture::{Bench, dual_stack_spec, on_network, service_spec};
use crate::ids::NetworkId;
use crate::network::Family;
use crate::objects::node::Availability;
use crate::objects::service::{EndpointMode, ServiceMode, UpdateConfig, UpdateOrder};
use crate::objects::task::TaskStatus;
use crate::reconcile;
use crate::store::{Change, Entropy, Object, State};
use crate::task_state::{Actor, TaskState, may_move};

const NODES: u8 = 3;
/// Networks that run out of addresses: of IPv4, of IPv6, of both in two ranges each.
const SMALL: [(&str, &[&str]); 3] = [
    ("tiny", &["10.0.10.0/28"]),
    ("few6", &["10.0.20.0/24", "fd00:20::/124"]),
    (
        "several",
        &[
            "10.0.30.0/29",
            "10.0.31.0/29",
            "fd00:30::/125",
            "fd00:31::/125",
        ],
    ),
];

/// Something that happens to the cluster; indexes are taken modulo what there is.
#[derive(Debug, Clone)]
enum Happening {
    Create {
        replicas: u64,
        start_first: bool,
        /// On one of the small networks, instead of ingress.
        own_network: Option<usize>,
    },
    Scale {
        service: usize,
        replicas: u64,
    },
    Force {
        service: usize,
    },
    ToggleMode {
        service: usize,
    },
    Rollback {
        service: usize,
    },
    Remove {
        service: usize,
    },
    Report {
        task: usize,
        state: usize,
    },
    NodeState {
        node: usize,
        down: bool,
    },
    Availability {
        node: usize,
        drain: bool,
    },
    Pass {
        millis: u64,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let any_index = || 0..100_usize;
    prop_oneof![
        2 => (0..4_u64, any::<bool>(), prop::option::of(0..SMALL.len())).prop_map(
            |(replicas, start_first, own_network)| H::Create { replicas, start_first, own_network }
        ),
        2 => (any_index(), 0..6_u64).prop_map(|(service, replicas)| H::Scale { service, replicas }),
        2 => any_index().prop_map(|service| H::Force { service }),
        1 => any_index().prop_map(|service| H::ToggleMode { service }),
        1 => any_index().prop_map(|service| H::Rollback { service }),
        1 => any_index().prop_map(|service| H::Remove { service }),
        12 => (any_index(), any_index()).prop_map(|(task, state)| H::Report { task, state }),
        2 => (any_index(), any::<bool>()).prop_map(|(node, down)| H::NodeState { node, down }),
        1 => (any_index(), any::<bool>()).prop_map(|(node, drain)| H::Availability { node, drain }),
        4 => (0..8_000_u64).prop_map(|millis| H::Pass { millis }),
    ]
}

fn nth<T: Clone>(items: impl Iterator<Item = T>, index: usize) -> Option<T> {
    let items: Vec<T> = items.collect();
    items.get(index.checked_rem(items.len())?).cloned()
}

/// Does it a moment later, without a pass. Refusals are fine.
fn happen(bench: &mut Bench, happening: &Happening) {
    use Happening as H;
    bench.now = bench.now + Duration::from_millis(1);
    match *happening {
        H::Create { .. }
        | H::Scale { .. }
        | H::Force { .. }
        | H::ToggleMode { .. }
        | H::Rollback { .. }
        | H::Remove { .. } => ask(bench, happening),
        H::Report { task, state } => report(bench, task, state),
        H::NodeState { .. } | H::Availability { .. } => disturb(bench, happening),
        H::Pass { millis } => bench.now = bench.now + Duration::from_millis(millis),
    }
}

/// What a user asks of services.
fn ask(bench: &mut Bench, happening: &Happening) {
    use Happening as H;
    let service = |bench: &Bench, index| nth(bench.state.services().cloned(), index);
    let respec = |bench: &mut Bench, index, change: &dyn Fn(&mut crate::objects::ServiceSpec)| {
        let Some(service) = service(bench, index) else {
            return;
        };
        let mut spec = service.spec.clone();
        change(&mut spec);
        let version = service.meta.version;
        bench
            .write(|tx| control::update_service(tx, &service.id, version, spec))
            .ok();
    };
    match *happening {
        H::Create {
            replicas,
            start_first,
            own_network,
        } => {
            let name = format!("s{}-{start_first}", bench.state.version());
            let mut spec = service_spec(&name, replicas);
            if start_first {
                let order = UpdateOrder::StartFirst;
                spec.update = Some(UpdateConfig {
                    order,
                    ..UpdateConfig::default()
                });
            }
            let small = own_network.map(|index| SMALL[index].0);
            if let Some(net) = small.and_then(|name| bench.state.network_by_name(name)) {
                let id = net.id.clone();
                spec = on_network(spec, &id);
            }
            bench.write(|tx| control::create_service(tx, spec)).ok();
        }
        H::Scale { service, replicas } => {
            respec(bench, service, &|s| {
                s.mode = ServiceMode::Replicated { replicas }
            });
        }
        H::Force { service } => respec(bench, service, &|s| s.task.force_update += 1),
        H::ToggleMode { service } => respec(bench, service, &|s| {
            s.endpoint.mode = match s.endpoint.mode {
                EndpointMode::Vip => EndpointMode::DnsRoundRobin,
                EndpointMode::DnsRoundRobin => EndpointMode::Vip,
            };
        }),
        H::Rollback { service: index } => {
            if let Some(s) = service(bench, index) {
                bench
                    .write(|tx| control::rollback_service(tx, &s.id, s.meta.version))
                    .ok();
            }
        }
        H::Remove { service: index } => {
            if let Some(s) = service(bench, index) {
                bench.write(|tx| control::remove_service(tx, &s.id)).ok();
            }
        }
        H::Report { .. } | H::NodeState { .. } | H::Availability { .. } | H::Pass { .. } => {}
    }
}

/// What a node says of one of its tasks.
fn report(bench: &mut Bench, task: usize, state: usize) {
    let Some(task) = nth(bench.state.tasks().cloned(), task) else {
        return;
    };
    let Some(node) = task.node.clone() else {
        return;
    };
    let state = TaskState::ALL[state % TaskState::ALL.len()];
    let status = TaskStatus {
        state,
        ..task.status.clone()
    };
    let report = TaskReport {
        id: task.id.clone(),
        status,
    };
    bench
        .write(|tx| {
            control::report_tasks(tx, &node, &[report]);
            Ok(())
        })
        .ok();
}

/// What happens to nodes.
fn disturb(bench: &mut Bench, happening: &Happening) {
    use Happening as H;
    match *happening {
        H::NodeState { node, down } => {
            let id = bench.node(node % usize::from(NODES));
            let finding = match down {
                true => Finding::MissedBeats,
                false => Finding::Reachable,
            };
            let recorded = bench.write(|tx| {
                control::record_finding(tx, &id, finding);
                Ok(())
            });
            recorded.ok();
        }
        H::Availability { node, drain } => {
            let id = bench.node(node % usize::from(NODES));
            let Some(stored) = bench.state.node(&id).cloned() else {
                return;
            };
            let mut spec = stored.spec.clone();
            spec.availability = if drain {
                Availability::Drain
            } else {
                Availability::Active
            };
            bench
                .write(|tx| {
                    control::update_node(tx, &id, stored.meta.version, spec, &Group::default())
                })
                .ok();
        }
        H::Create { .. }
        | H::Scale { .. }
        | H::Force { .. }
        | H::ToggleMode { .. }
        | H::Rollback { .. }
        | H::Remove { .. }
        | H::Report { .. }
        | H::Pass { .. } => {}
    }
}

fn bench() -> Bench {
    let mut bench = Bench::with_nodes(NODES);
    for (name, subnets) in SMALL {
        let mut spec = dual_stack_spec(name, subnets);
        spec.ipv6 = subnets.iter().any(|subnet| subnet.contains(':'));
        bench.write(|tx| control::create_network(tx, spec)).unwrap();
    }
    bench
}

/// Every move of a task within the changes of a pass is one that managers may make.
fn check_moves(before: &State, changes: &[Change]) {
    let mut states: BTreeMap<_, _> = before
        .tasks()
        .map(|t| (t.id.clone(), t.status.state))
        .collect();
    for change in changes {
        let Change::Put(Object::Task(task)) = change else {
            continue;
        };
        let to = task.status.state;
        if let Some(from) = states.insert(task.id.clone(), to) {
            let managers = [Actor::Allocator, Actor::Scheduler, Actor::Manager];
            let legal = from == to || managers.into_iter().any(|a| may_move(a, from, to));
            assert!(legal, "{from:?} -> {to:?}");
        } else {
            assert_eq!(to, TaskState::New);
        }
    }
}

fn check_addresses(state: &State) {
    let mut taken = BTreeSet::new();
    for network in state.networks() {
        let gateways = network.subnets.iter().map(|subnet| subnet.gateway);
        taken.extend(gateways.map(|gateway| (network.id.clone(), gateway)));
    }
    let vips = state.services().flat_map(|s| &s.endpoint.vips);
    let vips = vips.map(|v| (v.network.clone(), v.address.addr()));
    let tasks = state
        .tasks()
        .filter(|t| t.holds_addresses())
        .flat_map(|t| &t.attachments);
    let tasks = tasks.flat_map(|a| a.addresses.iter().map(|ip| (a.network.clone(), ip.addr())));
    for address in vips.chain(tasks) {
        assert!(taken.insert(address.clone()), "{address:?} is given twice");
    }
}

/// Whoever has addresses of a network has one of each of its families.
fn check_families(state: &State) {
    let of = |network: &NetworkId| state.network(network).map(|n| n.families());
    for attachment in state
        .tasks()
        .filter(|t| t.service().is_some() && t.holds_addresses())
        .flat_map(|t| &t.attachments)
    {
        let addresses = attachment.addresses.iter();
        let families: Vec<_> = addresses.map(|ip| Family::of(ip.addr())).collect();
        let wanted = of(&attachment.network).into_iter().flatten();
        assert!(wanted.eq(families), "{attachment:?} lacks a family");
    }
}

fn check_slots(state: &State) {
    let mut slots = BTreeSet::new();
    for task in state.tasks().filter(|t| t.is_wanted()) {
        let Some(service) = task.service().and_then(|id| state.service(id)) else {
            continue;
        };
        let first = slots.insert((service.id.clone(), task.slot()));
        let start_first = service.spec.name.ends_with("true");
        assert!(
            first || start_first,
            "slot {:?} is wanted twice",
            task.slot()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_pass_is_legal_complete_and_gives_nothing_twice(
        happenings in prop::collection::vec(happening(), 1..60)
    ) {
        let mut bench = bench();
        for happening in &happenings {
            happen(&mut bench, happening);
            let before = bench.state.clone();
            let changes = bench.step();
            check_moves(&before, &changes);
            check_addresses(&bench.state);
            check_families(&bench.state);
            check_slots(&bench.state);
            let again = reconcile::step(&bench.state, bench.now, &mut bench.entropy);
            prop_assert_eq!(again.changes, vec![], "a second pass decides something");
            prop_assert!(again.wake_at.is_none_or(|at| at > bench.now));
        }
    }

    #[test]
    fn the_same_seed_decides_the_same(
        happenings in prop::collection::vec(happening(), 1..30),
        seed in any::<u64>(),
    ) {
        let run = || {
            let mut bench = bench();
            bench.entropy = Entropy::from_seed(seed);
            let mut decided = Vec::new();
            for happening in &happenings {
                happen(&mut bench, happening);
                decided.push(bench.step());
            }
            (decided, bench.state)
        };
        prop_assert_eq!(run(), run());
    }
}
