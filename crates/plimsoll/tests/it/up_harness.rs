//! Starts `plimsoll up` as users do: a directory with a manifest, ports that nobody has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::{Run, free_port, get_unix, wait_for_some};

/// How long anything may take: a database is made, programs are started, the machine is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A platform that was started.
pub(crate) struct Platform {
    pub(crate) run: Run,
    pub(crate) edge_port: u16,
    directory: PathBuf,
    // Removed after everything in it has ended: fields are dropped in this order.
    _owned: tempfile::TempDir,
}

/// A directory with a manifest, open to other accounts as directories of projects are.
pub(crate) fn project(manifest: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("plimsoll.yaml"), manifest).unwrap();
    directory
}

/// The whole program.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_plimsoll"))
}

impl Platform {
    /// `plimsoll up <flags>` with this manifest.
    pub(crate) fn start(manifest: &str, flags: &[&str]) -> Self {
        Self::start_in(project(manifest), flags)
    }

    /// The same, in a directory that is there already.
    pub(crate) fn start_in(owned: tempfile::TempDir, flags: &[&str]) -> Self {
        let directory = owned.path().to_owned();
        let edge_port = free_port();
        let run = up(&directory, edge_port, flags);
        Self { run, edge_port, directory, _owned: owned }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The status, once the platform answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let socket = self.path(".plimsoll/up.sock");
        serde_json::from_slice(&get_unix(&socket, "/v1/status").ok()?.body).ok()
    }

    /// The status of one item.
    pub(crate) fn item(&self, name: &str) -> Option<Value> {
        let status = self.status()?;
        status["items"].as_array()?.iter().find(|item| item["name"] == name).cloned()
    }

    /// Waits until an item is in a state, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, name: &str, state: &str) -> Value {
        let what = format!("`{name}` to be {state}; {}{}", self.run.stdout(), self.run.stderr());
        wait_for_some(&what, PATIENCE, || self.item(name).filter(|item| item["state"] == state))
    }

    /// Waits until everything was ready once.
    #[track_caller]
    pub(crate) fn until_running(&self) {
        wait_for_some("everything to be ready", PATIENCE, || {
            self.status().filter(|status| status["phase"] == "running").map(|_| ())
        });
    }

    /// Another command of `plimsoll` in the same directory.
    pub(crate) fn command(&self, args: &[&str]) -> testkit::Ended {
        let args = args.iter().map(|arg| (*arg).to_owned());
        let directory = self.directory.clone();
        Run::start_with(&binary(), args, |command| {
            command.current_dir(directory);
        })
        .wait(PATIENCE)
    }
}

/// `plimsoll up` in a directory.
pub(crate) fn up(directory: &Path, edge_port: u16, flags: &[&str]) -> Run {
    let mut args = vec!["up".to_owned(), "--port".into(), edge_port.to_string()];
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Run::start_with(&binary(), args, |command| {
        command.current_dir(directory);
    })
}

/// Whether a program is in `PATH`; says aloud when a claim is not tried for the lack of it.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|at| at.join(program).is_file());
    if !is_there {
        eprintln!("SKIPPED: `{program}` is not installed here");
    }
    is_there
}

/// Whether a Postgres server is installed.
pub(crate) fn has_postgres() -> bool {
    Path::new("/usr/lib/postgresql").is_dir() || has("initdb")
}
