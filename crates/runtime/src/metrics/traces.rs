//! What became of the spans that were recorded.

use contract::metrics as table;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::registry::{Labels, closed_counter};
use crate::telemetry::Counters;

/// The handle of the metric.
#[derive(Debug)]
pub(super) struct Traces {
    spans: Family<Labels<1>, Counter>,
}

impl Traces {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self { spans: closed_counter(registry, &table::TRACE_SPANS_TOTAL) }
    }

    /// The counters of the exporting task.
    pub(super) fn counters(&self) -> Counters {
        let of = |outcome| self.spans.get_or_create_owned(&[("outcome", outcome)]);
        Counters { exported: of("exported"), dropped: of("dropped"), failed: of("failed") }
    }
}
