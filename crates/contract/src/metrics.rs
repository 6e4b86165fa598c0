//! Table: every metric that Plimsoll emits.
//!
//! One constant per metric, so that the code that records it names it, and [`ALL`] in the order of
//! the reference page. Names that users have built dashboards on are kept verbatim, also where they
//! break the naming rule (`readiness_last_success_timestamp` has an alias with its unit). It
//! deliberately holds no values and registers nothing.
//!
//! Invariant: the number of series is bounded by construction. A label has a closed set of values,
//! or a limit above which its emitter folds the rest into [`OTHER`]; no label ever holds a request
//! path.

/// What a metric is, to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in [`Metric::buckets`].
    Histogram,
}

impl Kind {
    /// The word in a `# TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What the value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: requests, lines, 0 or 1.
    Count,
    /// Seconds of duration.
    Seconds,
    /// Seconds since 1970-01-01 UTC.
    UnixSeconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The unit in words; empty for things.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Seconds => "seconds",
            Self::UnixSeconds => "unix seconds",
            Self::Bytes => "bytes",
        }
    }
}

/// One label of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Name.
    pub name: &'static str,
    /// What it can hold.
    pub values: Values,
}

/// What a label can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// One of these.
    Closed(&'static [&'static str]),
    /// Names that the configuration declares; past the limit, [`OTHER`].
    Declared {
        /// Most different values one process emits.
        max: usize,
        /// Where the values come from.
        source: &'static str,
    },
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Name, as it is scraped (for a histogram, without `_bucket`, `_sum`, `_count`).
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// Labels, in the order in which they are written.
    pub labels: &'static [Label],
    /// Upper bounds of a histogram, ascending, in [`Metric::unit`]; else empty.
    pub buckets: &'static [f64],
    /// What it tells, without a full stop (an encoder adds its own).
    pub help: &'static str,
}

impl Metric {
    /// The name without the `_total` that OpenMetrics encoders append to a counter by themselves.
    pub fn family_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }

    /// Most label sets of this metric in one process.
    pub fn label_sets_max(&self) -> usize {
        self.labels.iter().map(Label::values_max).product()
    }

    /// Most lines of this metric in one scrape.
    pub fn series_max(&self) -> usize {
        let each = match self.kind {
            Kind::Counter | Kind::Gauge => 1,
            // The buckets, `+Inf`, `_sum` and `_count`.
            Kind::Histogram => self.buckets.len() + 3,
        };
        self.label_sets_max() * each
    }
}

impl Label {
    /// Most different values in one process, [`OTHER`] included.
    pub const fn values_max(&self) -> usize {
        match self.values {
            Values::Closed(values) => values.len(),
            Values::Declared { max, .. } => max + 1,
        }
    }
}

/// The metric of that name.
pub fn find(name: &str) -> Option<&'static Metric> {
    ALL.iter().copied().find(|metric| metric.name == name)
}

/// Value of a label whose own value is past the limit, or not in the closed set.
pub const OTHER: &str = "other";

/// Most dependencies with series of their own.
pub const DEPENDENCIES_MAX: usize = 32;

/// Most secrets with an age of their own.
pub const SECRETS_MAX: usize = 32;
/// Most dependencies that calls can be declared to.
pub const EGRESS_MAX: usize = 16;

/// Most declared routes with series of their own.
pub const ROUTES_MAX: usize = 32;

/// Most topics that can be published to; each has series of its own.
pub const TOPICS_MAX: usize = 16;

/// Value of `route` for a request that no declared route matches.
pub const ROUTE_NONE: &str = "other";

/// Most series that are taken over from the application's own metrics.
pub const APP_SERIES_MAX: usize = 5_000;

