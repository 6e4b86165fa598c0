//! Files that change by themselves: a log or a database that a service writes beside its sources.
//!
//! Each start of the service would change them, and each change start the service, for ever.
//! Nobody saves one file that often, so such a file is told of once and then left alone.
//! Invariant: a file that is edited by hand is never left alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// Changes after each other, each within [`PAUSE`] of the one before, that no hand makes.
const CHANGES_MAX: u32 = 6;
/// A longer pause between two changes begins the count anew.
const PAUSE: Duration = Duration::from_secs(3);
/// How many files are remembered; beyond, counting begins anew.
const FILES_MAX: usize = 10_000;

/// What a change of a file means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Somebody changed it.
    Change,
    /// It has just been found to change by itself.
    BecameRestless,
    /// It is known to.
    Restless,
}

#[derive(Debug, Default)]
pub(super) struct Restless {
    by_path: BTreeMap<PathBuf, (u32, Instant)>,
}

impl Restless {
    pub(super) fn judge(&mut self, path: &Path, now: Instant) -> Meaning {
        if self.by_path.len() >= FILES_MAX {
            self.by_path.clear();
        }
        let (count, last) = self.by_path.entry(path.to_owned()).or_insert((0, now));
        if *count > CHANGES_MAX {
            return Meaning::Restless;
        }
        let goes_on = now.duration_since(*last) <= PAUSE;
        *count = if goes_on { *count + 1 } else { 1 };
        *last = now;
        if *count > CHANGES_MAX { Meaning::BecameRestless } else { Meaning::Change }
    }
}

/// The files that our own output goes to, as far as the system tells.
pub(super) fn own_outputs() -> Vec<PathBuf> {
    ["/proc/self/fd/1", "/proc/self/fd/2"].iter().filter_map(|fd| fs_link(fd)).collect()
}

fn fs_link(descriptor: &str) -> Option<PathBuf> {
    std::fs::read_link(descriptor).ok().filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the last of `n` changes means, each `pause` after the one before.
    fn after(n: u32, pause: Duration) -> Meaning {
        let mut restless = Restless::default();
        let mut now = Instant::now();
        let mut meaning = Meaning::Change;
        for _ in 0..n {
            now += pause;
            meaning = restless.judge(Path::new("a.log"), now);
        }
        meaning
    }

    #[test]
    fn a_file_that_follows_each_start_is_told_of_once_and_left_alone() {
        let pause = Duration::from_secs(1);
        assert_eq!(after(CHANGES_MAX, pause), Meaning::Change);
        assert_eq!(after(CHANGES_MAX + 1, pause), Meaning::BecameRestless);
        assert_eq!(after(CHANGES_MAX + 2, pause), Meaning::Restless);
    }

    #[test]
    fn a_file_that_is_saved_now_and_then_is_never_left_alone() {
        assert_eq!(after(100, Duration::from_secs(4)), Meaning::Change);
    }
}
