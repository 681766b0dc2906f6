//! `orchctl net trace` against the programs: what it says of a packet is what they do.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use orch_core::ids::NetworkId;
use orch_core::network::{
    Backend, DesiredNetwork, Family, Frontend, OverlayNetwork, Pool, Protocol, Subnet,
    Vni as CoreVni,
};
use orch_dataplane::trace::{self, Answer, Cluster, Host, Outcome, Packet, Sender, Transport};
use orch_ebpf_common::Network;
use orch_ebpf_common::headers::SctpHeader;

use crate::datagram::{Addresses, Carries, Datagram};
use crate::frames::{FROM_CLIENT, Link};
use crate::world::{
    CLIENT_MAC, GATEWAY, GATEWAY_MAC, GATEWAY_V6, HOST_MAC, LOCAL_MAC, NODE, OTHER_NODE, PASS,
    REDIRECT, SHOT, VNI, World, published, published_v6, vip, vip_v6,
};

const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
/// From the host's own stack.
const FROM_HOST: Link = Link(HOST_MAC, HOST_MAC);
const CORE_VNI: CoreVni = CoreVni(VNI.get());
const PORT: u16 = 8080;

/// The same world twice: in maps, and as a desired state.
struct Twins {
    world: World,
    cluster: Cluster,
    /// Port of the next client: an earlier conversation must not decide.
    client_port: u16,
}

impl Twins {
    fn new() -> Self {
        let mut desired = DesiredNetwork::default();
        let subnet = |range: &str, gateway| Subnet {
            range: range.parse().unwrap(),
            gateway,
        };
        desired.networks.insert(
            CORE_VNI,
            OverlayNetwork {
                id: NetworkId::from_random(1),
                subnets: vec![
                    subnet("10.0.10.0/24", GATEWAY.into()),
                    subnet("fd00:a::/64", GATEWAY_V6.into()),
                ],
                internal: false,
            },
        );
        for of in Addresses::BOTH {
            for (address, node) in [(of.client, NODE), (of.local, NODE), (of.remote, OTHER_NODE)] {
                let node = IpAddr::from(node);
                desired.endpoints.insert((CORE_VNI, address), node);
            }
        }
        desired.peers = BTreeSet::from([OTHER_NODE.into()]);
        let attached = Addresses::BOTH.iter().flat_map(|of| [of.client, of.local]);
        let host = Host {
            desired,
            addresses: Addresses::BOTH.iter().map(|of| of.node).collect(),
            attached: Some(attached.map(|address| (CORE_VNI, address)).collect()),
        };
        let mut cluster = Cluster::default();
        cluster.hosts.insert(NODE.into(), host);
        Self {
            world: World::new(),
            cluster,
            client_port: 40000,
        }
    }

    fn desired(&mut self) -> &mut DesiredNetwork {
        &mut self.cluster.hosts.get_mut(&NODE.into()).unwrap().desired
    }

    /// One backend, or none, behind the virtual address and the published port of a family.
    fn serve(&mut self, of: &Addresses, backend: Option<IpAddr>) {
        let vip_frontend = Frontend::Vip {
            vni: CORE_VNI,
            address: of.vip,
        };
        let published_frontend = Frontend::Published {
            protocol: Protocol::Tcp,
            port: PORT,
            address: Family::of(of.vip).unspecified(),
        };
        for (frontend, port) in [(vip_frontend, None), (published_frontend, Some(80))] {
            let of_core = |address| Backend {
                vni: CORE_VNI,
                address,
                port,
            };
            let pool = Pool {
                backends: backend.map(of_core).into_iter().collect(),
                ..Pool::default()
            };
            self.desired().frontends.insert(frontend, pool);
            let key = match (of.is_v4(), port) {
                (true, None) => vip(),
                (true, Some(_)) => published(PORT),
                (false, None) => vip_v6(),
                (false, Some(_)) => published_v6(PORT),
            };
            let backends: Vec<_> = backend
                .map(|address| (address.into(), port))
                .into_iter()
                .collect();
            self.world.lead(key, 1, &backends);
        }
    }

