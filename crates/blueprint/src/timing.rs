//! How long a stop takes, from one number per phase: what `run` is told, what the container engine
//! and the cluster allow, and what a proxy waits, all follow from here.
//!
//! Invariant: whoever kills waits longer than `run` needs.

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
        let total_ms = drain.0 + grace.0 + AFTER_THE_APP.0 + MARGIN.0;
        let kill_after_s = u32::try_from(total_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        StopTimes { drain, grace, kill_after_s }
    }
}
