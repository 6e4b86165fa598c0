//! Makes a status of a row of results.
//!
//! ```text
//!            rise passes in a row
//!   down ---------------------------> up
//!   (Fail) <------------------------- (Pass; Warn after a failure)
//!            fall failures in a row
//! ```
//!
//! It starts down: what was never seen up is not up. Staleness is not judged here, as no result is
//! no event; `board::Verdict::status_at` does. Invariant: a pass while up, and a failure while
//! down, change nothing but the counts.

use contract::bodies::Status;

/// The machine of one probe.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    fall: u32,
    rise: u32,
    is_up: bool,
    /// Equal results in a row.
    failures: u32,
    passes: u32,
}

impl Machine {
    pub(super) fn new(fall: u32, rise: u32) -> Self {
        Self { fall, rise, is_up: false, failures: 0, passes: 0 }
    }

    /// A machine of what was just seen up.
    pub(super) fn seen_up(fall: u32, rise: u32) -> Self {
        Self { is_up: true, ..Self::new(fall, rise) }
    }

    /// One more result.
    pub(super) fn on(&mut self, passed: bool) -> Status {
        if passed {
            self.failures = 0;
            self.passes = self.passes.saturating_add(1);
            self.is_up |= self.passes >= self.rise;
        } else {
            self.passes = 0;
            self.failures = self.failures.saturating_add(1);
            self.is_up &= self.failures < self.fall;
        }
        match (self.is_up, self.failures) {
            (true, 0) => Status::Pass,
            (true, _) => Status::Warn,
            (false, _) => Status::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statuses(fall: u32, rise: u32, results: &str) -> String {
        let mut machine = Machine::new(fall, rise);
        let letter = |status| match status {
            Status::Pass => 'P',
            Status::Warn => 'W',
            Status::Fail => 'F',
        };
        results.chars().map(|result| letter(machine.on(result == '+'))).collect()
    }

    #[test]
    fn the_first_pass_is_enough() {
        assert_eq!(statuses(3, 1, "+"), "P");
        assert_eq!(statuses(3, 1, "--+"), "FFP");
    }

    #[test]
    fn only_failures_in_a_row_count_as_down() {
        assert_eq!(statuses(3, 1, "+--+---+"), "PWWPWWFP");
    }

    #[test]
    fn rise_asks_for_passes_in_a_row() {
        assert_eq!(statuses(1, 3, "++-+++-"), "FFFFFPF");
    }

    proptest! {
        #[test]
        fn down_means_never_risen_since_it_fell(
            fall in 1..4u32, rise in 1..4u32, results in prop::collection::vec(any::<bool>(), 0..30)
        ) {
            let mut machine = Machine::new(fall, rise);
            let (mut run, mut last, mut is_up) = (0, None, false);
            for passed in results {
                run = if last == Some(passed) { run + 1 } else { 1 };
                last = Some(passed);
                if passed && run >= rise { is_up = true; }
                if !passed && run >= fall { is_up = false; }
                prop_assert_eq!(machine.on(passed) != Status::Fail, is_up);
            }
        }
    }
}
