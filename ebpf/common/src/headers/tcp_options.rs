//! The options of a TCP header, as far as the maximum segment size goes (RFC 9293 section 3.2).

/// Room that options may take.
pub const OPTIONS: usize = 40;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const MAXIMUM_SEGMENT_SIZE_LEN: usize = 4;

/// Where the maximum segment size lies in the first `len` bytes of `options`; `None` if there is
/// none, or if what lies before it cannot be read.
///
/// `at` is working space. The programs give it a place in memory, because the verifier forgets what
/// it knew of a value that went there: it follows one walk, not one for each sequence of lengths.
#[inline(always)]
pub fn find_segment_size(options: &[u8; OPTIONS], len: usize, at: &mut u32) -> Option<usize> {
    *at = 0;
    for _ in 0..OPTIONS {
        let here = *at as usize;
        if here >= len {
            return None;
        }
        match *options.get(here)? {
            END => return None,
            NO_OPERATION => *at += 1,
            kind => {
                let option_len = *options.get(here + 1)? as usize;
                if option_len < 2 || here + option_len > len {
                    return None;
                }
                if kind == MAXIMUM_SEGMENT_SIZE {
                    return (option_len == MAXIMUM_SEGMENT_SIZE_LEN).then_some(here + 2);
                }
                *at += option_len as u32;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(options: &[u8]) -> Option<usize> {
        let mut room = [0xee; OPTIONS];
        room[..options.len()].copy_from_slice(options);
        find_segment_size(&room, options.len(), &mut 7)
    }

    #[test]
    fn it_is_found_wherever_it_is() {
        assert_eq!(find(&[2, 4, 5, 180]), Some(2));
        assert_eq!(find(&[1, 1, 2, 4, 5, 180]), Some(4));
        assert_eq!(find(&[3, 3, 7, 4, 2, 8, 3, 9, 9, 2, 4, 5, 180]), None);
        assert_eq!(find(&[3, 3, 7, 4, 2, 8, 3, 9, 2, 4, 5, 180]), Some(10));
        let mut last = [1; OPTIONS];
        last[36..].copy_from_slice(&[2, 4, 5, 180]);
        assert_eq!(find(&last), Some(38));
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        for options in [
            &[][..],
            &[0, 2, 4, 5, 180],
            &[2],
            &[2, 4],
            &[2, 4, 5],
            &[2, 3, 5],
            &[2, 6, 5, 180, 0, 0],
            &[8, 0, 2, 4, 5, 180],
            &[8, 1, 2, 4, 5, 180],
            &[8, 255, 2, 4, 5, 180],
            &[1; OPTIONS],
        ] {
            assert_eq!(find(options), None, "{options:?}");
        }
    }

    #[test]
    fn it_ends_for_every_pair_of_first_bytes() {
        for (kind, len) in (0..=u16::MAX).map(|both| (both as u8, (both >> 8) as u8)) {
            let mut options = [kind; OPTIONS];
            options[1] = len;
            let found = find(&options);
            assert!(found.is_none_or(|at| at + 2 <= OPTIONS), "{kind} {len}");
        }
    }
}
