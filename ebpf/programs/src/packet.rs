//! An IP packet, parsed once.

use orch_ebpf_common::headers::{
    self, ETHERTYPE_IPV4, EthernetHeader, IcmpHeader, IcmpMessage, Part, SctpHeader, TcpHeader,
    UdpHeader,
};
use orch_ebpf_common::{Be16, Config, DropReason, FlowKey, Vni, dns};

use crate::ip::Ip;
use crate::skb::{Skb, Wire};

/// Where the IP header begins.
pub const L3: usize = EthernetHeader::LEN;

/// What a packet carries, as far as the paths differ.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP segment.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An SCTP packet.
    Sctp,
    /// An ICMP echo request.
    EchoRequest,
    /// An ICMP echo reply.
    EchoReply,
    /// An ICMP error, which quotes the packet that it is about.
    IcmpError,
    /// An ICMPv6 message between neighbours of a link, such as a neighbour solicitation.
    Neighbour,
    /// Any other ICMP message.
    OtherIcmp,
    /// A later part of a datagram whose first part was not seen, so that its ports are unknown.
    Fragment,
    /// Another protocol.
    Other,
}

impl Kind {
    /// The same, of which the verifier knows nothing any more.
    #[inline(always)]
    pub fn forgotten(self, skb: Skb) -> Self {
        // SAFETY: the number comes back as it went in, as that of a kind.
        unsafe { core::mem::transmute(skb.forget(self as u8)) }
    }
}

/// An IP packet.
pub struct Packet {
    /// Its buffer.
    pub skb: Skb,
    /// What is known about this host.
    pub config: &'static Config,
    /// What its IP header says.
    pub ip: &'static mut Ip,
    /// What it carries.
    pub kind: Kind,
    /// A combination of the constants below.
    signs: u8,
    /// Source port, as in [`FlowKey`].
    pub source_port: Be16,
    /// Destination port, as in [`FlowKey`].
    pub destination_port: Be16,
}

impl Packet {
    const OPENS: u8 = 1;
    const CLOSES: u8 = 2;
    const SYNCHRONIZES: u8 = 4;

    /// A packet of which nothing has been read yet. Separate from [`Self::read`], because the
    /// compiler splits the buffer's pointer when it moves a `Result` that holds it, and the
    /// verifier refuses that.
    #[inline(always)]
    pub fn new(skb: Skb, config: &'static Config, ip: &'static mut Ip) -> Self {
        Self {
            skb,
            config,
            ip,
            kind: Kind::Other,
            signs: 0,
            source_port: Be16::ZERO,
            destination_port: Be16::ZERO,
        }
    }

    /// Reads the headers of a packet whose EtherType says IPv4 or IPv6.
    #[inline(always)]
    pub fn read(&mut self) -> Result<(), DropReason> {
        let is_v4 = self.skb.ether_type() == ETHERTYPE_IPV4;
        let available = self.skb.len().wrapping_sub(L3 as u32);
        self.ip.read(self.skb, L3, is_v4, available)?;
        if self.ip.part == Part::Later {
            self.kind = Kind::Fragment;
            return Ok(());
        }
        match self.ip.protocol {
            headers::TCP => self.read_tcp()?,
            headers::UDP => self.read_udp()?,
            headers::SCTP => self.read_sctp()?,
            protocol if protocol == headers::icmp(is_v4) => self.read_icmp()?,
            _ => {}
        }
        self.kind = self.kind.forgotten(self.skb);
        self.signs = self.skb.forget(self.signs);
        Ok(())
    }

    #[inline(always)]
    fn note(&mut self, sign: u8, is_set: bool) {
        if is_set {
            self.signs |= sign;
        }
    }

