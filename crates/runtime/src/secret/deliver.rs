//! What the app gets: values in its variables, or in files on a tmpfs that `NAME_FILE` names.
//!
//! Files are written beside and renamed, so that a reader sees the old value or the new one. It
//! deliberately asks nobody. Invariant: a file is 0400 in a directory 0700 of ours, and goes with
//! us; what a crash left behind goes with the next of us.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use secrecy::ExposeSecret;

use super::{
    Fault, Handle, Problem, SecretError,
    settings::{Deliver, SecretSettings},
    syntax,
};
use crate::wire::Environment;

/// The longest variable that the kernel takes, with its name (`MAX_ARG_STRLEN`).
const VARIABLE_BYTES_MAX: usize = 128 * 1024 - 2;
/// How the directories are called, before the guard's process id.
const DIRECTORY_PREFIX: &str = "plimsoll-secrets-";
/// Ours; an app has no use for references in them.
const OWN_PREFIX: &str = "PLIMSOLL_";

/// The variables that hold references, of those that the app inherits from us.
pub fn inherited_references(settings: &SecretSettings) -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let variables = std::env::vars_os().filter_map(text);
    variables.filter(|(name, value)| replaces(settings, name, value)).collect()
}

/// Whether a variable holds a reference, so that the app must not see it as it is.
pub fn replaces(settings: &SecretSettings, name: &str, value: &str) -> bool {
    let is_bare = || settings.bare && syntax::parse_bare(value) != Ok(None);
    !name.starts_with(OWN_PREFIX) && (syntax::mentions(value) || is_bare())
}

