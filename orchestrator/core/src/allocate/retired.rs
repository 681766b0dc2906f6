//! Addresses that tasks of services in DNS round robin had until lately.
//!
//! Clients keep an address for longer than a name server allows. For a while after its task ended
//! it leads to the task's living siblings. Which addresses these are is written down in the
//! service: tasks that were scaled away are forgotten at once, and every node must be told the
//! same. While a task that is to stop still runs, it speaks for itself
//! ([`Task::is_leaving`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::ids::{NetworkId, ServiceId};
use crate::objects::service::{EndpointMode, RetiredAddress};
use crate::objects::{Service, Task};
use crate::reconcile::Alarm;
use crate::store::{Object, State, Tx};
use crate::time::Timestamp;

/// For how long an address leads to the siblings of the task that had it.
pub const REST: Duration = Duration::from_secs(300);
/// So many of one service at most, the latest: a service whose tasks fail all the time must not
/// fill the nodes' tables.
const MAX_RETIRED: usize = 1024;

type Retired = BTreeMap<(NetworkId, IpAddr), Timestamp>;

/// Writes down the addresses of tasks that ended, and forgets those whose time is over or that
/// another task has got.
pub(crate) fn settle(tx: &mut Tx<'_>, alarm: &mut Alarm) {
    let services: Vec<Service> = tx
        .services()
        .filter(|s| is_round_robin(s) || !s.endpoint.retired.is_empty())
        .map(|s| Service::clone(s))
        .collect();
    if services.is_empty() {
        return;
    }
    let mut ended = ended(tx, tx.now());
    let held = held(tx);
    for mut service in services {
        let mut retired = Retired::new();
        if is_round_robin(&service) {
            let kept = service.endpoint.retired.iter();
            retired.extend(kept.map(|r| ((r.network.clone(), r.address), r.until)));
            // An address may have had several tasks, of which the last one counts.
            for (key, until) in ended.remove(&service.id).unwrap_or_default() {
                let known = retired.entry(key).or_default();
                *known = until.max(*known);
            }
        }
        retired.retain(|key, until| {
            *until > tx.now() && !held.contains(key) && tx.network(&key.0).is_some()
        });
        let retired = latest(retired);
        if let Some(until) = retired.iter().map(|r| r.until).min() {
            alarm.set(until);
        }
        if retired != service.endpoint.retired {
            service.endpoint.retired = retired;
            tx.put(Object::Service(service));
        }
    }
}

fn is_round_robin(service: &Service) -> bool {
    service.endpoint.spec.mode == EndpointMode::DnsRoundRobin
}

/// Per service, the addresses of its tasks that served and have ended lately, and until when they
/// rest.
fn ended(state: &State, now: Timestamp) -> BTreeMap<ServiceId, Retired> {
    let mut ended = BTreeMap::<ServiceId, Retired>::new();
    let served = |t: &Task| t.running_since.is_some() && t.status.state.is_terminal();
    for task in state.tasks().filter(|t| served(t)) {
        let Some(service) = task.service() else {
            continue;
        };
        let retired = ended.entry(service.clone()).or_default();
        let until = task.status.since + REST;
        for key in addresses(task).filter(|_| until > now) {
            let known = retired.entry(key).or_default();
            *known = until.max(*known);
        }
    }
    ended
}

/// The addresses of tasks that are there to stay.
fn held(state: &State) -> BTreeSet<(NetworkId, IpAddr)> {
    let holding = |t: &Task| t.is_wanted() && t.holds_addresses();
    let tasks = state.tasks().filter(|t| holding(t));
    tasks.flat_map(|t| addresses(t)).collect()
}

fn addresses(task: &Task) -> impl Iterator<Item = (NetworkId, IpAddr)> {
    task.attachments.iter().flat_map(|a| {
        let network = a.network.clone();
        let addresses = a.addresses.iter();
        addresses.map(move |address| (network.clone(), address.addr()))
    })
}

/// Those that rest longest, in the order of their addresses.
fn latest(retired: Retired) -> Vec<RetiredAddress> {
    let mut all: Vec<_> = retired
        .into_iter()
        .map(|((network, address), until)| RetiredAddress {
            network,
            address,
            until,
        })
        .collect();
    if all.len() > MAX_RETIRED {
        all.sort_by_key(|r| std::cmp::Reverse(r.until));
        all.truncate(MAX_RETIRED);
        all.sort_by(|a, b| (&a.network, a.address).cmp(&(&b.network, b.address)));
    }
    all
}