const DEPENDENCY: Label = Label {
    name: "dependency",
    values: Values::Declared { max: DEPENDENCIES_MAX, source: "name of the probe" },
};
const EGRESS_DEPENDENCY: Label = Label {
    name: "dependency",
    values: Values::Declared { max: EGRESS_MAX, source: "name in `--egress`" },
};
/// The dependency whose breaker stands before the cluster of `--publish`; no name in `--egress` has
/// a colon.
pub const PUBLISH_DEPENDENCY: &str = "publish:kafka";
const BREAKER_DEPENDENCY: Label = Label {
    name: "dependency",
    values: Values::Declared {
        max: EGRESS_MAX + 1,
        source: "name in `--egress`; `publish:kafka` for the cluster of `--publish`",
    },
};
const EGRESS_OUTCOME: Label = Label {
    name: "outcome",
    values: Values::Closed(&[
        "success",
        "client_error",
        "server_error",
        "timeout",
        "unreachable",
        "broken",
        "breaker_open",
        "bulkhead_full",
        "cancelled",
        "rejected",
    ]),
};
const PROBE_KIND: Label = Label {
    name: "kind",
    values: Values::Closed(&["tcp", "http", "exec", "postgres", "redis", "kafka", "heartbeat"]),
};
const SEVERITY: Label = Label { name: "severity", values: Values::Closed(&["hard", "soft"]) };
const PROVIDER: Label = Label {
    name: "provider",
    values: Values::Closed(&["age", "aws-sm", "aws-ssm", "dir", "env", "exec", "file", "vault"]),
};
const FETCH_RESULT: Label = Label {
    name: "result",
    values: Values::Closed(&["ok", "unreachable", "missing", "invalid", "denied", "config"]),
};
const SECRET_NAME: Label = Label {
    name: "name",
    values: Values::Declared { max: SECRETS_MAX, source: "reference of the secret" },
};
const STREAM: Label =
    Label { name: "stream", values: Values::Closed(&["stdout", "stderr", "plimsoll"]) };
const METHOD: Label = Label {
    name: "method",
    values: Values::Closed(&[
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", OTHER,
    ]),
};
const STATUS: Label =
    Label { name: "status", values: Values::Closed(&["1xx", "2xx", "3xx", "4xx", "5xx"]) };
const ROUTE: Label =
    Label { name: "route", values: Values::Declared { max: ROUTES_MAX, source: "declared route" } };

const fn metric(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind, unit, labels: &[], buckets: &[], help }
}

const fn labelled(metric: Metric, labels: &'static [Label]) -> Metric {
    Metric { labels, ..metric }
}

const fn histogram(
    name: &'static str,
    labels: &'static [Label],
    buckets: &'static [f64],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram, unit: Unit::Seconds, labels, buckets, help }
}

const fn flag(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Gauge, Unit::Count, help)
}

