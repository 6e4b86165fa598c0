//! How old the oldest record that waits is, without reading it.
//!
//! A sample of (number, time) pairs, thinned out when there are many. It deliberately reads no
//! clock. Invariant: an age is never too small, and at most [`SAMPLES_MAX`] samples are kept.

use std::collections::VecDeque;

/// Most samples.
const SAMPLES_MAX: usize = 4096;

/// Times at which records were accepted.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// Record number and time, both ascending.
    samples: VecDeque<(u64, u64)>,
    /// Least time between samples, in microseconds.
    distance_us: u64,
}

impl Ages {
    /// A record was accepted.
    pub(super) fn accepted(&mut self, seq: u64, at_us: u64) {
        let is_far = self.samples.back().is_none_or(|(_, last)| {
            at_us >= last.saturating_add(self.distance_us) && at_us != *last
        });
        if is_far {
            self.samples.push_back((seq, at_us));
        }
        if self.samples.len() > SAMPLES_MAX {
            // Every second one, and from now on at the double distance.
            self.distance_us = self.distance_us.max(1_000) * 2;
            let mut is_kept = false;
            self.samples.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    /// When the record was accepted, or a little before.
    pub(super) fn of(&mut self, oldest_seq: u64) -> Option<u64> {
        while self.samples.get(1).is_some_and(|(seq, _)| *seq <= oldest_seq) {
            self.samples.pop_front();
        }
        if self.samples.len() <= 1 {
            self.distance_us = 0;
        }
        self.samples.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_never_too_small_and_nearly_right() {
        let mut ages = Ages::default();
        for seq in 1..=100_000u64 {
            ages.accepted(seq, seq * 1_000);
        }
        for seq in [1, 17, 50_000, 99_999, 100_000] {
            let at = ages.of(seq).unwrap();
            assert!(at <= seq * 1_000 && seq * 1_000 - at <= 128_000, "{seq}: {at}");
        }
        assert!(ages.samples.len() <= SAMPLES_MAX);
    }
}
