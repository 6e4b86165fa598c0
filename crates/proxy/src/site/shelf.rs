//! Small files that were read before, ready to be sent again.
//!
//! Nothing on the shelf is believed: for each request the name is looked up again, as far as the
//! inode, and what was read is sent only when place, size and both times are the same. So a
//! rebuilt site, a switched release and a link that leads out by now are seen at once, as without a
//! shelf. A file that changed a moment ago is not put there, since clocks of file systems are
//! coarse and the next change might bear the same time.
//!
//! Invariant: at most [`SHELF_BYTES_MAX`] in at most [`SHELF_PAGES_MAX`] pages.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::beneath::{Root, Stamp};
use super::encoding::{Encoding, Encodings};
use super::found::Found;
use crate::limits::{SHELF_BYTES_MAX, SHELF_FILE_BYTES_MAX, SHELF_PAGES_MAX};

/// Seconds that a file has to be left alone before it is kept: file systems tell times to two
/// seconds or better, and parts of a second are not looked at.
pub(super) const SETTLE_SECONDS: u64 = 3;

/// The files that are kept.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    settle_seconds: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    root: Option<Root>,
    pages: HashMap<Box<str>, Page>,
    n_bytes: usize,
    n_asked: u64,
}

/// What is kept under one name: one file for each encoding.
#[derive(Debug, Default)]
struct Page {
    files: [Option<Arc<Found>>; Encoding::ALL.len()],
    last_asked: u64,
}

impl Shelf {
    /// An empty one, for the files of a directory.
    pub(super) fn new(directory: PathBuf, settle_seconds: u64) -> Self {
        Self { directory, settle_seconds, state: Mutex::default() }
    }

    /// What to send for a name, when it is here and has not changed.
    pub(super) fn get(&self, name: &str, accepted: &Encodings) -> Option<Arc<Found>> {
        let mut state = self.state();
        let State { root, pages, n_bytes, n_asked } = &mut *state;
        let page = pages.get_mut(name)?;
        *n_asked += 1;
        page.last_asked = *n_asked;
        if !root.as_ref().is_some_and(Root::is_current) {
            let had_one = root.is_some();
            *root = Root::open(&self.directory).ok();
            if had_one || root.is_none() {
                // Another release: most of the old one is never asked for again.
                pages.clear();
                *n_bytes = 0;
                return None;
            }
        }
        let root = root.as_ref()?;
        for encoding in accepted.iter() {
            match root.look(&encoding.name_of(name)) {
                Ok(stamp) => {
                    let file = page.files[encoding as usize].as_ref()?;
                    return (file.stamp == stamp).then(|| Arc::clone(file));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(_) => return None,
            }
        }
        None
    }

    /// Keeps a file, if it is small and has been left alone for a while.
    pub(super) fn put(&self, name: &str, found: &Arc<Found>) {
        let Some(n_bytes) = found.n_bytes_held() else { return };
        if n_bytes > SHELF_FILE_BYTES_MAX || !has_settled(&found.stamp, self.settle_seconds) {
            return;
        }
        let mut state = self.state();
        state.n_asked += 1;
        let last_asked = state.n_asked;
        let page = state.pages.entry(name.into()).or_default();
        page.last_asked = last_asked;
        let before = page.files[found.encoding as usize].replace(Arc::clone(found));
        state.n_bytes += n_bytes;
        state.n_bytes -= before.and_then(|before| before.n_bytes_held()).unwrap_or_default();
        while state.n_bytes > SHELF_BYTES_MAX || state.pages.len() > SHELF_PAGES_MAX {
            state.forget_oldest();
        }
    }

    /// Pages, and bytes of files.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.state();
        (state.pages.len(), state.n_bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A walk over all pages: it happens after one was read from the disk, which takes longer.
    fn forget_oldest(&mut self) {
        let oldest = self.pages.iter().min_by_key(|(_, page)| page.last_asked);
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
        let Some(page) = self.pages.remove(&name) else { return };
        let held = page.files.iter().flatten().filter_map(|file| file.n_bytes_held());
        self.n_bytes -= held.sum::<usize>();
    }
}

/// Whether the last change is far enough away that another one would bear another time.
fn has_settled(stamp: &Stamp, settle_seconds: u64) -> bool {
    let last = stamp.modified.max(stamp.changed);
    let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let last = u64::try_from(last.0).unwrap_or(u64::MAX);
    now.as_secs().checked_sub(last).is_some_and(|age| age >= settle_seconds)
}