    fn internal(&mut self) {
        let network = Network {
            flags: Network::INTERNAL,
        };
        self.world.set("NETWORKS", VNI, network);
        let networks = &mut self.desired().networks;
        networks.get_mut(&CORE_VNI).unwrap().internal = true;
    }

    /// Asks both, and compares.
    fn agree(&mut self, sender: Sender, packet: Packet) {
        let hops = trace::trace(&self.cluster, NODE.into(), sender, packet);
        let [outcome] = hops[0].outcomes.as_slice() else {
            panic!("{packet}: {:?}", hops[0].outcomes)
        };
        let program = hops[0].program;
        self.client_port += 1;
        let frame = frame(sender, packet, self.client_port);
        if let Outcome::Dropped(reason) = outcome {
            return self.world.assert_drop(program, &frame, *reason);
        }
        let (verdict, out) = self.world.run(program, &frame);
        let told = self.cluster.words(outcome);
        assert_eq!(
            shape(verdict, &out),
            expected(outcome, sender),
            "{packet}: {told}"
        );
        if let Outcome::Tunnelled { packet: after, .. } = outcome {
            assert_eq!(
                addresses(&out),
                (after.source, after.destination),
                "{packet}"
            );
        }
    }
}

/// What of a packet's fate tells the outcomes apart.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    To([u8; 6]),
    Answered(Answer),
    Passed,
    Dropped,
}

fn shape(verdict: i32, out: &[u8]) -> Shape {
    match verdict {
        PASS => Shape::Passed,
        SHOT => Shape::Dropped,
        REDIRECT => {
            answer(out).map_or_else(|| Shape::To(out[..6].try_into().unwrap()), Shape::Answered)
        }
        other => panic!("verdict {other}"),
    }
}

/// The answer that a frame is.
fn answer(frame: &[u8]) -> Option<Answer> {
    let (protocol, l4) = match frame[12] {
        0x08 => (frame[23], 34),
        _ => (frame[20], 54),
    };
    match (protocol, frame[l4], frame[l4 + 1]) {
        (1, 0, _) | (58, 129, _) => Some(Answer::Echo),
        (1, 3, 3) | (58, 1, 4) => Some(Answer::PortUnreachable),
        (1, 3, 1) | (58, 1, 3) => Some(Answer::HostUnreachable),
        (6, ..) if frame[l4 + 13] & 4 != 0 => Some(Answer::Reset),
        (132, ..) if frame[l4 + 12] == SctpHeader::ABORT => Some(Answer::Abort),
        _ => None,
    }
}

fn expected(outcome: &Outcome, sender: Sender) -> Shape {
    match outcome {
        Outcome::Delivered(_, address) => {
            let is_client = Addresses::BOTH.iter().any(|of| of.client == *address);
            Shape::To(if is_client { CLIENT_MAC } else { LOCAL_MAC })
        }
        Outcome::Tunnelled { .. } => Shape::To(GATEWAY_MAC),
        Outcome::Host if sender == Sender::Outside => Shape::Passed,
        Outcome::Host => Shape::To(HOST_MAC),
        Outcome::Outside(_) => Shape::Passed,
        Outcome::Answered(answer) => Shape::Answered(*answer),
        Outcome::Dropped(_) => Shape::Dropped,
    }
}

/// Source and destination.
fn addresses(frame: &[u8]) -> (IpAddr, IpAddr) {
    let v4 = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    let v6 = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
    match frame[12] {
        0x08 => (v4(26).into(), v4(30).into()),
        _ => (v6(22).into(), v6(38).into()),
    }
}

