//! Many files at once: all are written beside their places first, then renamed into them.
//!
//! A full disk, a directory without permission or a kill while files are written leaves everything
//! as it was; a kill between two renames leaves some files new, which the next render sees to be
//! as rendered. What is written last, the lock, is renamed last.
//!
//! A first Ctrl-C waits until the files are in their places, or removes those that are not.
//!
//! Invariant: at every moment each path holds its old text or its new text, whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tempfile::NamedTempFile;

use crate::repository;

/// The names of files that are not in their places yet begin so.
pub(crate) const STAGED: &str = ".plimsoll-staged-";

/// What is about to change on the disk.
pub(crate) struct Stage<'a> {
    root: &'a Path,
    /// Written files with the paths that they are for. Dropped, they are removed.
    files: Vec<(NamedTempFile, PathBuf)>,
    removed: Vec<PathBuf>,
    /// Directories that did not exist, outer ones first.
    created: Created,
    /// Last, so that what ends the process comes when nothing is left to remove.
    held: Held,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(root: &'a Path) -> Stage<'a> {
        let created = Created(Vec::new());
        Stage { root, files: Vec::new(), removed: Vec::new(), created, held: Held::new() }
    }

    /// Writes a file beside its place.
    ///
    /// # Errors
    /// It cannot be written there; nothing has changed then.
    pub(crate) fn write(
        &mut self,
        path: &str,
        text: &str,
        is_executable: bool,
    ) -> anyhow::Result<()> {
        if self.held.has_come() {
            bail!("interrupted\nhelp: nothing was changed");
        }
        let place = repository::place(self.root, path)?;
        let directory = place.parent().unwrap_or(self.root);
        // A file keeps the mode that it has; what is executed has to be.
        let kept = fs::metadata(&place).map(|meta| meta.permissions().mode() & 0o777).ok();
        let mode = kept.unwrap_or(0o644) | if is_executable { 0o111 } else { 0 };
        let mut staged = || -> std::io::Result<NamedTempFile> {
            self.created.create(directory)?;
            let mut file = tempfile::Builder::new().prefix(STAGED).tempfile_in(directory)?;
            file.write_all(text.as_bytes())?;
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = staged().with_context(|| {
            format!("cannot write `{}`\nhelp: nothing was changed", place.display())
        })?;
        self.files.push((file, place));
        Ok(())
    }

    /// Removes a file, once everything is in its place.
    ///
    /// # Errors
    /// The path leads out of the directory.
    pub(crate) fn remove(&mut self, path: &str) -> anyhow::Result<()> {
        self.removed.push(repository::place(self.root, path)?);
        Ok(())
    }

    /// Puts everything in its place, in the order in which it was written.
    ///
    /// # Errors
    /// The disk refuses; files that were put in place before that are whole.
    pub(crate) fn commit(mut self) -> anyhow::Result<()> {
        self.created.0.clear();
        let last = self.files.last().and_then(|(_, place)| place.parent()).map(Path::to_owned);
        for (staged, place) in self.files {
            staged
                .persist(&place)
                .with_context(|| format!("cannot put `{}` in its place", place.display()))?;
        }
        for place in &self.removed {
            match fs::remove_file(place) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove `{}`", place.display()));
                }
                _ => remove_empty(self.root, place),
            }
        }
        if let Some(directory) = last {
            // Names are on the disk once their directory is; where that cannot be asked for, the
            // texts are there all the same.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }
}

/// Removes the directories of a removed file that are empty now.
fn remove_empty(root: &Path, place: &Path) {
    let is_below = |directory: &&Path| *directory != root && directory.starts_with(root);
    let mut here = place.parent().filter(is_below);
    while let Some(directory) = here {
        // One that is not empty refuses.
        if fs::remove_dir(directory).is_err() {
            break;
        }
        here = directory.parent().filter(is_below);
    }
}

/// The signals that ask a command to end.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Keeps signals that would end the process away until it is dropped.
struct Held {
    /// What was kept away before.
    before: Option<SigSet>,
    /// Absent when the kernel gives none: then everything is written before the process ends.
    come: Option<SignalFd>,
}

impl Held {
    fn new() -> Held {
        let signals: SigSet = ENDING.into_iter().collect();
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Held { before, come: SignalFd::with_flags(&signals, flags).ok() }
    }

    /// Whether one has come. It stays, and ends the process in the end.
    fn has_come(&self) -> bool {
        let Some(come) = &self.come else { return false };
        let Ok(Some(signal)) = come.read_signal() else { return false };
        let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
        // Reading it took it; raised again it waits as before.
        let _ = Signal::try_from(number).map(raise);
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The mask was valid when it was taken.
            let _ = before.thread_set_mask();
        }
    }
}

/// Directories that are removed again unless they are kept.
struct Created(Vec<PathBuf>);

impl Created {
    fn create(&mut self, directory: &Path) -> std::io::Result<()> {
        let is_missing =
            |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
        let missing: Vec<&Path> = directory.ancestors().take_while(is_missing).collect();
        for directory in missing.into_iter().rev() {
            fs::create_dir(directory)?;
            self.0.push(directory.to_owned());
        }
        Ok(())
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            // Somebody else may have put something there.
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_until_everything_is_written() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "old").unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let mut stage = Stage::new(root.path());
        stage.write("a", "new", false).unwrap();
        stage.write("deep/er/b", "new", true).unwrap();
        assert!(stage.write("file/c", "new", false).is_err());
        drop(stage);
        assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "old");
        let names: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn an_interrupt_ends_the_stage_and_comes_when_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(root.path());
        stage.write("deep/a", "new", false).unwrap();
        raise(Signal::SIGINT).unwrap();
        assert!(stage.write("deep/b", "new", false).unwrap_err().to_string().contains("interru"));
        assert!(stage.held.has_come(), "it still waits");
        // Taken here, or it would end the tests.
        assert_eq!(SigSet::from(Signal::SIGINT).wait().unwrap(), Signal::SIGINT);
        drop(stage);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn everything_is_put_in_place_and_empty_directories_go() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("old")).unwrap();
        fs::write(root.path().join("old/x"), "").unwrap();
        let mut stage = Stage::new(root.path());
        stage.write("deep/run", "#!/bin/sh\n", true).unwrap();
        stage.remove("old/x").unwrap();
        stage.commit().unwrap();
        let mode = fs::metadata(root.path().join("deep/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert!(!root.path().join("old").exists());
    }

    #[test]
    fn a_link_out_of_the_directory_is_refused() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
        std::os::unix::fs::symlink("round", root.path().join("round")).unwrap();
        let mut stage = Stage::new(root.path());
        assert!(stage.write("out/x", "", false).unwrap_err().to_string().contains("outside"));
        assert!(stage.write("round/x", "", false).unwrap_err().to_string().contains("circle"));
    }
}
