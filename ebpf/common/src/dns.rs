//! The part of DNS that is answered in the kernel (RFC 1035): one question, class IN.

use crate::bytes::Be16;
use crate::names::NAME_BYTES;

/// The UDP port of DNS.
pub const PORT: Be16 = Be16::new(53);
/// Longest message over UDP, in bytes, that every client takes (RFC 1035 section 4.2.1).
pub const MESSAGE_MAX: usize = 512;

/// The header of a message.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsHeader {
    /// Chosen by the asker.
    pub id: Be16,
    /// Query or response, operation, flags, response code.
    pub flags: Be16,
    /// How many questions.
    pub questions: Be16,
    /// How many answers.
    pub answers: Be16,
    /// How many authority records.
    pub authorities: Be16,
    /// How many additional records.
    pub additionals: Be16,
}

impl DnsHeader {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    const RESPONSE: u16 = 0x8000;
    const OPERATION: u16 = 0x7800;
    const AUTHORITATIVE: u16 = 0x0400;
    const TRUNCATED: u16 = 0x0200;
    const RECURSION_DESIRED: u16 = 0x0100;
    const RECURSION_AVAILABLE: u16 = 0x0080;

    /// Whether it is a plain query with one question; an EDNS record behind it is tolerated.
    #[inline(always)]
    pub const fn is_single_query(&self) -> bool {
        self.flags.get() & (Self::RESPONSE | Self::OPERATION | Self::TRUNCATED) == 0
            && self.questions.get() == 1
            && self.answers.get() == 0
            && self.authorities.get() == 0
            && self.additionals.get() <= 1
    }

    /// The header of an authoritative answer without error, with so many address records, which
    /// are all that there are unless it is `truncated`.
    #[inline(always)]
    pub const fn answer(&self, answers: u16, truncated: bool) -> Self {
        let truncated = if truncated { Self::TRUNCATED } else { 0 };
        Self {
            id: self.id,
            flags: Be16::new(
                Self::RESPONSE
                    | Self::AUTHORITATIVE
                    | Self::RECURSION_AVAILABLE
                    | truncated
                    | (self.flags.get() & Self::RECURSION_DESIRED),
            ),
            questions: Be16::new(1),
            answers: Be16::new(answers),
            authorities: Be16::ZERO,
            additionals: Be16::ZERO,
        }
    }

    /// One's complement sum of the header.
    #[inline(always)]
    pub const fn sum(&self) -> u32 {
        self.id.raw() as u32
            + self.flags.raw() as u32
            + self.questions.raw() as u32
            + self.answers.raw() as u32
            + self.authorities.raw() as u32
            + self.additionals.raw() as u32
    }
}

/// What follows the name of a question.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuestionTail {
    /// Which kind of record.
    pub kind: Be16,
    /// Which class.
    pub class: Be16,
}

impl QuestionTail {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// An IPv4 address.
    pub const A: Be16 = Be16::new(1);
    /// An IPv6 address.
    pub const AAAA: Be16 = Be16::new(28);
    /// The Internet.
    pub const IN: Be16 = Be16::new(1);

    /// Whether addresses of IPv4 (`true`) or of IPv6 are asked for; `None` for anything else.
    #[inline(always)]
    pub fn asks_v4(&self) -> Option<bool> {
        match (self.class, self.kind) {
            (Self::IN, Self::A) => Some(true),
            (Self::IN, Self::AAAA) => Some(false),
            _ => None,
        }
    }
}

/// An address record whose name is the question's: a head that is the same for all records of a
/// family, then the address.
pub struct AddressRecord;

impl AddressRecord {
    /// Length in bytes of the head.
    pub const HEAD: usize = 12;
    /// Length in bytes of an IPv4 address's record.
    pub const LEN_V4: usize = Self::HEAD + 4;
    /// Length in bytes of an IPv6 address's record.
    pub const LEN_V6: usize = Self::HEAD + 16;
    /// Seconds for which clients may keep an address. Tasks come and go.
    pub const TTL: u8 = 5;

    /// The head: a pointer back to the question's name, type, class, TTL, length of the address.
    #[inline(always)]
    pub const fn head(is_v4: bool) -> [u8; Self::HEAD] {
        let (kind, len) = if is_v4 {
            (QuestionTail::A, 4)
        } else {
            (QuestionTail::AAAA, 16)
        };
        let (kind, class) = (kind.bytes(), QuestionTail::IN.bytes());
        let name = DnsHeader::LEN as u8;
        let ttl = Self::TTL;
        [
            0xc0, name, kind[0], kind[1], class[0], class[1], 0, 0, 0, ttl, 0, len,
        ]
    }

