//! Collects every child that ended: the app, the engine, and orphans.

use super::{Guard, clock};
use crate::{
    sys::{self, Ended},
    wire::App,
};

/// Any child.
const ANY: i32 = -1;

impl Guard<'_> {
    /// Reaps all that ended. Children end as often as they like, so this is the one loop without a
    /// bound: each turn takes one process off the kernel's list.
    pub(super) fn reap(&mut self) {
        let mut has_changed = false;
        loop {
            match sys::reap(ANY) {
                Ok(Some(ended)) => has_changed |= self.bury(ended),
                Err(nix::Error::EINTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        if has_changed {
            self.tell();
        }
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
