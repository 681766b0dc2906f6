//! The world of one run: hosts, links, daemons, users and the order of events.

mod faults;
mod hosts;
mod managers;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use orch_core::agent::Action;
use orch_core::control::{self, ControlError, InitCluster};
use orch_core::dispatch::{Assignment, TaskReport};
use orch_core::ids::{ClusterId, NodeId, TaskId};
use orch_core::objects::ClusterSpec;
use orch_core::objects::cluster::{JoinTokens, RootCa};
use orch_core::objects::node::{Availability, NodeDescription, Role};
use orch_core::store::{Entropy, Tx};
use orch_core::time::Timestamp;

use super::dice::Dice;
use super::host::Host;
use super::manager::{HEARTBEAT, Manager};
use super::queue::Queue;
use super::{Violation, ensure, finally};

/// Changes within this time are told together.
const TELL_DELAY: Duration = Duration::from_millis(100);
/// Virtual time in which anything may happen.
const UNREST: Duration = Duration::from_secs(180);
/// Virtual time after which a cluster that is left alone must be at rest.
const REST_LIMIT: Duration = Duration::from_secs(600);
/// How often it is looked whether it is.
const REST_CHECK: Duration = Duration::from_secs(5);

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Entries in the log.
    pub entries: u64,
    /// Hash over all of them and their times.
    pub log_hash: u64,
}

#[derive(Debug)]
enum Event {
    /// A user does something.
    User,
    /// Something goes wrong somewhere.
    Fault,
    /// A host's link comes back.
    Heal(usize),
    /// A host's daemon starts again.
    Start(usize),
    /// A host registers with the manager.
    Register(usize, u64),
    Heartbeat(usize, u64),
    /// The manager misses a session of a host.
    Break(usize, u64),
    /// The manager looks for nodes that are overdue.
    Look,
    /// A host that was asked has answered, or not in time.
    Asked(NodeId, bool),
    /// The manager asked to be woken.
    Wake,
    /// The manager tells the nodes what is new.
    Tell,
    Assign(usize, u64, Box<Assignment>),
    Report(usize, Vec<TaskReport>),
    Acted(usize, u64, TaskId, Action),
    Exit(usize, TaskId, i64),
}

struct World {
    now: Timestamp,
    dice: Dice,
    queue: Queue<Event>,
    manager: Manager,
    hosts: Vec<Host>,
    /// Nothing goes wrong any more and no user does anything.
    quiet: bool,
    /// Whether the nodes are about to be told what is new.
    telling: bool,
    /// The manager's alarm that was set last.
    alarm: Option<Timestamp>,
    next_endpoint: u64,
    next_address: u8,
}

/// Runs one cluster from birth to its end.
pub fn run(seed: u64) -> Result<Report, Violation> {
    let mut world = World::found(seed)?;
    world.queue.at(world.now, Event::User);
    world
        .queue
        .at(world.now + Duration::from_secs(10), Event::Fault);
    world.run_until(world.now + UNREST)?;

    let cut_off = world.calm()?;
    world.rest(finally::all_runs_as_asked)?;
    if let Some(host) = cut_off {
        world.heal(host)?;
        world.rest(finally::all_runs_as_asked)?;
    }

    world.remove_everything()?;
    world.rest(finally::nothing_is_left)?;

    world.manager.replicas_agree()?;
    Ok(Report {
        entries: world.manager.state.version(),
        log_hash: world.manager.log_hash,
    })
}

impl World {
    /// A cluster of a few hosts, the first of which is the manager's.
    fn found(seed: u64) -> Result<Self, Violation> {
        let now = Timestamp::default() + Duration::from_secs(1_000_000);
        let mut world = Self {
            now,
            dice: Dice::new(seed),
            queue: Queue::default(),
            manager: Manager::new(seed, now),
            hosts: Vec::new(),
            quiet: false,
            telling: false,
            alarm: None,
            next_endpoint: 0,
            next_address: 1,
        };
        let id = world.fresh_node();
        let init = init(&mut Entropy::from_seed(seed), id.clone());
        world.must("found the cluster", |tx| control::init_cluster(tx, init))?;
        world.add_host(id);
        for _ in 0..world.dice.number(1..=4) {
            world.admit()?;
        }
        world.queue.at(world.now, Event::Look);
        Ok(world)
    }

    fn fresh_node(&mut self) -> NodeId {
        NodeId::from_random(self.dice.bits())
    }

    fn admit(&mut self) -> Result<(), Violation> {
        let id = self.fresh_node();
        let node = id.clone();
        self.must("admit a node", move |tx| {
            control::admit_node(tx, &node, Role::Worker, Availability::Active)
        })?;
        self.add_host(id);
        Ok(())
    }

