//! SCTP's header, its checksum, and the chunk that refuses a packet.
//!
//! The checksum is CRC-32C (RFC 9260 appendix A) over the packet alone: addresses do not count,
//! ports do. A CRC is linear, so that the effect of other ports can be computed from the ports and
//! the packet's length, without reading the rest.

use crate::bytes::{Be16, Be32};

/// An SCTP common header (RFC 9260 section 3.1) and the beginning of the first chunk.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SctpHeader {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
    /// Verification tag.
    pub tag: Be32,
    /// Checksum, as [`crc32c`] makes it. Zero while it is left to the network device.
    pub checksum: [u8; 4],
    /// Type of the first chunk.
    pub chunk: u8,
    /// Its flags.
    pub flags: u8,
    /// Its length in bytes.
    pub chunk_len: Be16,
}

impl SctpHeader {
    /// Length in bytes, beginning of the first chunk included.
    pub const LEN: usize = size_of::<Self>();
    /// Offset of the checksum.
    pub const CHECKSUM: usize = core::mem::offset_of!(Self, checksum);

    /// Chunk type: opens an association.
    pub const INIT: u8 = 1;
    /// Chunk type: ends one at once.
    pub const ABORT: u8 = 6;
    /// Chunk type: the last packet of one.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    /// Flag of an ABORT: the tag is that of the packet which it answers.
    const REFLECTED_TAG: u8 = 1;
    /// An ABORT without causes.
    const ABORT_LEN: u16 = 4;

    /// Whether it is the first packet of an association. An INIT comes alone in its packet.
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.chunk == Self::INIT
    }

    /// Whether it ends an association.
    #[inline(always)]
    pub const fn closes(&self) -> bool {
        matches!(self.chunk, Self::ABORT | Self::SHUTDOWN_COMPLETE)
    }

    /// What a host without such an association answers (RFC 9260 section 8.4), checksum included;
    /// `None` for what is never answered. `initiate_tag` is the first field of an INIT chunk.
    #[inline(always)]
    pub fn abort(&self, initiate_tag: Be32) -> Option<Self> {
        if self.closes() {
            return None;
        }
        let mut abort = Self {
            source: self.destination,
            destination: self.source,
            tag: if self.opens() { initiate_tag } else { self.tag },
            checksum: [0; 4],
            chunk: Self::ABORT,
            flags: if self.opens() { 0 } else { Self::REFLECTED_TAG },
            chunk_len: Be16::new(Self::ABORT_LEN),
        };
        abort.checksum = crc32c(&abort.bytes());
        Some(abort)
    }

    /// The ports as they lie on the wire.
    #[inline(always)]
    pub const fn ports(&self) -> [u8; 4] {
        let (source, destination) = (self.source.bytes(), self.destination.bytes());
        [source[0], source[1], destination[0], destination[1]]
    }

    /// As it lies on the wire.
    #[inline(always)]
    pub const fn bytes(&self) -> [u8; Self::LEN] {
        let (source, destination) = (self.source.bytes(), self.destination.bytes());
        let (tag, checksum, len) = (self.tag.bytes(), self.checksum, self.chunk_len.bytes());
        [
            source[0],
            source[1],
            destination[0],
            destination[1],
            tag[0],
            tag[1],
            tag[2],
            tag[3],
            checksum[0],
            checksum[1],
            checksum[2],
            checksum[3],
            self.chunk,
            self.flags,
            len[0],
            len[1],
        ]
    }
}

/// The generator polynomial of CRC-32C; as in everything below, the bit of the highest value is
/// the coefficient of x⁰.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// How many halves of bytes a CRC has.
const NIBBLES: usize = 8;
/// What a multiplication by a constant makes of each value of each half byte; the product is the
/// sum of these.
type Product = [[u32; 16]; NIBBLES];

/// Multiplication by x⁴, which is what half a byte does to a CRC: of the lowest half byte.
static HALF_BYTE: [u32; 16] = product(1 << (31 - 4))[0];
/// Multiplication by x to the power of 8 · 2ⁿ, which is what 2ⁿ bytes do to a CRC. Lengths have 16
/// bits.
static BYTES: [Product; 16] = {
    let mut products = [[[0; 16]; NIBBLES]; 16];
    let mut power = 1 << (31 - 8);
    let mut n = 0;
    while n < products.len() {
        products[n] = product(power);
        power = multiply(power, power);
        n += 1;
    }
    products
};

const fn product(factor: u32) -> Product {
    let mut product = [[0; 16]; NIBBLES];
    let mut at = 0;
    while at < 16 * NIBBLES {
        let (nibble, value) = (at / 16, at % 16);
        product[nibble][value] = multiply((value as u32) << (4 * nibble), factor);
        at += 1;
    }
    product
}

