//! Which backend of a frontend serves a new conversation.

use orch_ebpf_common::{
    Affinity, AffinityKey, BackendKey, Be16, DropReason, Frontend, Maglev, MaglevKey, MemberKey,
    SourceKey,
};

use crate::flow::now;
use crate::packet::Packet;
use crate::scratch::Scratch;
use crate::{maps, skb};

/// What became of the choice; above these, a [`DropReason`].
const CHOSEN: u32 = 0;
const NOBODY: u32 = 1;
const DROPPED: u32 = 2;

/// Sets `scratch.backend` to one of the backends of the frontend `scratch.frontend`, for
/// `scratch.client`; `false` if there is none.
#[inline(always)]
pub fn choose(
    packet: &Packet,
    scratch: &mut Scratch,
    frontend: &Frontend,
) -> Result<bool, DropReason> {
    match try_choose(packet, scratch, frontend) {
        CHOSEN => Ok(true),
        NOBODY => Ok(false),
        _ => Err(DropReason::NoBackend),
    }
}

#[inline(never)]
fn try_choose(packet: &Packet, scratch: &mut Scratch, frontend: &Frontend) -> u32 {
    if frontend.count == 0 {
        return NOBODY;
    }
    if frontend.affinity != 0 && recall(scratch, frontend) {
        return CHOSEN;
    }
    if !pick(packet, scratch, frontend) {
        // The set was swapped since the frontend was read.
        let Some(frontend) = maps::frontend(&scratch.frontend) else {
            return NOBODY;
        };
        if frontend.count == 0 {
            return NOBODY;
        }
        if !pick(packet, scratch, frontend) {
            return DROPPED;
        }
    }
    if frontend.affinity != 0 {
        remember(scratch);
    }
    CHOSEN
}

/// Chooses the backend that the client had last, if it is not long ago and the backend is there.
#[inline(always)]
fn recall(scratch: &mut Scratch, frontend: &Frontend) -> bool {
    scratch.choice.affinity_key = AffinityKey {
        frontend: scratch.frontend,
        client: scratch.client,
    };
    let Some(last) = maps::affinity(&scratch.choice.affinity_key) else {
        return false;
    };
    let is_over = now().saturating_sub(last.last_used) > frontend.affinity;
    scratch.backend = last.backend;
    scratch.choice.member = MemberKey {
        frontend: scratch.frontend,
        backend: scratch.backend,
    };
    if is_over || !is_current(&scratch.choice.member, frontend) {
        return false;
    }
    remember(scratch);
    true
}

/// Notes that the client goes to `scratch.backend`.
#[inline(always)]
fn remember(scratch: &mut Scratch) {
    let choice = &mut scratch.choice;
    choice.affinity_key = AffinityKey {
        frontend: scratch.frontend,
        client: scratch.client,
    };
    choice.affinity = Affinity {
        backend: scratch.backend,
        last_used: now(),
    };
    maps::remember_affinity(&choice.affinity_key, &choice.affinity);
}

/// Whether a backend is in the current set of its frontend.
#[inline(always)]
pub fn is_current(member: &MemberKey, frontend: &Frontend) -> bool {
    maps::member(member).is_some_and(|generation| *generation >= frontend.generation)
}

/// Chooses by the frontend's table, or by chance if it has none; `false` if the slot is gone.
#[inline(always)]
fn pick(packet: &Packet, scratch: &mut Scratch, frontend: &Frontend) -> bool {
    let generation = frontend.generation;
    let slot = if frontend.flags & Frontend::MAGLEV != 0 {
        scratch.choice.maglev = MaglevKey {
            frontend: scratch.frontend,
            generation,
        };
        let Some(table) = maps::maglev(&scratch.choice.maglev) else {
            return false;
        };
        // With affinity, a client is the same whatever its port.
        let entry = if frontend.affinity != 0 {
            Maglev::entry(&scratch.client, Be16::ZERO, 0)
        } else {
            Maglev::entry(&scratch.client, packet.source_port, scratch.key.protocol)
        };
        // The verifier does not know what a remainder is below.
        match table.0.get(core::hint::black_box(entry)) {
            Some(slot) => u32::from(*slot),
            None => return false,
        }
    } else {
        skb::random() % frontend.count
    };
    scratch.choice.backend = BackendKey {
        frontend: scratch.frontend,
        generation,
        slot,
    };
    match maps::backend(&scratch.choice.backend) {
        Some(backend) => {
            scratch.backend = *backend;
            true
        }
        None => false,
    }
}

/// Whether the frontend `scratch.frontend` takes `scratch.client`.
#[inline(always)]
pub fn takes(scratch: &Scratch, frontend: &Frontend) -> bool {
    frontend.flags & Frontend::SOURCES == 0 || names(scratch, frontend)
}

#[inline(never)]
fn names(scratch: &Scratch, frontend: &Frontend) -> bool {
    let found = maps::source(SourceKey {
        frontend: scratch.frontend,
        client: scratch.client,
    });
    match found {
        Some(SourceKey::ALLOW) => true,
        Some(_) => false,
        None => frontend.flags & Frontend::SOURCES_ONLY == 0,
    }
}
