//! Joins a burst into one: over when it was quiet for a while, or has lasted too long.
//!
//! Pure: the time is an argument. Invariant: everything noted is taken exactly once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Debounce {
    quiet: Duration,
    burst_max: Duration,
    burst: Option<Burst>,
}

#[derive(Debug)]
struct Burst {
    since: Instant,
    last: Instant,
    paths: BTreeSet<PathBuf>,
}

impl Debounce {
    pub(super) fn new(quiet: Duration, burst_max: Duration) -> Self {
        Self { quiet, burst_max, burst: None }
    }

    pub(super) fn note(&mut self, path: PathBuf, now: Instant) {
        let start = || Burst { since: now, last: now, paths: BTreeSet::new() };
        let burst = self.burst.get_or_insert_with(start);
        burst.last = now;
        burst.paths.insert(path);
    }

    /// When the burst is over; `None` without one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.burst.as_ref().map(|burst| {
            let quiet = burst.last + self.quiet;
            quiet.min(burst.since + self.burst_max)
        })
    }

    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        self.burst.take().map(|burst| burst.paths).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(300);
    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn each_change_puts_the_end_off() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, MAX);
        assert_eq!(debounce.due(), None);
        debounce.note("a".into(), start);
        debounce.note("b".into(), start + QUIET / 2);
        assert_eq!(debounce.due(), Some(start + QUIET / 2 + QUIET));
        assert_eq!(debounce.take().len(), 2);
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn a_burst_that_does_not_end_is_cut() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, MAX);
        for step in 0..100 {
            debounce.note("a".into(), start + QUIET / 2 * step);
        }
        assert_eq!(debounce.due(), Some(start + MAX));
    }
}
