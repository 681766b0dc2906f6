//! The programs' decisions, one function for each place where packets come in.

use std::net::IpAddr;

use orch_core::network::{Family, Frontend, Pool, Protocol, Sources, Subnet, Vni};
use orch_ebpf_common::{Address, DropReason};

use super::{Answer, Cluster, Entry, Host, Outcome, Packet, Transport, to_backend};

/// What a host's program decides about a packet: the steps, and what becomes of it.
pub(super) fn decide(
    cluster: &Cluster,
    node: IpAddr,
    host: &Host,
    entry: Entry,
    packet: Packet,
) -> (Vec<String>, Vec<Outcome>) {
    let mut decision = Decision {
        cluster,
        node,
        host,
        packet,
        steps: Vec::new(),
    };
    let outcomes = match entry {
        Entry::Task(vni) => decision.task(vni),
        Entry::Overlay(vni, from) => decision.overlay(vni, from),
        Entry::Uplink => decision.uplink(),
        Entry::Process => decision.process(),
    };
    (decision.steps, outcomes)
}

struct Decision<'a> {
    cluster: &'a Cluster,
    node: IpAddr,
    host: &'a Host,
    packet: Packet,
    steps: Vec<String>,
}

impl<'a> Decision<'a> {
    fn say(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }

    fn end(&mut self, step: impl Into<String>, outcome: Outcome) -> Vec<Outcome> {
        self.say(step);
        vec![outcome]
    }

    fn drop(&mut self, step: impl Into<String>, reason: DropReason) -> Vec<Outcome> {
        self.end(step, Outcome::Dropped(reason))
    }

    /// The host of the task that has an address; what is attached here is here.
    fn endpoint(&self, vni: Vni, address: IpAddr) -> Option<IpAddr> {
        let attached = self.host.attached.as_ref();
        if attached.is_some_and(|attached| attached.contains(&(vni, address))) {
            return Some(self.node);
        }
        self.host.desired.endpoints.get(&(vni, address)).copied()
    }

    fn is_attached(&self, vni: Vni, address: IpAddr) -> bool {
        self.endpoint(vni, address) == Some(self.node)
            && self
                .host
                .attached
                .as_ref()
                .is_none_or(|attached| attached.contains(&(vni, address)))
    }

