//! Job control: who has the terminal, and what Ctrl-Z means.
//!
//! An app without an ingress that is started from a terminal becomes its foreground, so that Ctrl-C
//! and Ctrl-Z are the app's. When it is stopped, whoever started us must get the terminal back and
//! see us stopped; when we are continued, so is the app. It deliberately opens no terminal.
//!
//! Invariant: the terminal is only ever taken from the app, never from a stranger.

use std::{io, os::fd::AsFd};

use nix::{
    libc::{SIGCONT, SIGSTOP},
    unistd::{Pid, getpgrp, getpid, isatty, tcgetpgrp, tcsetpgrp},
};

use super::Guard;
use crate::{sys, wire::App};

/// Whether stdin is a terminal whose foreground we are: then an app without an ingress is to be it.
pub(super) fn is_ours() -> bool {
    foreground() == Some(getpgrp())
}

/// The group that has the terminal on stdin.
fn foreground() -> Option<Pid> {
    let stdin = io::stdin();
    isatty(stdin.as_fd()).ok().filter(|is_terminal| *is_terminal)?;
    tcgetpgrp(stdin.as_fd()).ok()
}

fn give(group: Pid) {
    // SIGTTOU is blocked here. Fails where the terminal is not ours to give, which is as well.
    let _ = tcsetpgrp(io::stdin().as_fd(), group);
}

impl Guard<'_> {
    /// The app was stopped. From a terminal that means us as well.
    pub(super) fn app_stopped(&mut self, pid: i32) {
        let App::Running { pid: app, .. } = self.snapshot.app else { return };
        let group = Pid::from_raw(app);
        if pid != app || foreground() != Some(group) {
            return;
        }
        give(getpgrp());
        // Returns when somebody continues us.
        let _ = sys::kill(getpid().as_raw(), SIGSTOP);
        if is_ours() {
            give(group);
        }
        let _ = sys::kill(-app, SIGCONT);
    }

    /// Takes the terminal back from an app that had it, for whoever started us.
    pub(super) fn return_terminal(&self) {
        if foreground().is_some_and(|group| Some(group.as_raw()) == self.app_group) {
            give(getpgrp());
        }
    }
}
