//! Collects every child that ended: the app, the engine, and orphans.

use super::{Guard, clock};
use crate::{
    sys::{self, Ended, Reaped},
    wire::App,
};

/// Any child.
const ANY: i32 = -1;

impl Guard<'_> {
    /// Reaps all that ended. Children end as often as they like, so this is the one loop without a
    /// bound: each turn takes one process off the kernel's list.
    pub(super) fn reap(&mut self) {
        if self.reap_quietly() {
            self.tell();
        }
    }

    /// The same without telling the engine, which is to be told if this says so.
    pub(super) fn reap_quietly(&mut self) -> bool {
        let mut has_changed = false;
        loop {
            match sys::reap(ANY) {
                Ok(Some(Reaped::Ended(ended))) => has_changed |= self.bury(ended),
                Ok(Some(Reaped::Stopped { pid })) => self.app_stopped(pid),
                Err(nix::Error::EINTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        has_changed
    }

    /// Whether the engine must hear of it.
    fn bury(&mut self, Ended { pid, code, signal }: Ended) -> bool {
        let at = clock();
        if self.engine.pid() == Some(pid) {
            // Its last words first: the very last one asks for the exit.
            self.serve_engine();
            self.engine.died(at);
            self.snapshot.engine_restarts = self.engine.deaths();
            return false;
        }
        match self.snapshot.app {
            App::Running { pid: app, .. } if app == pid => {
                self.snapshot.app = App::Exited { code, signal, at };
            }
            _ => self.snapshot.orphans_reaped += 1,
        }
        true
    }
}
