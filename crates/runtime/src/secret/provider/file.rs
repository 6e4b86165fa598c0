//! Secrets that are files, as Docker, Kubernetes and systemd mount them.
//!
//! A name is looked for in the case that it has, then in lower and upper case and with `-` for `_`.
//! It deliberately follows links, since Kubernetes swaps a mount by one; a name never leads out of
//! its directory. Invariant: at most one byte more than a value may have is read.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::Place;
use crate::secret::{
    fault::Fault,
    value::{Fetched, VALUE_BYTES_MAX, without_line_break},
};

/// Directories with a file for each secret.
#[derive(Debug)]
pub(in crate::secret) struct Files {
    directories: Vec<PathBuf>,
    is_exact: bool,
}

impl Files {
    /// Mounted secrets, found by name in any usual spelling, or by absolute path.
    pub(super) fn mounted(directories: Vec<PathBuf>) -> Self {
        Self { directories, is_exact: false }
    }

    /// The files of one directory, by exact name.
    pub(super) fn exact(directory: PathBuf) -> Self {
        Self { directories: vec![directory], is_exact: true }
    }

    pub(super) fn word(&self) -> &'static str {
        if self.is_exact { "dir" } else { "file" }
    }

    pub(super) async fn fetch(&self, place: &Place) -> Result<Fetched, Fault> {
        let candidates = self.candidates(&place.path)?;
        // A mount may hang, as NFS does; the thread is left behind then.
        let read = tokio::task::spawn_blocking(move || first(&candidates));
        let bytes = read.await.map_err(|_| Fault::unreachable("reading was broken off"))??;
        Fetched::text(&without_line_break(bytes))
    }

    fn candidates(&self, path: &str) -> Result<Vec<PathBuf>, Fault> {
        if path.starts_with('/') && !self.is_exact {
            return Ok(vec![path.into()]);
        }
        let leaves = Path::new(path)
            .components()
            .any(|part| !matches!(part, std::path::Component::Normal(_)));
        if leaves {
            return Err(Fault::config("the path leads out of the directory of secrets"));
        }
        let mut names = vec![path.to_owned()];
        if !self.is_exact {
            let lower = path.to_ascii_lowercase();
            names.extend([lower.replace('_', "-"), lower, path.to_ascii_uppercase()]);
        }
        names.dedup();
        let join = |name| self.directories.iter().map(move |directory| (directory, name));
        Ok(names.iter().flat_map(join).map(|(directory, name)| directory.join(name)).collect())
    }
}

/// The first of the files that is there.
fn first(candidates: &[PathBuf]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    for path in candidates {
        match read(path) {
            Ok(bytes) => return Ok(bytes),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    let path = candidates.first().map(|path| path.display().to_string()).unwrap_or_default();
    Err(Fault::missing(format!("there is no file `{path}`")))
}

/// What a file of a secret holds, up to the longest value and a byte.
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    use std::os::unix::fs::OpenOptionsExt;
    // A pipe or a device must not hold us up.
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(VALUE_BYTES_MAX + 1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    // With room for all of it, reading never moves it and leaves no copy behind.
    let limit = u64::try_from(length + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A file that is there and cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Fault::denied(format!(
            "the file `{path}` cannot be read: permission denied\nhelp: give it to the user that runs plimsoll"
        )),
        io::ErrorKind::IsADirectory => {
            Fault::invalid(format!("`{path}` is a directory\nhelp: name a file in it"))
        }
        _ => Fault::invalid(format!("the file `{path}` cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::secret::{fault::FaultKind, value::Document};

    async fn get(files: &Files, path: &str) -> Result<String, Fault> {
        let place = Place { path: path.into(), field: None, version: None };
        match files.fetch(&place).await?.document {
            Document::Text(text) => Ok(text.expose_secret().to_owned()),
            Document::Fields(_) => unreachable!("files are text"),
        }
    }

    #[tokio::test]
    async fn a_mounted_secret_is_found_in_any_usual_spelling() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("db-password"), "one\n").expect("it is written");
        std::fs::write(dir.path().join("API_KEY"), "two").expect("it is written");
        let files = Files::mounted(vec!["/nowhere".into(), dir.path().into()]);
        assert_eq!(get(&files, "DB_PASSWORD").await.expect("it is there"), "one");
        assert_eq!(get(&files, "api_key").await.expect("it is there"), "two");
        let exact = Files::exact(dir.path().into());
        assert_eq!(get(&exact, "api_key").await.expect_err("exact").kind, FaultKind::Missing);
    }

    #[tokio::test]
    async fn what_is_no_file_or_too_long_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("d")).expect("it is made");
        std::fs::write(dir.path().join("huge"), vec![b'a'; 10 << 20]).expect("it is written");
        let files = Files::mounted(vec![dir.path().into()]);
        for name in ["d", "huge", "../etc/passwd", "/dev/zero"] {
            let kind = get(&files, name).await.expect_err(name).kind;
            assert!(kind > FaultKind::Missing, "{name}");
        }
    }
}
