//! An IP packet, parsed once.

use orch_ebpf_common::headers::{
    self, ETHERTYPE_IPV4, EthernetHeader, IcmpHeader, IcmpMessage, TcpHeader, UdpHeader,
};
use orch_ebpf_common::{Be16, Config, DropReason, FlowKey, Vni, dns};

use crate::ip::Ip;
use crate::skb::{Skb, Wire};

/// Where the IP header begins.
pub const L3: usize = EthernetHeader::LEN;

/// What a packet carries, as far as the paths differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP segment.
    Tcp,
    /// A UDP datagram.
    Udp,
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
    /// A part of a datagram; it has no ports.
    Fragment,
    /// Another protocol.
    Other,
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
    /// Whether it is the first segment of a TCP connection.
    pub tcp_opens: bool,
    /// Whether it is a TCP segment that ends a connection, or one direction of it.
    pub tcp_closes: bool,
    /// Source port, as in [`FlowKey`].
    pub source_port: Be16,
    /// Destination port, as in [`FlowKey`].
    pub destination_port: Be16,
}

impl Packet {
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
            tcp_opens: false,
            tcp_closes: false,
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
        if self.ip.is_fragment {
            self.kind = Kind::Fragment;
            return Ok(());
        }
        match self.ip.protocol {
            headers::TCP => {
                let tcp: TcpHeader = self.transport()?;
                self.kind = Kind::Tcp;
                self.tcp_opens = tcp.opens();
                self.tcp_closes = tcp.closes();
                self.source_port = tcp.source;
                self.destination_port = tcp.destination;
            }
            headers::UDP => {
                let udp: UdpHeader = self.transport()?;
                self.kind = Kind::Udp;
                self.source_port = udp.source;
                self.destination_port = udp.destination;
            }
            protocol if protocol == headers::icmp(is_v4) => self.read_icmp()?,
            _ => {}
        }
        Ok(())
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
            Kind::Tcp | Kind::Udp | Kind::EchoRequest | Kind::EchoReply
        )
    }

    /// Whether it may be the first packet of a conversation between two ports.
    #[inline(always)]
    pub fn may_open(&self) -> bool {
        self.kind == Kind::Udp || self.tcp_opens
    }

    /// Whether it asks a name server.
    #[inline(always)]
    pub fn asks_dns(&self) -> bool {
        self.kind == Kind::Udp && self.destination_port == dns::PORT
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
