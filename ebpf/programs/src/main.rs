//! The data plane: one program per place where packets or sockets enter.
//!
//! | Program | Attached to | Sees |
//! |---|---|---|
//! | `task_ingress` | tc ingress, host's end of a task's veth | what a task sends |
//! | `overlay_ingress` | tc ingress, the VXLAN device | what other hosts' tasks send |
//! | `uplink_ingress` | tc ingress, the host's uplinks | what the outside sends |
//! | `host_ingress` | tc ingress, far end of the host link | what the host's processes send |
//! | `connect4` ... | cgroup root | sockets of the host's processes |
//!
//! Every packet takes the same steps: parse, look for its flow, follow it; or decide once, write
//! the flow's two directions, and follow it. The map layouts, and who writes which map, are in
//! `orch-ebpf-common`. Nothing here knows of services by name, of containers or of the store.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arp;
mod choice;
mod deliver;
mod dns;
mod egress;
mod event;
mod family;
mod family_error;
mod flow;
mod fragment;
mod host;
mod icmp;
mod icmp_error;
mod ingress;
mod ip;
mod maps;
mod mss;
mod mtu;
mod nat;
mod ndp;
mod open;
mod overlay;
mod packet;
mod probe;
mod reply;
mod scratch;
mod sctp;
mod service;
mod skb;
mod socket;
mod task;
mod tcp_reset;
mod unaligned;
mod uplink;

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::macros::{cgroup_sock_addr, classifier};
use aya_ebpf::programs::{SockAddrContext, TcContext};
use orch_ebpf_common::DropReason;

use crate::skb::Skb;
use crate::socket::Socket;

/// What becomes of a packet: a tc verdict, or the reason to drop it.
type Outcome = Result<i32, DropReason>;

/// Not ours: the next program, or the host's stack, shall have it.
const PASS: i32 = aya_ebpf::bindings::TC_ACT_UNSPEC;

/// In place of a verdict: the packet is to be delivered as `scratch.forward` says.
const FORWARD: i32 = 0x80;
/// The same after a conversation is opened, see [`open::open`].
const OPEN: i32 = 0x81;
/// The same with a source port of the host.
const OPEN_TRANSLATED: i32 = 0x82;
/// The packet is for the published port `scratch.frontend`, see [`service::published`].
const PUBLISHED: i32 = 0x83;

/// What functions return that are compiled out of line to keep the stack small, and so must fit
/// one register: a tc verdict, or from here on the reason to drop the packet.
const DROPPED: i32 = 0x100;

/// An outcome in one register.
#[inline(always)]
fn verdict(outcome: Outcome) -> i32 {
    match outcome {
        Ok(verdict) => verdict,
        Err(reason) => DROPPED + reason as i32,
    }
}

/// The tc verdict with which a program ends. Drops are counted here and nowhere else.
#[inline(always)]
fn end(skb: Skb, outcome: Outcome) -> i32 {
    let verdict = verdict(outcome);
    if verdict < DROPPED {
        return verdict;
    }
    let reason = (verdict - DROPPED) as u32;
    maps::count_drop(reason);
    event::tell_drop(skb, reason);
    TC_ACT_SHOT
}

/// What a task sends.
#[classifier]
fn task_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    scratch::clear();
    end(skb, task::ingress(skb))
}

/// What other hosts' tasks send.
#[classifier]
fn overlay_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    scratch::clear();
    end(skb, overlay::ingress(skb))
}

/// What the outside sends.
#[classifier]
fn uplink_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    scratch::clear();
    end(skb, uplink::ingress(skb))
}

/// What the host's processes send to published ports and to tasks.
#[classifier]
fn host_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    scratch::clear();
    end(skb, host::ingress(skb))
}

/// The only verdict of the socket hooks: they translate addresses and forbid nothing.
const PROCEED: i32 = 1;

/// A process connects an IPv4 socket.
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).translate4();
    PROCEED
}

/// A process connects an IPv6 socket.
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).translate6();
    PROCEED
}

/// A process sends a datagram to an IPv4 address, from a socket of either family.
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).translate4();
    PROCEED
}

/// A process sends a datagram to an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).translate6();
    PROCEED
}

/// A process receives a datagram on an IPv4 socket.
#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).restore4();
    PROCEED
}

/// A process receives a datagram on an IPv6 socket.
#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).restore6();
    PROCEED
}

/// A process asks whom an IPv4 socket is connected to.
#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).restore4();
    PROCEED
}

/// A process asks whom an IPv6 socket is connected to.
#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    Socket::new(&ctx).restore6();
    PROCEED
}

/// The verifier refuses programs that could get here, so it is never reached.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Several helpers are for programs under a GPL-compatible licence only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
