//! The metrics of secrets: what providers answer, and how old values are.
//!
//! It deliberately registers series only once there is a secret. Invariant: at most
//! `contract::metrics::SECRETS_MAX` names have series of their own; the oldest of the rest is
//! `other`.

use std::time::Duration;

use contract::metrics::{self as table, OTHER};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;

use super::Metrics;
use super::registry::{FloatGauge, Histograms, add, histograms};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    provider: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

/// A handle for each metric of secrets.
#[derive(Debug)]
pub(super) struct Secrets {
    fetches: Family<FetchLabels, Counter>,
    fetch_seconds: Histograms<ProviderLabels>,
    ages: Family<NameLabels, FloatGauge>,
    leases: Family<NameLabels, FloatGauge>,
}

impl Secrets {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            fetches: add(r, &table::SECRET_FETCH_TOTAL, Family::default()),
            fetch_seconds: histograms(r, &table::SECRET_FETCH_SECONDS),
            ages: add(r, &table::SECRET_AGE_SECONDS, Family::default()),
            leases: add(r, &table::SECRET_LEASE_REMAINING_SECONDS, Family::default()),
        }
    }
}

impl Metrics {
    /// A provider of secrets has answered, or was given up.
    pub fn secret_fetched(&self, provider: &'static str, result: &'static str, took: Duration) {
        let secrets = &self.handles.secrets;
        secrets.fetches.get_or_create(&FetchLabels { provider, result }).inc();
        secrets
            .fetch_seconds
            .get_or_create(&ProviderLabels { provider })
            .observe(took.as_secs_f64());
    }

    /// How old each secret is, and what is left of its lease.
    pub fn secret_ages<'a>(
        &self,
        ages: impl Iterator<Item = (&'a str, Duration, Option<Duration>)>,
    ) {
        let secrets = &self.handles.secrets;
        let mut oldest: f64 = 0.0;
        for (index, (name, age, lease)) in ages.enumerate() {
            let is_other = index >= table::SECRETS_MAX;
            let labels = NameLabels { name: if is_other { OTHER.into() } else { name.to_owned() } };
            let age = age.as_secs_f64();
            oldest = if is_other { oldest.max(age) } else { age };
            secrets.ages.get_or_create(&labels).set(oldest);
            if let Some(lease) = lease.filter(|_| !is_other) {
                secrets.leases.get_or_create(&labels).set(lease.as_secs_f64());
            }
        }
    }
}
