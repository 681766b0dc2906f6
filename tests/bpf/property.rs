//! Random conversations through the programs, against a model of what translation is.
//!
//! The model knows nothing of flows, maps or checksums: a conversation has the sides that its
//! client sees and the sides that its server sees, and no two have the same on the server's. The
//! bytes of every expected frame are written anew from these sides.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use orch_ebpf_common::flow::NAT_PORTS;
use orch_ebpf_common::{Be16, FrontendKey};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use crate::datagram::{Addresses, Carries, Datagram};
use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, TUNNEL};
use crate::world::{GATEWAY_MAC, LOCAL_MAC, REDIRECT, VNI, World};

const SERVICE_PORT: u16 = 6379;
const PUBLISHED_PORT: u16 = 8080;
/// Published to clients of IPv6, and served by IPv4.
const CROSSING_PORT: u16 = 8081;
const TARGET_PORT: u16 = 80;
const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
/// Lists of conversations; each holds a handful.
const CASES: u32 = 60;

/// Whom the client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A task asks a service.
    Vip,
    /// Somebody outside asks a published port.
    Published,
    /// The same by IPv6, of tasks that have IPv4 addresses only.
    Crossing,
    /// A task asks somebody outside.
    Egress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Tcp,
    Udp,
    UdpUnchecked,
    Sctp,
    Echo,
}

#[derive(Debug, Clone)]
struct Conversation {
    family: usize,
    way: Way,
    protocol: Protocol,
    /// Few, so that conversations get into each other's way.
    port: u16,
    /// Bytes in a fragment if what is asked and answered comes in fragments.
    fragment: Option<usize>,
    question: Vec<u8>,
    answer: Vec<u8>,
}

fn conversations() -> impl Strategy<Value = Vec<Conversation>> {
    let way = prop_oneof![
        Just(Way::Vip),
        Just(Way::Published),
        Just(Way::Crossing),
        Just(Way::Egress)
    ];
    let protocol = prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::UdpUnchecked),
        Just(Protocol::Sctp),
        Just(Protocol::Echo),
    ];
    let fragment = prop::option::of((1..=40_usize).prop_map(|units| units * 8));
    let payload = || prop::collection::vec(any::<u8>(), 0..600);
    let ports = (0..2_usize, 40000..40004_u16);
    let one = (way, protocol, ports, fragment, payload(), payload()).prop_map(
        |(way, protocol, (family, port), fragment, question, answer)| Conversation {
            family,
            way: match (way, protocol) {
                // A service answers echoes itself, and a host its own.
                (_, Protocol::Echo) => Way::Egress,
                (Way::Crossing, Protocol::UdpUnchecked | Protocol::Sctp) => Way::Published,
                _ => way,
            },
            protocol,
            port,
            // The families have no fragments in common.
            fragment: fragment.filter(|_| way != Way::Crossing),
            question,
            answer,
        },
    );
    prop::collection::vec(one, 1..12)
}

/// Client and server, as one of them sees the two.
type Sides = (SocketAddr, SocketAddr);

fn side(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    (address.into(), port).into()
}

impl Conversation {
    const fn addresses(&self) -> Addresses {
        Addresses::BOTH[self.family]
    }

    /// As the client sees it.
    fn asked(&self) -> Sides {
        let at = self.addresses();
        match self.way {
            Way::Vip => (side(at.client, self.port), side(at.vip, SERVICE_PORT)),
            Way::Published => (side(at.outside, self.port), side(at.node, PUBLISHED_PORT)),
            Way::Crossing => {
                let at = Addresses::V6;
                (side(at.outside, self.port), side(at.node, CROSSING_PORT))
            }
            Way::Egress if self.protocol == Protocol::Echo => {
                (side(at.client, self.port), side(at.outside, 0))
            }
            Way::Egress => (side(at.client, self.port), side(at.outside, 443)),
        }
    }

