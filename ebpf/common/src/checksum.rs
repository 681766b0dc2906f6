//! The Internet checksum (RFC 1071), on integers as they lie in memory: the one's complement sum
//! does not depend on the byte order as long as all summands share it.

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
    finish((!checksum.raw()) as u32 + (!from.raw()) as u32 + to.raw() as u32)
}

/// The checksum after a 32-bit word that it covers went from `from` to `to`.
#[inline(always)]
pub const fn replace_word(checksum: Be16, from: Be32, to: Be32) -> Be16 {
    let sum = add_word((!checksum.raw()) as u32, Be32::from_raw(!from.raw()));
    finish(add_word(sum, to))
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
    fn replacing_a_word_equals_replacing_its_halves() {
        let checksum = Be16::new(0x1234);
        for (from, to) in [(0x0a00_0a07, 0xc000_0201), (0, u32::MAX), (u32::MAX, 1)] {
            let half = |word: u32, shift: u32| Be16::new((word >> shift) as u16);
            let high = replace(checksum, half(from, 16), half(to, 16));
            let both = replace(high, half(from, 0), half(to, 0));
            let word = replace_word(checksum, Be32::new(from), Be32::new(to));
            assert_eq!(word, both, "{from:#x} to {to:#x}");
        }
    }
}
