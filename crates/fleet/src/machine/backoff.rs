//! How long an item that failed rests before it starts again. It decides nothing else.

use super::Millis;
use super::item::Item;

/// So many failures inside [`CRASH_WINDOW_MS`] are a crash loop.
pub const CRASH_FAILURES: usize = 5;
/// Failures older than this no longer count, milliseconds.
pub const CRASH_WINDOW_MS: Millis = 600_000;
/// An item that stayed ready this long starts with a clean record, milliseconds.
pub const STABLE_MS: Millis = 30_000;

const PAUSE_BASE_MS: u64 = 500;
const PAUSE_MAX_MS: u64 = 30_000;
/// The pause varies by so many parts of a hundred, so that items that fell together part.
const JITTER_PERCENT: u64 = 20;

/// The pause after the n-th failure in a row: doubles from half a second to half a minute.
pub(super) fn pause_ms(n_failures: usize, random: &mut fastrand::Rng) -> Millis {
    let doublings = u32::try_from(n_failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let pause_ms = match n_failures >= CRASH_FAILURES {
        true => PAUSE_MAX_MS,
        false => (PAUSE_BASE_MS << doublings).min(PAUSE_MAX_MS),
    };
    let spread = pause_ms * JITTER_PERCENT / 100;
    pause_ms - spread + random.u64(0..=2 * spread)
}

impl Item {
    /// Notes a failure, forgets those outside the window, and counts what is left.
    pub(super) fn count_failure(&mut self, now: Millis) -> usize {
        self.failures.push_back(now);
        while self.failures.len() > CRASH_FAILURES
            || self.failures.front().is_some_and(|at| at + CRASH_WINDOW_MS < now)
        {
            self.failures.pop_front();
        }
        self.failures.len()
    }
}
