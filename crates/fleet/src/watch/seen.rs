//! Whether a file that was written holds something new.
//!
//! A build that writes its outputs beside the sources writes the same bytes again; without this it
//! would cause the next build, for ever. Saving a file unchanged restarts nothing either.
//! Editors and `sed -i` make files that are gone again at once; those are no news either.
//! Invariant: a file that is there and differs from what was last seen is news.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files larger than this are told apart by size and time alone.
const CONTENT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How many files are remembered; beyond, everything is news again.
const FILES_MAX: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// `None` for a file that was gone.
    by_path: BTreeMap<PathBuf, Option<u64>>,
}

impl Seen {
    pub(super) fn is_news(&mut self, path: &Path) -> bool {
        if self.by_path.len() >= FILES_MAX {
            self.by_path.clear();
        }
        let now = fingerprint(path);
        let before = self.by_path.insert(path.to_owned(), now);
        before.unwrap_or_default() != now
    }
}

fn fingerprint(path: &Path) -> Option<u64> {
    let metadata = path.symlink_metadata().ok()?;
    let mut hasher = DefaultHasher::new();
    metadata.len().hash(&mut hasher);
    let mut content = Vec::new();
    let file = File::open(path).ok().filter(|_| metadata.is_file());
    let read = file.map(|file| file.take(CONTENT_BYTES_MAX + 1).read_to_end(&mut content));
    match read {
        Some(Ok(_)) if content.len() as u64 <= CONTENT_BYTES_MAX => content.hash(&mut hasher),
        _ => metadata.modified().ok().hash(&mut hasher),
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_came_and_went_unseen_is_no_news() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!Seen::default().is_news(&directory.path().join("sedO7tIGb")));
    }

    #[test]
    fn the_same_bytes_again_are_no_news() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut seen = Seen::default();
        fs::write(&path, "one").unwrap();
        assert!(seen.is_news(&path));
        fs::write(&path, "one").unwrap();
        assert!(!seen.is_news(&path));
        fs::write(&path, "two").unwrap();
        assert!(seen.is_news(&path));
        fs::remove_file(&path).unwrap();
        assert!(seen.is_news(&path));
        assert!(!seen.is_news(&path));
        fs::write(&path, "two").unwrap();
        assert!(seen.is_news(&path));
    }
}
