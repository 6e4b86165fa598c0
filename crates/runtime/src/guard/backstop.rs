//! The guard's own deadlines, for an engine that is dead or silent while everything should end.
//!
//! They lie behind those of `lifecycle` by [`SLACK`], so that a healthy engine never meets them. It
//! deliberately has none for a process that runs: an engine that hangs then fails `/live`.
//!
//! Invariant: whatever the engine does, a stop or an exit of the app ends the guard in bounded
//! time.

use std::time::Duration;

use contract::exit_codes;

use super::{Guard, engine_process::SPAWN_FAILURES_MAX};
use crate::{lifecycle, wire::App};

/// How long the engine may be late.
pub(super) const SLACK: Duration = Duration::from_millis(500);

/// What the guard does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backstop {
    /// Send the stop signal.
    Terminate,
    /// Send SIGKILL.
    Kill,
    /// End what is left.
    Sweep,
    /// Exit.
    Exit,
}

impl Guard<'_> {
    /// The next deadline, if any is running.
    pub(super) fn next_backstop(&self) -> Option<(Duration, Backstop)> {
        if self.engine.is_absent() {
            return self.next_alone();
        }
        let stop = self.settings.stop;
        if let Some(since) = self.sweep_since {
            return Some((
                since + stop.sweep + stop.flush + stop.linger + 2 * SLACK,
                Backstop::Exit,
            ));
        }
        if let Some(since) = self.killed_at {
            return Some((since + SLACK, Backstop::Sweep));
        }
        match self.snapshot.app {
            App::Exited { at, .. } | App::Failed { at, .. } => Some((at + SLACK, Backstop::Sweep)),
            // A static site drains like an app, but there is nothing to kill.
            App::Waiting if !self.settings.workload.has_app() => {
                Some((self.kill_at()?, Backstop::Sweep))
            }
            App::Waiting => Some((self.snapshot.stop?.since + SLACK, Backstop::Sweep)),
            App::Running { .. } => {
                let kill_at = self.kill_at()?;
                let terminate_at = kill_at.saturating_sub(lifecycle::app_share(stop.grace));
                Some(match self.terminated_at {
                    None => (terminate_at, Backstop::Terminate),
                    Some(_) => (kill_at, Backstop::Kill),
                })
            }
        }
    }

    fn kill_at(&self) -> Option<Duration> {
        let stop = self.settings.stop;
        Some(self.snapshot.stop?.since + stop.drain + stop.grace + SLACK)
    }

    /// Does what is overdue.
    pub(super) fn keep_deadlines(&mut self, now: Duration) {
        while let Some((_, backstop)) = self.next_backstop().filter(|(at, _)| *at <= now) {
            match backstop {
                Backstop::Terminate => self.terminate(),
                Backstop::Kill => self.kill(),
                Backstop::Sweep => self.sweep(),
                Backstop::Exit => {
                    self.exit = Some((exit_codes::INTERNAL.code, "engine_silent".into()));
                    return;
                }
            }
        }
    }

    /// Whether no engine has ever come up, so that waiting longer would be waiting for ever.
    pub(super) fn is_hopeless(&self) -> bool {
        self.snapshot.app == App::Waiting && self.engine.failures() >= SPAWN_FAILURES_MAX
    }
}