    /// As the server may see it, and where frames to the server go then. The port is the client's
    /// as it was translated.
    fn may_be_served(&self, port: u16) -> Vec<(Sides, Link)> {
        let (client, server) = self.asked();
        let at = match self.way {
            Way::Crossing => Addresses::V4,
            Way::Vip | Way::Published | Way::Egress => self.addresses(),
        };
        let backends = [
            (at.client, TO_CLIENT),
            (at.local, TO_LOCAL),
            (at.remote, TUNNEL),
        ];
        match self.way {
            Way::Egress => vec![((side(at.node, port), server), FROM_CLIENT)],
            Way::Vip => backends
                .map(|(backend, link)| {
                    // A client that is its own server would see itself as peer.
                    let source = if client.ip() == backend {
                        server.ip()
                    } else {
                        client.ip()
                    };
                    ((side(source, port), side(backend, SERVICE_PORT)), link)
                })
                .to_vec(),
            Way::Published | Way::Crossing => backends
                .map(|(backend, link)| {
                    let source = if self.way == Way::Crossing {
                        at.node
                    } else {
                        client.ip()
                    };
                    ((side(source, port), side(backend, TARGET_PORT)), link)
                })
                .to_vec(),
        }
    }

    /// Where questions enter, and on which link.
    const fn entry(&self) -> (&'static str, Link) {
        match self.way {
            Way::Vip | Way::Egress => ("task_ingress", FROM_CLIENT),
            Way::Published | Way::Crossing => ("uplink_ingress", FROM_OUTSIDE),
        }
    }

    /// Where answers enter, on which link, and on which they leave.
    const fn return_entry(&self) -> (&'static str, Link, Link) {
        match self.way {
            Way::Vip => ("task_ingress", FROM_CLIENT, TO_CLIENT),
            // The next hop's address is filled in when the redirect is carried out.
            Way::Published | Way::Crossing => ("task_ingress", FROM_CLIENT, FROM_CLIENT),
            Way::Egress => ("uplink_ingress", FROM_OUTSIDE, TO_CLIENT),
        }
    }

    const fn opening(&self) -> Carries {
        match self.protocol {
            Protocol::Tcp => Carries::Syn,
            Protocol::Udp => Carries::Udp,
            Protocol::UdpUnchecked => Carries::UdpUnchecked,
            Protocol::Sctp => Carries::Sctp(1),
            Protocol::Echo => Carries::EchoRequest,
        }
    }

    const fn later(&self) -> Carries {
        match self.protocol {
            Protocol::Tcp => Carries::Segment,
            Protocol::Sctp => Carries::Sctp(0),
            Protocol::Udp | Protocol::UdpUnchecked | Protocol::Echo => self.opening(),
        }
    }

    const fn answering(&self) -> Carries {
        match self.protocol {
            Protocol::Tcp => Carries::SynAck,
            Protocol::Sctp => Carries::Sctp(2),
            Protocol::Echo => Carries::EchoReply,
            Protocol::Udp | Protocol::UdpUnchecked => self.opening(),
        }
    }

    fn question(&self, carries: Carries) -> Datagram {
        let (from, to) = self.asked();
        Datagram::new(from, to, carries, &self.question)
    }

    /// The frames of a datagram. TCP and SCTP cut their payload themselves.
    fn frames(&self, datagram: &Datagram, link: Link) -> Vec<Vec<u8>> {
        match (self.protocol, self.fragment) {
            (Protocol::Tcp | Protocol::Sctp, _) | (_, None) => vec![datagram.whole(link)],
            (_, Some(size)) => datagram.fragments(link, size),
        }
    }
}

/// What is known of the conversations so far.
#[derive(Default)]
struct Model {
    /// By protocol and by what the client sees: what the server sees.
    served: BTreeMap<(u8, SocketAddr, SocketAddr), Sides>,
    /// By protocol and by what the server sees: what the client sees.
    asked: BTreeMap<(u8, SocketAddr, SocketAddr), Sides>,
}

impl Model {
    /// Notes a conversation; fails if it has moved, or if another one looks like it.
    fn note(&mut self, conversation: &Conversation, served: Sides) -> TestCaseResult {
        let protocol = match conversation.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp | Protocol::UdpUnchecked => 17,
            Protocol::Sctp => 132,
            Protocol::Echo => 1,
        };
        let asked = conversation.asked();
        let before = self.served.insert((protocol, asked.0, asked.1), served);
        prop_assert!(
            before.is_none_or(|before| before == served),
            "moved from {before:?}"
        );
        let other = self.asked.insert((protocol, served.0, served.1), asked);
        prop_assert!(
            other.is_none_or(|other| other == asked),
            "looks like {other:?}"
        );
        Ok(())
    }
}