/// Time to become ready.
pub const SERVICE_STARTUP_SECONDS: Metric = histogram(
    "service_startup_seconds",
    &[],
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0],
    "Time from the spawn of the application until it was ready for the first time",
);
/// Time to stop.
pub const SERVICE_SHUTDOWN_SECONDS: Metric = histogram(
    "service_shutdown_seconds",
    &[Label { name: "outcome", values: Values::Closed(&["graceful", "killed", "crashed"]) }],
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 60.0],
    "Time from the first stop signal until the application was gone; the last stop is kept in the \
     state directory and told after the restart",
);
/// Time in each phase of a stop.
pub const SERVICE_SHUTDOWN_PHASE_SECONDS: Metric = histogram(
    "service_shutdown_phase_seconds",
    &[Label { name: "phase", values: Values::Closed(&["drain", "grace", "sweep", "flush"]) }],
    &[0.005, 0.05, 0.25, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0],
    "Time spent in each phase of a stop",
);
/// When `/ready` was last true; the users' name.
pub const READINESS_LAST_SUCCESS_TIMESTAMP: Metric = metric(
    "readiness_last_success_timestamp",
    Kind::Gauge,
    Unit::UnixSeconds,
    "When the service was last seen ready",
);
/// The same under a name with its unit.
pub const READINESS_LAST_SUCCESS_TIMESTAMP_SECONDS: Metric = metric(
    "readiness_last_success_timestamp_seconds",
    Kind::Gauge,
    Unit::UnixSeconds,
    "Same as `readiness_last_success_timestamp`",
);
/// When the worker last gave a sign of life; the users' name.
pub const WORKER_LAST_HEARTBEAT_TIMESTAMP: Metric = metric(
    "worker_last_heartbeat_timestamp",
    Kind::Gauge,
    Unit::UnixSeconds,
    "When the worker last gave a sign of life; absent without a heartbeat probe",
);
/// The same under a name with its unit.
pub const WORKER_LAST_HEARTBEAT_TIMESTAMP_SECONDS: Metric = metric(
    "worker_last_heartbeat_timestamp_seconds",
    Kind::Gauge,
    Unit::UnixSeconds,
    "Same as `worker_last_heartbeat_timestamp`",
);
/// `/ready` as a number.
pub const SERVICE_READY: Metric = flag("service_ready", "1 while the service is ready, else 0");
/// `/live` as a number.
pub const SERVICE_LIVE: Metric = flag("service_live", "1 while the service is live, else 0");
/// `/started` as a number.
pub const SERVICE_STARTED: Metric =
    flag("service_started", "1 from the end of the application's start, else 0");
/// Whether a stop has begun.
pub const SERVICE_DRAINING: Metric =
    flag("service_draining", "1 from the first stop signal, else 0");

/// Verdict of each probe.
pub const DEPENDENCY_UP: Metric = labelled(
    flag("dependency_up", "1 while the probe of the dependency passes, else 0"),
    &[DEPENDENCY, PROBE_KIND, SEVERITY],
);
/// Time each probe took.
pub const DEPENDENCY_PROBE_SECONDS: Metric = histogram(
    "dependency_probe_seconds",
    &[DEPENDENCY],
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5],
    "Time that one probe of the dependency took, whether it passed or not",
);
/// When each probe last passed.
pub const DEPENDENCY_LAST_SUCCESS_TIMESTAMP: Metric = labelled(
    metric(
        "dependency_last_success_timestamp",
        Kind::Gauge,
        Unit::UnixSeconds,
        "When the probe of the dependency last passed; absent until it has",
    ),
    &[DEPENDENCY],
);
/// How old each verdict is.
pub const DEPENDENCY_RESULT_AGE_SECONDS: Metric = labelled(
    metric(
        "dependency_result_age_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "Age of the last result of the probe; past three intervals it counts as a failure",
    ),
    &[DEPENDENCY],
);
/// How much waits at each dependency.
pub const DEPENDENCY_VALUE: Metric = labelled(
    metric(
        "dependency_value",
        Kind::Gauge,
        Unit::Count,
        "What the probe measures besides time: the lag of a consumer group, the length of a list",
    ),
    &[DEPENDENCY],
);

/// Answers of providers of secrets.
pub const SECRET_FETCH_TOTAL: Metric = labelled(
    metric(
        "secret_fetch_total",
        Kind::Counter,
        Unit::Count,
        "Answers of providers of secrets, by what they were",
    ),
    &[PROVIDER, FETCH_RESULT],
);
/// Time each answer took.
pub const SECRET_FETCH_SECONDS: Metric = histogram(
    "secret_fetch_seconds",
    &[PROVIDER],
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
    "Time that one answer of a provider of secrets took",
);
/// Age of each secret.
pub const SECRET_AGE_SECONDS: Metric = labelled(
    metric(
        "secret_age_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "Time since the provider last confirmed the value of the secret",
    ),
    &[SECRET_NAME],
);
/// What is left of each lease.
pub const SECRET_LEASE_REMAINING_SECONDS: Metric = labelled(
    metric(
        "secret_lease_remaining_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "What is left of the lease of the secret; absent without one",
    ),
    &[SECRET_NAME],
);

