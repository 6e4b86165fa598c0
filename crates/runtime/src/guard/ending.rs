//! What is left behind when everything has ended: `exit.json`, and the message for Kubernetes.
//!
//! It deliberately fails silently: the exit code is worth more than its explanation. Invariant:
//! both files hold one JSON object, written whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::unistd::getpid;
use serde::{Deserialize, Serialize};

use crate::{error::Error, settings::Settings};

/// Name of the file in the state directory.
pub const EXIT_FILE: &str = "exit.json";
/// Where Kubernetes looks for the last words of a container.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Kubernetes cuts a longer message, bytes.
const TERMINATION_BYTES_MAX: usize = 4096;
/// More than this is no file of ours, bytes.
const EXIT_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why and how the process ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Whose code it is.
    pub origin: Origin,
    /// The exit code.
    pub code: u8,
    /// One word for why: `exit`, `signal`, `killed`, `oom`, or the name of one of our codes.
    pub reason: String,
    /// The signal that ended the application.
    pub signal: Option<i32>,
    /// The service.
    pub service: String,
    /// The replica.
    pub instance: String,
    /// The last lines of the application, redacted.
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// When, in seconds since 1970.
    pub ended_at: u64,
    /// The stop that led to it, if one was asked for.
    pub shutdown: Option<Shutdown>,
}

/// Whose exit code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The application's.
    App,
    /// Ours.
    Plimsoll,
}

/// How long a stop took and how it went; the next start reports it in `service_shutdown_seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shutdown {
    /// From the first signal to the end.
    pub seconds: f64,
    /// How it went.
    pub outcome: ShutdownOutcome,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownOutcome {
    /// The application ended in its grace.
    Graceful,
    /// It had to be killed.
    Killed,
    /// It ended by another signal than the one it was sent.
    Crashed,
}

/// Reads what the last process of this service left; `None` if there was none, or it is unreadable.
pub fn last(state: &Path) -> Option<Ending> {
    let path = state.join(EXIT_FILE);
    if fs::metadata(&path).ok()?.len() > EXIT_FILE_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Checks that the state directory can be written, before anything is started.
pub(super) fn prepare(state: &Path) -> io::Result<()> {
    fs::create_dir_all(state)?;
    let probe = state.join(".probe");
    fs::write(&probe, b"")?;
    fs::remove_file(probe)
}

/// The file for Kubernetes: the one that was given, or its own as PID 1 where there is one.
pub(super) fn termination_log(settings: &Settings) -> Result<Option<PathBuf>, Error> {
    let Some(path) = &settings.termination_log else {
        let is_init = getpid().as_raw() == 1;
        return Ok(is_init.then(|| PathBuf::from(TERMINATION_LOG)).filter(|path| path.exists()));
    };
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let refused = |source| Error::TerminationLog { path: path.clone(), source };
    opened.map(|_| Some(path.clone())).map_err(refused)
}

/// Writes the ending where it will be looked for.
pub(super) fn write(ending: &Ending, state: Option<&Path>, termination_log: Option<&Path>) {
    let Ok(mut text) = serde_json::to_vec(ending) else { return };
    text.push(b'\n');
    if let Some(state) = state {
        let partial = state.join(".exit.json.partial");
        // Renamed when whole, so that a reader never sees half of it.
        let _ =
            fs::write(&partial, &text).and_then(|()| fs::rename(&partial, state.join(EXIT_FILE)));
    }
    if let Some(path) = termination_log {
        // Not renamed: the kubelet has mounted this very file.
        let _ = fs::write(path, short(ending));
    }
}

/// The ending without its oldest last lines, until it is short enough for Kubernetes.
fn short(ending: &Ending) -> Vec<u8> {
    let mut ending = ending.clone();
    loop {
        let text = serde_json::to_vec(&ending).unwrap_or_default();
        if text.len() <= TERMINATION_BYTES_MAX || ending.last_lines.is_empty() {
            return text;
        }
        ending.last_lines.remove(0);
    }
}

/// Seconds since 1970; 0 while the clock has not been set.
pub(super) fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| Duration::as_secs(&elapsed))
}
