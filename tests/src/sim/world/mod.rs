//! The world of one run: hosts, managers, links, users and the order of events.

mod faults;
mod hosts;
mod managers;
mod sessions;
mod trace;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use orch_core::agent::Action;
use orch_core::consensus::{Batch, Message};
use orch_core::control::InitCluster;
use orch_core::dispatch::Assignment;
use orch_core::ids::{ClusterId, NodeId, TaskId};
use orch_core::objects::ClusterSpec;
use orch_core::objects::cluster::{JoinTokens, RaftSettings, RootCa};
use orch_core::objects::node::Availability;
use orch_core::store::State;
use orch_core::time::Timestamp;

use super::dice::Dice;
use super::host::Host;
use super::intent::{Intent, description};
use super::ledger::Ledger;
use super::manager::Manager;
use super::queue::Queue;
use super::{Violation, ensure, finally};
use trace::Trace;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// Changes within this time are told together.
const TELL_DELAY: Duration = Duration::from_millis(100);
/// Virtual time in which anything may happen.
const UNREST: Duration = Duration::from_secs(180);
/// Virtual time in which a cluster is founded, and others join it.
const FOUNDING: Duration = Duration::from_secs(3);
/// Virtual time after which a cluster that is left alone must be at rest.
const REST_LIMIT: Duration = Duration::from_secs(600);
/// How often it is looked whether it is.
const REST_CHECK: Duration = Duration::from_secs(5);

/// What a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Everything by chance follows from it.
    pub seed: u64,
    /// So many of the last events are told with a violation.
    pub trace: usize,
}

impl Options {
    /// An ordinary run.
    pub fn of_seed(seed: u64) -> Self {
        Self { seed, trace: 0 }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Entries in the log.
    pub entries: u64,
    /// Hash over all of them and the moments at which they were applied first.
    pub log_hash: u64,
    /// Terms that somebody led.
    pub terms: usize,
    /// Managers that there ever were.
    pub managers: usize,
}

#[derive(Debug)]
enum Event {
    /// A user does something.
    User,
    /// Something goes wrong somewhere.
    Fault,
    /// Somebody reads at some manager.
    Read,
    /// A host's link comes back.
    Heal(usize),
    /// One direction between two hosts comes back.
    Reconnect(usize, usize),
    /// A host's daemon starts again.
    Start(usize),
    /// Something for a manager's process in one of its lives.
    Manager(usize, u64, ForManager),
    /// A write looks for the leader, from a host, for so long.
    Submit(Intent, usize, Timestamp),
    /// A host registers with the leader.
    Register(usize, u64),
    Heartbeat(usize, u64),
    /// A host that is to be a manager asks to be one.
    Enroll(usize),
    Assign(usize, u64, Box<Assignment>),
    Acted(usize, u64, TaskId, Action),
    Exit(usize, TaskId, i64),
}

/// What happens to a manager's process.
#[derive(Debug)]
enum ForManager {
    /// A unit of its time has passed.
    Tick,
    Message(Box<Message>),
    /// Messages to this member get lost.
    Unreachable(u64),
    SnapshotSent {
        to: u64,
        arrived: bool,
    },
    /// A batch is on the disk.
    Persisted(Batch),
    Write(Intent),
    /// It tells the nodes what is new.
    Tell,
    /// It misses the connection of a session.
    Broken(NodeId, u64),
    /// A host that was asked has answered, or not in time.
    Asked(NodeId, bool),
}

struct World<'t> {
    trace: &'t mut Trace,
    now: Timestamp,
    dice: Dice,
    queue: Queue<Event>,
    ledger: Ledger,
    managers: Vec<Manager>,
    hosts: Vec<Host>,
    /// Directions between hosts in which nothing passes.
    cuts: BTreeSet<(usize, usize)>,
    /// Reads on their way, and the entry that they must not miss.
    reads: BTreeMap<u64, u64>,
    /// Nothing goes wrong any more and no user does anything.
    quiet: bool,
    next_endpoint: u64,
    next_address: u8,
    next_read: u64,
}

/// Runs one cluster from birth to its end.
pub fn run(options: Options) -> Result<Report, Violation> {
    let mut trace = Trace::new(options.trace);
    run_traced(options, &mut trace).map_err(|Violation(words)| Violation(format!("{trace}{words}")))
}

fn run_traced(options: Options, trace: &mut Trace) -> Result<Report, Violation> {
    let mut world = World::found(options.seed, trace)?;
    world.queue.at(world.now, Event::User);
    world.queue.at(world.now, Event::Read);
    let first = world.now + Duration::from_secs(10);
    world.queue.at(first, Event::Fault);
    world.run_until(world.now + UNREST)?;

    let cut_off = world.calm()?;
    world.rest(finally::all_runs_as_asked)?;
    if let Some(host) = cut_off {
        world.heal(host);
        world.rest(finally::all_runs_as_asked)?;
    }

    world.remove_everything();
    world.rest(finally::nothing_is_left)?;
    Ok(Report {
        entries: world.ledger.last,
        log_hash: world.ledger.hash,
        terms: world.ledger.terms(),
        managers: world.managers.len(),
    })
}