/// Time of each request through the ingress.
pub const HTTP_SERVER_REQUEST_DURATION_SECONDS: Metric = histogram(
    "http_server_request_duration_seconds",
    &[METHOD, STATUS, ROUTE],
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    "Time from the head of a request at the ingress until the last byte of its answer",
);
/// Requests in flight through the ingress.
pub const HTTP_SERVER_ACTIVE_REQUESTS: Metric =
    flag("http_server_active_requests", "Requests in flight at the ingress; a drain waits for 0");

/// Calls to declared dependencies.
pub const EGRESS_REQUESTS_TOTAL: Metric = labelled(
    metric(
        "egress_requests_total",
        Kind::Counter,
        Unit::Count,
        "Calls of the application to a dependency of `--egress`, by how they ended",
    ),
    &[EGRESS_DEPENDENCY, EGRESS_OUTCOME],
);
/// Time of each call.
pub const EGRESS_REQUEST_SECONDS: Metric = histogram(
    "egress_request_seconds",
    &[EGRESS_DEPENDENCY],
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    "Time from the head of a call until the last byte of its answer, retries included",
);
/// Tries after the first.
pub const EGRESS_RETRIES_TOTAL: Metric = labelled(
    metric(
        "egress_retries_total",
        Kind::Counter,
        Unit::Count,
        "Tries of calls to a dependency after the first",
    ),
    &[EGRESS_DEPENDENCY],
);
/// State of each breaker.
pub const CIRCUIT_BREAKER_STATE: Metric = labelled(
    flag(
        "circuit_breaker_state",
        "1 for the state that the breaker of the dependency is in, else 0",
    ),
    &[
        BREAKER_DEPENDENCY,
        Label { name: "state", values: Values::Closed(&["closed", "half_open", "open"]) },
    ],
);

/// What the buckets of clients said.
pub const RATE_LIMIT_DECISIONS_TOTAL: Metric = labelled(
    metric(
        "rate_limit_decisions_total",
        Kind::Counter,
        Unit::Count,
        "Requests that a rate limit was asked about; absent without one",
    ),
    &[Label { name: "outcome", values: Values::Closed(&["allowed", "limited"]) }],
);
/// Clients that the rate limits remember.
pub const RATE_LIMIT_CLIENTS: Metric =
    flag("rate_limit_clients", "Clients that the rate limits remember; absent without a limit");
/// Tokens, by what came of them.
pub const JWT_VERIFICATIONS_TOTAL: Metric = labelled(
    metric(
        "jwt_verifications_total",
        Kind::Counter,
        Unit::Count,
        "Requests that needed a token, by what came of it; absent without `--jwt`",
    ),
    &[Label {
        name: "outcome",
        values: Values::Closed(&[
            "accepted",
            "missing",
            "expired",
            "rejected",
            "forbidden",
            "no_keys",
        ]),
    }],
);
/// Records of the audit log.
pub const AUDIT_RECORDS_TOTAL: Metric = labelled(
    metric(
        "audit_records_total",
        Kind::Counter,
        Unit::Count,
        "Records for the audit log: on the disk, or lost because it could not be written or \
         synced; absent without `--audit-log`",
    ),
    &[Label { name: "outcome", values: Values::Closed(&["kept", "lost"]) }],
);
/// Attempts to fetch published keys.
pub const JWKS_FETCHES_TOTAL: Metric = labelled(
    metric(
        "jwks_fetches_total",
        Kind::Counter,
        Unit::Count,
        "Attempts to fetch the keys that tokens are checked with; absent without `jwks`",
    ),
    &[Label { name: "outcome", values: Values::Closed(&["fetched", "failed"]) }],
);
/// Whether there are keys that may be used, and how old they are.
pub const JWKS_AGE_SECONDS: Metric = metric(
    "jwks_age_seconds",
    Kind::Gauge,
    Unit::Seconds,
    "Time since the keys in use were last fetched, at the last attempt; absent before the first",
);
/// Decisions of the policy.
pub const POLICY_DECISIONS_TOTAL: Metric = labelled(
    metric(
        "policy_decisions_total",
        Kind::Counter,
        Unit::Count,
        "Requests that the policy decided about; absent without `--policy`",
    ),
    &[Label { name: "outcome", values: Values::Closed(&["allowed", "denied", "error"]) }],
);
/// Time of each decision of the policy.
pub const POLICY_DECISION_LATENCY_SECONDS: Metric = histogram(
    "policy_decision_latency_seconds",
    &[],
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0],
    "Time that the policy took to decide about a request; absent without `--policy`",
);

