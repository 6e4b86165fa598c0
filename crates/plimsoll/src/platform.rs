//! Which platform a command means: the directory of its manifest, and where its state is.
//!
//! Without a directory the manifest is looked for here and above, as git does with its own. It
//! deliberately creates nothing; `up` does. Invariant: the directory holds a manifest.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fleet::control::client::Client;
use fleet::up::STATE_NAME;

/// The names that a manifest may have; the first is the one that we write.
const MANIFEST_NAMES: [&str; 2] = ["plimsoll.yaml", "plimsoll.yml"];

/// A directory with a manifest.
#[derive(Debug)]
pub(crate) struct Platform {
    /// As the user may type it.
    pub directory: PathBuf,
    /// The manifest in it.
    pub manifest: PathBuf,
    /// The directory that holds `.plimsoll`.
    pub state_parent: PathBuf,
}

/// Flags of every command that speaks to a running `up`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlatformArgs {
    /// Mean the platform of this directory [default: here or above]
    #[arg(long = "dir", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Find the state in this directory, as given to `up`
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl PlatformArgs {
    /// The `up` that runs there, or may not.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        find(self.directory.as_deref(), self.state_dir.as_deref()).map(|found| found.client())
    }
}

impl Platform {
    /// What it keeps between commands.
    pub(crate) fn state(&self) -> PathBuf {
        self.state_parent.join(STATE_NAME)
    }

    /// Speaks to the `up` of this platform.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.directory, &self.state())
    }
}

/// Finds a manifest: in `given` (a directory, or the file itself), otherwise here or above.
pub(crate) fn find(given: Option<&Path>, state_parent: Option<&Path>) -> anyhow::Result<Platform> {
    let manifest = match given {
        Some(path) if path.is_file() => path.to_owned(),
        Some(path) => match in_directory(path)? {
            Some(manifest) => manifest,
            None => match odd(path).filter(|_| !path.is_dir()) {
                Some(what) => bail!("`{}` is {what}\nhelp: {ODD_HELP}", path.display()),
                None => bail!(missing(path, "in")),
            },
        },
        None => {
            let here = std::env::current_dir().context("cannot tell the current directory")?;
            match here.ancestors().map(in_directory).find_map(Result::transpose) {
                Some(manifest) => relative_to(&here, manifest?),
                None => bail!(missing(&here, "in or above")),
            }
        }
    };
    let directory = match manifest.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => bail!("`{}` has no directory", manifest.display()),
    };
    let state_parent = state_parent.map_or_else(|| directory.clone(), Path::to_owned);
    Ok(Platform { directory, manifest, state_parent })
}

/// What to do about a manifest that is no file.
const ODD_HELP: &str = "put a file with the manifest there";

/// The manifest in a directory.
///
/// # Errors
/// Something stands there that is not a file.
fn in_directory(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut paths = MANIFEST_NAMES.iter().map(|name| directory.join(name));
    if let Some(manifest) = paths.clone().find(|path| path.is_file()) {
        return Ok(Some(manifest));
    }
    match paths.find_map(|path| odd(&path).map(|what| (path, what))) {
        Some((path, what)) => bail!("`{}` is {what}\nhelp: {ODD_HELP}", path.display()),
        None => Ok(None),
    }
}

/// What stands at a path where a file belongs; absent when nothing does.
fn odd(path: &Path) -> Option<&'static str> {
    // A file that may not be looked at is told by whoever opens it.
    let is_link = path.symlink_metadata().ok()?.is_symlink();
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Some("a directory, where a file belongs"),
        Ok(_) => Some("not a regular file"),
        Err(_) if is_link => Some("a link that leads nowhere"),
        Err(_) => None,
    }
}

/// Short when it is in this very directory, as it mostly is.
fn relative_to(here: &Path, manifest: PathBuf) -> PathBuf {
    manifest.strip_prefix(here).map(Path::to_owned).unwrap_or(manifest)
}

fn missing(directory: &Path, place: &str) -> String {
    format!(
        "there is no `{}` {place} `{}`\nhelp: write one, or name the directory that has it",
        MANIFEST_NAMES[0],
        directory.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_or_the_file_itself_may_be_given() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = directory.path().join("plimsoll.yml");
        std::fs::write(&manifest, "").unwrap();
        for given in [directory.path(), &manifest] {
            let found = find(Some(given), None).unwrap();
            assert_eq!(
                (found.directory, found.manifest),
                (directory.path().into(), manifest.clone())
            );
        }
    }

    #[test]
    fn what_is_no_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plimsoll.yaml");
        let said = || find(Some(directory.path()), None).unwrap_err().to_string();
        std::fs::create_dir(&path).unwrap();
        assert!(said().contains("plimsoll.yaml` is a directory"), "{}", said());
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(said().contains("is a link that leads nowhere"), "{}", said());
        let itself = find(Some(&path), None).unwrap_err().to_string();
        assert!(itself.contains("is a link that leads nowhere"), "{itself}");
        std::fs::remove_file(&path).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(said().contains("is not a regular file"), "{}", said());
        drop(socket);
    }

    #[test]
    fn a_directory_without_a_manifest_is_an_error_with_help() {
        let directory = tempfile::tempdir().unwrap();
        let error = find(Some(directory.path()), None).unwrap_err().to_string();
        assert!(error.contains("there is no `plimsoll.yaml` in") && error.contains("help:"));
    }
}
