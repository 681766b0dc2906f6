//! Later fragments follow their first one: it has the ports, and so knows the flow.
//!
//! What comes before its first fragment is not kept. It passes where no ports are needed, and is
//! dropped where they are.

use orch_ebpf_common::headers::{self, Part};
use orch_ebpf_common::{FragmentKey, FragmentPorts, Vni};

use crate::maps;
use crate::packet::{Kind, Packet};

/// Remembers the ports of a first fragment, or finds those of a later one. `vni` is where the
/// packet was seen.
#[inline(always)]
pub fn follow_first(packet: &mut Packet, vni: Vni) {
    remember(packet, vni);
    find(packet, vni);
}

/// Remembers the ports of a first fragment.
#[inline(always)]
pub fn remember(packet: &Packet, vni: Vni) {
    if packet.ip.part == Part::First && packet.has_flow() {
        insert(packet, vni);
    }
}

/// Finds the ports of a later fragment.
#[inline(always)]
pub fn find(packet: &mut Packet, vni: Vni) {
    if packet.ip.part == Part::Later {
        look_up(packet, vni);
    }
}

#[inline(never)]
fn insert(packet: &Packet, vni: Vni) -> bool {
    let ports = FragmentPorts {
        source: packet.source_port,
        destination: packet.destination_port,
    };
    maps::remember_fragment(&key(packet, vni), &ports)
}

#[inline(never)]
fn look_up(packet: &mut Packet, vni: Vni) -> bool {
    let Some(ports) = maps::fragment(&key(packet, vni)) else {
        return false;
    };
    packet.source_port = ports.source;
    packet.destination_port = ports.destination;
    let kind = match packet.ip.protocol {
        headers::TCP => Kind::Tcp,
        headers::UDP => Kind::Udp,
        headers::SCTP => Kind::Sctp,
        _ if ports.destination.get() == 0 => Kind::EchoRequest,
        _ => Kind::EchoReply,
    };
    packet.kind = kind.forgotten(packet.skb);
    true
}

#[inline(always)]
fn key(packet: &Packet, vni: Vni) -> FragmentKey {
    FragmentKey {
        vni,
        source: packet.ip.source,
        destination: packet.ip.destination,
        id: packet.ip.id,
        protocol: packet.ip.protocol,
        reserved: [0; 3],
    }
}