    /// Whether it is the first packet of a TCP connection or an SCTP association.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.signs & Self::OPENS != 0
    }

    /// Whether it ends a TCP connection, one direction of it, or an SCTP association.
    #[inline(always)]
    pub fn closes(&self) -> bool {
        self.signs & Self::CLOSES != 0
    }

    /// Whether it is a TCP segment with the SYN bit.
    #[inline(always)]
    pub fn synchronizes(&self) -> bool {
        self.signs & Self::SYNCHRONIZES != 0
    }

    /// The transport header, or the beginning of it.
    #[inline(always)]
    pub fn transport<T: Wire>(&self) -> Result<T, DropReason> {
        if self.ip.l4 + size_of::<T>() > self.ip.end {
            return Err(DropReason::Malformed);
        }
        self.skb.load(self.ip.l4)
    }

    #[inline(always)]
    fn read_tcp(&mut self) -> Result<(), DropReason> {
        let tcp: TcpHeader = self.transport()?;
        tcp.header_len(self.ip.end - self.ip.l4)
            .ok_or(DropReason::Malformed)?;
        self.kind = Kind::Tcp;
        self.note(Self::OPENS, tcp.opens());
        self.note(Self::CLOSES, tcp.closes());
        self.note(Self::SYNCHRONIZES, tcp.synchronizes());
        self.source_port = tcp.source;
        self.destination_port = tcp.destination;
        Ok(())
    }

    #[inline(always)]
    fn read_udp(&mut self) -> Result<(), DropReason> {
        let udp: UdpHeader = self.transport()?;
        let len = udp.len.get() as usize;
        let is_cut_off = self.ip.part == Part::Whole && len > self.ip.end - self.ip.l4;
        if len < UdpHeader::LEN || is_cut_off {
            return Err(DropReason::Malformed);
        }
        self.kind = Kind::Udp;
        self.source_port = udp.source;
        self.destination_port = udp.destination;
        Ok(())
    }

    #[inline(always)]
    fn read_sctp(&mut self) -> Result<(), DropReason> {
        let sctp: SctpHeader = self.transport()?;
        self.kind = Kind::Sctp;
        self.note(Self::OPENS, sctp.opens());
        self.note(Self::CLOSES, sctp.closes());
        self.source_port = sctp.source;
        self.destination_port = sctp.destination;
        Ok(())
    }

    #[inline(always)]
    fn read_icmp(&mut self) -> Result<(), DropReason> {
        let icmp: IcmpHeader = self.transport()?;
        self.kind = match icmp.message(self.ip.is_v4) {
            IcmpMessage::EchoRequest => {
                self.source_port = icmp.id;
                Kind::EchoRequest
            }
            IcmpMessage::EchoReply => {
                self.destination_port = icmp.id;
                Kind::EchoReply
            }
            IcmpMessage::Error => Kind::IcmpError,
            IcmpMessage::Neighbour => Kind::Neighbour,
            IcmpMessage::Other => Kind::OtherIcmp,
        };
        Ok(())
    }

    /// Whether it belongs to a conversation that can be translated.
    #[inline(always)]
    pub fn has_flow(&self) -> bool {
        matches!(
            self.kind,
            Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::EchoRequest | Kind::EchoReply
        )
    }

    /// Whether another host sent it through the tunnel.
    #[inline(always)]
    pub fn came_by_tunnel(&self) -> bool {
        self.skb.ifindex() == self.config.vxlan_ifindex
    }

    /// Whether it goes from port to port.
    #[inline(always)]
    pub fn has_ports(&self) -> bool {
        matches!(self.kind, Kind::Tcp | Kind::Udp | Kind::Sctp)
    }

    /// Whether it may be the first packet of a conversation between two ports.
    #[inline(always)]
    pub fn may_open(&self) -> bool {
        self.kind == Kind::Udp || self.opens()
    }

    /// Whether it asks a name server.
    #[inline(always)]
    pub fn asks_dns(&self) -> bool {
        self.kind == Kind::Udp && self.destination_port == dns::PORT && self.ip.part == Part::Whole
    }

    /// Its conversation, seen in `vni`.
    #[inline(always)]
    pub fn key(&self, vni: Vni) -> FlowKey {
        FlowKey {
            vni,
            source: self.ip.source,
            destination: self.ip.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.ip.protocol,
            reserved: 0,
            branch: Be16::ZERO,
        }
    }

    /// Sends it back out of the device it came by, to whoever sent it.
    #[inline(always)]
    pub fn reflect(&self) -> Result<i32, DropReason> {
        reflect(self.skb)
    }
}

/// Sends a frame back out of the device it came by, to whoever sent it.
#[inline(always)]
pub fn reflect(skb: Skb) -> Result<i32, DropReason> {
    let frame: EthernetHeader = skb.load(0)?;
    let swapped = EthernetHeader {
        destination: frame.source,
        source: frame.destination,
        ..frame
    };
    skb.store(0, &swapped)?;
    Ok(skb.to_device(skb.ifindex()))
}
