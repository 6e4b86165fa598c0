//! The metrics of the log pipeline.
//!
//! Invariant: every label value is one of the contract's, so that handing out a counter adds no
//! series.

use contract::metrics as table;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::registry::{Labels, closed_counter};
use crate::logs::{Counters, RedactionCounters, Stream, StreamCounters};

/// A family for each metric of the log pipeline.
#[derive(Debug)]
pub(super) struct LogFamilies {
    lines: Family<Labels<1>, Counter>,
    bytes: Family<Labels<1>, Counter>,
    dropped: Family<Labels<1>, Counter>,
    truncated: Family<Labels<1>, Counter>,
    not_utf8: Family<Labels<1>, Counter>,
    redactions: Family<Labels<1>, Counter>,
}

impl LogFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            lines: closed_counter(registry, &table::LOG_LINES_TOTAL),
            bytes: closed_counter(registry, &table::LOG_BYTES_TOTAL),
            dropped: closed_counter(registry, &table::LOG_DROPPED_TOTAL),
            truncated: closed_counter(registry, &table::LOG_TRUNCATED_TOTAL),
            not_utf8: closed_counter(registry, &table::LOG_NOT_UTF8_TOTAL),
            redactions: closed_counter(registry, &table::REDACTIONS_TOTAL),
        }
    }

    pub(super) fn counters(&self) -> Counters {
        Counters(Stream::ALL.map(|stream| {
            let labels = [("stream", stream.word())];
            StreamCounters {
                lines: self.lines.get_or_create_owned(&labels),
                bytes: self.bytes.get_or_create_owned(&labels),
                dropped: self.dropped.get_or_create_owned(&labels),
                truncated: self.truncated.get_or_create_owned(&labels),
                not_utf8: self.not_utf8.get_or_create_owned(&labels),
            }
        }))
    }

    pub(super) fn redactions(&self) -> RedactionCounters {
        RedactionCounters::new(|rule| self.redactions.get_or_create_owned(&[("rule", rule)]))
    }
}
