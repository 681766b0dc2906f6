//! The options of a TCP header, as far as the maximum segment size goes (RFC 9293 section 3.2).

/// Room that options may take.
pub const OPTIONS: usize = 40;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const MAXIMUM_SEGMENT_SIZE_LEN: usize = 4;

/// One step of a walk over options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next option begins there.
    Next(usize),
    /// The maximum segment size lies there.
    SegmentSize(usize),
    /// Nothing more can be read.
    End,
}

/// Looks at the option at `here`, of which `options` holds `len` bytes. A walk begins at 0 and is
/// over after [`OPTIONS`] steps at most.
#[inline(always)]
pub fn step(options: &[u8; OPTIONS], len: usize, here: usize) -> Step {
    if here > OPTIONS - MAXIMUM_SEGMENT_SIZE_LEN || here + MAXIMUM_SEGMENT_SIZE_LEN > len {
        return Step::End;
    }
    let option_len = options[here + 1] as usize;
    match (options[here], option_len) {
        (NO_OPERATION, _) => Step::Next(here + 1),
        (END, _) | (_, 0 | 1) => Step::End,
        (MAXIMUM_SEGMENT_SIZE, MAXIMUM_SEGMENT_SIZE_LEN) => Step::SegmentSize(here + 2),
        (MAXIMUM_SEGMENT_SIZE, _) => Step::End,
        _ => Step::Next(here + option_len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(options: &[u8]) -> Option<usize> {
        let mut room = [0xee; OPTIONS];
        room[..options.len()].copy_from_slice(options);
        let mut here = 0;
        for _ in 0..OPTIONS {
            match step(&room, options.len(), here) {
                Step::Next(next) => here = next,
                Step::SegmentSize(at) => return Some(at),
                Step::End => return None,
            }
        }
        panic!("the walk must be over by now");
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
