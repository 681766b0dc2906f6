//! `orchctl net trace` against the programs: what it says of a packet is what they do.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use orch_core::ids::NetworkId;
use orch_core::network::{
    Backend, DesiredNetwork, Family, Frontend, OverlayNetwork, Pool, Protocol, Subnet,
    Vni as CoreVni,
};
use orch_dataplane::trace::{self, Answer, Cluster, Host, Outcome, Packet, Sender, Transport};
use orch_ebpf_common::{DropReason, Network};

use crate::frames::{FROM_CLIENT, Link, ping, syn, udp};
use crate::world::{
    CLIENT, CLIENT_MAC, GATEWAY, GATEWAY_MAC, HOST_MAC, LOCAL, LOCAL_MAC, NODE, OTHER_NODE,
    OUTSIDE, PASS, REDIRECT, REMOTE, SHOT, VIP, VNI, World, published, vip,
};

const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
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
        desired.networks.insert(
            CORE_VNI,
            OverlayNetwork {
                id: NetworkId::from_random(1),
                subnets: vec![Subnet {
                    range: "10.0.10.0/24".parse().unwrap(),
                    gateway: GATEWAY.into(),
                }],
                internal: false,
            },
        );
        for (address, node) in [(CLIENT, NODE), (LOCAL, NODE), (REMOTE, OTHER_NODE)] {
            let endpoint = (CORE_VNI, IpAddr::from(address));
            desired.endpoints.insert(endpoint, node.into());
        }
        desired.peers = BTreeSet::from([OTHER_NODE.into()]);
        let host = Host {
            desired,
            addresses: BTreeSet::from([NODE.into()]),
            attached: Some([CLIENT, LOCAL].map(|a| (CORE_VNI, a.into())).into()),
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

    /// One backend, or none, behind the virtual address and the published port.
    fn serve(&mut self, backend: Option<Ipv4Addr>) {
        for (frontend, key, port) in [
            (
                Frontend::Vip {
                    vni: CORE_VNI,
                    address: VIP.into(),
                },
                vip(),
                None,
            ),
            (
                Frontend::Published {
                    protocol: Protocol::Tcp,
                    port: PORT,
                    address: Family::V4.unspecified(),
                },
                published(PORT),
                Some(80),
            ),
        ] {
            let of_core = |address: Ipv4Addr| Backend {
                vni: CORE_VNI,
                address: address.into(),
                port,
            };
            let pool = Pool {
                backends: backend.map(of_core).into_iter().collect(),
                ..Pool::default()
            };
            self.desired().frontends.insert(frontend, pool);
            let slots: Vec<_> = backend.map(|address| (address, port)).into_iter().collect();
            self.world.serve(key, 1, &slots);
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
                IpAddr::from(destination(&out)),
                after.destination,
                "{packet}"
            );
        }
    }
}

/// What of a packet's fate tells the outcomes apart.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    To([u8; 6]),
    Icmp(u8, u8),
    Reset,
    Passed,
    Dropped,
}

fn shape(verdict: i32, out: &[u8]) -> Shape {
    match verdict {
        PASS => Shape::Passed,
        SHOT => Shape::Dropped,
        REDIRECT if out[23] == 1 && out[34] != 8 => Shape::Icmp(out[34], out[35]),
        REDIRECT if out[23] == 6 && out[47] & 4 != 0 => Shape::Reset,
        REDIRECT => Shape::To(out[..6].try_into().unwrap()),
        other => panic!("verdict {other}"),
    }
}

