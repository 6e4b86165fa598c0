//! Ends what the app left behind when the guard was killed.
//!
//! The kernel kills the app's main process with its parent, but not what that one had started: it
//! now belongs to whoever adopts orphans. Its environment still says which run it is of. It
//! deliberately does nothing while a guard lives, which knows its descendants better.
//!
//! What dropped its environment and left the app's group is not found; as PID 1 of a container
//! there is no such thing, since the kernel ends everything with us.
//!
//! Invariant: only processes that carry this run's mark are ended.

use std::fs;

use contract::env_vars;

use crate::sys;

/// Each round can only find what the round before had forked.
const ROUNDS_MAX: usize = 100;

/// Sends SIGKILL to everything of this run until nothing is left.
pub(super) fn kill_all(run_id: &str) {
    let mark = format!("{}={run_id}", env_vars::CHILD_RUN_ID.name);
    for _ in 0..ROUNDS_MAX {
        let marked = marked(mark.as_bytes());
        if marked.is_empty() {
            return;
        }
        for pid in marked {
            let _ = sys::kill(pid, nix::libc::SIGKILL);
        }
    }
}

fn marked(mark: &[u8]) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // The environment of a zombie is empty.
    let is_marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    pids.filter(is_marked).collect()
}
