//! Packets of either family, described once and written out whole or in fragments.
//!
//! The library computes the checksums; those of SCTP, which it does not know, are computed here bit
//! by bit.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber,
    Ipv4Header, Ipv6FragmentHeader, Ipv6Header, TcpHeader, TransportHeader, UdpHeader,
};

use crate::frames::Link;
use crate::world::{
    CLIENT, CLIENT_V6, LOCAL, LOCAL_V6, NODE, NODE_V6, OUTSIDE, OUTSIDE_V6, REMOTE, REMOTE_V6, VIP,
    VIP_V6,
};

/// The addresses of a world in one family.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The task that sends.
    pub client: IpAddr,
    /// A task of the same host.
    pub local: IpAddr,
    /// A task of the other host.
    pub remote: IpAddr,
    /// A service.
    pub vip: IpAddr,
    /// This host.
    pub node: IpAddr,
    /// Somebody outside the cluster.
    pub outside: IpAddr,
}

impl Addresses {
    /// Those of IPv4.
    pub const V4: Self = Self {
        client: IpAddr::V4(CLIENT),
        local: IpAddr::V4(LOCAL),
        remote: IpAddr::V4(REMOTE),
        vip: IpAddr::V4(VIP),
        node: IpAddr::V4(NODE),
        outside: IpAddr::V4(OUTSIDE),
    };
    /// Those of IPv6.
    pub const V6: Self = Self {
        client: IpAddr::V6(CLIENT_V6),
        local: IpAddr::V6(LOCAL_V6),
        remote: IpAddr::V6(REMOTE_V6),
        vip: IpAddr::V6(VIP_V6),
        node: IpAddr::V6(NODE_V6),
        outside: IpAddr::V6(OUTSIDE_V6),
    };
    /// Of both families.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Whether they are of IPv4.
    pub const fn is_v4(&self) -> bool {
        self.client.is_ipv4()
    }
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// The first TCP segment of a connection.
    Syn,
    /// Its answer.
    SynAck,
    /// Any later segment.
    Segment,
    /// A UDP datagram.
    Udp,
    /// A UDP datagram whose sender made no checksum; IPv6 knows none of these.
    UdpUnchecked,
    /// An echo request; its identifier is the port of the sender.
    EchoRequest,
    /// An echo reply; its identifier is the port of the receiver.
    EchoReply,
    /// An SCTP packet with one chunk of this type.
    Sctp(u8),
}

/// A packet, or a datagram that is sent in fragments.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// The sender.
    pub from: SocketAddr,
    /// The receiver.
    pub to: SocketAddr,
    /// What it is.
    pub carries: Carries,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Identification of its fragments.
    pub id: u16,
    /// Hops it may still take.
    pub hops: u8,
}

