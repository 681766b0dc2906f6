//! A packet's buffer: the kernel's helpers on it, made safe.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_DONT_FRAGMENT, BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR,
    BPF_F_RECOMPUTE_CSUM, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key,
};
use aya_ebpf::helpers::generated::{
    bpf_csum_diff, bpf_get_prandom_u32, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh,
    bpf_redirect_peer, bpf_set_hash_invalid, bpf_skb_change_proto, bpf_skb_change_tail,
    bpf_skb_change_type, bpf_skb_get_tunnel_key, bpf_skb_get_tunnel_opt, bpf_skb_load_bytes,
    bpf_skb_set_tunnel_key, bpf_skb_set_tunnel_opt, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use orch_ebpf_common::dns::{DnsHeader, QuestionTail};
use orch_ebpf_common::headers::{
    ArpMessage, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, ExtensionHeader, FragmentHeader,
    IcmpHeader, Ipv4Header, Ipv6Header, NeighbourMessage, SctpHeader, TcpHeader, UdpHeader,
};
use orch_ebpf_common::{Address, Be16, Be32, DropReason, MacAddress, Vni};

use crate::unaligned;

/// Types that packets are made of.
///
/// # Safety
///
/// Every byte pattern must be a value, and there must be no padding.
pub unsafe trait Wire: Copy {}

macro_rules! wire {
    ($($type:ty),* $(,)?) => {
        $(
            // SAFETY: a `repr(C)` or transparent structure of integers and byte arrays without
            // padding; `orch-ebpf-common` tests their sizes.
            unsafe impl Wire for $type {}
        )*
    };
}

wire!(
    u8,
    Be16,
    Be32,
    Address,
    MacAddress,
    [MacAddress; 2],
    EthernetHeader,
    ArpMessage,
    NeighbourMessage,
    Ipv4Header,
    Ipv6Header,
    ExtensionHeader,
    FragmentHeader,
    TcpHeader,
    UdpHeader,
    SctpHeader,
    [u8; 4],
    [Address; 2],
    [Be32; 2],
    [Be16; 2],
    [Be16; 4],
    [Be16; 5],
    IcmpHeader,
    DnsHeader,
    QuestionTail,
);

const PACKET_HOST: u32 = 0;
/// The checksum is of an IPv6 packet (`include/uapi/linux/bpf.h`, since Linux 6.16).
const BPF_F_IPV6: u64 = 1 << 7;
/// Tunnel packets start with this many hops to go.
const TUNNEL_TTL: u8 = 64;

/// A packet's buffer.
#[derive(Clone, Copy)]
pub struct Skb(*mut __sk_buff);

// SAFETY of all the helper calls below: `self.0` is the context that the kernel gave the program,
// valid until it ends; the verifier checks every other pointer and length.
impl Skb {
    /// The buffer of a program's context.
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Self {
        Self(ctx.skb.skb)
    }

    /// Length in bytes, Ethernet header included.
    #[inline(always)]
    pub fn len(self) -> u32 {
        // SAFETY: see above.
        unsafe { (*self.0).len }
    }

    /// Payload of each of the packets that the kernel will make of this one; 0 if it stays one.
    #[inline(always)]
    pub fn gso_size(self) -> u32 {
        // SAFETY: see above.
        unsafe { (*self.0).gso_size }
    }

    /// What the Ethernet header says that it carries.
    #[inline(always)]
    pub fn ether_type(self) -> u16 {
        // SAFETY: see above.
        u16::from_be(unsafe { (*self.0).protocol } as u16)
    }

    /// Whether that is an IP packet.
    #[inline(always)]
    pub fn is_ip(self) -> bool {
        matches!(self.ether_type(), ETHERTYPE_IPV4 | ETHERTYPE_IPV6)
    }

    /// The device it came in by.
    #[inline(always)]
    pub fn ifindex(self) -> u32 {
        // SAFETY: see above.
        unsafe { (*self.0).ifindex }
    }

    /// The same value, of which the verifier knows nothing any more. It follows one path from there
    /// on, not one for each value that it can have.
    #[inline(always)]
    pub fn forget(self, value: u8) -> u8 {
        let len = || {
            // SAFETY: see above.
            unsafe { core::ptr::read_volatile(&raw const (*self.0).len) }
        };
        // The difference is zero, which only the kernel's packet knows.
        (u32::from(value) + (len() - len())) as u8
    }

    /// The kernel's own view of the buffer, for helpers that are called elsewhere.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut c_void {
        self.0.cast()
    }

    /// Reads a part of the packet.
    #[inline(always)]
    pub fn load<T: Wire>(self, offset: usize) -> Result<T, DropReason> {
        if let Some(value) = self.peek(offset) {
            return Ok(value);
        }
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr().cast();
        // SAFETY: see above; the helper fills all of `value` or fails.
        unsafe {
            match bpf_skb_load_bytes(self.as_ptr(), offset as u32, to, size_of::<T>() as u32) {
                0 => Ok(value.assume_init()),
                _ => Err(DropReason::Malformed),
            }
        }
    }

    /// Reads a part of the packet without a call, if it is near the front and lies in one piece, as
    /// headers mostly do.
    #[inline(always)]
    fn peek<T: Wire>(self, offset: usize) -> Option<T> {
        let at = self.near::<T>(offset)?;
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr().cast();
        // SAFETY: the packet's memory and the room have the size of the type, of which every byte
        // pattern is a value.
        unsafe {
            unaligned::load(at, to, size_of::<T>());
            Some(value.assume_init())
        }
    }

    /// Where a value lies in memory, if it is near the front and in one piece.
    #[inline(always)]
    fn near<T: Wire>(self, offset: usize) -> Option<usize> {
        /// The verifier wants to see a bound; no header that is looked at lies further behind.
        const FAR: usize = 0xff;
        // In a box, so that what is compared is what is added.
        let offset = core::hint::black_box(offset);
        if offset > FAR {
            return None;
        }
        // SAFETY: see above.
        let (start, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        let at = start + offset;
        (at + size_of::<T>() <= end).then_some(at)
    }

    /// Reads `len` bytes, which must be at most `to.len()` and at least 1.
    #[inline(always)]
    pub fn load_bytes(self, offset: usize, to: &mut [u8], len: usize) -> Result<(), DropReason> {
        let len = within(len, to.len()).ok_or(DropReason::Malformed)?;
        let to = to.as_mut_ptr().cast();
        // SAFETY: see above; `len` is within `to`.
        match unsafe { bpf_skb_load_bytes(self.as_ptr(), offset as u32, to, len as u32) } {
            0 => Ok(()),
            _ => Err(DropReason::Malformed),
        }
    }

    /// Overwrites a part of the packet.
    #[inline(always)]
    pub fn store<T: Wire>(self, offset: usize, value: &T) -> Result<(), DropReason> {
        if let Some(at) = self.near::<T>(offset) {
            // SAFETY: it is the packet's memory. The kernel has made it this packet's alone before
            // the program began, because the program writes to it.
            unsafe { unaligned::store(core::ptr::from_ref(value).cast(), at, size_of::<T>()) };
            return Ok(());
        }
        self.store_anywhere(offset, value)
    }

    /// The same by one path, which is slower, for the verifier's sake.
    #[inline(always)]
    pub fn store_anywhere<T: Wire>(self, offset: usize, value: &T) -> Result<(), DropReason> {
        let (from, len) = (core::ptr::from_ref(value).cast(), size_of::<T>() as u32);
        // SAFETY: see above.
        rewritten(unsafe { bpf_skb_store_bytes(self.0, offset as u32, from, len, 0) })
    }

    /// Overwrites a part of the packet that no checksum in the packet makes up for.
    #[inline(always)]
    pub fn store_summed<T: Wire>(self, offset: usize, value: &T) -> Result<(), DropReason> {
        let from = core::ptr::from_ref(value).cast();
        let (len, flags) = (size_of::<T>() as u32, u64::from(BPF_F_RECOMPUTE_CSUM));
        // SAFETY: see above.
        rewritten(unsafe { bpf_skb_store_bytes(self.0, offset as u32, from, len, flags) })
    }

    /// Overwrites `len` bytes, which must be at most `from.len()` and at least 1.
    #[inline(always)]
    pub fn store_bytes(self, offset: usize, from: &[u8], len: usize) -> Result<(), DropReason> {
        let len = within(len, from.len()).ok_or(DropReason::RewriteFailed)?;
        let from = from.as_ptr().cast();
        // SAFETY: see above; `len` is within `from`.
        rewritten(unsafe { bpf_skb_store_bytes(self.0, offset as u32, from, len as u32, 0) })
    }

    /// Sets who the frame is for; it comes from the gateway as far as anyone can see.
    #[inline(always)]
    pub fn store_macs(self, destination: MacAddress) -> Result<(), DropReason> {
        self.store(0, &[destination, MacAddress::GATEWAY])
    }

    /// Cuts or extends the packet.
    #[inline(always)]
    pub fn resize(self, len: usize) -> Result<(), DropReason> {
        // SAFETY: see above.
        rewritten(unsafe { bpf_skb_change_tail(self.0, len as u32, 0) })
    }

    /// Makes it a packet of another EtherType of IP: between the Ethernet header, where the type is
    /// still to be written, and the transport's is room for the other family's header.
    #[inline(always)]
    pub fn change_family(self, ether_type: u16) -> Result<(), DropReason> {
        // SAFETY: see above.
        rewritten(unsafe { bpf_skb_change_proto(self.0, ether_type.to_be(), 0) })
    }

    /// Adapts a TCP, UDP or ICMPv6 checksum to a difference in the pseudo header; a UDP checksum
    /// of zero stays.
    #[inline(always)]
    pub fn replace_l4_pseudo_header(
        self,
        offset: usize,
        difference: u32,
        is_udp: bool,
        is_v4: bool,
    ) -> Result<(), DropReason> {
        let mut flags = u64::from(BPF_F_PSEUDO_HDR) | mangled(is_udp);
        let (offset, difference) = (offset as u32, difference.into());
        if !is_v4 {
            // Without the flag the kernel takes the sum that a device made of the whole packet for
            // right already, as it is in IPv4, whose header's own checksum makes up for the
            // addresses. A kernel that does not know the flag refuses it before any change.
            flags |= BPF_F_IPV6;
            // SAFETY: see above.
            if unsafe { bpf_l4_csum_replace(self.0, offset, 0, difference, flags) } == 0 {
                return Ok(());
            }
            flags &= !BPF_F_IPV6;
        }
        // SAFETY: see above.
        rewritten(unsafe { bpf_l4_csum_replace(self.0, offset, 0, difference, flags) })
    }

    /// Adapts a TCP, UDP or ICMP checksum to a difference in the message; a UDP checksum of zero
    /// stays.
    #[inline(always)]
    pub fn replace_l4(
        self,
        offset: usize,
        difference: u32,
        is_udp: bool,
    ) -> Result<(), DropReason> {
        let (offset, difference) = (offset as u32, difference.into());
        // SAFETY: see above.
        rewritten(unsafe { bpf_l4_csum_replace(self.0, offset, 0, difference, mangled(is_udp)) })
    }

    /// Makes the kernel compute the flow's hash anew after addresses or ports changed.
    #[inline(always)]
    pub fn forget_hash(self) {
        // SAFETY: see above.
        unsafe { bpf_set_hash_invalid(self.0) };
    }

    /// Through the tunnel to another host, in one packet unless it `may_be_cut`.
    #[inline(always)]
    pub fn to_tunnel(
        self,
        device: u32,
        vni: Vni,
        (local, remote): (&Address, &Address),
        may_be_cut: bool,
    ) -> Result<i32, DropReason> {
        // SAFETY: plain integers, for which all zeros is a value.
        let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
        key.tunnel_id = vni.get();
        key.tunnel_ttl = TUNNEL_TTL;
        let flags = if remote.is_v4() {
            key.__bindgen_anon_1.remote_ipv4 = remote.v4().get();
            key.__bindgen_anon_3.local_ipv4 = local.v4().get();
            BPF_F_ZERO_CSUM_TX
        } else {
            key.__bindgen_anon_1.remote_ipv6 = remote.words().map(Be32::raw);
            key.__bindgen_anon_3.local_ipv6 = local.words().map(Be32::raw);
            // Receivers need not take a UDP checksum of zero over IPv6 (RFC 6935).
            BPF_F_TUNINFO_IPV6
        };
        let whole = if may_be_cut { 0 } else { BPF_F_DONT_FRAGMENT };
        let flags = u64::from(flags | whole);
        let size = size_of::<bpf_tunnel_key>() as u32;
        // SAFETY: see above.
        rewritten(unsafe { bpf_skb_set_tunnel_key(self.0, &raw mut key, size, flags) })?;
        // A policy must be set: without one, the kernel sends whatever is on its stack
        // (`vxlan_xmit_one` in Linux 6.18).
        self.name_published_port(Be16::ZERO)?;
        Ok(self.to_device(device))
    }

    /// The network of a packet that came through the tunnel, and the host that sent it.
    #[inline(always)]
    pub fn tunnel_source(self, over_v4: bool) -> Option<(Vni, Address)> {
        // SAFETY: plain integers, for which all zeros is a value.
        let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
        let size = size_of::<bpf_tunnel_key>() as u32;
        let flags = if over_v4 { 0 } else { BPF_F_TUNINFO_IPV6 };
        // SAFETY: see above; the helper fails if the tunnel is not of the family of the flags, so
        // that the right one of the addresses is set.
        unsafe {
            if bpf_skb_get_tunnel_key(self.0, &raw mut key, size, flags.into()) != 0 {
                return None;
            }
            let remote = if over_v4 {
                Address::from_v4(Be32::new(key.__bindgen_anon_1.remote_ipv4))
            } else {
                Address::from_words(key.__bindgen_anon_1.remote_ipv6.map(Be32::from_raw))
            };
            Some((Vni::new(key.tunnel_id), remote))
        }
    }

    /// Names a published port to the host that the packet is sent to through the tunnel: the group
    /// policy of VXLAN (draft-smith-vxlan-group-policy) is free for it, and costs no byte.
    #[inline(always)]
    pub fn name_published_port(self, port: Be16) -> Result<(), DropReason> {
        let mut policy = u32::from(port.get());
        let (from, size) = ((&raw mut policy).cast(), size_of::<u32>() as u32);
        // SAFETY: see above; the structure `vxlan_metadata` is one such integer.
        rewritten(unsafe { bpf_skb_set_tunnel_opt(self.0, from, size) })
    }

    /// The published port that the host names which sent the packet through the tunnel, or 0.
    #[inline(always)]
    pub fn published_port(self) -> Be16 {
        let mut policy = 0_u32;
        let (to, size) = ((&raw mut policy).cast(), size_of::<u32>() as u32);
        // SAFETY: see above; the helper writes at most `size` bytes.
        if unsafe { bpf_skb_get_tunnel_opt(self.0, to, size) } <= 0 {
            return Be16::ZERO;
        }
        Be16::new(policy as u16)
    }

    /// Out of a device, as the frame is.
    #[inline(always)]
    pub fn to_device(self, ifindex: u32) -> i32 {
        // SAFETY: takes integers only.
        unsafe { bpf_redirect(ifindex, 0) as i32 }
    }

    /// Out of a device, to the next hop that the routing table names.
    #[inline(always)]
    pub fn to_next_hop(self, ifindex: u32) -> i32 {
        // SAFETY: takes integers and no parameters.
        unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32 }
    }

    /// Into the host's stack, as if a device had received it.
    #[inline(always)]
    pub fn to_stack(self, ifindex: u32) -> i32 {
        // SAFETY: takes integers only.
        unsafe { bpf_redirect(ifindex, u64::from(BPF_F_INGRESS)) as i32 }
    }

    /// Into a container, past the host's end of its veth.
    #[inline(always)]
    pub fn to_peer(self, ifindex: u32) -> Result<i32, DropReason> {
        // Kernels before 6.15 leave the packet type as it was, and the container's stack would
        // ignore what was not for the host's end of the veth.
        // SAFETY: see above.
        if unsafe { (*self.0).pkt_type } != PACKET_HOST {
            // SAFETY: see above.
            rewritten(unsafe { bpf_skb_change_type(self.0, PACKET_HOST) })?;
        }
        // SAFETY: takes integers only.
        Ok(unsafe { bpf_redirect_peer(ifindex, 0) as i32 })
    }
}