/// The product modulo [`POLYNOMIAL`].
const fn multiply(left: u32, mut right: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        if (left >> (31 - bit)) & 1 == 1 {
            product ^= right;
        }
        right = (right >> 1) ^ if right & 1 == 1 { POLYNOMIAL } else { 0 };
        bit += 1;
    }
    product
}

/// CRC-32C of a packet whose checksum is zero, as it goes into the packet.
#[inline(always)]
pub fn crc32c(packet: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for byte in packet {
        crc ^= u32::from(*byte);
        for _ in 0..2 {
            crc = (crc >> 4) ^ HALF_BYTE[(crc & 15) as usize];
        }
    }
    (!crc).to_le_bytes()
}

/// The checksum after the ports went from `from` to `to`, each the packet's first four bytes. `len`
/// is the packet's length. A checksum that is left to the network device stays so.
///
/// Without branches on the length, so that the verifier follows one path.
#[inline(always)]
pub fn replace_ports(checksum: [u8; 4], from: [u8; 4], to: [u8; 4], len: u16) -> [u8; 4] {
    let before = u32::from_le_bytes(checksum);
    if before == 0 {
        return checksum;
    }
    let mut change = u32::from_le_bytes(from) ^ u32::from_le_bytes(to);
    for (n, product) in BYTES.iter().enumerate() {
        let mut moved = 0;
        for (nibble, of) in product.iter().enumerate() {
            moved ^= of[(change >> (4 * nibble)) as usize & 15];
        }
        let is_set = 0u32.wrapping_sub(u32::from(len >> n) & 1);
        change = (moved & is_set) | (change & !is_set);
    }
    (before ^ change).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: SctpHeader = SctpHeader {
        source: Be16::new(40000),
        destination: Be16::new(3868),
        tag: Be32::ZERO,
        checksum: [1, 2, 3, 4],
        chunk: SctpHeader::INIT,
        flags: 0,
        chunk_len: Be16::new(20),
    };

    #[test]
    fn the_check_value_of_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283_u32.to_le_bytes());
        // RFC 3720 section B.4.
        assert_eq!(crc32c(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(crc32c(&[0xff; 32]), [0x43, 0xab, 0xa8, 0x62]);
    }

    #[test]
    fn replacing_the_ports_equals_summing_anew() {
        let mut packet = [0; 3000];
        for (at, byte) in packet.iter_mut().enumerate() {
            *byte = (at * 37 % 251) as u8;
        }
        packet[8..12].fill(0);
        let (from, to) = ([0x9c, 0x40, 0x0f, 0x1c], [0x9c, 0x41, 0x00, 0x50]);
        for len in [12, 16, 28, 255, 256, 257, 1452, 3000] {
            packet[..4].copy_from_slice(&from);
            let before = crc32c(&packet[..len]);
            packet[..4].copy_from_slice(&to);
            let after = crc32c(&packet[..len]);
            assert_eq!(replace_ports(before, from, to, len as u16), after, "{len}");
            assert_eq!(replace_ports(after, to, from, len as u16), before, "{len}");
        }
    }

    #[test]
    fn a_checksum_that_is_still_to_be_made_stays_so() {
        assert_eq!(replace_ports([0; 4], [1; 4], [2; 4], 100), [0; 4]);
    }

    #[test]
    fn an_init_is_refused_under_the_tag_that_it_brings() {
        let abort = INIT.abort(Be32::new(77)).unwrap();
        assert_eq!(
            (abort.source, abort.destination),
            (INIT.destination, INIT.source)
        );
        assert_eq!((abort.tag.get(), abort.chunk, abort.flags), (77, 6, 0));
        let mut bytes = abort.bytes();
        bytes[8..12].fill(0);
        assert_eq!(crc32c(&bytes), abort.checksum);
        assert!(INIT.opens() && !INIT.closes());
    }

    #[test]
    fn other_chunks_are_refused_under_their_own_tag_and_endings_are_not() {
        let with = |chunk| SctpHeader {
            chunk,
            tag: Be32::new(5),
            ..INIT
        };
        let abort = with(0).abort(Be32::new(77)).unwrap();
        assert_eq!((abort.tag.get(), abort.flags), (5, 1));
        for chunk in [SctpHeader::ABORT, SctpHeader::SHUTDOWN_COMPLETE] {
            assert_eq!(with(chunk).abort(Be32::ZERO), None);
            assert!(with(chunk).closes());
        }
    }
}
