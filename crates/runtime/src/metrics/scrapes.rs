//! When somebody scraped, so that a stop can wait for the scrape that takes the last figures.
//!
//! It deliberately judges by two scrapes only: who scrapes does so at an even pace. Invariant: a
//! process that nobody scrapes waits for nobody.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Assumed between scrapes while there was only one.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// So many intervals without a scrape mean that nobody scrapes any more.
const INTERVALS: u32 = 2;

/// The last two scrapes.
#[derive(Debug)]
pub(super) struct Scrapes {
    last: Mutex<[Option<Instant>; 2]>,
    count: watch::Sender<u64>,
}

impl Default for Scrapes {
    fn default() -> Self {
        Self { last: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Scrapes {
    /// Somebody scraped.
    pub(super) fn note(&self, now: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = [last[1], Some(now)];
        self.count.send_modify(|count| *count += 1);
    }

    /// Comes with the next scrape; at once when none is to be expected.
    pub(super) fn next(&self, now: Instant) -> impl Future<Output = ()> + use<> {
        let mut count = self.count.subscribe();
        let is_watched = self.is_watched(now);
        async move {
            if is_watched {
                // The sender lives as long as the metrics; without it nobody scrapes either.
                let _ = count.changed().await;
            }
        }
    }

    fn is_watched(&self, now: Instant) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = match *last {
            [_, None] => return false,
            [None, Some(_)] => INTERVAL_DEFAULT,
            [Some(before), Some(last)] => last.saturating_duration_since(before),
        };
        last[1].is_some_and(|last| now.saturating_duration_since(last) <= INTERVALS * interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_expected_for_two_intervals() {
        let scrapes = Scrapes::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!scrapes.is_watched(start));
        scrapes.note(at(0));
        assert!(scrapes.is_watched(at(120)));
        scrapes.note(at(15));
        assert!(scrapes.is_watched(at(45)));
        assert!(!scrapes.is_watched(at(46)));
    }
}
