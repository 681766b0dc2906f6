//! The bytes of questions and answers.

use std::net::IpAddr;

use orch_ebpf_common::headers::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader};
use orch_ebpf_common::{Address, checksum};

/// The echo port (RFC 862).
const ECHO: u16 = 7;
/// The port that asks. Nothing else speaks from it to an echo port through the tunnel.
const ASKER: u16 = 7007;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
/// Where in a UDP header its checksum is.
pub(super) const UDP_CHECKSUM: usize = 6;
const NONCE: usize = size_of::<u64>();

/// Tells the questions of one asker from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce(pub u64);

/// A frame whose transport checksum a device is still to fill in.
#[derive(Debug)]
pub(super) struct Frame {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Where the UDP header begins.
    pub transport: usize,
}

/// An answer to one of our questions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Who answers.
    pub from: IpAddr,
    /// Bytes of the IP packet.
    pub size: usize,
    /// Whether its checksum or its content is not what it should be.
    pub damaged: bool,
}

impl Frame {
    /// A question whose IP packet has `size` bytes.
    pub fn question(from: IpAddr, to: IpAddr, size: usize, nonce: Nonce) -> Self {
        let (from, to) = (Address::from(from), Address::from(to));
        let mut bytes = vec![0; EthernetHeader::LEN - 2];
        let payload;
        if from.is_v4() {
            payload = size - IPV4_HEADER - UDP_HEADER;
            bytes.extend(ETHERTYPE_IPV4.to_be_bytes());
            let length = (UDP_HEADER + payload) as u16;
            let header = headers::Ipv4Header::new(from.v4(), to.v4(), headers::UDP, length);
            bytes.extend(ipv4_bytes(&header));
        } else {
            payload = size - IPV6_HEADER - UDP_HEADER;
            bytes.extend(ETHERTYPE_IPV6.to_be_bytes());
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(((UDP_HEADER + payload) as u16).to_be_bytes());
            bytes.extend([headers::UDP, 64]);
            bytes.extend(from.bytes());
            bytes.extend(to.bytes());
        }
        let transport = bytes.len();
        let length = (UDP_HEADER + payload) as u16;
        let begun = checksum::pseudo_header(&from, &to, headers::UDP, length);
        bytes.extend(ASKER.to_be_bytes());
        bytes.extend(ECHO.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        // Where a device goes on.
        bytes.extend(checksum::fold(begun).to_ne_bytes());
        bytes.extend(nonce.0.to_be_bytes());
        bytes.extend(pattern().take(payload - NONCE));
        Self { bytes, transport }
    }
}

/// Bytes that are not alike, so that lost or exchanged ones show.
fn pattern() -> impl Iterator<Item = u8> {
    (0_u32..).map(|at| (at.wrapping_mul(167) ^ (at >> 8)) as u8)
}

fn ipv4_bytes(header: &headers::Ipv4Header) -> Vec<u8> {
    let mut bytes = vec![header.version_ihl, header.tos];
    for field in [header.total_len, header.id, header.fragment] {
        bytes.extend(field.bytes());
    }
    bytes.extend([header.ttl, header.protocol]);
    bytes.extend(header.checksum.bytes());
    bytes.extend(header.source.bytes());
    bytes.extend(header.destination.bytes());
    bytes
}

/// The answer that a frame is for the asker `own`; `None` if it is something else.
pub(super) fn answer(
    frame: &[u8],
    own: IpAddr,
    nonce: Nonce,
    has_checksum: bool,
) -> Option<Answer> {
    let packet = frame.get(EthernetHeader::LEN..)?;
    let (from, to, size, header) = match u16::from_be_bytes(frame[12..14].try_into().ok()?) {
        ETHERTYPE_IPV4 => (
            address(packet.get(12..16)?),
            address(packet.get(16..20)?),
            u16::from_be_bytes(packet[2..4].try_into().ok()?).into(),
            IPV4_HEADER,
        ),
        ETHERTYPE_IPV6 => (
            address(packet.get(8..24)?),
            address(packet.get(24..40)?),
            usize::from(u16::from_be_bytes(packet[4..6].try_into().ok()?)) + IPV6_HEADER,
            IPV6_HEADER,
        ),
        _ => return None,
    };
    let datagram = packet.get(header..size)?;
    let (head, payload) = datagram.split_at_checked(UDP_HEADER)?;
    let ports = [ECHO.to_be_bytes(), ASKER.to_be_bytes()].concat();
    let is_ours =
        to? == own && head[..4] == ports && payload.get(..NONCE)? == nonce.0.to_be_bytes();
    if !is_ours {
        return None;
    }
    let from = from?;
    let is_whole = payload[NONCE..]
        .iter()
        .copied()
        .eq(pattern().take(payload.len() - NONCE));
    let sums_up = !has_checksum || sum(from, own, datagram) == 0xffff;
    Some(Answer {
        from,
        size,
        damaged: !(is_whole && sums_up),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// All ones for a datagram whose checksum is right.
fn sum(from: IpAddr, to: IpAddr, datagram: &[u8]) -> u16 {
    let length = datagram.len() as u16;
    let begun = checksum::pseudo_header(&from.into(), &to.into(), headers::UDP, length);
    let mut pairs = datagram.chunks(2);
    let sum = pairs.try_fold(begun, |sum, pair| {
        let added = checksum::add_pair(sum, pair[0], *pair.get(1).unwrap_or(&0));
        Some(checksum::fold(added).into())
    });
    sum.map_or(0, checksum::fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = Nonce(0x0123_4567_89ab_cdef);

    fn hosts() -> [(IpAddr, IpAddr); 2] {
        [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
            .map(|(own, other)| (own.parse().unwrap(), other.parse().unwrap()))
    }

    /// The frame that comes back: ends swapped, checksum filled in.
    fn echoed(own: IpAddr, other: IpAddr, size: usize) -> Vec<u8> {
        let Frame {
            mut bytes,
            transport,
        } = Frame::question(own, other, size, NONCE);
        let length = if own.is_ipv4() { 4 } else { 16 };
        let ends = transport - 2 * length;
        bytes[ends..transport].rotate_left(length);
        bytes[transport..transport + 4].rotate_left(2);
        let at = transport + UDP_CHECKSUM;
        bytes[at..at + 2].fill(0);
        let sum = !sum(other, own, &bytes[transport..]);
        bytes[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
        bytes
    }

    #[test]
    fn an_answer_is_known_by_its_ends_and_its_nonce() {
        for (own, other) in hosts() {
            for size in [100, 1430] {
                let frame = echoed(own, other, size);
                let expected = Answer {
                    from: other,
                    size,
                    damaged: false,
                };
                assert_eq!(answer(&frame, own, NONCE, true), Some(expected));
                assert_eq!(answer(&frame, other, NONCE, true), None);
                assert_eq!(answer(&frame, own, Nonce(1), true), None);
                let question = Frame::question(own, other, size, NONCE).bytes;
                assert_eq!(answer(&question, other, NONCE, false), None);
            }
        }
    }

    #[test]
    fn damage_shows() {
        for (own, other) in hosts() {
            let mut frame = echoed(own, other, 200);
            *frame.last_mut().unwrap() ^= 1;
            assert!(answer(&frame, own, NONCE, false).unwrap().damaged);
            let mut frame = echoed(own, other, 200);
            let checksum = frame.len() - (200 - if own.is_ipv4() { 20 } else { 40 }) + UDP_CHECKSUM;
            frame[checksum] ^= 1;
            assert!(answer(&frame, own, NONCE, true).unwrap().damaged);
            assert!(!answer(&frame, own, NONCE, false).unwrap().damaged);
        }
    }

    #[test]
    fn frames_that_are_cut_off_are_no_answers() {
        for (own, other) in hosts() {
            let frame = echoed(own, other, 100);
            for length in 0..frame.len() {
                assert_eq!(answer(&frame[..length], own, NONCE, true), None, "{length}");
            }
        }
    }
}