impl Datagram {
    /// A packet that has come no way yet.
    pub fn new(
        from: impl Into<SocketAddr>,
        to: impl Into<SocketAddr>,
        carries: Carries,
        payload: &[u8],
    ) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            carries,
            payload: payload.to_vec(),
            id: 0,
            hops: 64,
        }
    }

    /// The same between others.
    pub fn between(&self, from: impl Into<SocketAddr>, to: impl Into<SocketAddr>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            ..self.clone()
        }
    }

    /// The frame that carries all of it.
    pub fn whole(&self, link: Link) -> Vec<u8> {
        self.frame(link, &self.body(), None)
    }

    /// The frames of its fragments, each with `size` bytes, a multiple of 8, but for the last.
    pub fn fragments(&self, link: Link, size: usize) -> Vec<Vec<u8>> {
        assert!(size.is_multiple_of(8), "fragments begin at multiples of 8");
        let body = self.body();
        let pieces = body.chunks(size).enumerate();
        pieces
            .map(|(index, piece)| {
                let offset = index * size;
                let more = offset + piece.len() < body.len();
                self.frame(link, piece, Some((offset, more)))
            })
            .collect()
    }

    /// Transport header and payload.
    fn body(&self) -> Vec<u8> {
        let (from, to) = (self.from.port(), self.to.port());
        let echo = |id| IcmpEchoHeader { id, seq: 1 };
        let is_v4 = self.from.is_ipv4();
        let header = match self.carries {
            Carries::Sctp(chunk) => return self.sctp(chunk),
            Carries::Syn | Carries::SynAck | Carries::Segment => TransportHeader::Tcp(self.tcp()),
            Carries::Udp | Carries::UdpUnchecked => TransportHeader::Udp(UdpHeader {
                source_port: from,
                destination_port: to,
                length: u16::try_from(UdpHeader::LEN + self.payload.len()).unwrap(),
                checksum: 0,
            }),
            Carries::EchoRequest if is_v4 => {
                TransportHeader::Icmpv4(Icmpv4Header::new(Icmpv4Type::EchoRequest(echo(from))))
            }
            Carries::EchoReply if is_v4 => {
                TransportHeader::Icmpv4(Icmpv4Header::new(Icmpv4Type::EchoReply(echo(to))))
            }
            Carries::EchoRequest => {
                TransportHeader::Icmpv6(Icmpv6Header::new(Icmpv6Type::EchoRequest(echo(from))))
            }
            Carries::EchoReply => {
                TransportHeader::Icmpv6(Icmpv6Header::new(Icmpv6Type::EchoReply(echo(to))))
            }
        };
        let mut body = Vec::new();
        self.with_checksum(header).write(&mut body).unwrap();
        body.extend(&self.payload);
        body
    }

    fn tcp(&self) -> TcpHeader {
        let mut tcp = TcpHeader::new(self.from.port(), self.to.port(), 1000, 64240);
        tcp.syn = matches!(self.carries, Carries::Syn | Carries::SynAck);
        tcp.ack = self.carries != Carries::Syn;
        tcp.acknowledgment_number = if tcp.ack { 5001 } else { 0 };
        if tcp.syn {
            // A maximum segment size of 1300, less than what is ever clamped.
            tcp.set_options_raw(&[2, 4, 0x05, 0x14]).unwrap();
        }
        tcp
    }

    fn with_checksum(&self, mut header: TransportHeader) -> TransportHeader {
        if self.carries == Carries::UdpUnchecked && self.from.is_ipv4() {
            return header;
        }
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let ip = Ipv4Header {
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv4Header::default()
                };
                header.update_checksum_ipv4(&ip, &self.payload).unwrap();
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ip = Ipv6Header {
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                header.update_checksum_ipv6(&ip, &self.payload).unwrap();
            }
            mixed => panic!("two families: {mixed:?}"),
        }
        header
    }

    fn sctp(&self, chunk: u8) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.from.port().to_be_bytes());
        body.extend(self.to.port().to_be_bytes());
        // The tag, and room for the checksum.
        body.extend([0, 0, 0, 9, 0, 0, 0, 0]);
        body.extend([chunk, 0]);
        let len = u16::try_from(4 + self.payload.len()).unwrap();
        body.extend(len.to_be_bytes());
        body.extend(&self.payload);
        body.resize(body.len().next_multiple_of(4), 0);
        let checksum = crc32c(&body);
        body[8..12].copy_from_slice(&checksum);
        body
    }

    fn protocol(&self) -> IpNumber {
        match self.carries {
            Carries::Syn | Carries::SynAck | Carries::Segment => IpNumber::TCP,
            Carries::Udp | Carries::UdpUnchecked => IpNumber::UDP,
            Carries::Sctp(_) => IpNumber::SCTP,
            Carries::EchoRequest | Carries::EchoReply if self.from.is_ipv4() => IpNumber::ICMP,
            Carries::EchoRequest | Carries::EchoReply => IpNumber::IPV6_ICMP,
        }
    }

    /// A frame with this part of the body: from where, and whether more follows.
    fn frame(&self, link: Link, body: &[u8], part: Option<(usize, bool)>) -> Vec<u8> {
        let mut frame = [link.0, link.1].concat();
        let offset = |bytes: usize| {
            let units = u16::try_from(bytes / 8).unwrap();
            IpFragOffset::try_new(units).unwrap()
        };
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let len = u16::try_from(body.len()).unwrap();
                let (from, to) = (from.octets(), to.octets());
                let mut ip = Ipv4Header::new(len, self.hops, self.protocol(), from, to).unwrap();
                ip.identification = self.id;
                if let Some((at, more)) = part {
                    ip.dont_fragment = false;
                    ip.more_fragments = more;
                    ip.fragment_offset = offset(at);
                }
                ip.header_checksum = ip.calc_header_checksum();
                frame.extend([0x08, 0x00]);
                ip.write(&mut frame).unwrap();
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let extension = part.map(|(at, more)| {
                    let id = self.id.into();
                    Ipv6FragmentHeader::new(self.protocol(), offset(at), more, id)
                });
                let before = extension.as_ref().map_or(0, Ipv6FragmentHeader::header_len);
                let ip = Ipv6Header {
                    payload_length: u16::try_from(before + body.len()).unwrap(),
                    next_header: if extension.is_some() {
                        IpNumber::IPV6_FRAGMENTATION_HEADER
                    } else {
                        self.protocol()
                    },
                    hop_limit: self.hops,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                frame.extend([0x86, 0xdd]);
                ip.write(&mut frame).unwrap();
                if let Some(extension) = extension {
                    extension.write(&mut frame).unwrap();
                }
            }
            mixed => panic!("two families: {mixed:?}"),
        }
        frame.extend(body);
        frame
    }
}

/// CRC-32C as SCTP sends it (RFC 9260 appendix A).
pub fn crc32c(bytes: &[u8]) -> [u8; 4] {
    let mut register = u32::MAX;
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |at| byte >> at & 1))
    {
        let feedback = register & 1 != u32::from(bit);
        register >>= 1;
        if feedback {
            register ^= 0x82f6_3b78;
        }
    }
    (!register).to_le_bytes()
}
