//! Whether the cluster is there.
//!
//! ```text
//! closed --doubt--> half open --probe fails--> open --after a pause--> half open
//!    ^                  |                        |
//!    '---- probe passes, or any delivery --------'
//! ```
//!
//! Doubt alone says nothing: brokers close connections that are idle. Invariant: at most one probe
//! is under way, and a delivery closes it whatever a probe would say.

use std::time::Instant;

use super::backoff;

/// How delivery goes: the state of the breaker, as others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Closed: records go out.
    #[default]
    Flowing,
    /// Half open: the cluster is being asked.
    Doubtful,
    /// Open: it cannot be reached, and why.
    Stopped(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Delivery,
    failures: u32,
    is_asking: bool,
    ask_at: Option<Instant>,
}

impl Breaker {
    pub(super) fn state(&self) -> Delivery {
        self.state.clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == Delivery::Flowing
    }

    /// Something speaks against the cluster being there.
    pub(super) fn doubt(&mut self, why: String) {
        match &mut self.state {
            Delivery::Flowing => self.state = Delivery::Doubtful,
            Delivery::Doubtful => {}
            Delivery::Stopped(reason) => *reason = why,
        }
    }

    /// It is there.
    pub(super) fn close(&mut self) {
        // A probe under way still answers; by then it says nothing new.
        *self = Self { is_asking: self.is_asking, ..Self::default() };
    }

    /// It is there, says the probe.
    pub(super) fn probe_passed(&mut self) {
        self.is_asking = false;
        self.close();
    }

    /// It is not there, says the probe.
    pub(super) fn probe_failed(&mut self, why: String, now: Instant, random: &mut fastrand::Rng) {
        self.is_asking = false;
        // Else a delivery was faster.
        if !self.is_closed() {
            self.open(why, now, random);
        }
    }

    pub(super) fn open(&mut self, why: String, now: Instant, random: &mut fastrand::Rng) {
        self.state = Delivery::Stopped(why);
        self.failures = self.failures.saturating_add(1);
        self.ask_at = Some(now + backoff(self.failures, random));
    }

    /// Whether to ask the cluster now.
    pub(super) fn wants_probe(&mut self, now: Instant) -> bool {
        let is_due = match self.state {
            Delivery::Flowing => false,
            Delivery::Doubtful => true,
            Delivery::Stopped(_) => self.ask_at.is_some_and(|at| at <= now),
        };
        let asks = is_due && !self.is_asking;
        if asks {
            self.is_asking = true;
            self.ask_at = None;
        }
        asks
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.ask_at
    }
}