/// Spans of ours.
pub const TRACE_SPANS_TOTAL: Metric = labelled(
    metric(
        "trace_spans_total",
        Kind::Counter,
        Unit::Count,
        "Spans that were recorded: taken by the collector, dropped because too many waited, or \
         refused by the collector",
    ),
    &[Label { name: "outcome", values: Values::Closed(&["exported", "dropped", "failed"]) }],
);

/// Ends of the application's process.
pub const PROCESS_EXIT_TOTAL: Metric = labelled(
    metric(
        "process_exit_total",
        Kind::Counter,
        Unit::Count,
        "Ends of the application's process, by the class of its exit code",
    ),
    &[Label {
        name: "code",
        values: Values::Closed(&["0", "1", "2", "126", "127", "signal", OTHER]),
    }],
);
/// Processor time of the application.
pub const PROCESS_CPU_SECONDS_TOTAL: Metric = metric(
    "process_cpu_seconds_total",
    Kind::Counter,
    Unit::Seconds,
    "User and system time of the application and its descendants",
);
/// Memory of the application.
pub const PROCESS_RESIDENT_MEMORY_BYTES: Metric = metric(
    "process_resident_memory_bytes",
    Kind::Gauge,
    Unit::Bytes,
    "Resident memory of the application and its descendants",
);
/// File descriptors of the application.
pub const PROCESS_OPEN_FDS: Metric =
    flag("process_open_fds", "Open file descriptors of the application and its descendants");
/// Limit of file descriptors of the application.
pub const PROCESS_MAX_FDS: Metric = flag(
    "process_max_fds",
    "Soft limit of open file descriptors of the application's main process",
);
/// Threads of the application.
pub const PROCESS_THREADS: Metric =
    flag("process_threads", "Threads of the application and its descendants");
/// Orphans that were reaped.
pub const ORPHANS_REAPED_TOTAL: Metric = metric(
    "orphans_reaped_total",
    Kind::Counter,
    Unit::Count,
    "Processes reaped that the application had started and not waited for",
);
/// Restarts of the engine.
pub const ENGINE_RESTARTS_TOTAL: Metric = metric(
    "engine_restarts_total",
    Kind::Counter,
    Unit::Count,
    "Times that the guard had to start the engine again",
);

/// Lines of log.
pub const LOG_LINES_TOTAL: Metric = labelled(
    metric("log_lines_total", Kind::Counter, Unit::Count, "Log lines written, by stream"),
    &[STREAM],
);
/// Bytes of log.
pub const LOG_BYTES_TOTAL: Metric = labelled(
    metric(
        "log_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        "Bytes of log read from the application, by stream, before anything is added",
    ),
    &[STREAM],
);
/// Lines that were not written.
pub const LOG_DROPPED_TOTAL: Metric = labelled(
    metric(
        "log_dropped_total",
        Kind::Counter,
        Unit::Count,
        "Log lines lost because nobody read them and the buffer was full",
    ),
    &[STREAM],
);
/// Lines that were cut.
pub const LOG_TRUNCATED_TOTAL: Metric = labelled(
    metric(
        "log_truncated_total",
        Kind::Counter,
        Unit::Count,
        "Log lines cut because they were longer than the limit",
    ),
    &[STREAM],
);
/// Lines that were not text.
pub const LOG_NOT_UTF8_TOTAL: Metric = labelled(
    metric(
        "log_not_utf8_total",
        Kind::Counter,
        Unit::Count,
        "Log lines with bytes that are not UTF-8, which were replaced",
    ),
    &[STREAM],
);
/// Credentials that were taken out.
pub const REDACTIONS_TOTAL: Metric = labelled(
    metric(
        "redactions_total",
        Kind::Counter,
        Unit::Count,
        "Credentials taken out of log lines and answers, by rule",
    ),
    &[Label { name: "rule", values: Values::Closed(crate::redactions::ALL) }],
);

