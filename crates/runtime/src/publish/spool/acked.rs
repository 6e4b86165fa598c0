//! Which records are done: a low-water mark and the ranges above it.
//!
//! Brokers confirm partitions in any order, so that the done ones are a set, not a number. It
//! deliberately knows no records. Invariant: ranges are apart, ascending and merged, so that their
//! number is bounded by the records in flight.

use std::collections::BTreeMap;

/// A set of sequence numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acked {
    /// First to last, both included.
    ranges: BTreeMap<u64, u64>,
}

impl Acked {
    /// Whether a number is in the set.
    #[must_use]
    pub(super) fn contains(&self, seq: u64) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, last)| seq <= *last)
    }

    /// Adds a number; false if it was there.
    pub(super) fn insert(&mut self, seq: u64) -> bool {
        if self.contains(seq) {
            return false;
        }
        self.insert_range(seq, seq);
        true
    }

    /// Adds all numbers from `first` to `last`, both included.
    pub(super) fn insert_range(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        // Whatever overlaps or touches becomes one with it.
        while let Some((known, end)) =
            self.ranges.range(..=last.saturating_add(1)).next_back().map(|(a, b)| (*a, *b))
        {
            if end.saturating_add(1) < first {
                break;
            }
            self.ranges.remove(&known);
            first = first.min(known);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// The largest number.
    #[must_use]
    pub(super) fn last(&self) -> Option<u64> {
        self.ranges.values().next_back().copied()
    }

    /// The least number, from 1 on, that is not in the set.
    #[must_use]
    pub(super) fn first_missing(&self) -> u64 {
        match self.ranges.first_key_value() {
            Some((0 | 1, last)) => last.saturating_add(1),
            _ => 1,
        }
    }

    /// The ranges, ascending, both ends included.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_with_merged_ranges(
            inserts in prop::collection::vec((1..60u64, 0..6u64), 0..40)
        ) {
            let (mut acked, mut model) = (Acked::default(), BTreeSet::new());
            for (first, more) in inserts {
                if more == 0 {
                    prop_assert_eq!(acked.insert(first), model.insert(first));
                } else {
                    acked.insert_range(first, first + more);
                    model.extend(first..=first + more);
                }
            }
            for seq in 0..70 {
                prop_assert_eq!(acked.contains(seq), model.contains(&seq));
            }
            prop_assert_eq!(acked.last(), model.last().copied());
            let missing = (1..).find(|seq| !model.contains(seq));
            prop_assert_eq!(Some(acked.first_missing()), missing);
            let ranges: Vec<_> = acked.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
