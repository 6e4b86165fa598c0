//! What the guards of the ingress decide. There are no series until one of them stands.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use contract::metrics as table;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::registry::{Histograms, Labels, add, histograms};
use crate::ingress::Rejection;

/// The handles of the metrics.
#[derive(Debug, Clone)]
pub struct GuardCounters {
    limits: Family<Labels<1>, Counter>,
    clients: Family<Labels<0>, Gauge>,
    tokens: Family<Labels<1>, Counter>,
    policies: Family<Labels<1>, Counter>,
    fetches: Family<Labels<1>, Counter>,
    key_age: Family<Labels<0>, Gauge<f64, AtomicU64>>,
    records: Family<Labels<1>, Counter>,
    latency: Histograms<Labels<0>>,
}

impl GuardCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            limits: add(registry, &table::RATE_LIMIT_DECISIONS_TOTAL, Family::default()),
            clients: add(registry, &table::RATE_LIMIT_CLIENTS, Family::default()),
            tokens: add(registry, &table::JWT_VERIFICATIONS_TOTAL, Family::default()),
            policies: add(registry, &table::POLICY_DECISIONS_TOTAL, Family::default()),
            fetches: add(registry, &table::JWKS_FETCHES_TOTAL, Family::default()),
            key_age: add(registry, &table::JWKS_AGE_SECONDS, Family::default()),
            records: add(registry, &table::AUDIT_RECORDS_TOTAL, Family::default()),
            latency: histograms(registry, &table::POLICY_DECISION_LATENCY_SECONDS),
        }
    }

    /// A bucket was asked.
    pub fn limited(&self, is_limited: bool, n_clients: usize) {
        let outcome = if is_limited { "limited" } else { "allowed" };
        self.limits.get_or_create(&[("outcome", outcome)]).inc();
        self.clients.get_or_create(&[]).set(i64::try_from(n_clients).unwrap_or(i64::MAX));
    }

    /// A token was looked at.
    pub fn verified(&self, rejection: Option<&Rejection>) {
        let outcome = match rejection {
            None => "accepted",
            Some(Rejection::Missing) => "missing",
            Some(Rejection::Expired) => "expired",
            Some(Rejection::Scope { .. }) => "forbidden",
            Some(Rejection::NoKeys) => "no_keys",
            Some(_) => "rejected",
        };
        self.tokens.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Published keys were fetched, or not; those in use are so old, if there are any.
    pub fn fetched_keys(&self, is_fetched: bool, age: Option<Duration>) {
        let outcome = if is_fetched { "fetched" } else { "failed" };
        self.fetches.get_or_create(&[("outcome", outcome)]).inc();
        if let Some(age) = age {
            self.key_age.get_or_create(&[]).set(age.as_secs_f64());
        }
    }

    /// So many records are in the audit log.
    pub fn recorded(&self, n_records: u64) {
        self.records.get_or_create(&[("outcome", "kept")]).inc_by(n_records);
    }

    /// So many records are not.
    pub fn unrecorded(&self, n_records: u64) {
        self.records.get_or_create(&[("outcome", "lost")]).inc_by(n_records);
    }

    /// A policy decided.
    pub fn decided(&self, is_allowed: bool, has_failed: bool, took: Duration) {
        let outcome = match (is_allowed, has_failed) {
            (true, _) => "allowed",
            (false, false) => "denied",
            (false, true) => "error",
        };
        self.policies.get_or_create(&[("outcome", outcome)]).inc();
        let latency: &Histogram = &self.latency.get_or_create(&[]);
        latency.observe(took.as_secs_f64());
    }
}
