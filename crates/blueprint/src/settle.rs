//! What happens to each file: a pure comparison of what is rendered, locked and on the disk.
//!
//! ```text
//!  rendered  locked    on the disk                      state
//!  yes       -         nothing                          new
//!  yes       -         the same text                    same (taken over)
//!  yes       -         another text                     foreign: was there before us
//!  yes       ours      what we wrote, as rendered now   same
//!  yes       ours      what we wrote, other now         stale
//!  yes       ours      the user's text                  edited
//!  yes       ours      nothing                          missing
//!  yes       user's    anything                         ejected
//!  -         ours      what we wrote                    gone: to be removed
//!  -         ours      the user's text                  left: stays, no longer ours
//! ```
//!
//! Invariant: only `new`, `stale`, `missing` and `gone` change the disk without being forced to,
//! and none of them destroys a byte that we did not write.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::artifact::{Artifact, Artifacts};
use crate::lock::{Entry, Lock, Owner, blob};

/// How one file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As rendered.
    Same,
    /// Not there yet.
    New,
    /// As we wrote it, and the manifest has moved on.
    Stale,
    /// We wrote it, and it was deleted.
    Missing,
    /// We wrote it, and it was changed by hand.
    Edited,
    /// It was there before us.
    Foreign,
    /// The user's, since `eject`.
    Ejected,
    /// As we wrote it, and no longer rendered.
    Gone,
    /// Changed by hand, and no longer rendered.
    Left,
}

/// One file: where, how it stands, and what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<'a> {
    /// The path below the manifest's directory.
    pub path: &'a str,
    /// How it stands.
    pub state: State,
    /// What is rendered for it, if anything.
    pub artifact: Option<&'a Artifact>,
    /// Git's name of what we wrote last, if we did.
    pub written: Option<&'a str>,
}

impl State {
    /// Whether the disk changes, for a file that is forced to or not.
    #[must_use]
    pub const fn is_written(self, is_forced: bool) -> bool {
        match self {
            State::New | State::Stale | State::Missing => true,
            State::Edited | State::Foreign => is_forced,
            State::Same | State::Ejected | State::Gone | State::Left => false,
        }
    }

    /// Whether somebody has to do something about it.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        match self {
            State::Same | State::Ejected | State::Left => true,
            State::New
            | State::Stale
            | State::Missing
            | State::Edited
            | State::Foreign
            | State::Gone => false,
        }
    }
}

/// Compares everything, by path. `disk` has every rendered and every locked file that exists;
/// `is_in_scope` says of a locked file that is not rendered whether it would have been.
#[must_use]
pub fn settle<'a>(
    artifacts: &'a Artifacts,
    lock: &'a Lock,
    disk: &BTreeMap<String, Vec<u8>>,
    is_in_scope: impl Fn(&str, &Entry) -> bool,
) -> Vec<Settled<'a>> {
    let mut all = Vec::new();
    for (path, artifact) in artifacts.iter() {
        let entry = lock.files.get(path);
        let state = rendered(artifact, entry, disk.get(path).map(Vec::as_slice));
        all.push(Settled { path, state, artifact: Some(artifact), written: written(entry) });
    }
    for (path, entry) in &lock.files {
        if artifacts.get(path).is_some() || !is_in_scope(path, entry) {
            continue;
        }
        let state = match (written(Some(entry)), disk.get(path)) {
            (None, _) => State::Ejected,
            (Some(_), None) => State::Gone,
            (Some(written), Some(bytes)) if blob(bytes) == written => State::Gone,
            (Some(_), Some(_)) => State::Left,
        };
        all.push(Settled { path, state, artifact: None, written: written(Some(entry)) });
    }
    all.sort_by_key(|settled| settled.path);
    all
}

fn written(entry: Option<&Entry>) -> Option<&str> {
    match &entry?.owner {
        Owner::Plimsoll { blob } => Some(blob),
        Owner::User => None,
    }
}

fn rendered(artifact: &Artifact, entry: Option<&Entry>, disk: Option<&[u8]>) -> State {
    let is_same = disk == Some(artifact.text.as_bytes());
    match (entry.map(|entry| &entry.owner), disk) {
        (Some(Owner::User), _) => State::Ejected,
        (_, Some(_)) if is_same => State::Same,
        (None, None) => State::New,
        (None, Some(_)) => State::Foreign,
        (Some(Owner::Plimsoll { .. }), None) => State::Missing,
        (Some(Owner::Plimsoll { blob: written }), Some(bytes)) => {
            if blob(bytes) == *written {
                State::Stale
            } else {
                State::Edited
            }
        }
    }
}
