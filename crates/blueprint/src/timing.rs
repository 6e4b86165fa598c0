//! How long a stop takes, from one number per phase, and how often a service is asked how it is:
//! what `run` is told, what the container engine and the cluster do, and what a proxy waits, all
//! follow from here.
//!
//! Invariant: whoever kills waits longer than `run` takes.

use manifest::plan::{Kind, Service};
use manifest::units::Millis;

/// What `run` does after the application has ended, at most: sweep, flush and linger.
const AFTER_THE_APP: Millis = Millis(4000);

/// What whoever kills waits beyond that, for a machine that is busy.
const MARGIN: Millis = Millis(2000);

/// The phases of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopTimes {
    /// Still serving, unready, until everyone has noticed: `PLIMSOLL_DRAIN`.
    pub(crate) drain: Millis,
    /// Requests in flight complete and the application ends: `PLIMSOLL_STOP_GRACE`.
    pub(crate) grace: Millis,
    /// All of a stop, which `run` never exceeds: `PLIMSOLL_STOP_BUDGET`.
    pub(crate) budget: Millis,
    /// From the signal until the kill, in whole seconds: `stop_grace_period`,
    /// `terminationGracePeriodSeconds`.
    pub(crate) kill_after_s: u32,
}

impl StopTimes {
    /// The phases of a service. Where nobody routes to it there is nothing to drain.
    pub(crate) fn of(service: &Service) -> StopTimes {
        let has_requests = matches!(service.kind, Kind::Web | Kind::Static);
        let (drain, grace) = match has_requests {
            true => (service.drain.delay, service.drain.limit.max(service.stop.grace)),
            false => (Millis(0), service.stop.grace),
        };
        let budget = Millis(drain.0 + grace.0 + AFTER_THE_APP.0);
        let total_ms = budget.0 + MARGIN.0;
        let kill_after_s = u32::try_from(total_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        StopTimes { drain, grace, budget, kill_after_s }
    }
}

/// What an engine that is busy needs to start the probe's process, beyond what the probe waits.
const EXEC_START: Millis = Millis(3000);

/// How a container engine asks a service whether it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HealthTimes {
    /// Between two questions.
    pub(crate) interval: Millis,
    /// How long an answer may take, with the start of the process that asks.
    pub(crate) timeout: Millis,
    /// Failures in a row that make it unhealthy.
    pub(crate) retries: u32,
    /// Failures do not count before.
    pub(crate) start_period: Millis,
}

impl HealthTimes {
    /// The times of a service.
    pub(crate) fn of(service: &Service) -> HealthTimes {
        let health = &service.health;
        HealthTimes {
            interval: health.interval,
            timeout: Millis(health.timeout.0 + EXEC_START.0),
            retries: health.fall,
            start_period: health.start_timeout,
        }
    }
}

/// A time as Docker and Compose read it.
pub(crate) fn duration(time: Millis) -> String {
    if time.0.is_multiple_of(1000) {
        format!("{}s", time.0 / 1000)
    } else {
        format!("{}ms", time.0)
    }
}
