//! The engine as the guard sees it: up with a link, or due at a time.
//!
//! It deliberately knows nothing of what the engine does. Invariant: at most one engine lives.

use std::{io, time::Duration};

use super::{
    ENGINE_EXIT_LIMIT, Guard, SIGKILL, clock,
    link::Link,
    pulse::{Beat, Pulse},
    spawn,
};
use crate::{
    error::Error,
    sys::{self, Reaped},
    wire::{self, ToEngine, ToGuard},
};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An engine that lived this long died of something new: the backoff starts again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// Engines in a row that may die before the app was ever spawned.
pub(super) const SPAWN_FAILURES_MAX: u32 = 5;
/// How often the end of the last engine is looked for.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// The engine.
#[derive(Debug)]
pub(super) struct EngineProcess {
    life: Life,
    /// In a row.
    failures: u32,
    /// In all.
    deaths: u32,
}

#[derive(Debug)]
enum Life {
    /// There is nothing for one to do.
    Absent,
    Due {
        at: Duration,
    },
    Up {
        pid: i32,
        since: Duration,
        link: Option<Link>,
        pulse: Pulse,
    },
}

impl EngineProcess {
    /// An engine to be started at `at`.
    pub(super) fn due(at: Duration) -> Self {
        Self { life: Life::Due { at }, failures: 0, deaths: 0 }
    }

    /// None, ever.
    pub(super) fn absent() -> Self {
        Self { life: Life::Absent, failures: 0, deaths: 0 }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self.life, Life::Absent)
    }

    pub(super) fn pid(&self) -> Option<i32> {
        match self.life {
            Life::Up { pid, .. } => Some(pid),
            Life::Due { .. } | Life::Absent => None,
        }
    }

    pub(super) fn link(&self) -> Option<&Link> {
        match &self.life {
            Life::Up { link, .. } => link.as_ref(),
            Life::Due { .. } | Life::Absent => None,
        }
    }

    pub(super) fn due_at(&self) -> Option<Duration> {
        match self.life {
            Life::Due { at } => Some(at),
            Life::Up { .. } | Life::Absent => None,
        }
    }

    /// How many died in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How many died in all.
    pub(super) fn deaths(&self) -> u32 {
        self.deaths
    }

    /// A stop does not wait for a backoff.
    pub(super) fn hurry(&mut self, now: Duration) {
        if let Life::Due { at } = &mut self.life {
            *at = now;
        }
    }

    /// Its process was reaped.
    pub(super) fn died(&mut self, now: Duration) {
        let has_recovered = match self.life {
            Life::Up { since, .. } => now.saturating_sub(since) >= HEALTHY_AFTER,
            Life::Due { .. } | Life::Absent => false,
        };
        self.failures = if has_recovered { 1 } else { self.failures.saturating_add(1) };
        self.deaths = self.deaths.saturating_add(1);
        self.life = Life::Due { at: now + backoff(self.failures) };
    }

    /// Sends a message, and what still waits. An engine that does not listen is ended.
    pub(super) fn send(&mut self, message: &ToEngine) {
        let Life::Up { link: Some(link), .. } = &mut self.life else { return };
        // Encoding fails for what cannot be said at all, and the greeting has said it all before.
        if !link.send(message).unwrap_or(false) {
            self.cut();
        }
    }

    /// What it asked for. One that hung up is ended.
    pub(super) fn receive(&mut self) -> Vec<ToGuard> {
        let Life::Up { link: Some(link), pulse, .. } = &mut self.life else { return Vec::new() };
        let is_listening = link.flush();
        let (messages, is_open) = link.receive();
        if !messages.is_empty() {
            pulse.heard(clock());
        }
        if !is_open || !is_listening {
            self.cut();
        }
        messages
    }

    /// Asks it for a sign of life when one is due, and ends it when none came.
    pub(super) fn keep_alive(&mut self, now: Duration) {
        let Life::Up { link: Some(_), pulse, .. } = &mut self.life else { return };
        match pulse.at(now) {
            Beat::Fine => {}
            Beat::Ask => self.send(&ToEngine::Ping),
            Beat::Lost => self.cut(),
        }
    }

    /// When [`EngineProcess::keep_alive`] is due.
    pub(super) fn pulse_at(&self) -> Option<Duration> {
        match &self.life {
            Life::Up { link: Some(_), pulse, .. } => pulse.next(),
            Life::Up { .. } | Life::Due { .. } | Life::Absent => None,
        }
    }

    /// Ends it; its death will be reaped like any other.
    fn cut(&mut self) {
        if let Life::Up { pid, link, .. } = &mut self.life {
            *link = None;
            let _ = sys::kill(*pid, SIGKILL);
        }
    }
}

impl Guard<'_> {
    /// Starts an engine when one is due.
    pub(super) fn keep_engine(&mut self, now: Duration) -> Result<(), Error> {
        if self.is_hopeless() {
            return Err(Error::EngineLost { times: self.engine.failures() });
        }
        if self.engine.due_at().is_none_or(|at| at > now) {
            return Ok(());
        }
        match self.start_engine() {
            Ok(()) => Ok(()),
            // Nothing runs yet: say why and leave. Later the app is worth more than its engine.
            Err(error) if self.engine.deaths() == 0 => Err(error),
            Err(_) => {
                self.engine.died(now);
                Ok(())
            }
        }
    }

    fn start_engine(&mut self) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Setup { intent: "start its engine", source };
        let (mut link, control) = Link::pair().map_err(failed)?;
        let hello = ToEngine::Hello {
            version: wire::VERSION,
            settings: Box::new(self.settings.clone()),
            snapshot: self.snapshot.clone(),
        };
        link.send(&hello)?;
        let pid = spawn::engine(self.listeners, &self.pipes, control).map_err(failed)?;
        self.engine.life =
            Life::Up { pid, since: clock(), link: Some(link), pulse: Pulse::default() };
        Ok(())
    }

    /// Waits a moment for the engine to end by itself, then ends it.
    pub(super) fn end_engine(&mut self) {
        let Some(pid) = self.engine.pid() else { return };
        let deadline = clock() + ENGINE_EXIT_LIMIT;
        // From the deadline on it is killed, and SIGKILL does not fail.
        let lives = |reaped| {
            matches!(reaped, Ok(None | Some(Reaped::Stopped { .. })) | Err(nix::Error::EINTR))
        };
        while lives(sys::reap(pid)) {
            if clock() >= deadline {
                let _ = sys::kill(pid, SIGKILL);
            }
            std::thread::sleep(EXIT_POLL);
        }
    }
}

/// 0.1 s, doubled by each death in a row, up to 5 s.
fn backoff(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
    BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_bound() {
        let waits_ms: Vec<_> = (1..=8).map(|failures| backoff(failures).as_millis()).collect();
        assert_eq!(waits_ms, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