fn expected(outcome: &Outcome, sender: Sender) -> Shape {
    match outcome {
        Outcome::Delivered(_, address) if *address == IpAddr::from(CLIENT) => Shape::To(CLIENT_MAC),
        Outcome::Delivered(..) => Shape::To(LOCAL_MAC),
        Outcome::Tunnelled { .. } => Shape::To(GATEWAY_MAC),
        Outcome::Host if sender == Sender::Outside => Shape::Passed,
        Outcome::Host => Shape::To(HOST_MAC),
        Outcome::Outside(_) => Shape::Passed,
        Outcome::Answered(Answer::Echo) => Shape::Icmp(0, 0),
        Outcome::Answered(Answer::PortUnreachable) => Shape::Icmp(3, 3),
        Outcome::Answered(Answer::HostUnreachable) => Shape::Icmp(3, 1),
        Outcome::Answered(Answer::Reset) => Shape::Reset,
        Outcome::Dropped(_) => Shape::Dropped,
    }
}

fn destination(frame: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(&frame[30..34]).unwrap().into()
}

fn frame(sender: Sender, packet: Packet, client_port: u16) -> Vec<u8> {
    let link = match sender {
        Sender::Task(_) => FROM_CLIENT,
        Sender::Process | Sender::Outside => FROM_OUTSIDE,
    };
    let (IpAddr::V4(from), IpAddr::V4(to)) = (packet.source, packet.destination) else {
        panic!("{packet} is not IPv4")
    };
    match packet.transport {
        Transport::Ping => ping(link, from, to, client_port),
        Transport::Port(Protocol::Tcp, port) => syn(link, (from, client_port), (to, port)),
        Transport::Port(_, port) => udp(link, (from, client_port), (to, port), b"x"),
    }
}

fn packet(source: Ipv4Addr, destination: Ipv4Addr, transport: Transport) -> Packet {
    Packet {
        source: source.into(),
        destination: destination.into(),
        transport,
    }
}

const TCP: Transport = Transport::Port(Protocol::Tcp, PORT);
const UDP: Transport = Transport::Port(Protocol::Udp, PORT);
const DNS: Transport = Transport::Port(Protocol::Udp, 53);
const TASK: Sender = Sender::Task(CORE_VNI);

#[test]
fn of_what_a_task_sends() {
    let nobody = Ipv4Addr::new(10, 0, 10, 200);
    let broadcast = Ipv4Addr::new(10, 0, 10, 255);
    let multicast = Ipv4Addr::new(224, 0, 0, 251);
    for backend in [None, Some(LOCAL), Some(REMOTE), Some(CLIENT)] {
        let mut twins = Twins::new();
        twins.serve(backend);
        for to in [
            VIP, LOCAL, REMOTE, GATEWAY, NODE, nobody, broadcast, multicast,
        ] {
            for transport in [TCP, UDP, DNS, Transport::Ping] {
                twins.agree(TASK, packet(CLIENT, to, transport));
            }
        }
    }
}

#[test]
fn of_a_task_of_an_internal_network() {
    let mut twins = Twins::new();
    twins.internal();
    for to in [OUTSIDE, NODE, GATEWAY, LOCAL] {
        for transport in [TCP, DNS, Transport::Ping] {
            twins.agree(TASK, packet(CLIENT, to, transport));
        }
    }
}

#[test]
fn of_an_address_that_is_not_the_sender_s() {
    let mut twins = Twins::new();
    let host = twins.cluster.hosts.get_mut(&NODE.into()).unwrap();
    host.attached = Some(BTreeSet::new());
    let hops = trace::trace(&twins.cluster, NODE.into(), TASK, packet(OUTSIDE, VIP, TCP));
    assert_eq!(
        hops[0].outcomes,
        [Outcome::Dropped(DropReason::SpoofedSource)]
    );
    let frame = frame(TASK, packet(OUTSIDE, VIP, TCP), 40000);
    let reason = DropReason::SpoofedSource;
    twins.world.assert_drop("task_ingress", &frame, reason);
}

#[test]
fn of_what_the_outside_sends() {
    for backend in [None, Some(LOCAL), Some(REMOTE)] {
        let mut twins = Twins::new();
        twins.serve(backend);
        for to in [NODE, OTHER_NODE] {
            for transport in [TCP, UDP, Transport::Ping] {
                twins.agree(Sender::Outside, packet(OUTSIDE, to, transport));
            }
        }
    }
}
