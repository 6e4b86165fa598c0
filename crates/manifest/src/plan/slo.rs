//! What a service's users are promised.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    names::HttpPath,
    units::{Millis, Ppm},
};

/// The objectives of one service; all absent means nothing was promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slo {
    /// The period over which they hold.
    pub window: Millis,
    /// Share of requests answered without a server error.
    pub availability: Option<Availability>,
    /// Share of requests answered in time.
    pub latency: Option<Latency>,
    /// Share of jobs that succeed.
    pub success: Option<Success>,
    /// How old data may get.
    pub freshness: Option<Freshness>,
    /// Objectives over the app's own metrics, by name.
    pub custom: BTreeMap<String, CustomSlo>,
}

/// Share of requests answered without a server error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Availability {
    /// Above 0 and below 100 %.
    pub objective: Ppm,
}

/// Share of requests answered in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// The percentile that was written: 950,000 ppm for `p95`.
    pub percentile: Ppm,
    /// What is still in time. Also a bucket boundary of the histogram.
    pub threshold: Millis,
    /// Above 0 and below 100 %; the percentile unless written.
    pub objective: Ppm,
    /// Only requests below this path.
    pub route: Option<HttpPath>,
    /// The app's own histogram, instead of the ingress's.
    pub histogram: Option<String>,
}

/// Share of jobs that succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Success {
    /// Above 0 and below 100 %.
    pub objective: Ppm,
    /// Only jobs whose name matches.
    pub jobs: Option<String>,
}

/// How old data may get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// Older is stale.
    pub max_age: Millis,
    /// Share of time in which it is not stale.
    pub objective: Ppm,
    /// Which data, when there is more than one.
    pub dataset: Option<String>,
}

/// An objective over the app's own metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomSlo {
    /// Above 0 and below 100 %.
    pub objective: Ppm,
    /// What is counted.
    #[serde(flatten)]
    pub sli: Sli,
}

/// What is counted: Prometheus selectors, not queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Sli {
    /// Bad events of all events.
    Bad {
        /// Selector of bad events.
        bad: String,
        /// Selector of all events.
        total: String,
    },
    /// Good events of all events.
    Good {
        /// Selector of good events.
        good: String,
        /// Selector of all events.
        total: String,
    },
}