    /// How many records fit behind a question of so many bytes, its type and class included.
    #[inline(always)]
    pub const fn fit(is_v4: bool, question_len: usize) -> usize {
        let room = MESSAGE_MAX
            .saturating_sub(DnsHeader::LEN)
            .saturating_sub(question_len);
        if is_v4 {
            room / Self::LEN_V4
        } else {
            room / Self::LEN_V6
        }
    }
}

/// Length of the name at the start of `wire`, its closing zero included; `None` if it does not end
/// within [`NAME_BYTES`], is the root, or uses compression, which no question does.
#[inline(always)]
pub fn name_len(wire: &[u8; NAME_BYTES]) -> Option<usize> {
    let mut at = 0;
    // A label takes two bytes at least.
    for _ in 0..NAME_BYTES / 2 {
        let label = *wire.get(at)? as usize;
        if label == 0 {
            return if at == 0 { None } else { Some(at + 1) };
        }
        if label > 63 {
            return None;
        }
        at += label + 1;
    }
    None
}

/// Turns a name to lower case.
///
/// Length bytes are at most 63, so none of them is mistaken for a capital letter.
#[inline(always)]
pub const fn lower_case(name: &mut [u8; NAME_BYTES]) {
    name.make_ascii_lowercase();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NameKey, Vni};

    fn wire(bytes: &[u8]) -> [u8; NAME_BYTES] {
        let mut wire = [0xee; NAME_BYTES];
        wire[..bytes.len()].copy_from_slice(bytes);
        wire
    }

    #[test]
    fn a_name_ends_at_its_zero() {
        assert_eq!(name_len(&wire(b"\x06redis2\0\0\x01")), Some(8));
        assert_eq!(name_len(&wire(b"\x05tasks\x06redis2\0")), Some(14));
    }

    #[test]
    fn names_that_are_not_ours_are_left_alone() {
        assert_eq!(name_len(&wire(b"\0")), None, "the root");
        assert_eq!(name_len(&wire(b"\x01a\xc0\x0c")), None, "compressed");
        assert_eq!(name_len(&[1; NAME_BYTES]), None, "no end");
        assert_eq!(name_len(&[63; NAME_BYTES]), None, "no end");
    }

    #[test]
    fn a_question_leads_to_the_loader_s_key() {
        let mut name = [0; NAME_BYTES];
        name[..14].copy_from_slice(b"\x05TASKS\x06Redis2\0");
        assert_eq!(name_len(&name), Some(14));
        lower_case(&mut name);
        assert_eq!(NameKey::new(Vni::HOST, "tasks.redis2").unwrap().name, name);
    }

    #[test]
    fn an_answer_fits_the_smallest_buffer() {
        for question_len in 3 + QuestionTail::LEN..=NAME_BYTES + QuestionTail::LEN {
            let used = DnsHeader::LEN + question_len;
            let v4 = AddressRecord::fit(true, question_len);
            assert!((512 - 15..=512).contains(&(used + v4 * AddressRecord::LEN_V4)));
            let v6 = AddressRecord::fit(false, question_len);
            assert!((512 - 27..=512).contains(&(used + v6 * AddressRecord::LEN_V6)));
        }
    }

    #[test]
    fn only_single_plain_queries_are_taken() {
        let query = DnsHeader {
            id: Be16::new(7),
            flags: Be16::new(0x0120),
            questions: Be16::new(1),
            answers: Be16::ZERO,
            authorities: Be16::ZERO,
            additionals: Be16::new(1),
        };
        assert!(query.is_single_query());
        assert!(
            !DnsHeader {
                flags: Be16::new(0x8100),
                ..query
            }
            .is_single_query()
        );
        assert!(
            !DnsHeader {
                flags: Be16::new(0x2800),
                ..query
            }
            .is_single_query()
        );
        assert!(
            !DnsHeader {
                questions: Be16::new(2),
                ..query
            }
            .is_single_query()
        );
        let answer = query.answer(3, false);
        assert_eq!(
            (answer.flags.get(), answer.answers.get(), answer.id),
            (0x8580, 3, query.id)
        );
        assert_eq!(query.answer(3, true).flags.get(), 0x8780);
    }
}
