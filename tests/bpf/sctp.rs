//! SCTP, whose checksum covers ports but no addresses. Conversations are in [`crate::property`].

use orch_ebpf_common::{Be16, DropReason, FrontendKey};

use crate::datagram::{Addresses, Carries, Datagram, crc32c};
use crate::frames::{FROM_CLIENT, Link, TO_CLIENT, TUNNEL};
use crate::world::{GATEWAY_MAC, LOCAL_MAC, REDIRECT, VNI, World};

const INIT: Carries = Carries::Sctp(1);
const DATA: Carries = Carries::Sctp(0);
const ABORT: Carries = Carries::Sctp(6);
const FROM_OUTSIDE: Link = Link([2, 0, 0, 0, 0, 0xdd], [2, 0, 0, 0, 0, 0xee]);
const TO_LOCAL: Link = Link(LOCAL_MAC, GATEWAY_MAC);

fn asked(at: &Addresses, carries: Carries, payload: &[u8]) -> Datagram {
    Datagram::new((at.client, 40000), (at.vip, 3868), carries, payload)
}

/// Where the SCTP header of a frame begins.
const fn transport(at: &Addresses) -> usize {
    if at.is_v4() { 34 } else { 54 }
}

#[test]
fn a_checksum_follows_a_changed_port() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let frontend = FrontendKey::published(at.is_v4(), 132, Be16::new(8080));
        world.lead(frontend, 1, &[(at.remote.into(), Some(80))]);
        for len in [16, 17, 100, 1300] {
            let sides = ((at.outside, 50000), (at.node, 8080));
            let init = Datagram::new(sides.0, sides.1, INIT, &vec![9; len]);
            let met = init.between(sides.0, (at.remote, 80));
            let sent = world.run("uplink_ingress", &init.whole(FROM_OUTSIDE));
            assert_eq!(sent, (REDIRECT, met.whole(TUNNEL)), "{len}");
        }
    }
}

#[test]
fn a_checksum_that_the_device_will_make_stays_open() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let frontend = FrontendKey::published(at.is_v4(), 132, Be16::new(8080));
        world.lead(frontend, 1, &[(at.remote.into(), Some(80))]);
        let init = Datagram::new((at.outside, 50000), (at.node, 8080), INIT, &[9; 16]);
        let met = init.between((at.outside, 50000), (at.remote, 80));
        let [sent, expected] = [(init, FROM_OUTSIDE), (met, TUNNEL)].map(|(packet, link)| {
            let mut frame = packet.whole(link);
            frame[transport(&at) + 8..][..4].fill(0);
            frame
        });
        assert_eq!(world.run("uplink_ingress", &sent), (REDIRECT, expected));
    }
}

#[test]
fn a_service_without_backends_aborts() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        world.lead(FrontendKey::vip(VNI, at.vip.into()), 1, &[]);
        // An INIT begins with the tag that its sender wants to be answered under.
        for (carries, tag, flags) in [(INIT, [0xaa; 4], 0), (DATA, [0, 0, 0, 9], 1)] {
            let frame = asked(&at, carries, &[0xaa; 16]).whole(FROM_CLIENT);
            let sides = ((at.vip, 3868), (at.client, 40000));
            let mut expected = Datagram::new(sides.0, sides.1, ABORT, &[]).whole(TO_CLIENT);
            let body = &mut expected[transport(&at)..];
            body[4..8].copy_from_slice(&tag);
            body[8..12].fill(0);
            body[13] = flags;
            let checksum = crc32c(body);
            body[8..12].copy_from_slice(&checksum);
            assert_eq!(world.run("task_ingress", &frame), (REDIRECT, expected));
        }
        let ended = asked(&at, ABORT, &[]).whole(FROM_CLIENT);
        world.assert_drop("task_ingress", &ended, DropReason::NoBackend);
        assert_eq!(world.flows(), []);
    }
}

#[test]
fn an_association_stays_with_a_backend_that_takes_no_new_ones() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        let vip = FrontendKey::vip(VNI, at.vip.into());
        world.lead(vip, 1, &[(at.local.into(), None)]);
        world.run(
            "task_ingress",
            &asked(&at, INIT, &[1; 16]).whole(FROM_CLIENT),
        );
        world.lead(vip, 2, &[(at.remote.into(), None)]);
        for (carries, backend, link) in [(DATA, at.local, TO_LOCAL), (INIT, at.remote, TUNNEL)] {
            let question = asked(&at, carries, &[1; 16]);
            let expected = question.between(question.from, (backend, 3868)).whole(link);
            let met = world.run("task_ingress", &question.whole(FROM_CLIENT));
            assert_eq!(met, (REDIRECT, expected), "{carries:?}");
        }
    }
}

#[test]
fn fragments_keep_their_ports() {
    for at in Addresses::BOTH {
        let mut world = World::new();
        world.lead(
            FrontendKey::vip(VNI, at.vip.into()),
            1,
            &[(at.local.into(), None)],
        );
        let frontend = FrontendKey::published(at.is_v4(), 132, Be16::new(8080));
        world.lead(frontend, 1, &[(at.remote.into(), Some(80))]);
        let question = asked(&at, INIT, &[3; 100]);
        let met = question.between(question.from, (at.local, 3868));
        let fragments = question.fragments(FROM_CLIENT, 48);
        for (fragment, expected) in fragments.iter().zip(met.fragments(TO_LOCAL, 48)) {
            assert_eq!(world.run("task_ingress", fragment), (REDIRECT, expected));
        }
        // The checksum over the rest of the packet is in its first part, the rest is not.
        let changed = question.between((at.outside, 50000), (at.node, 8080));
        let first = &changed.fragments(FROM_OUTSIDE, 48)[0];
        world.assert_drop("uplink_ingress", first, DropReason::RewriteFailed);
    }
}
