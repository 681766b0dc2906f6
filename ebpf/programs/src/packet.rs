//! An IPv4 packet, parsed once.

use orch_ebpf_common::headers::{
    self, EthernetHeader, IcmpHeader, Ipv4Header, TcpHeader, UdpHeader,
};
use orch_ebpf_common::{Address, Be16, Config, DropReason, FlowKey, Vni, dns};

use crate::skb::Skb;

/// Where the IPv4 header begins.
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
    /// Any other ICMP message.
    OtherIcmp,
    /// A part of a datagram; it has no ports.
    Fragment,
    /// Another protocol.
    Other,
}

/// An IPv4 packet.
pub struct Packet {
    /// Its buffer.
    pub skb: Skb,
    /// What is known about this host.
    pub config: &'static Config,
    /// Its header.
    pub ip: Ipv4Header,
    /// Where the transport header begins.
    pub l4: usize,
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
    pub fn new(skb: Skb, config: &'static Config) -> Self {
        Self {
            skb,
            config,
            ip: Ipv4Header::EMPTY,
            l4: L3,
            kind: Kind::Other,
            tcp_opens: false,
            tcp_closes: false,
            source_port: Be16::ZERO,
            destination_port: Be16::ZERO,
        }
    }

    /// Reads the headers of a packet whose EtherType says IPv4.
    #[inline(always)]
    pub fn read(&mut self) -> Result<(), DropReason> {
        self.ip = self.skb.load(L3)?;
        let available = self.skb.len().wrapping_sub(L3 as u32);
        self.l4 = L3 + self.ip.header_len(available).ok_or(DropReason::Malformed)?;
        if self.ip.is_fragment() {
            self.kind = Kind::Fragment;
            return Ok(());
        }
        match self.ip.protocol {
            headers::TCP => {
                let tcp: TcpHeader = self.skb.load(self.l4)?;
                self.kind = Kind::Tcp;
                self.tcp_opens = tcp.opens();
                self.tcp_closes = tcp.closes();
                self.source_port = tcp.source;
                self.destination_port = tcp.destination;
            }
            headers::UDP => {
                let udp: UdpHeader = self.skb.load(self.l4)?;
                self.kind = Kind::Udp;
                self.source_port = udp.source;
                self.destination_port = udp.destination;
            }
            headers::ICMP => self.read_icmp()?,
            _ => {}
        }
        Ok(())
    }

    #[inline(always)]
    fn read_icmp(&mut self) -> Result<(), DropReason> {
        let icmp: IcmpHeader = self.skb.load(self.l4)?;
        match icmp.kind {
            IcmpHeader::ECHO_REQUEST => {
                self.kind = Kind::EchoRequest;
                self.source_port = icmp.id;
            }
            IcmpHeader::ECHO_REPLY => {
                self.kind = Kind::EchoReply;
                self.destination_port = icmp.id;
            }
            IcmpHeader::UNREACHABLE | IcmpHeader::TIME_EXCEEDED | IcmpHeader::PARAMETER_PROBLEM => {
                self.kind = Kind::IcmpError;
            }
            _ => self.kind = Kind::OtherIcmp,
        }
        Ok(())
    }

    /// Source address.
    #[inline(always)]
    pub fn source(&self) -> Address {
        Address::from_v4(self.ip.source)
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        Address::from_v4(self.ip.destination)
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
            source: self.source(),
            destination: self.destination(),
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
