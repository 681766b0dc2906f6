//! The Internet Protocol's part of a packet, of either family.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use orch_ebpf_common::headers::{ExtensionHeader, FragmentHeader, Ipv4Header, Ipv6Header, Part};
use orch_ebpf_common::{Address, Be16, Be32, DropReason};

use crate::skb::Skb;

#[map]
static HEADERS: PerCpuArray<Ip> = PerCpuArray::with_max_entries(2, 0);

/// What an IP header and its extensions say.
pub struct Ip {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Where in the frame the transport header begins.
    pub l4: usize,
    /// Where in the frame the packet ends.
    pub end: usize,
    /// What it carries: the transport protocol's number.
    pub protocol: u8,
    /// Hops left.
    pub hops: u8,
    /// Type of service, or traffic class.
    pub class: u8,
    /// Whether it is IPv4.
    pub is_v4: bool,
    /// Whether a router may cut it into fragments.
    pub may_be_cut: bool,
    /// Which part of a datagram it is.
    pub part: Part,
    /// Identification of the datagram, if it is in fragments.
    pub id: Be32,
    /// Checksum of an IPv4 header.
    pub checksum: Be16,
}

impl Ip {
    /// Room for the packet's own header; it holds an earlier packet's until it is read. To be
    /// called once per program.
    ///
    /// It is off the stack, which is too small for it, and where the verifier forgets what it knew
    /// of each field, and so follows one path with any header instead of one for each.
    #[inline(always)]
    pub fn outer() -> Result<&'static mut Self, DropReason> {
        room(0)
    }

    /// The same for the header that an ICMP error quotes.
    #[inline(always)]
    pub fn quoted() -> Result<&'static mut Self, DropReason> {
        room(1)
    }

    /// Reads the header at `l3`, which may announce `available` bytes at most.
    #[inline(always)]
    pub fn read(
        &mut self,
        skb: Skb,
        l3: usize,
        is_v4: bool,
        available: u32,
    ) -> Result<(), DropReason> {
        if is_v4 {
            return self.read_v4(skb, l3, available);
        }
        if read_v6(self, skb, l3, available) {
            Ok(())
        } else {
            Err(DropReason::Malformed)
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, skb: Skb, l3: usize, available: u32) -> Result<(), DropReason> {
        let header: Ipv4Header = skb.load(l3)?;
        self.is_v4 = true;
        let header_len = header.header_len(available).ok_or(DropReason::Malformed)?;
        self.source = Address::from_v4(header.source);
        self.destination = Address::from_v4(header.destination);
        self.l4 = l3 + header_len;
        self.end = l3 + header.total_len.get() as usize;
        self.protocol = header.protocol;
        self.hops = header.ttl;
        self.class = header.tos;
        self.may_be_cut = header.may_be_cut();
        self.part = header.part();
        self.id = Be32::new(header.id.get().into());
        self.checksum = header.checksum;
        Ok(())
    }

    #[inline(always)]
    fn try_read_v6(&mut self, skb: Skb, l3: usize, available: u32) -> Result<(), DropReason> {
        let header: Ipv6Header = skb.load(l3)?;
        let total = header.total_len(available).ok_or(DropReason::Malformed)?;
        self.is_v4 = false;
        self.may_be_cut = false;
        self.part = Part::Whole;
        self.source = header.source;
        self.destination = header.destination;
        self.hops = header.hop_limit;
        self.class = header.traffic_class();
        self.end = l3 + total;
        let mut next = header.next;
        let mut l4 = l3 + Ipv6Header::LEN;
        for _ in 0..ExtensionHeader::MAX {
            if next == FragmentHeader::NUMBER && self.part == Part::Whole {
                let fragment: FragmentHeader = skb.load(l4)?;
                next = fragment.next;
                l4 += FragmentHeader::LEN;
                self.part = fragment.part();
                self.id = fragment.id;
                if self.part == Part::Later {
                    break;
                }
            } else if ExtensionHeader::is_known(next) {
                let extension: ExtensionHeader = skb.load(l4)?;
                next = extension.next;
                l4 += extension.header_len();
            } else {
                break;
            }
        }
        if l4 > self.end {
            return Err(DropReason::Malformed);
        }
        self.protocol = next;
        self.l4 = l4;
        Ok(())
    }
}

#[inline(always)]
fn room(index: u32) -> Result<&'static mut Ip, DropReason> {
    let ip = HEADERS
        .get_ptr_mut(index)
        .ok_or(DropReason::NotConfigured)?;
    // SAFETY: the room is this CPU's, each program asks for it once, and programs on one CPU do
    // not interrupt each other. Boolean fields and `part` are only ever written as such, zero is a
    // value of them, and the rest are integers, so that any content is valid.
    Ok(unsafe { &mut *ip })
}

/// Out of line: the walk over the extensions would be in every program several times.
#[inline(never)]
fn read_v6(ip: &mut Ip, skb: Skb, l3: usize, available: u32) -> bool {
    ip.try_read_v6(skb, l3, available).is_ok()
}
