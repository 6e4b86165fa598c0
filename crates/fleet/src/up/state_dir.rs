//! Where everything of one platform on this machine is kept: `<dir>/.plimsoll`.
//!
//! ```text
//! .gitignore   keeps it all out of git
//! run/         sockets and process ids of what runs now
//! logs/        lines of services
//! data/        one directory for each resource
//! ```

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Error;

/// Its name beside the manifest.
pub const STATE_NAME: &str = ".plimsoll";
/// The longest path of a Unix socket, in bytes.
const SOCKET_BYTES_MAX: usize = 107;
/// Room that a service's name and `.sock` may take in it: names have at most 63 bytes.
const SOCKET_NAME_BYTES: usize = 70;

/// The directories of one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    /// All of it.
    pub root: PathBuf,
    /// Process ids of what runs now.
    pub run: PathBuf,
    /// Lines of services.
    pub logs: PathBuf,
    /// One directory for each resource.
    pub data: PathBuf,
    /// Admin sockets of services: `run`, or a short directory when that path is too long.
    pub sockets: PathBuf,
}

impl StateDir {
    /// Makes the directories beside a manifest, where they are missing.
    ///
    /// # Errors
    /// When one of them cannot be made or written.
    pub fn make(dir: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(dir)
            .map_err(|source| state_error("find", dir, source))?
            .join(STATE_NAME);
        let [run, logs, data] = ["run", "logs", "data"].map(|name| root.join(name));
        for path in [&root, &run, &logs, &data] {
            fs::create_dir_all(path).map_err(|source| state_error("make", path, source))?;
        }
        let gitignore = root.join(".gitignore");
        // Written every time: this is where a full disk or a read-only one shows, before anything
        // runs.
        fs::write(&gitignore, "*\n").map_err(|source| state_error("write", &gitignore, source))?;
        let sockets = short_enough(&run);
        if sockets != run {
            make_private(&sockets).map_err(|source| state_error("make", &sockets, source))?;
        }
        Ok(Self { root, run, logs, data, sockets })
    }

    /// The admin socket of a service.
    pub fn socket(&self, service: &str) -> PathBuf {
        self.sockets.join(format!("{service}.sock"))
    }

    /// Removes what lies outside of the root.
    pub(super) fn close(&self) {
        if self.sockets != self.run {
            let _ = fs::remove_dir_all(&self.sockets);
        }
    }
}

fn state_error(intent: &'static str, path: &Path, source: io::Error) -> Error {
    Error::State { intent, path: path.to_owned(), source }
}

fn short_enough(run: &Path) -> PathBuf {
    if run.as_os_str().len() + 1 + SOCKET_NAME_BYTES <= SOCKET_BYTES_MAX {
        return run.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    run.hash(&mut hasher);
    std::env::temp_dir().join(format!("plimsoll-{:016x}", hasher.finish()))
}

/// A directory in a place where others write too: ours alone, and not a link that somebody laid.
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(path)?;
            let is_ours = meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw();
            if is_ours { Ok(()) } else { Err(error) }
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_a_deep_directory_have_a_short_path() {
        let deep = tempfile::tempdir().unwrap();
        let dir = deep.path().join("d".repeat(120));
        fs::create_dir(&dir).unwrap();
        let state = StateDir::make(&dir).unwrap();
        let name = "s".repeat(63);
        assert!(state.socket(&name).as_os_str().len() <= SOCKET_BYTES_MAX);
        state.close();
        assert!(!state.sockets.exists());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(STATE_NAME), "in the way").unwrap();
        let error = StateDir::make(dir.path()).unwrap_err().to_string();
        assert!(error.contains(".plimsoll`"), "{error}");
        assert!(error.contains("help:"), "{error}");
    }

    #[test]
    fn git_ignores_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::make(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(state.root.join(".gitignore")).unwrap(), "*\n");
        assert_eq!(StateDir::make(dir.path()).unwrap(), state);
    }
}
