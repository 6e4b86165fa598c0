//! How often each rule took something.
//!
//! Invariant: there is one counter for each id in `contract::redactions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::redactions as ids;
use prometheus_client::metrics::counter::Counter;

/// Counts of what was taken, by the index of the rule in `contract::redactions::ALL`.
#[derive(Clone, Debug)]
pub struct Counters(pub(super) Arc<[Counter]>);

impl Counters {
    /// Counters by id.
    pub fn new(counter: impl Fn(&'static str) -> Counter) -> Self {
        Self(ids::ALL.iter().map(|id| counter(id)).collect())
    }

    /// How often each rule took something, without those that never did.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = ids::ALL.iter().zip(self.0.iter()).map(|(id, counter)| (*id, counter.get()));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new(|_| Counter::default())
    }
}