fn frame(sender: Sender, packet: Packet, client_port: u16) -> Vec<u8> {
    let link = match sender {
        Sender::Task(_) => FROM_CLIENT,
        Sender::Process => FROM_HOST,
        Sender::Outside => FROM_OUTSIDE,
    };
    let (carries, port) = match packet.transport {
        Transport::Ping => (Carries::EchoRequest, 0),
        Transport::Port(Protocol::Tcp, port) => (Carries::Syn, port),
        Transport::Port(Protocol::Udp, port) => (Carries::Udp, port),
        Transport::Port(Protocol::Sctp, port) => (Carries::Sctp(SctpHeader::INIT), port),
    };
    let from = SocketAddr::new(packet.source, client_port);
    let to = SocketAddr::new(packet.destination, port);
    Datagram::new(from, to, carries, b"abcdefghijklmnop").whole(link)
}

fn packet(source: IpAddr, destination: IpAddr, transport: Transport) -> Packet {
    Packet {
        source,
        destination,
        transport,
    }
}

const TCP: Transport = Transport::Port(Protocol::Tcp, PORT);
const UDP: Transport = Transport::Port(Protocol::Udp, PORT);
const SCTP: Transport = Transport::Port(Protocol::Sctp, PORT);
const DNS: Transport = Transport::Port(Protocol::Udp, 53);
const TASK: Sender = Sender::Task(CORE_VNI);

/// The network's gateway, an address in it that nobody has, and those of many.
fn others(of: &Addresses) -> Vec<IpAddr> {
    let texts: &[&str] = match of.is_v4() {
        true => &["10.0.10.1", "10.0.10.200", "10.0.10.255", "224.0.0.251"],
        false => &["fd00:a::1", "fd00:a::200", "ff05::1:3"],
    };
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn of_what_a_task_sends() {
    for of in Addresses::BOTH {
        for backend in [None, Some(of.local), Some(of.remote), Some(of.client)] {
            let mut twins = Twins::new();
            twins.serve(&of, backend);
            let targets = [of.vip, of.local, of.remote, of.node];
            for to in targets.into_iter().chain(others(&of)) {
                for transport in [TCP, UDP, SCTP, DNS, Transport::Ping] {
                    twins.agree(TASK, packet(of.client, to, transport));
                }
            }
        }
    }
}

#[test]
fn of_what_a_process_of_the_host_sends_to_a_network() {
    for of in Addresses::BOTH {
        for backend in [None, Some(of.local), Some(of.remote)] {
            let mut twins = Twins::new();
            twins.serve(&of, backend);
            let nobodies = others(&of).into_iter().filter(|to| !to.is_multicast());
            for to in [of.vip, of.local, of.remote].into_iter().chain(nobodies) {
                for transport in [TCP, UDP, SCTP, DNS, Transport::Ping] {
                    twins.agree(Sender::Process, packet(of.node, to, transport));
                }
            }
        }
    }
}

#[test]
fn of_a_task_of_an_internal_network() {
    for of in Addresses::BOTH {
        let mut twins = Twins::new();
        twins.internal();
        for to in [of.outside, of.node, others(&of)[0], of.local] {
            for transport in [TCP, DNS, Transport::Ping] {
                twins.agree(TASK, packet(of.client, to, transport));
            }
        }
    }
}

#[test]
fn of_an_address_that_is_not_the_sender_s() {
    for of in Addresses::BOTH {
        let mut twins = Twins::new();
        twins.agree(TASK, packet(of.outside, of.vip, TCP));
    }
}

#[test]
fn of_what_the_outside_sends() {
    for of in Addresses::BOTH {
        // IPv6 clients may be led to IPv4 tasks.
        let v4 = Addresses::V4;
        for backend in [
            None,
            Some(of.local),
            Some(of.remote),
            Some(v4.local),
            Some(v4.remote),
        ] {
            let mut twins = Twins::new();
            twins.serve(&of, backend);
            for to in [of.node, OTHER_NODE.into()] {
                for transport in [TCP, UDP, Transport::Ping] {
                    if to.is_ipv4() == of.is_v4() {
                        twins.agree(Sender::Outside, packet(of.outside, to, transport));
                    }
                }
            }
        }
    }
}