/// Sends the frames of a question or an answer through a program.
fn run_all(world: &mut World, program: &str, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let fates = frames.iter().map(|frame| world.run(program, frame));
    fates
        .map(|(verdict, frame)| {
            assert_eq!(verdict, REDIRECT, "{program}");
            frame
        })
        .collect()
}

/// Asks, and finds out whom and as whom.
fn ask(world: &mut World, conversation: &Conversation, carries: Carries) -> Sides {
    let question = conversation.question(carries);
    let (program, link) = conversation.entry();
    let met = run_all(world, program, &conversation.frames(&question, link));
    let in_parts = conversation.fragment.is_some()
        && !matches!(conversation.protocol, Protocol::Tcp | Protocol::Sctp);
    let fragment_header = if in_parts { 8 } else { 0 };
    let transport = match met[0][12..14] {
        [0x08, 0x00] => 34,
        _ => 54 + fragment_header,
    };
    let at = match conversation.protocol {
        // The identifier of an echo lies behind type, code and checksum.
        Protocol::Echo => transport + 4,
        Protocol::Tcp | Protocol::Udp | Protocol::UdpUnchecked | Protocol::Sctp => transport,
    };
    let port = [met[0][at], met[0][at + 1]];
    let port = u16::from_be_bytes(port);
    assert!(
        port == conversation.port || NAT_PORTS.contains(&port),
        "{port}"
    );
    let served = conversation
        .may_be_served(port)
        .into_iter()
        .find(|(sides, link)| {
            let seen = question.between(sides.0, sides.1);
            met == conversation.frames(&seen, *link)
        });
    let (served, _) = served.unwrap_or_else(|| panic!("nobody should see {met:02x?}"));
    served
}

/// Answers, and checks that the client sees an answer of whom it asked.
fn answer(world: &mut World, conversation: &Conversation, served: Sides, carries: Carries) {
    let (program, link, back) = conversation.return_entry();
    let asked = conversation.asked();
    let given = Datagram::new(served.1, served.0, carries, &conversation.answer);
    let expected = given.between(asked.1, asked.0);
    let seen = run_all(world, program, &conversation.frames(&given, link));
    assert_eq!(seen, conversation.frames(&expected, back));
}

fn hold(world: &mut World, conversations: &[Conversation]) -> TestCaseResult {
    world.forget_conversations();
    let mut model = Model::default();
    for conversation in conversations {
        let served = ask(world, conversation, conversation.opening());
        model.note(conversation, served)?;
        answer(world, conversation, served, conversation.answering());
    }
    // All of them go on, whatever was opened after them.
    for conversation in conversations {
        let served = ask(world, conversation, conversation.later());
        model.note(conversation, served)?;
        answer(world, conversation, served, conversation.answering());
    }
    Ok(())
}

#[test]
fn translation_there_and_back_is_what_the_model_says() {
    let mut world = World::new();
    for at in Addresses::BOTH {
        for backend in [at.local, at.remote] {
            world.also_has(VNI, backend);
        }
        let backends = |port| [at.client, at.local, at.remote].map(|task| (task.into(), port));
        world.lead(FrontendKey::vip(VNI, at.vip.into()), 1, &backends(None));
        for protocol in [6, 17, 132] {
            let port = Be16::new(PUBLISHED_PORT);
            let frontend = FrontendKey::published(at.is_v4(), protocol, port);
            world.lead(frontend, 1, &backends(Some(TARGET_PORT)));
            if at.is_v4() {
                let frontend = FrontendKey::published(false, protocol, Be16::new(CROSSING_PORT));
                world.lead(frontend, 1, &backends(Some(TARGET_PORT)));
            }
        }
    }
    let world = RefCell::new(world);
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&conversations(), |list| {
            hold(&mut world.borrow_mut(), &list)
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