/// One's complement sum of `len` bytes, a multiple of 4 and at most `bytes.len()`.
#[inline(always)]
pub fn sum(bytes: &mut [u8], len: usize, seed: u32) -> u32 {
    if len > bytes.len() {
        return seed;
    }
    let (none, all) = (core::ptr::null_mut(), bytes.as_mut_ptr().cast());
    // SAFETY: `len` is within `bytes`, which the helper only reads.
    unsafe { bpf_csum_diff(none, 0, all, len as u32, seed) as u32 }
}

/// A length, if it is between 1 and `max`.
///
/// The box keeps the compiler from comparing one value and returning another one: only of what was
/// compared does the verifier know the range. Before Linux 6.8 it learns nothing of `len != 0`.
#[inline(always)]
fn within(len: usize, max: usize) -> Option<usize> {
    let below = core::hint::black_box(len.wrapping_sub(1));
    (below < max).then(|| below + 1)
}

/// A random number.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: takes nothing.
    unsafe { bpf_get_prandom_u32() }
}

#[inline(always)]
const fn mangled(is_udp: bool) -> u64 {
    if is_udp {
        BPF_F_MARK_MANGLED_0 as u64
    } else {
        0
    }
}

#[inline(always)]
const fn rewritten(status: i64) -> Result<(), DropReason> {
    if status == 0 {
        Ok(())
    } else {
        Err(DropReason::RewriteFailed)
    }
}