impl<'t> World<'t> {
    /// A cluster of a few hosts, the first of which is its first manager.
    fn found(seed: u64, trace: &'t mut Trace) -> Result<Self, Violation> {
        let mut world = Self {
            trace,
            now: Timestamp::default() + Duration::from_secs(1_000_000),
            dice: Dice::new(seed),
            queue: Queue::default(),
            ledger: Ledger::founded(),
            managers: Vec::new(),
            hosts: Vec::new(),
            cuts: BTreeSet::new(),
            reads: BTreeMap::new(),
            // Until there is a cluster.
            quiet: true,
            next_endpoint: 0,
            next_address: 1,
            next_read: 0,
        };
        let id = world.fresh_node();
        let address = world.add_host(id.clone());
        let raft_id = world.fresh_id();
        world.found_manager(raft_id)?;
        let init = world.init(id, raft_id, address);
        world.submit(Intent::Found(Box::new(init)), 0);
        world.run_until(world.now + FOUNDING)?;
        let others = match world.dice.percent(5) {
            true => world.dice.number(10..=50),
            false => world.dice.number(1..=7),
        };
        for _ in 0..others {
            let node = world.fresh_node();
            world.submit(Intent::Admit(node), 0);
        }
        world.run_until(world.now + FOUNDING)?;
        ensure!(world.hosts.len() > 1, "nobody can join");
        world.quiet = false;
        let wanted = world.dice.number(0..=2) as usize * 2;
        let joined: Vec<NodeId> = world.hosts.iter().skip(1).map(|h| h.id.clone()).collect();
        for node in joined.into_iter().take(wanted) {
            world.submit(Intent::Promote(node), 0);
        }
        Ok(world)
    }

    fn fresh_node(&mut self) -> NodeId {
        NodeId::from_random(self.dice.bits())
    }

    /// An id for a member of the raft group.
    fn fresh_id(&mut self) -> u64 {
        self.dice.number(1..=u64::MAX)
    }

    fn add_host(&mut self, id: NodeId) -> IpAddr {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, self.next_address));
        self.next_address += 1;
        self.hosts.push(Host::new(id, address));
        self.register_soon(self.hosts.len() - 1);
        address
    }

    /// Whether packets pass from one host to another.
    fn passes(&self, from: usize, to: usize) -> bool {
        let up = |host: usize| self.hosts[host].linked && self.hosts[host].powered;
        from == to || (up(from) && up(to) && !self.cuts.contains(&(from, to)))
    }

    /// Whether two hosts can talk to each other.
    fn talk(&self, one: usize, other: usize) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    fn host_of(&self, node: &NodeId) -> Option<usize> {
        self.hosts.iter().position(|host| host.id == *node)
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
        at_rest: impl Fn(&State, &[Host]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let limit = self.now + REST_LIMIT;
        loop {
            self.run_until(self.now + REST_CHECK)?;
            let rested = at_rest(&self.ledger.state, &self.hosts)
                .and_then(|()| finally::managers_agree(&self.ledger, &self.managers, &self.hosts));
            match rested {
                Err(violation) if self.now >= limit => return Err(violation),
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        self.trace.event(self.now, &event);
        match event {
            Event::User => self.user(),
            Event::Fault => self.fault()?,
            Event::Read => self.read(),
            Event::Heal(host) => self.heal(host),
            Event::Reconnect(from, to) => {
                self.cuts.remove(&(from, to));
            }
            Event::Start(host) => self.start(host)?,
            Event::Manager(index, life, what) => self.manager_event(index, life, what)?,
            Event::Submit(intent, host, deadline) => self.look_for_leader(intent, host, deadline),
            Event::Register(host, session) => self.register(host, session),
            Event::Heartbeat(host, session) => self.heartbeat(host, session),
            Event::Enroll(host) => self.enroll(host),
            Event::Assign(host, session, assignment) => self.assign(host, session, *assignment)?,
            Event::Acted(host, daemon, task, action) => {
                self.acted(host, daemon, &task, action)?;
            }
            Event::Exit(host, task, code) => self.exit(host, &task, code),
        }
        Ok(())
    }

    /// What truly runs in the engines, whatever the managers believe.
    fn running_addresses_are_unique(&self) -> Result<(), Violation> {
        let mut taken = BTreeSet::new();
        for id in self.hosts.iter().flat_map(Host::running) {
            let Some(task) = self.ledger.state.task(id) else {
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

    fn init(&mut self, node: NodeId, raft_id: u64, address: IpAddr) -> InitCluster {
        let spec = ClusterSpec {
            heartbeat_period: HEARTBEAT,
            raft: RaftSettings {
                snapshot_interval: self.dice.number(10..=300),
                log_entries_for_slow_followers: self.dice.number(0..=50),
                ..ClusterSpec::default().raft
            },
            ..ClusterSpec::default()
        };
        let pool = Ipv4Addr::new(10, 0, 0, 0);
        InitCluster {
            id: ClusterId::from_random(self.dice.bits()),
            spec,
            address_pools: vec![ipnet::IpNet::new_assert(pool.into(), 8)],
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
            raft_id,
            manager_address: SocketAddr::new(address, 2377),
            address,
            description: description(address),
        }
    }
}
