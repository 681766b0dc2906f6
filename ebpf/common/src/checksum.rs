//! The Internet checksum (RFC 1071), on integers as they lie in memory: the one's complement sum
//! does not depend on the byte order as long as all summands share it.

use crate::address::Address;
use crate::bytes::{Be16, Be32};

/// Adds a 32-bit word.
#[inline(always)]
pub const fn add_word(sum: u32, word: Be32) -> u32 {
    sum + (word.raw() & 0xffff) + (word.raw() >> 16)
}

/// Adds two bytes that lie next to each other at an even offset.
#[inline(always)]
pub const fn add_pair(sum: u32, first: u8, second: u8) -> u32 {
    sum + u16::from_ne_bytes([first, second]) as u32
}

/// Adds an address.
///
/// The mapped form of an IPv4 address begins with words that sum to all ones, which is a zero of
/// this arithmetic: the sum is the same as that of its last four bytes.
#[inline(always)]
pub const fn add_address(sum: u32, address: &Address) -> u32 {
    let words = address.words();
    add_word(
        add_word(add_word(add_word(sum, words[0]), words[1]), words[2]),
        words[3],
    )
}

/// The sum that the checksums of TCP, UDP and ICMPv6 begin with: over the pseudo header of either
/// family (RFC 9293 section 3.1, RFC 8200 section 8.1). `len` is that of transport header and
/// payload.
#[inline(always)]
pub const fn pseudo_header(source: &Address, destination: &Address, protocol: u8, len: u16) -> u32 {
    let sum = add_address(add_address(0, source), destination);
    add_pair(sum, 0, protocol) + Be16::new(len).raw() as u32
}

/// What has to be added to a sum after an address that it covers went from `from` to `to`.
#[inline(always)]
pub const fn difference(from: &Address, to: &Address) -> u32 {
    let ([a, b, c, d], [e, f, g, h]) = (from.words(), to.words());
    let gone = wide(!a.raw()) + wide(!b.raw()) + wide(!c.raw()) + wide(!d.raw());
    let come = wide(e.raw()) + wide(f.raw()) + wide(g.raw()) + wide(h.raw());
    let sum = gone + come;
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff) + (sum >> 16)) as u32
}

#[inline(always)]
const fn wide(word: u32) -> u64 {
    word as u64
}

/// What has to be added to a sum after a 16-bit word that it covers went from `from` to `to`.
#[inline(always)]
pub const fn field_difference(from: Be16, to: Be16) -> u32 {
    (!from.raw()) as u32 + to.raw() as u32
}

/// The checksum after `difference` was added to what it covers.
#[inline(always)]
pub const fn replace_by(checksum: Be16, difference: u32) -> Be16 {
    finish((!checksum.raw()) as u32 + difference)
}

/// Brings a sum down to 16 bits.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The checksum field that belongs to a sum over everything else.
#[inline(always)]
pub const fn finish(sum: u32) -> Be16 {
    Be16::from_bytes((!fold(sum)).to_ne_bytes())
}

/// The checksum after a 16-bit word that it covers went from `from` to `to` (RFC 1624, eqn. 3).
#[inline(always)]
pub const fn replace(checksum: Be16, from: Be16, to: Be16) -> Be16 {
    replace_by(checksum, field_difference(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let words = [[0x00, 0x01], [0xf2, 0x03], [0xf4, 0xf5], [0xf6, 0xf7]];
        let sum = words.iter().fold(0, |sum, [a, b]| add_pair(sum, *a, *b));
        assert_eq!(finish(sum).bytes(), [!0xdd, !0xf2]);
    }

    #[test]
    fn replacing_equals_summing_anew() {
        let sum = |words: [u16; 3]| {
            finish(
                words
                    .iter()
                    .map(|word| u32::from(Be16::new(*word).raw()))
                    .sum(),
            )
        };
        for (from, to) in [(0x0800, 0x0000), (0x0000, 0xffff), (0xffff, 0x0001), (7, 7)] {
            let before = sum([from, 0x1234, 0xfedc]);
            let after = replace(before, Be16::new(from), Be16::new(to));
            assert_eq!(after, sum([to, 0x1234, 0xfedc]), "{from:#x} to {to:#x}");
        }
    }

    #[test]
    fn replacing_an_address_equals_summing_anew() {
        let v4 = |word| Address::from_v4(Be32::new(word));
        for (from, to) in [
            (v4(0x0a00_0a07), v4(0xc000_0201)),
            (v4(0), v4(u32::MAX)),
            (v4(u32::MAX), v4(1)),
            (Address::MESH_V6, Address::HOST_LINK_V6),
            (Address::UNSPECIFIED, Address::TASKS_V6),
        ] {
            let sum = |address| pseudo_header(address, &Address::MESH, 6, 20);
            let replaced = replace_by(finish(sum(&from)), difference(&from, &to));
            assert_eq!(replaced, finish(sum(&to)), "{from:?} to {to:?}");
        }
    }

    #[test]
    fn a_mapped_address_sums_like_the_v4_one() {
        let (from, to) = (Be32::new(0x0a00_0a07), Be32::new(0xc000_0201));
        let v4 = add_pair(add_word(add_word(0, from), to), 0, 17) + Be16::new(8).raw() as u32;
        let (from, to) = (Address::from_v4(from), Address::from_v4(to));
        assert_eq!(finish(pseudo_header(&from, &to, 17, 8)), finish(v4));
    }
}
