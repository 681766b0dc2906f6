//! Room for what does not fit on a program's stack of 512 bytes.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use orch_ebpf_common::headers::IcmpHeader;
use orch_ebpf_common::{
    Address, Affinity, AffinityKey, Backend, BackendKey, DropReason, Flow, FlowKey, FrontendKey,
    MaglevKey, MemberKey, NameKey,
};

use crate::family_error::{ErrorV4, ErrorV6};
use crate::icmp;
use crate::open::ReplyPath;

/// One per CPU; a program has it for itself from its start to its end.
#[repr(C)]
pub struct Scratch {
    /// The packet's flow.
    pub key: FlowKey,
    /// The other direction of it.
    pub reply_key: FlowKey,
    /// What to do with the packet.
    pub forward: Flow,
    /// What to do with the answers.
    pub reply: Flow,
    /// Where the packet knocks.
    pub frontend: FrontendKey,
    /// Who knocks: a task is known outside its network by an address of its host.
    pub client: Address,
    /// Who is to serve it.
    pub backend: Backend,
    /// How answers leave.
    pub reply_path: ReplyPath,
    /// Keys and values of look-ups on the way to a backend.
    pub choice: Choice,
    /// The name a task asks for.
    pub name: NameKey,
    /// Length of the name on the wire. Kept here, like the next field, because the verifier
    /// forgets what it knew of a value that went through memory, and so follows one path with
    /// any length instead of one path for each length.
    pub name_len: u32,
    /// Number of records in the answer.
    pub answers: u32,
    /// Bytes of a packet under work.
    pub packet: [u8; Self::PACKET],
}

/// Keys and values of look-ups on the way to a backend.
#[repr(C)]
pub struct Choice {
    /// Into `AFFINITY`.
    pub affinity_key: AffinityKey,
    /// Value of `AFFINITY`.
    pub affinity: Affinity,
    /// Into `MEMBERS`.
    pub member: MemberKey,
    /// Into `MAGLEV`.
    pub maglev: MaglevKey,
    /// Into `BACKENDS`.
    pub backend: BackendKey,
}

impl Scratch {
    /// Whether `key` is that of the packet, not of an earlier one.
    #[inline(always)]
    pub const fn has_key(&self) -> bool {
        self.key.protocol != 0
    }

    /// Size of `packet`.
    pub const PACKET: usize = 512;
}

/// A number that the compiler must keep in memory. If that is a map's, the verifier forgets what it
/// knew of the number, and follows a walk once instead of once for each way to the same place.
#[repr(transparent)]
pub struct Place(u32);

impl Place {
    /// The number.
    #[inline(always)]
    pub fn get(&self) -> usize {
        // SAFETY: of a reference.
        unsafe { core::ptr::read_volatile(&raw const self.0) as usize }
    }

    /// Sets it.
    #[inline(always)]
    pub fn set(&mut self, number: usize) {
        // SAFETY: of a reference.
        unsafe { core::ptr::write_volatile(&raw mut self.0, number as u32) }
    }
}

/// Room for what is done below [`crate::deliver`], where [`Scratch`] is lent out already.
#[repr(C)]
pub struct Room {
    /// A place in `bytes`.
    pub at: Place,
    /// Bytes of a packet under work.
    pub bytes: [u8; icmp::QUOTED_MAX],
    /// The header of an error under work.
    pub icmp: IcmpHeader,
    /// All of it in IPv4.
    pub error_v4: ErrorV4,
    /// The same in IPv6.
    pub error_v6: ErrorV6,
}

#[map]
static ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's room for a walk, or for the answer that ends the program.
#[inline(always)]
pub fn room() -> Result<&'static mut Room, DropReason> {
    let room = ROOM.get_ptr_mut(0).ok_or(DropReason::NotConfigured)?;
    // SAFETY: as in `scratch`; a walk is over before the answer is made.
    Ok(unsafe { &mut *room })
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Forgets the packet that the room was used for last. To be called when a program begins.
#[inline(always)]
pub fn clear() {
    if let Ok(scratch) = scratch() {
        scratch.key.protocol = 0;
    }
}

/// This CPU's room. To be called once per program, and once more at its end.
#[inline(always)]
pub fn scratch() -> Result<&'static mut Scratch, DropReason> {
    let scratch = SCRATCH.get_ptr_mut(0).ok_or(DropReason::NotConfigured)?;
    // SAFETY: the room is this CPU's, no program holds it twice at a time, and programs on one CPU
    // do not interrupt each other; it holds integers only, so that any content is valid.
    Ok(unsafe { &mut *scratch })
}
