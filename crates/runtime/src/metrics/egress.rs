//! The families of calls to declared dependencies.
//!
//! The series of a dependency exist from the start, at zero. It deliberately decides nothing.
//! Invariant: of the states of a breaker exactly one is 1.

use contract::metrics as table;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

use super::registry::{Histograms, add, histograms};
use crate::egress::{Outcome, State};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    dependency: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    dependency: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct In {
    dependency: String,
    state: &'static str,
}

/// The handles of the families.
#[derive(Clone, Debug)]
pub(super) struct Egress {
    requests: Family<Ended, Counter>,
    seconds: Histograms<Of>,
    retries: Family<Of, Counter>,
    state: Family<In, Gauge>,
}

impl Egress {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            requests: add(registry, &table::EGRESS_REQUESTS_TOTAL, Family::default()),
            seconds: histograms(registry, &table::EGRESS_REQUEST_SECONDS),
            retries: add(registry, &table::EGRESS_RETRIES_TOTAL, Family::default()),
            state: add(registry, &table::CIRCUIT_BREAKER_STATE, Family::default()),
        }
    }

    /// The figures of one dependency.
    pub(super) fn of(&self, dependency: &str) -> Figures {
        let of = Of { dependency: dependency.to_owned() };
        Figures {
            seconds: self.seconds.get_or_create_owned(&of),
            retries: self.retries.get_or_create_owned(&of),
            breaker: self.breaker(dependency),
            families: self.clone(),
            dependency: dependency.to_owned(),
        }
    }

    /// The breaker of one dependency. It has no series before its first state.
    pub(super) fn breaker(&self, dependency: &str) -> Breaker {
        Breaker { family: self.state.clone(), dependency: dependency.to_owned() }
    }
}

/// The figures of one dependency.
#[derive(Debug)]
pub struct Figures {
    families: Egress,
    dependency: String,
    seconds: Histogram,
    retries: Counter,
    breaker: Breaker,
}

/// The breaker of one dependency.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    family: Family<In, Gauge>,
    dependency: String,
}

impl Breaker {
    pub(super) fn set(&self, now: State) {
        for state in State::ALL {
            let labels = In { dependency: self.dependency.clone(), state: state.word() };
            self.family.get_or_create(&labels).set(i64::from(state == now));
        }
    }
}

impl Figures {
    /// A call ended.
    pub fn ended(&self, outcome: Outcome, took: Duration) {
        let labels = Ended { dependency: self.dependency.clone(), outcome: outcome.word() };
        self.families.requests.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A try was made again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// The breaker's state.
    pub fn breaker(&self, now: State) {
        self.breaker.set(now);
    }
}
