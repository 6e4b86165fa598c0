//! Finds any of several hundred byte strings, none of them short, in one pass that skips.
//!
//! The method of Wu and Manber: the last three bytes of a window as long as the shortest needle say
//! how far the window may be moved, which is most of its length where nothing looks like a needle.
//! An automaton over the same needles looks at every byte and needs megabytes to be fast; this
//! takes 16 KiB. It deliberately knows nothing of what a needle means.
//!
//! Invariant: every occurrence of every needle is found, overlapping ones too.

use std::ops::Range;

/// How many bytes decide how far to move.
const BLOCK: usize = 3;
/// Size of the table of moves, a power of two.
const TABLE_BITS: u32 = 14;
/// The longest window; a longer one would not fit the moves.
const WINDOW_MAX: usize = 64;

/// Finds needles.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    /// Length of the window: that of the shortest needle.
    window: usize,
    /// How far the window may be moved, by the hash of its last block.
    moves: Box<[u8]>,
    /// Indices of needles with the hash of the last block of their window; sorted by hash.
    ends: Vec<(u16, u32)>,
}

impl Finder {
    /// Prepares for these needles; none when there are none, or one is shorter than a block.
    pub(super) fn new(needles: &[Vec<u8>]) -> Option<Self> {
        let shortest = needles.iter().map(Vec::len).min().filter(|length| *length >= BLOCK)?;
        let window = shortest.min(WINDOW_MAX);
        let far = window - BLOCK + 1;
        let mut moves = vec![u8::try_from(far).unwrap_or(u8::MAX); 1 << TABLE_BITS];
        let mut ends = Vec::with_capacity(needles.len());
        for (index, needle) in (0_u32..).zip(needles) {
            for (at, block) in needle[..window].windows(BLOCK).enumerate() {
                let place = &mut moves[usize::from(hash(block))];
                *place = u8::try_from(window - BLOCK - at).unwrap_or(u8::MAX).min(*place);
            }
            ends.push((hash(&needle[window - BLOCK..window]), index));
        }
        ends.sort_unstable();
        Some(Self { window, moves: moves.into_boxed_slice(), ends })
    }

    /// Calls `found` with the range of each occurrence of one of `needles`, which must be those
    /// that this was made for.
    pub(super) fn find(
        &self,
        needles: &[Vec<u8>],
        text: &[u8],
        found: &mut impl FnMut(Range<usize>),
    ) {
        let mut at = self.window - BLOCK;
        while let Some(block) = text.get(at..at + BLOCK) {
            let hash = hash(block);
            let distance = usize::from(self.moves[usize::from(hash)]);
            if distance > 0 {
                at += distance;
                continue;
            }
            let start = at + BLOCK - self.window;
            let first = self.ends.partition_point(|(end, _)| *end < hash);
            for (_, index) in self.ends[first..].iter().take_while(|(end, _)| *end == hash) {
                let needle = &needles[*index as usize];
                if text[start..].starts_with(needle) {
                    found(start..start + needle.len());
                }
            }
            at += 1;
        }
    }
}

/// A place in the table.
fn hash(block: &[u8]) -> u16 {
    let number = u32::from(block[0]) | u32::from(block[1]) << 8 | u32::from(block[2]) << 16;
    // The shift leaves no more bits than fit.
    u16::try_from(number.wrapping_mul(0x9e37_79b1) >> (u32::BITS - TABLE_BITS)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_occurrence_is_found(
            needles in prop::collection::btree_set("[ab]{3,7}", 1..6), text in "[abc]{0,60}",
        ) {
            let needles: Vec<Vec<u8>> = needles.into_iter().map(String::into_bytes).collect();
            let text = text.as_bytes();
            let mut found = Vec::new();
            let finder = Finder::new(&needles).expect("needles");
            finder.find(&needles, text, &mut |range| found.push((range.start, range.end)));
            found.sort_unstable();
            let mut expected: Vec<_> = needles
                .iter()
                .flat_map(|needle| {
                    let starts = 0..text.len().saturating_sub(needle.len()) + 1;
                    starts
                        .filter(|start| text[*start..].starts_with(needle))
                        .map(|start| (start, start + needle.len()))
                        .collect::<Vec<_>>()
                })
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn needles_longer_than_a_window_are_found() {
        let needle = vec![b'x'; 3 * WINDOW_MAX];
        let text = [&b"y"[..], &needle, b"y"].concat();
        let mut found = Vec::new();
        let finder = Finder::new(std::slice::from_ref(&needle)).expect("a needle");
        finder.find(std::slice::from_ref(&needle), &text, &mut |range| found.push(range));
        let expected = 1..1 + needle.len();
        assert_eq!(found, std::slice::from_ref(&expected));
    }
}