/// Messages, by what became of them.
pub const PUBLISH_TOTAL: Metric = labelled(
    metric(
        "publish_total",
        Kind::Counter,
        Unit::Count,
        "Messages by what became of them; absent without topics to publish to",
    ),
    &[
        Label {
            name: "topic",
            values: Values::Declared { max: TOPICS_MAX, source: "declared topic" },
        },
        Label {
            name: "result",
            values: Values::Closed(&[
                "accepted",
                "delivered",
                "retried",
                "dlq",
                "rejected_full",
                "rejected_invalid",
            ]),
        },
    ],
);
/// How far the broker is behind.
pub const PUBLISH_WAL_LAG_SECONDS: Metric = metric(
    "publish_wal_lag_seconds",
    Kind::Gauge,
    Unit::Seconds,
    "Age of the oldest message that the broker does not have; 0 when there is none",
);
/// The same under the users' name.
pub const MEMORY_WAL_LAG_SECONDS: Metric = metric(
    "memory_wal_lag_seconds",
    Kind::Gauge,
    Unit::Seconds,
    "Same as `publish_wal_lag_seconds`",
);
/// Size of the spool.
pub const PUBLISH_SPOOL_BYTES: Metric =
    metric("publish_spool_bytes", Kind::Gauge, Unit::Bytes, "Bytes that the spool takes on disk");
/// Messages in the spool.
pub const PUBLISH_SPOOL_RECORDS: Metric =
    flag("publish_spool_records", "Messages in the spool that the broker does not have");
/// Messages that were given up.
pub const PUBLISH_DEAD_LETTERS: Metric = flag(
    "publish_dead_letters",
    "Messages that the broker refused for good and that wait for someone",
);
/// Damage.
pub const PUBLISH_SPOOL_DAMAGED_TOTAL: Metric = metric(
    "publish_spool_damaged_total",
    Kind::Counter,
    Unit::Count,
    "Places of the spool that were torn by a crash or damaged, and stepped over",
);
/// Events of the outbox.
pub const OUTBOX_EVENTS_TOTAL: Metric = labelled(
    metric(
        "outbox_events_total",
        Kind::Counter,
        Unit::Count,
        "Events of the outbox that Kafka has, or refuses for good",
    ),
    &[Label { name: "result", values: Values::Closed(&["delivered", "dead"]) }],
);
/// Rounds of the outbox that failed.
pub const OUTBOX_FAILURES_TOTAL: Metric = metric(
    "outbox_failures_total",
    Kind::Counter,
    Unit::Count,
    "Rounds of the outbox that failed, by the database or by Kafka",
);
/// Time to make a group of messages certain.
pub const PUBLISH_FSYNC_SECONDS: Metric = histogram(
    "publish_fsync_seconds",
    &[],
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0],
    "Time to write a group of messages and make it certain",
);
/// Time to deliver a message.
pub const PUBLISH_DELIVERY_SECONDS: Metric = histogram(
    "publish_delivery_seconds",
    &[],
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0],
    "Time from the acceptance of a message until the broker has it",
);

