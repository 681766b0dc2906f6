//! Datagrams in fragments: later ones follow their first one. Whole conversations are in
//! [`crate::property`].

use orch_ebpf_common::{Be16, DropReason, FrontendKey};

use crate::datagram::{Addresses, Carries, Datagram};
use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, TUNNEL, icmp_error};
use crate::world::{GATEWAY_MAC, LOCAL_MAC, PASS, REDIRECT, VNI, World};

const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);
const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
const PAYLOAD: &[u8] = &[0x5a; 100];
const SIZE: usize = 48;

/// A datagram of three fragments that the client asks a service with.
fn question(at: &Addresses, carries: Carries) -> Datagram {
    let mut question = Datagram::new((at.client, 40000), (at.vip, 6379), carries, PAYLOAD);
    question.id = 0x1234;
    question
}

#[test]
fn later_fragments_take_the_way_of_their_first_one() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let frontend = FrontendKey::published(at.is_v4(), 17, Be16::new(8080));
        world.lead(frontend, 1, &[(at.remote.into(), Some(80))]);
        let asked = Datagram::new((at.outside, 50000), (at.node, 8080), Carries::Udp, PAYLOAD);
        let met = asked.between((at.outside, 50000), (at.remote, 80));
        let fragments = asked.fragments(FROM_OUTSIDE, SIZE);
        assert_eq!(fragments.len(), 3);
        for (fragment, expected) in fragments.iter().zip(met.fragments(TUNNEL, SIZE)) {
            assert_eq!(world.run("uplink_ingress", fragment), (REDIRECT, expected));
        }
    }
}

#[test]
fn fragments_of_two_datagrams_are_not_mixed_up() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        world.lead(
            FrontendKey::vip(VNI, at.vip.into()),
            1,
            &[(at.local.into(), None)],
        );
        let one = question(&at, Carries::Udp);
        let mut two = one.between((at.client, 40001), (at.vip, 6380));
        two.id = 0x1235;
        let [first, second] = [&one, &two].map(|asked| asked.fragments(FROM_CLIENT, SIZE));
        let expected = [&one, &two].map(|asked| {
            let met = asked.between(asked.from, (at.local, asked.to.port()));
            met.fragments(TO_LOCAL, SIZE)
        });
        for part in 0..3 {
            for (sent, expected) in [(&first, &expected[0]), (&second, &expected[1])] {
                let met = world.run("task_ingress", &sent[part]);
                assert_eq!(met, (REDIRECT, expected[part].clone()), "part {part}");
            }
        }
    }
}

#[test]
fn a_later_fragment_that_comes_first_is_dropped_where_ports_are_needed() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let backend = [(at.local.into(), None)];
        world.lead(FrontendKey::vip(VNI, at.vip.into()), 1, &backend);
        let asked = question(&at, Carries::Udp);
        for to in [at.vip, at.outside] {
            let asked = asked.between(asked.from, (to, 6379));
            let later = &asked.fragments(FROM_CLIENT, SIZE)[1];
            world.assert_drop("task_ingress", later, DropReason::Fragment);
        }
        // Between two tasks none are.
        let direct = asked.between(asked.from, (at.local, 6379));
        let expected = direct.fragments(TO_LOCAL, SIZE).remove(1);
        let later = &direct.fragments(FROM_CLIENT, SIZE)[1];
        assert_eq!(world.run("task_ingress", later), (REDIRECT, expected));
        // What the outside sends may be the host's own.
        let asked = asked.between((at.outside, 50000), (at.node, 8080));
        let later = &asked.fragments(FROM_OUTSIDE, SIZE)[1];
        assert_eq!(world.run("uplink_ingress", later), (PASS, later.clone()));
        assert_eq!(world.flows(), []);
    }
}

#[test]
fn a_refused_datagram_is_answered_once() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        world.lead(FrontendKey::vip(VNI, at.vip.into()), 1, &[]);
        let fragments = question(&at, Carries::Udp).fragments(FROM_CLIENT, SIZE);
        let (header, port) = if at.is_v4() {
            (20, (3, 3))
        } else {
            (48, (1, 4))
        };
        let quoted = &fragments[0][14..14 + header + 8];
        let refusal = (port.0, port.1, [0; 4]);
        let expected = icmp_error(TO_CLIENT, at.vip, at.client, refusal, quoted);
        let answered = world.run("task_ingress", &fragments[0]);
        assert_eq!(answered, (REDIRECT, expected));
        for later in &fragments[1..] {
            world.assert_drop("task_ingress", later, DropReason::Fragment);
        }
        assert_eq!(world.flows(), []);
    }
}

#[test]
fn a_service_echoes_in_fragments() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let backend = [(at.remote.into(), None)];
        world.lead(FrontendKey::vip(VNI, at.vip.into()), 1, &backend);
        let mut ping = Datagram::new((at.client, 7), (at.vip, 0), Carries::EchoRequest, PAYLOAD);
        ping.id = 9;
        let pong = Datagram {
            carries: Carries::EchoReply,
            ..ping.between((at.vip, 0), (at.client, 7))
        };
        let fragments = ping.fragments(FROM_CLIENT, SIZE);
        for (fragment, expected) in fragments.iter().zip(pong.fragments(TO_CLIENT, SIZE)) {
            assert_eq!(world.run("task_ingress", fragment), (REDIRECT, expected));
        }
    }
}
