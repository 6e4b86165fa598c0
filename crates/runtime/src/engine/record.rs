//! Turns the driver's moments into metrics: startup, the phases of a stop, exits, orphans.
//!
//! It deliberately reads no clock of its own. Invariant: every duration is recorded once.

use std::{sync::Arc, time::Duration};

use crate::{
    board::Phase,
    guard::ending::{self, ShutdownOutcome},
    metrics::{Exit, Metrics, StopOutcome, StopPhase},
    settings::Settings,
    wire::{App, Snapshot},
};

/// What has been recorded, and since when the present phase lasts.
pub(super) struct Recorder {
    metrics: Arc<Metrics>,
    phase: Option<(StopPhase, Duration)>,
    has_started: bool,
    n_orphans: u64,
}

impl Recorder {
    /// Starts with what the last process of this service left behind.
    pub(super) fn new(metrics: Arc<Metrics>, settings: &Settings, snapshot: &Snapshot) -> Self {
        let last = settings.state.as_deref().and_then(ending::last);
        if let Some(shutdown) = last.and_then(|ending| ending.shutdown) {
            let outcome = match shutdown.outcome {
                ShutdownOutcome::Graceful => StopOutcome::Graceful,
                ShutdownOutcome::Killed => StopOutcome::Killed,
                ShutdownOutcome::Crashed => StopOutcome::Crashed,
            };
            // A file edited by hand may hold anything.
            if let Ok(took) = Duration::try_from_secs_f64(shutdown.seconds) {
                metrics.shut_down(outcome, took);
            }
        }
        let has_started = snapshot.is_started;
        Self { metrics, phase: None, has_started, n_orphans: 0 }
    }

    /// A phase begins, which ends the one before.
    pub(super) fn enter(&mut self, phase: Phase, now: Duration) {
        let next = match phase {
            Phase::Draining => Some(StopPhase::Drain),
            Phase::Stopping => Some(StopPhase::Grace),
            Phase::Sweeping => Some(StopPhase::Sweep),
            Phase::Flushing => Some(StopPhase::Flush),
            Phase::Lingering => Some(StopPhase::Linger),
            _ => None,
        };
        if let Some((phase, since)) = self.phase.take() {
            self.metrics.stop_phase(phase, now.saturating_sub(since));
        }
        self.phase = next.map(|phase| (phase, now));
    }

    /// The service is ready; the first time this is the end of its startup.
    pub(super) fn ready(&mut self, snapshot: &Snapshot, now: Duration) {
        if self.has_started {
            return;
        }
        self.has_started = true;
        let since = match snapshot.app {
            App::Running { since, .. } => since,
            _ => snapshot.born,
        };
        self.metrics.started_up(now.saturating_sub(since));
    }

    /// What the guard reaped since.
    pub(super) fn orphans(&mut self, snapshot: &Snapshot) {
        self.metrics.orphans_reaped(snapshot.orphans_reaped.saturating_sub(self.n_orphans));
        self.n_orphans = snapshot.orphans_reaped;
    }

    /// The app ended.
    pub(super) fn exited(&self, code: u8, signal: Option<i32>) {
        let exit = if signal.is_some() { Exit::Signal } else { Exit::Code(code.into()) };
        self.metrics.app_exited(exit);
    }
}
