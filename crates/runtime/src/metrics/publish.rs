//! The families of durable publish: what was accepted, refused and delivered, and what waits.
//!
//! Topics are declared, so that the series of each exist from the start, at zero. It deliberately
//! decides nothing. Invariant: a topic that is not declared is counted as `other`.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use contract::metrics::{self as table, OTHER};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    egress::{Breaker, Egress},
    registry::{FloatGauge, Histograms, Labels, add, histograms},
};
use crate::{
    egress::State,
    publish::{Stats, relay::Delivery},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    topic: Arc<str>,
    result: &'static str,
}

/// The counters of durable publish. Cheap to record from any thread.
#[derive(Debug)]
pub struct Counters {
    messages: Family<Outcome, Counter>,
    /// The counters of each declared topic, found without hashing, and those of all others.
    topics: OnceLock<(BTreeMap<String, Topic>, Topic)>,
    lag: [Family<Labels<0>, FloatGauge>; 2],
    bytes: Family<Labels<0>, Gauge>,
    records: Family<Labels<0>, Gauge>,
    dead: Family<Labels<0>, Gauge>,
    damaged: Family<Labels<0>, Counter>,
    fsync: Histograms<Labels<0>>,
    delivery: Histograms<Labels<0>>,
    breaker: Breaker,
}

#[derive(Clone, Debug)]
struct Topic {
    accepted: Counter,
    delivered: Counter,
    retried: Counter,
    dlq: Counter,
    full: Counter,
    invalid: Counter,
}

impl Counters {
    /// Registers the families; they have no series before [`Counters::declare`].
    pub(super) fn register(registry: &mut Registry, egress: &Egress) -> Arc<Self> {
        let r = registry;
        Arc::new(Self {
            messages: add(r, &table::PUBLISH_TOTAL, Family::default()),
            topics: OnceLock::new(),
            lag: [
                add(r, &table::PUBLISH_WAL_LAG_SECONDS, Family::default()),
                add(r, &table::MEMORY_WAL_LAG_SECONDS, Family::default()),
            ],
            bytes: add(r, &table::PUBLISH_SPOOL_BYTES, Family::default()),
            records: add(r, &table::PUBLISH_SPOOL_RECORDS, Family::default()),
            dead: add(r, &table::PUBLISH_DEAD_LETTERS, Family::default()),
            damaged: add(r, &table::PUBLISH_SPOOL_DAMAGED_TOTAL, Family::default()),
            fsync: histograms(r, &table::PUBLISH_FSYNC_SECONDS),
            delivery: histograms(r, &table::PUBLISH_DELIVERY_SECONDS),
            breaker: egress.breaker(table::PUBLISH_DEPENDENCY),
        })
    }

    /// How delivery to the cluster goes.
    pub(crate) fn delivery(&self, delivery: &Delivery) {
        self.breaker.set(match delivery {
            Delivery::Flowing => State::Closed,
            Delivery::Doubtful => State::HalfOpen,
            Delivery::Stopped(_) => State::Open,
        });
    }

    /// Makes the series of the declared topics. Only the first call counts.
    pub fn declare<'a>(&self, topics: impl Iterator<Item = &'a String>) {
        let declared = topics.take(table::TOPICS_MAX);
        drop(self.fsync.get_or_create(&[]));
        drop(self.delivery.get_or_create(&[]));
        drop(self.damaged.get_or_create(&[]));
        self.topics.get_or_init(|| {
            let topics = declared.map(|name| (name.clone(), self.topic(name)));
            (topics.collect(), self.topic(OTHER))
        });
    }

    fn topic(&self, name: &str) -> Topic {
        let topic: Arc<str> = Arc::from(name);
        let counter =
            |result| self.messages.get_or_create_owned(&Outcome { topic: topic.clone(), result });
        Topic {
            accepted: counter("accepted"),
            delivered: counter("delivered"),
            retried: counter("retried"),
            dlq: counter("dlq"),
            full: counter("rejected_full"),
            invalid: counter("rejected_invalid"),
        }
    }

    fn count(&self, topic: &str, counter: impl Fn(&Topic) -> &Counter) {
        if let Some((topics, other)) = self.topics.get() {
            counter(topics.get(topic).unwrap_or(other)).inc();
        }
    }

    /// A message is in the spool.
    pub fn accepted(&self, topic: &str) {
        self.count(topic, |topic| &topic.accepted);
    }

    /// The broker has a message, so long after it was accepted.
    pub fn delivered(&self, topic: &str, took: Duration) {
        self.count(topic, |topic| &topic.delivered);
        self.delivery.get_or_create(&[]).observe(took.as_secs_f64());
    }

    /// The broker did not take a message, and it is sent again.
    pub fn retried(&self, topic: &str) {
        self.count(topic, |topic| &topic.retried);
    }

    /// The broker refuses a message for good.
    pub fn dlq(&self, topic: &str) {
        self.count(topic, |topic| &topic.dlq);
    }

    /// There was no room for a message.
    pub fn rejected_full(&self, topic: &str) {
        self.count(topic, |topic| &topic.full);
    }

    /// A message broke a rule.
    pub fn invalid(&self, topic: &str) {
        self.count(topic, |topic| &topic.invalid);
    }

    /// A group of messages was written and made certain.
    pub fn fsync(&self, took: Duration) {
        self.fsync.get_or_create(&[]).observe(took.as_secs_f64());
    }

    /// Places in the spool were torn or damaged.
    pub fn damaged(&self, count: u64) {
        self.damaged.get_or_create(&[]).inc_by(count);
    }

    /// What the spool holds.
    pub fn holds(&self, stats: &Stats, now_us: u64) {
        let lag = lag(stats, now_us).as_secs_f64();
        for gauge in &self.lag {
            gauge.get_or_create(&[]).set(lag);
        }
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.bytes.get_or_create(&[]).set(number(stats.bytes));
        self.records.get_or_create(&[]).set(number(stats.pending));
        self.dead.get_or_create(&[]).set(number(stats.dead));
    }
}

/// How long the oldest record has waited.
#[must_use]
pub fn lag(stats: &Stats, now_us: u64) -> Duration {
    let oldest = stats.oldest_at_us.unwrap_or(now_us);
    Duration::from_micros(now_us.saturating_sub(oldest))
}
