//! Who writes in a platform's directory: one command at a time, the others wait.
//!
//! What is decided from the lock and what stands on the disk holds only until somebody else
//! writes, so that a command takes its turn before it reads. Whoever has it also removes what a
//! command that was killed has left. It deliberately writes nothing itself.
//!
//! Invariant: the kernel gives the turn back when its holder ends, however that happens.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::repository;
use crate::screen;
use crate::stage::STAGED;

/// How long another command may write before this one gives up.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at whether it has ended.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Letters and digits behind the prefix of a file that is not in its place yet.
const STAGED_RANDOM_LENGTH: usize = 6;

/// The right to write in a directory, until it is dropped.
pub(crate) struct Turn {
    /// Absent where the file system has no locks: then nothing is removed either.
    lock: Option<Flock<File>>,
}

impl Turn {
    /// Waits until nobody else writes in a platform's directory.
    ///
    /// # Errors
    /// Somebody else still does after ten seconds.
    pub(crate) fn take(root: &Path) -> anyhow::Result<Turn> {
        Self::take_within(root, WAIT_LIMIT)
    }

    fn take_within(root: &Path, limit: Duration) -> anyhow::Result<Turn> {
        let Ok(mut directory) = File::open(root) else { return Ok(Turn { lock: None }) };
        let begin = Instant::now();
        let mut has_told = false;
        loop {
            directory = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Turn { lock: Some(lock) }),
                Err((directory, Errno::EWOULDBLOCK | Errno::EINTR)) => directory,
                Err(_) => return Ok(Turn { lock: None }),
            };
            let (shown, limit_s) = (root.display(), limit.as_secs());
            if begin.elapsed() >= limit {
                bail!(
                    "another plimsoll still writes in `{shown}` after {limit_s} s\n\
                     help: wait for it, or end it; nothing was changed"
                );
            }
            if !has_told {
                let mut out = screen::words();
                writeln!(
                    out,
                    "waiting for another plimsoll that writes in `{shown}`, at most {limit_s} s"
                )?;
                out.flush()?;
                has_told = true;
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Removes what killed commands have left beside any of the paths.
    pub(crate) fn sweep<'a>(&self, root: &Path, paths: impl IntoIterator<Item = &'a str>) {
        if self.lock.is_none() {
            return;
        }
        // A path that leads out of the directory is told when it is read or written.
        let places = paths.into_iter().filter_map(|path| repository::place(root, path).ok());
        let directories: std::collections::BTreeSet<_> =
            places.filter_map(|place| place.parent().map(Path::to_owned)).collect();
        for entry in directories.iter().filter_map(|path| fs::read_dir(path).ok()).flatten() {
            let Ok(entry) = entry else { continue };
            let is_staged = entry.file_name().to_str().is_some_and(is_staged);
            if is_staged && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                // What cannot be removed harms nobody, and the next command tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn is_staged(name: &str) -> bool {
    name.strip_prefix(STAGED).is_some_and(|random| {
        random.len() == STAGED_RANDOM_LENGTH && random.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_turn_is_refused_while_the_first_lasts() {
        let root = tempfile::tempdir().unwrap();
        let first = Turn::take(root.path()).unwrap();
        let refused = Turn::take_within(root.path(), Duration::ZERO).err().unwrap().to_string();
        assert!(refused.contains("another plimsoll still writes"), "{refused}");
        drop(first);
        assert!(Turn::take_within(root.path(), Duration::ZERO).unwrap().lock.is_some());
    }

    #[test]
    fn only_files_that_we_named_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let here = |name: &str| root.path().join(name);
        fs::create_dir(here("deep")).unwrap();
        fs::create_dir(here(".plimsoll-staged-direct")).unwrap();
        let litter = [".plimsoll-staged-aB3dE6", "deep/.plimsoll-staged-000000"];
        let foreign =
            [".plimsoll-staged-", ".plimsoll-staged-notes.md", "x.plimsoll-staged-aB3dE6"];
        for name in litter.iter().chain(&foreign) {
            fs::write(here(name), "").unwrap();
        }
        Turn { lock: None }.sweep(root.path(), ["a", "deep/b"]);
        assert!(litter.iter().all(|name| here(name).exists()), "without a turn nothing goes");
        Turn::take(root.path()).unwrap().sweep(root.path(), ["a", "deep/b", "absent/c"]);
        assert!(!litter.iter().any(|name| here(name).exists()));
        assert!(foreign.iter().all(|name| here(name).exists()));
        assert!(here(".plimsoll-staged-direct").exists(), "a directory is not ours");
    }
}
