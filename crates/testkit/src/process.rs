//! Processes as `/proc` shows them.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Name of the variable that marks what a test started; children inherit it wherever they go.
const VARIABLE: &str = "PLIMSOLL_TEST_RUN";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A mark in the environment of everything that one [`crate::Run`] started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    value: String,
}

impl Default for Marker {
    /// A mark that nothing carries yet.
    fn default() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { value: format!("{}-{number}", std::process::id()) }
    }
}

impl Marker {
    /// The variable that carries the mark, and its value.
    #[must_use]
    pub fn variable(&self) -> (&'static str, &str) {
        (VARIABLE, &self.value)
    }

    /// The living processes that carry the mark.
    pub fn processes(&self) -> Vec<i32> {
        let entry = format!("{VARIABLE}={}", self.value);
        let carries = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
        };
        pids().into_iter().filter(|pid| is_alive(*pid)).filter(carries).collect()
    }

    /// Sends SIGKILL to all of them until none is left.
    pub fn kill_all(&self) {
        // Each round can only find what the round before had forked.
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(|pid| signal(pid, libc::SIGKILL));
        }
    }
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// The living children of a process.
pub fn children(parent: i32) -> Vec<i32> {
    let is_child = |pid: &i32| stat(*pid).is_some_and(|(state, of)| of == parent && state != "Z");
    pids().into_iter().filter(is_child).collect()
}

/// Sends a signal by its number; to a process that is gone it does nothing.
pub fn signal(pid: i32, number: i32) {
    if let Ok(signal) = Signal::try_from(number) {
        // Gone is as good as signalled.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn stat(pid: i32) -> Option<(String, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}