    fn subnet(&self, vni: Vni, address: IpAddr) -> Option<&'a Subnet> {
        let network = self.host.desired.networks.get(&vni)?;
        let mut subnets = network.subnets.iter();
        subnets.find(|subnet| subnet.range.contains(&address))
    }

    /// `task_ingress`: what a task sends.
    fn task(&mut self, vni: Vni) -> Vec<Outcome> {
        let Packet {
            source,
            destination,
            transport,
        } = self.packet;
        let network = self.cluster.network_name(vni);
        if !self.is_attached(vni, source) {
            let step = format!("no container of this host has {source} in {network}");
            return self.drop(step, DropReason::SpoofedSource);
        }
        self.say(format!("{source} is the sender's own address in {network}"));
        if is_to_many(destination) {
            let step = "overlay networks carry no multicast and no broadcast";
            return self.drop(step, DropReason::Multicast);
        }
        if transport == Transport::Port(Protocol::Udp, 53) {
            self.say("a question for a name of the cluster is answered here; another goes on");
        }
        let vip = Frontend::Vip {
            vni,
            address: destination,
        };
        if let Some(pool) = self.host.desired.frontends.get(&vip) {
            return self.virtual_address(pool);
        }
        if self.endpoint(vni, destination).is_some() {
            self.say(format!("{destination} is a task's address in {network}"));
            return vec![self.deliver(vni, self.packet)];
        }
        match self.subnet(vni, destination) {
            Some(subnet) => self.inside(vni, subnet),
            None => self.egress(vni),
        }
    }

    /// A service's virtual address, or one that a task had until lately.
    fn virtual_address(&mut self, pool: &Pool) -> Vec<Outcome> {
        let destination = self.packet.destination;
        let (service, count) = (&pool.service, pool.backends.len());
        let what = match pool.retired {
            true => "was a task's address until lately and leads to its service",
            false => "is the virtual address of service",
        };
        self.say(format!("{destination} {what} {service}"));
        if self.packet.transport == Transport::Ping {
            return match count {
                0 => self.end(
                    "no healthy task stands behind it",
                    Outcome::Answered(Answer::HostUnreachable),
                ),
                _ => self.end(
                    format!("{count} healthy tasks stand behind it"),
                    Outcome::Answered(Answer::Echo),
                ),
            };
        }
        let by = match pool.affinity {
            Some(seconds) => format!("the same for a client within {seconds} s"),
            None => "chosen by chance".to_owned(),
        };
        self.lead_to(pool, &by, self.packet)
    }

    /// An address of the network that is neither a service's nor a task's.
    fn inside(&mut self, vni: Vni, subnet: &Subnet) -> Vec<Outcome> {
        let destination = self.packet.destination;
        let is_broadcast = match (subnet.range, destination) {
            (ipnet::IpNet::V4(range), IpAddr::V4(to)) => range.broadcast() == to,
            _ => false,
        };
        if is_broadcast {
            let step = "it is the broadcast address of the network";
            return self.drop(step, DropReason::Multicast);
        }
        if destination != subnet.gateway {
            let step = "nobody has this address of the network";
            return self.end(step, Outcome::Answered(Answer::HostUnreachable));
        }
        self.say("it is the network's gateway, which every host is");
        let Transport::Port(_, port) = self.packet.transport else {
            return vec![Outcome::Answered(Answer::Echo)];
        };
        if port == 53 && self.is_from_task() && !self.is_internal(vni) {
            return self.end("the DNS listener of the host answers", Outcome::Host);
        }
        self.refuse("the gateway serves nothing else")
    }

    /// Whether a task sends it, and not the host.
    fn is_from_task(&self) -> bool {
        !self.is_local(self.packet.source)
    }

    fn is_internal(&self, vni: Vni) -> bool {
        let networks = &self.host.desired.networks;
        networks.get(&vni).is_some_and(|network| network.internal)
    }

    /// Out of the network: to the host, to a port that it publishes, or to the world.
    fn egress(&mut self, vni: Vni) -> Vec<Outcome> {
        let destination = self.packet.destination;
        let network = self.cluster.network_name(vni);
        self.say(format!("{destination} is in no range of {network}"));
        if !self.host.desired.networks.contains_key(&vni) {
            let step = "this host does not know the network";
            return self.drop(step, DropReason::UnknownNetwork);
        }
        if self.is_internal(vni) {
            let step = "the network is internal: its tasks cannot leave it";
            return self.drop(step, DropReason::InternalNetwork);
        }
        if !self.is_local(destination) {
            let Some(source) = self.outside_address(Family::of(destination)) else {
                let step = "the host has no address of this family";
                return self.drop(step, DropReason::NoSourceAddress);
            };
            let packet = Packet {
                source,
                ..self.packet
            };
            let step = "the host's address and one of its ports stand for the task";
            return self.end(step, Outcome::Outside(packet));
        }
        match self.published() {
            Some(pool) => {
                // A task's address means nothing in the backend's network.
                let source = self.outside_address(Family::of(destination));
                self.published_port(pool, source.unwrap_or(self.packet.source), source)
            }
            None => self.end("it is the host's own address", Outcome::Host),
        }
    }

    /// The address that stands for others outside their networks.
    fn outside_address(&self, family: Family) -> Option<IpAddr> {
        self.host.address(self.node, family)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.host.addresses.contains(&address) || address == self.node
    }

    /// The published port that the packet is for, on one address or on all.
    fn published(&self) -> Option<&'a Pool> {
        let Transport::Port(protocol, port) = self.packet.transport else {
            return None;
        };
        let at = |address| {
            let frontend = Frontend::Published {
                protocol,
                port,
                address,
            };
            self.host.desired.frontends.get(&frontend)
        };
        let destination = self.packet.destination;
        at(destination).or_else(|| at(Family::of(destination).unspecified()))
    }

    /// A client that is let in by its address `client`, and that the tasks see as `source`.
    fn published_port(
        &mut self,
        pool: &Pool,
        client: IpAddr,
        source: Option<IpAddr>,
    ) -> Vec<Outcome> {
        self.say(format!(
            "the port is published for service {}",
            pool.service
        ));
        if !admits(&pool.sources, client) {
            let step = format!("it does not take clients such as {client}");
            return self.drop(step, DropReason::SourceDenied);
        }
        let family = Family::of(self.packet.destination);
        let served = pool.backends.first().map(|task| Family::of(task.address));
        let crosses = served.is_some_and(|served| served != family);
        let source = match served {
            Some(served) if crosses => self.outside_address(served),
            _ => source,
        };
        let Some(source) = source else {
            let step = "the host has no address that could stand for the client";
            return self.drop(step, DropReason::NoSourceAddress);
        };
        if crosses {
            self.say(format!(
                "its tasks have no address of this family: {source} and one of the host's ports \
                 stand for the client"
            ));
        }
        let by = match pool.affinity {
            Some(seconds) => format!("the same for a client within {seconds} s"),
            None if crosses => "chosen by chance".to_owned(),
            None => "chosen by a hash that is the same on every host".to_owned(),
        };
        let packet = Packet {
            source,
            ..self.packet
        };
        self.lead_to(pool, &by, packet)
    }

    /// To each backend that may be chosen.
    fn lead_to(&mut self, pool: &Pool, by: &str, packet: Packet) -> Vec<Outcome> {
        if pool.backends.is_empty() {
            return self.refuse("no healthy task stands behind it");
        }
        self.say(format!(
            "one of {} healthy tasks, {by}",
            pool.backends.len()
        ));
        let outcomes = pool
            .backends
            .iter()
            .map(|backend| self.deliver(backend.vni, to_backend(packet, backend)));
        outcomes.collect()
    }

    fn refuse(&mut self, step: &str) -> Vec<Outcome> {
        let outcome = match self.packet.transport {
            Transport::Port(Protocol::Tcp, _) => Outcome::Answered(Answer::Reset),
            Transport::Port(Protocol::Udp, _) => Outcome::Answered(Answer::PortUnreachable),
            Transport::Ping => Outcome::Answered(Answer::HostUnreachable),
            Transport::Port(Protocol::Sctp, _) => Outcome::Answered(Answer::Abort),
        };
        self.end(step, outcome)
    }

    /// To the task that has the destination address, wherever it runs.
    fn deliver(&self, vni: Vni, packet: Packet) -> Outcome {
        let address = packet.destination;
        match self.endpoint(vni, address) {
            None => Outcome::Dropped(DropReason::UnknownEndpoint),
            Some(node) if node != self.node => Outcome::Tunnelled { node, vni, packet },
            Some(_) if self.is_attached(vni, address) => Outcome::Delivered(vni, address),
            Some(_) => Outcome::Dropped(DropReason::EndpointNotAttached),
        }
    }

    /// `overlay_ingress`: what comes out of the tunnel.
    fn overlay(&mut self, vni: Vni, from: IpAddr) -> Vec<Outcome> {
        let sender = self.cluster.host_name(from);
        if !self.host.desired.peers.contains(&from) {
            let step = format!("{sender} is no host of the cluster to this one");
            return self.drop(step, DropReason::UnknownPeer);
        }
        let network = self.cluster.network_name(vni);
        self.say(format!("it comes from {sender}, in {network}"));
        let Packet {
            source,
            destination,
            ..
        } = self.packet;
        match self.endpoint(vni, destination) {
            None if !self.host.desired.networks.contains_key(&vni) => {
                let step = "this host does not know the network";
                return self.drop(step, DropReason::UnknownNetwork);
            }
            Some(node) if node == self.node => {}
            None | Some(_) => {
                let step = format!("no task of this host has {destination}");
                return self.drop(step, DropReason::UnknownEndpoint);
            }
        }
        if self.endpoint(vni, source).is_none() {
            self.say(format!("{source} is no task: answers go back by {sender}"));
        }
        vec![self.deliver(vni, self.packet)]
    }

    /// `uplink_ingress`: what comes from the outside.
    fn uplink(&mut self) -> Vec<Outcome> {
        if !self.is_local(self.packet.destination) {
            let step = "it is for no address of this host: its routing table decides";
            return self.end(step, Outcome::Outside(self.packet));
        }
        match self.published() {
            Some(pool) => {
                let client = self.packet.source;
                self.published_port(pool, client, Some(client))
            }
            None => self.end("nothing is published there", Outcome::Host),
        }
    }

    /// The network whose range an address is in as the host sees it: of several with the same
    /// range, the one that was made first.
    fn network_of(&self, address: IpAddr) -> Option<(Vni, &'a Subnet)> {
        let networks = self.host.desired.networks.iter();
        let subnets = networks.flat_map(|(vni, network)| {
            let subnets = network.subnets.iter();
            subnets.map(|subnet| (*vni, subnet))
        });
        subnets
            .filter(|(_, subnet)| subnet.range.contains(&address))
            .min_by_key(|(vni, subnet)| (u8::MAX - subnet.range.prefix_len(), *vni))
    }

    /// What a process of the host sends to an address of a network.
    fn enter_network(&mut self, vni: Vni, subnet: &Subnet) -> Vec<Outcome> {
        let destination = self.packet.destination;
        let network = self.cluster.network_name(vni);
        self.say(format!("the host's routes lead it into {network}"));
        let vip = Frontend::Vip {
            vni,
            address: destination,
        };
        if let Some(pool) = self.host.desired.frontends.get(&vip) {
            return self.virtual_address(pool);
        }
        if self.endpoint(vni, destination).is_some() {
            self.say(format!("{destination} is a task's address in {network}"));
            return vec![self.deliver(vni, self.packet)];
        }
        self.inside(vni, subnet)
    }

    /// What a process of the host sends: the socket hooks lead it to published ports, and the
    /// host's routes to networks.
    fn process(&mut self) -> Vec<Outcome> {
        let destination = self.packet.destination;
        if let Some((vni, subnet)) = self.network_of(destination) {
            return self.enter_network(vni, subnet);
        }
        if !(destination.is_loopback() || self.is_local(destination)) {
            let step = "it is for another host: no program of this one handles it";
            return self.end(step, Outcome::Outside(self.packet));
        }
        match self.published() {
            Some(pool) => {
                self.say("the socket hooks lead it to the host link");
                let own = self.outside_address(Family::of(destination));
                let host_link = Address::host_link(destination.is_ipv4()).into();
                let client = self.packet.source;
                self.published_port(pool, client, own.or(Some(host_link)))
            }
            None => self.end("nothing is published there", Outcome::Host),
        }
    }
}

/// Whether a published port takes a client: the longest range that holds its address decides.
fn admits(sources: &Sources, client: IpAddr) -> bool {
    let longest = |ranges: &std::collections::BTreeSet<ipnet::IpNet>| {
        let holding = ranges.iter().filter(|range| range.contains(&client));
        holding.map(ipnet::IpNet::prefix_len).max()
    };
    match (longest(&sources.allow), longest(&sources.deny)) {
        (None, None) => sources.allow.is_empty(),
        (allowed, denied) => allowed > denied,
    }
}

fn is_to_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}