/// Series of the application that were not merged.
pub const APP_METRICS_SERIES_DROPPED_TOTAL: Metric = metric(
    "app_metrics_series_dropped_total",
    Kind::Counter,
    Unit::Count,
    "Series of the application's own metrics left out: over the limit, or a name of ours",
);
/// Failed reads of the application's own metrics.
pub const APP_METRICS_SCRAPE_ERRORS_TOTAL: Metric = metric(
    "app_metrics_scrape_errors_total",
    Kind::Counter,
    Unit::Count,
    "Times that the application's own metrics could not be read",
);
/// What runs.
pub const PLIMSOLL_BUILD_INFO: Metric = labelled(
    flag("plimsoll_build_info", "Always 1; its labels say which build is running"),
    &[
        Label { name: "version", values: Values::Declared { max: 0, source: "this binary" } },
        Label { name: "rev", values: Values::Declared { max: 0, source: "this binary" } },
    ],
);

/// Every metric, in the order of the reference page.
pub const ALL: &[&Metric] = &[
    &SERVICE_STARTUP_SECONDS,
    &SERVICE_SHUTDOWN_SECONDS,
    &SERVICE_SHUTDOWN_PHASE_SECONDS,
    &READINESS_LAST_SUCCESS_TIMESTAMP,
    &READINESS_LAST_SUCCESS_TIMESTAMP_SECONDS,
    &WORKER_LAST_HEARTBEAT_TIMESTAMP,
    &WORKER_LAST_HEARTBEAT_TIMESTAMP_SECONDS,
    &SERVICE_READY,
    &SERVICE_LIVE,
    &SERVICE_STARTED,
    &SERVICE_DRAINING,
    &DEPENDENCY_UP,
    &DEPENDENCY_PROBE_SECONDS,
    &DEPENDENCY_LAST_SUCCESS_TIMESTAMP,
    &SECRET_FETCH_TOTAL,
    &SECRET_FETCH_SECONDS,
    &SECRET_AGE_SECONDS,
    &SECRET_LEASE_REMAINING_SECONDS,
    &DEPENDENCY_RESULT_AGE_SECONDS,
    &DEPENDENCY_VALUE,
    &HTTP_SERVER_REQUEST_DURATION_SECONDS,
    &HTTP_SERVER_ACTIVE_REQUESTS,
    &EGRESS_REQUESTS_TOTAL,
    &EGRESS_REQUEST_SECONDS,
    &EGRESS_RETRIES_TOTAL,
    &CIRCUIT_BREAKER_STATE,
    &RATE_LIMIT_DECISIONS_TOTAL,
    &RATE_LIMIT_CLIENTS,
    &JWT_VERIFICATIONS_TOTAL,
    &JWKS_FETCHES_TOTAL,
    &JWKS_AGE_SECONDS,
    &AUDIT_RECORDS_TOTAL,
    &POLICY_DECISIONS_TOTAL,
    &POLICY_DECISION_LATENCY_SECONDS,
    &TRACE_SPANS_TOTAL,
    &PROCESS_EXIT_TOTAL,
    &PROCESS_CPU_SECONDS_TOTAL,
    &PROCESS_RESIDENT_MEMORY_BYTES,
    &PROCESS_OPEN_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_THREADS,
    &ORPHANS_REAPED_TOTAL,
    &ENGINE_RESTARTS_TOTAL,
    &LOG_LINES_TOTAL,
    &LOG_BYTES_TOTAL,
    &LOG_DROPPED_TOTAL,
    &LOG_TRUNCATED_TOTAL,
    &PUBLISH_TOTAL,
    &PUBLISH_WAL_LAG_SECONDS,
    &MEMORY_WAL_LAG_SECONDS,
    &PUBLISH_SPOOL_BYTES,
    &PUBLISH_SPOOL_RECORDS,
    &PUBLISH_DEAD_LETTERS,
    &PUBLISH_SPOOL_DAMAGED_TOTAL,
    &PUBLISH_FSYNC_SECONDS,
    &PUBLISH_DELIVERY_SECONDS,
    &OUTBOX_EVENTS_TOTAL,
    &OUTBOX_FAILURES_TOTAL,
    &LOG_NOT_UTF8_TOTAL,
    &REDACTIONS_TOTAL,
    &APP_METRICS_SERIES_DROPPED_TOTAL,
    &APP_METRICS_SCRAPE_ERRORS_TOTAL,
    &PLIMSOLL_BUILD_INFO,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names from the users' documents, which their dashboards and alerts read.
    const FIXED: &[&str] = &[
        "service_startup_seconds",
        "service_shutdown_seconds",
        "readiness_last_success_timestamp",
        "worker_last_heartbeat_timestamp",
        "http_server_request_duration_seconds",
        "dependency_up",
        "memory_wal_lag_seconds",
    ];

    fn is_name(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !name.contains("__")
            && !name.ends_with('_')
    }

    #[test]
    fn names_are_valid_and_unique() {
        let mut seen = BTreeSet::new();
        for metric in ALL {
            assert!(is_name(metric.name), "`{}`", metric.name);
            assert!(seen.insert(metric.name), "`{}` is listed twice", metric.name);
            let mut labels = BTreeSet::from(["le", "service"]);
            for label in metric.labels {
                assert!(is_name(label.name), "`{}` of `{}`", label.name, metric.name);
                assert!(labels.insert(label.name), "`{}` of `{}`", label.name, metric.name);
            }
        }
    }

    #[test]
    fn no_name_collides_with_the_series_of_a_histogram() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        for metric in ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
            for suffix in ["_bucket", "_sum", "_count"] {
                assert!(!names.contains(format!("{}{suffix}", metric.name).as_str()));
            }
        }
    }

    #[test]
    fn the_users_names_are_kept() {
        for name in FIXED {
            assert!(find(name).is_some(), "`{name}` is gone");
        }
    }

    #[test]
    fn exactly_the_counters_end_in_total() {
        for metric in ALL {
            assert_eq!(
                metric.kind == Kind::Counter,
                metric.name.ends_with("_total"),
                "`{}`",
                metric.name
            );
            assert!(!metric.family_name().ends_with("_total"));
        }
    }

    #[test]
    fn exactly_the_histograms_have_buckets_and_they_ascend() {
        for metric in ALL {
            assert_eq!(metric.kind == Kind::Histogram, !metric.buckets.is_empty());
            assert!(metric.buckets.windows(2).all(|pair| pair[0] < pair[1]), "`{}`", metric.name);
            assert!(metric.buckets.iter().all(|bound| bound.is_finite() && *bound > 0.0));
        }
    }

    #[test]
    fn a_unit_is_in_the_name_unless_the_users_fixed_the_name() {
        let exempt = [
            "readiness_last_success_timestamp",
            "worker_last_heartbeat_timestamp",
            "dependency_last_success_timestamp",
        ];
        for metric in ALL.iter().filter(|metric| !exempt.contains(&metric.name)) {
            let base = metric.family_name();
            match metric.unit {
                Unit::Seconds | Unit::UnixSeconds => assert!(base.ends_with("_seconds"), "{base}"),
                Unit::Bytes => assert!(base.ends_with("_bytes"), "{base}"),
                Unit::Count => assert!(!base.ends_with("_seconds") && !base.ends_with("_bytes")),
            }
        }
    }

    #[test]
    fn help_is_a_sentence_without_its_full_stop() {
        for metric in ALL {
            assert!(metric.help.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()));
            assert!(!metric.help.ends_with('.'), "`{}`: the encoder adds one", metric.name);
            assert!(!metric.help.contains('\n'));
        }
    }

    #[test]
    fn a_declared_label_has_one_value_more_than_its_limit() {
        assert_eq!(DEPENDENCY_PROBE_SECONDS.label_sets_max(), DEPENDENCIES_MAX + 1);
        assert_eq!(PLIMSOLL_BUILD_INFO.series_max(), 1);
        assert_eq!(SERVICE_STARTUP_SECONDS.series_max(), 15);
    }
}
