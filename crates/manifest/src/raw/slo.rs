//! The keys of `slo`.

use crate::{
    keys::keys,
    merge::{Field, Loose, Table},
    names::HttpPath,
    scalar::short,
    units::{Millis, Ppm},
};

keys! {
    /// What a service's users are promised.
    RawSlo, "`slo`" {
        /// The period over which the objectives hold: 7d, 14d, 28d, 30d or 90d.
        window ["window"]: Millis = "30d";
        /// Share of requests answered without a server error. A percentage is `objective`.
        availability ["availability"]: Loose<RawAvailability> = "none";
        /// Share of requests answered in time.
        latency ["latency"]: RawLatency = "none";
        /// Share of jobs that succeed. A percentage is `objective`.
        success ["success"]: Loose<RawSuccess> = "none";
        /// How old data may get. A duration is `max_age`.
        freshness ["freshness"]: Loose<RawFreshness> = "none";
        /// Objectives over the app's own metrics, by name.
        custom ["custom"]: Table<String, RawCustomSlo> = "none";
    }

    /// Share of requests answered without a server error. Short form: `objective`.
    RawAvailability, "`availability`" {
        /// Above 0 and below 100.
        objective ["objective"]: Ppm = "required";
    }

    /// Share of requests answered in time: exactly one percentile.
    RawLatency, "`latency`" {
        /// Half of the requests are answered within this.
        p50 ["p50"]: Millis = "none";
        /// 90% of the requests are answered within this.
        p90 ["p90"]: Millis = "none";
        /// 95% of the requests are answered within this.
        p95 ["p95"]: Millis = "none";
        /// 99% of the requests are answered within this.
        p99 ["p99"]: Millis = "none";
        /// The share, when it is not the percentile.
        objective ["objective"]: Ppm = "the percentile";
        /// Only requests below this path.
        route ["route"]: HttpPath = "all";
        /// The app's own histogram, instead of the ingress's.
        histogram ["histogram"]: String = "the ingress's";
    }

    /// Share of jobs that succeed. Short form: `objective`.
    RawSuccess, "`success`" {
        /// Above 0 and below 100.
        objective ["objective"]: Ppm = "required";
        /// Only jobs whose name matches.
        jobs ["jobs"]: String = "all";
    }

    /// How old data may get. Short form: `max_age`.
    RawFreshness, "`freshness`" {
        /// Older is stale.
        max_age ["max_age"]: Millis = "required";
        /// Share of time in which it is not stale.
        objective ["objective"]: Ppm = "99%";
        /// Which data, when there is more than one.
        dataset ["dataset"]: String = "the only one";
    }

    /// An objective over the app's own metrics: `total`, and `good` or `bad`. Prometheus
    /// selectors, not queries.
    RawCustomSlo, "an objective" {
        /// Above 0 and below 100.
        objective ["objective"]: Ppm = "required";
        /// Selector of good events.
        good ["good"]: String = "none";
        /// Selector of bad events.
        bad ["bad"]: String = "none";
        /// Selector of all events.
        total ["total"]: String = "required";
    }
}

short! {
    RawAvailability: Ppm => |objective| RawAvailability { objective: Field::Set(objective) };
    RawSuccess: Ppm => |objective| RawSuccess {
        objective: Field::Set(objective),
        ..RawSuccess::default()
    };
    RawFreshness: Millis => |max_age| RawFreshness {
        max_age: Field::Set(max_age),
        ..RawFreshness::default()
    };
}