    fn add_host(&mut self, id: NodeId) {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, self.next_address));
        self.next_address += 1;
        self.hosts.push(Host::new(id, address));
        self.register_soon(self.hosts.len() - 1);
    }

    /// An operation that has to succeed.
    fn must(
        &mut self,
        what: &str,
        decide: impl FnOnce(&mut Tx<'_>) -> Result<(), ControlError>,
    ) -> Result<(), Violation> {
        let result = self.manager.write(self.now, decide)?;
        ensure!(result.is_ok(), "could not {what}: {result:?}");
        self.settle()
    }

    fn run_until(&mut self, end: Timestamp) -> Result<(), Violation> {
        while let Some((time, event)) = self.queue.pop() {
            if time > end {
                self.queue.at(time, event);
                self.now = end;
                return Ok(());
            }
            self.now = time;
            self.happen(event)?;
        }
        Ok(())
    }

    /// Runs until the check holds, or fails with its last words.
    fn rest(
        &mut self,
        at_rest: impl Fn(&Manager, &[Host]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let limit = self.now + REST_LIMIT;
        loop {
            self.run_until(self.now + REST_CHECK)?;
            match at_rest(&self.manager, &self.hosts) {
                Err(violation) if self.now >= limit => return Err(violation),
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::User => self.user(),
            Event::Fault => self.fault(),
            Event::Heal(host) => self.heal(host),
            Event::Start(host) => self.start(host),
            Event::Register(host, session) => self.register(host, session),
            Event::Heartbeat(host, session) => self.heartbeat(host, session),
            Event::Break(host, session) => {
                self.break_session(host, session);
                Ok(())
            }
            Event::Look => self.look(),
            Event::Asked(node, answered) => self.asked(&node, answered),
            Event::Wake => self.wake(),
            Event::Tell => {
                self.tell();
                Ok(())
            }
            Event::Assign(host, session, assignment) => {
                self.assign(host, session, *assignment);
                Ok(())
            }
            Event::Report(host, reports) => self.report(host, &reports),
            Event::Acted(host, daemon, task, action) => {
                self.acted(host, daemon, &task, action);
                Ok(())
            }
            Event::Exit(host, task, code) => {
                self.exit(host, &task, code);
                Ok(())
            }
        }
    }

    /// After every entry: what is new will be told soon, and the manager's alarm is set.
    fn settle(&mut self) -> Result<(), Violation> {
        if !self.telling {
            self.telling = true;
            self.queue.at(self.now + TELL_DELAY, Event::Tell);
        }
        if let Some(at) = self.manager.wake_at.filter(|at| self.alarm != Some(*at)) {
            self.alarm = Some(at);
            self.queue.at(at, Event::Wake);
        }
        self.running_addresses_are_unique()
    }

    fn tell(&mut self) {
        self.telling = false;
        for index in 0..self.hosts.len() {
            let host = &self.hosts[index];
            if !self.manager.has_session(&host.id) || !host.reachable() {
                continue;
            }
            if let Some(assignment) = self.manager.news_for(&host.id) {
                let delay = self.dice.millis(1..=150);
                let event = Event::Assign(index, host.session, Box::new(assignment));
                self.queue.at(self.now + delay, event);
            }
        }
    }

    /// What truly runs in the engines, whatever the managers believe.
    fn running_addresses_are_unique(&self) -> Result<(), Violation> {
        let mut taken = BTreeSet::new();
        for id in self.hosts.iter().flat_map(Host::running) {
            let Some(task) = self.manager.state.task(id) else {
                continue;
            };
            for attachment in &task.attachments {
                for address in &attachment.addresses {
                    let fresh = taken.insert((&attachment.network, address.addr()));
                    ensure!(fresh, "two containers run with address {address}");
                }
            }
        }
        Ok(())
    }
}

fn init(entropy: &mut Entropy, node: NodeId) -> InitCluster {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    InitCluster {
        id: ClusterId::from_random(entropy.bits()),
        spec: ClusterSpec {
            heartbeat_period: HEARTBEAT,
            ..ClusterSpec::default()
        },
        address_pools: vec![ipnet::IpNet::new_assert(
            Ipv4Addr::new(10, 0, 0, 0).into(),
            8,
        )],
        subnet_size: 24,
        data_path_port: 4789,
        root_ca: RootCa {
            certificate_pem: String::new(),
            key_pem: String::new(),
        },
        join_tokens: JoinTokens {
            worker: String::new(),
            manager: String::new(),
        },
        node,
        availability: Availability::Active,
        raft_id: 1,
        manager_address: SocketAddr::new(address, 2377),
        address,
        description: description(address),
    }
}

fn description(address: IpAddr) -> NodeDescription {
    NodeDescription {
        hostname: format!("host-{address}"),
        architecture: "x86_64".to_owned(),
        os: "linux".to_owned(),
        nano_cpus: 4_000_000_000,
        memory_bytes: 8 << 30,
        ..NodeDescription::default()
    }
}
