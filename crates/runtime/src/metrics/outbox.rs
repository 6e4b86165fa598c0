//! The families of the outbox. Without an outbox they have no series.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use contract::metrics as table;

use super::registry::{Labels, add};

/// The counters of the outbox. Cheap to record.
#[derive(Clone, Debug)]
pub struct Counters {
    events: Family<Labels<1>, Counter>,
    failures: Family<Labels<0>, Counter>,
}

impl Counters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            events: add(registry, &table::OUTBOX_EVENTS_TOTAL, Family::default()),
            failures: add(registry, &table::OUTBOX_FAILURES_TOTAL, Family::default()),
        }
    }

    /// Makes the series, at zero.
    pub fn declare(&self) {
        self.delivered(0);
        drop(self.events.get_or_create(&[("result", "dead")]));
        drop(self.failures.get_or_create(&[]));
    }

    /// The broker has so many more events.
    pub fn delivered(&self, count: u64) {
        self.events.get_or_create(&[("result", "delivered")]).inc_by(count);
    }

    /// An event was refused for good.
    pub fn dead(&self) {
        self.events.get_or_create(&[("result", "dead")]).inc();
    }

    /// A round failed.
    pub fn failed(&self) {
        self.failures.get_or_create(&[]).inc();
    }
}
