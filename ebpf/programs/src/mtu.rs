//! What fits the tunnel.

use orch_ebpf_common::headers::{TcpHeader, UdpHeader};

use crate::packet::{Kind, L3, Packet};

/// What the kernel says instead of a size when the parts have sizes of their own, as SCTP's do
/// (`GSO_BY_FRAGS` of `include/linux/skbuff.h`). SCTP cuts by the path's MTU itself.
const BY_PARTS: u32 = 0xffff;

/// Whether a packet, or each of the segments that the kernel will make of it, fits.
#[inline(always)]
pub fn fits(packet: &Packet) -> bool {
    let len = packet.skb.len().wrapping_sub(L3 as u32);
    len <= packet.config.overlay_mtu || segments_fit(packet)
}

#[inline(never)]
fn segments_fit(packet: &Packet) -> bool {
    let payload = packet.skb.gso_size();
    if payload == 0 || payload == BY_PARTS {
        return payload == BY_PARTS;
    }
    let header_len = if packet.kind == Kind::Tcp {
        match packet.transport::<TcpHeader>() {
            Ok(tcp) => tcp.header_len(usize::MAX).unwrap_or(0),
            Err(_) => 0,
        }
    } else {
        UdpHeader::LEN
    };
    let headers = packet.ip.l4 - L3 + header_len;
    headers as u32 + payload <= packet.config.overlay_mtu
}