/// Where files are delivered.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory of the guard with this id. `is_first` when the app has not been started:
    /// then nothing in it is of use.
    pub(super) fn open(wanted: Option<&Path>, guard: i32, is_first: bool) -> io::Result<Self> {
        let parent = match wanted {
            Some(parent) => parent.to_owned(),
            None => tmpfs()?,
        };
        let path = parent.join(format!("{DIRECTORY_PREFIX}{guard}"));
        remove_orphans(&parent);
        if is_first {
            let _ = fs::remove_dir_all(&path);
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_first => {}
            result => result?,
        }
        Ok(Self { path })
    }

    /// Puts a value where the app looks for it; returns the file's path.
    pub(super) fn put(&self, name: &str, value: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if fs::read(&path).is_ok_and(|current| current == value.as_bytes()) {
            return Ok(path);
        }
        let temporary = self.path.join(format!(".{name}.new"));
        let _ = fs::remove_file(&temporary);
        let mut file = File::options().write(true).create_new(true).mode(0o400).open(&temporary)?;
        file.write_all(value.as_bytes())?;
        fs::rename(&temporary, &path)?;
        Ok(path)
    }

    /// Ends it with everything in it.
    pub(super) fn remove(&self) {
        // What is left goes with the next of us, or with the container.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The first directory in memory that we may write to.
fn tmpfs() -> io::Result<PathBuf> {
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    let candidates = of_user.map(PathBuf::from).into_iter();
    for path in candidates.chain(["/dev/shm".into(), "/run".into()]) {
        let is_memory = statfs(&path).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC);
        let is_ours = nix::unistd::access(&path, nix::unistd::AccessFlags::W_OK).is_ok();
        if is_memory && is_ours {
            return Ok(path);
        }
    }
    let text = "no tmpfs is writable; mount one and name it with `directory` of `--secrets`";
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

/// Removes what guards that are gone have left.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(DIRECTORY_PREFIX));
        let Some(id) = id.and_then(|id| id.parse::<u32>().ok()) else { continue };
        let is_ours =
            entry.metadata().is_ok_and(|meta| meta.uid() == nix::unistd::geteuid().as_raw());
        if is_ours && !Path::new("/proc").join(id.to_string()).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Handle {
    /// The app's variables, from texts that have been resolved; all problems at once. What is
    /// optional and missing is left out, and so is what a file stands for.
    pub(super) fn environment(
        &self,
        texts: &[(String, String)],
        directory: Option<&Directory>,
    ) -> Result<Environment, SecretError> {
        let mut env = Environment::default();
        let mut problems = Vec::new();
        for (name, text) in texts {
            let mut wrong = |fault| {
                let place = name.clone();
                problems.push(Problem { place, reference: String::new(), fault });
            };
            let value = match self.filled(name, text) {
                Ok(Some(value)) => value,
                Ok(None) => continue,
                Err(error) => {
                    problems.extend(error.problems);
                    continue;
                }
            };
            let value = value.expose_secret();
            match directory {
                Some(_) if !is_file_name(name) => wrong(Fault::config(
                    "it cannot be the name of a file\nhelp: use letters, digits and `_`",
                )),
                Some(directory) => match directory.put(name, value) {
                    Ok(path) => {
                        env.0.insert(format!("{name}_FILE"), path.display().to_string());
                    }
                    Err(error) => wrong(Fault::invalid(format!("its file: {error}"))),
                },
                None if value.contains('\0') => wrong(Fault::invalid(
                    "the value has a NUL byte, which no variable can have\nhelp: set `\"deliver\": \"file\"`",
                )),
                None if name.len() + value.len() > VARIABLE_BYTES_MAX => wrong(Fault::invalid(
                    "the value is longer than the kernel lets a variable be (128 KiB)\nhelp: set `\"deliver\": \"file\"`",
                )),
                None => {
                    env.0.insert(name.clone(), value.to_owned());
                }
            }
        }
        if problems.is_empty() { Ok(env) } else { Err(SecretError { problems }) }
    }

    pub(super) fn delivers_files(&self) -> bool {
        self.0.settings.deliver == Deliver::File
    }
}

/// What the app's variables are, resolved once: for `--exec`, where nobody stays to keep them
/// fresh. Runs an event loop of its own until then.
///
/// # Errors
/// Everything that has no value, or that no event loop can be made.
pub fn exec_environment(
    settings: SecretSettings,
    limit: std::time::Duration,
) -> Result<Environment, SecretError> {
    let texts = inherited_references(&settings);
    if texts.is_empty() {
        return Ok(Environment::default());
    }
    let failed =
        |fault| super::one(Problem { place: String::new(), reference: String::new(), fault });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(Fault::config(error)))?;
    let handle = Handle::new(settings, None);
    let deadline = std::time::Instant::now() + limit;
    runtime.block_on(handle.resolve(&texts, deadline, |_| {}))?;
    let directory = if handle.delivers_files() {
        let wanted = handle.0.settings.directory.as_deref();
        let id = i32::try_from(std::process::id()).unwrap_or(0);
        let opened = Directory::open(wanted, id, true);
        Some(opened.map_err(|error| failed(Fault::invalid(format!("delivery: {error}"))))?)
    } else {
        None
    };
    runtime.shutdown_background();
    handle.environment(&texts, directory.as_ref())
}

fn is_file_name(name: &str) -> bool {
    !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nobody_else_may_read_it() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(Some(parent.path()), 1, true).expect("it is made");
        let path = directory.put("KEY", "one").expect("it is written");
        let old = File::open(&path).expect("it is there");
        directory.put("KEY", "two").expect("it is replaced");
        assert_eq!(io::read_to_string(old).expect("it is whole"), "one");
        assert_eq!(fs::read_to_string(&path).expect("it is whole"), "two");
        let mode =
            |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&directory.path)), (0o400, 0o700));
        directory.remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_crash_left_behind_goes() {
        let parent = tempfile::tempdir().expect("a directory");
        let left = parent.path().join(format!("{DIRECTORY_PREFIX}999999999"));
        fs::create_dir(&left).expect("it is made");
        let _directory = Directory::open(Some(parent.path()), 1, true).expect("it is made");
        assert!(!left.exists());
    }

    #[test]
    fn our_own_variables_and_text_without_references_are_left_alone() {
        let settings = SecretSettings::default();
        assert!(replaces(&settings, "A", "x${secret:a}"));
        assert!(!replaces(&settings, "PLIMSOLL_PROBES", "x${secret:a}"));
        assert!(!replaces(&settings, "A", "vault:kv/a"));
        assert!(replaces(&SecretSettings { bare: true, ..settings }, "A", "vault:kv/a"));
    }
}
