//! Registers each metric of the contract once, with the contract's name, help and buckets.
//!
//! It deliberately knows no state: whoever records decides. Invariant: a counter or histogram with
//! a closed set of label values exists for each of them from the start, at zero, so that
//! `increase()` sees the first event.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use contract::bodies::Severity;
use contract::metrics::{self as table, Kind, Metric, OTHER, ROUTE_NONE, Values};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric as Registered, Registry};

use super::egress::Egress;
use super::guards::GuardCounters;
use super::logs::LogFamilies;
use super::process::Figures;
use super::secrets::Secrets;
use super::traces::Traces;
use super::{Exit, StopOutcome, StopPhase, outbox, publish};

pub(super) type FloatGauge = Gauge<f64, AtomicU64>;
pub(super) type Histograms<L> = Family<L, Histogram, Buckets>;
/// A gauge that has no series until its value is known.
type LateGauge = Family<Labels<0>, FloatGauge>;
pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Makes histograms with the buckets of the table.
#[derive(Clone, Debug)]
pub(super) struct Buckets(&'static Metric);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.buckets.iter().copied())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    status: &'static str,
    route: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DependencyLabels {
    dependency: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    dependency: String,
    kind: &'static str,
    severity: &'static str,
}

/// A handle for each metric.
#[derive(Debug)]
pub(super) struct Handles {
    pub(super) startup: Histogram,
    shutdown: Histograms<Labels<1>>,
    shutdown_phase: Histograms<Labels<1>>,
    last_ready: [LateGauge; 2],
    last_heartbeat: [LateGauge; 2],
    pub(super) ready: Gauge,
    pub(super) live: Gauge,
    pub(super) started: Gauge,
    pub(super) draining: Gauge,
    dependency_up: Family<ProbeLabels, Gauge>,
    dependency_probe: Histograms<DependencyLabels>,
    dependency_last_success: Family<DependencyLabels, FloatGauge>,
    pub(super) secrets: Secrets,
    dependency_age: Family<DependencyLabels, FloatGauge>,
    dependency_value: Family<DependencyLabels, Gauge>,
    requests: Histograms<RequestLabels>,
    /// The histograms of `requests` that were asked for, by [`Class`]: found without hashing.
    seen_requests: Box<[OnceLock<Histogram>]>,
    route_none: Arc<str>,
    pub(super) active_requests: Gauge,
    pub(super) egress: Egress,
    pub(super) guards: GuardCounters,
    pub(super) traces: Traces,
    exits: Family<Labels<1>, Counter>,
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    pub(super) orphans_reaped: Counter,
    pub(super) engine_restarts: Counter,
    pub(super) logs: LogFamilies,
    pub(super) publish: Arc<publish::Counters>,
    pub(super) outbox: outbox::Counters,
    pub(super) app_series_dropped: Counter,
    pub(super) app_scrape_errors: Counter,
    build_info: Family<Labels<2>, Gauge>,
}

impl Handles {
    /// Registers everything; the order is that of the reference page.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let r = registry;
        let egress = Egress::register(r);
        Self {
            startup: plain_histogram(r, &table::SERVICE_STARTUP_SECONDS),
            shutdown: closed_histogram(r, &table::SERVICE_SHUTDOWN_SECONDS),
            shutdown_phase: closed_histogram(r, &table::SERVICE_SHUTDOWN_PHASE_SECONDS),
            last_ready: [
                add(r, &table::READINESS_LAST_SUCCESS_TIMESTAMP, LateGauge::default()),
                add(r, &table::READINESS_LAST_SUCCESS_TIMESTAMP_SECONDS, LateGauge::default()),
            ],
            last_heartbeat: [
                add(r, &table::WORKER_LAST_HEARTBEAT_TIMESTAMP, LateGauge::default()),
                add(r, &table::WORKER_LAST_HEARTBEAT_TIMESTAMP_SECONDS, LateGauge::default()),
            ],
            ready: add(r, &table::SERVICE_READY, Gauge::default()),
            live: add(r, &table::SERVICE_LIVE, Gauge::default()),
            started: add(r, &table::SERVICE_STARTED, Gauge::default()),
            draining: add(r, &table::SERVICE_DRAINING, Gauge::default()),
            dependency_up: add(r, &table::DEPENDENCY_UP, Family::default()),
            dependency_probe: histograms(r, &table::DEPENDENCY_PROBE_SECONDS),
            dependency_last_success: add(
                r,
                &table::DEPENDENCY_LAST_SUCCESS_TIMESTAMP,
                Family::default(),
            ),
            secrets: Secrets::register(r),
            dependency_age: add(r, &table::DEPENDENCY_RESULT_AGE_SECONDS, Family::default()),
            dependency_value: add(r, &table::DEPENDENCY_VALUE, Family::default()),
            requests: histograms(r, &table::HTTP_SERVER_REQUEST_DURATION_SECONDS),
            seen_requests: (0..Class::COUNT).map(|_| OnceLock::new()).collect(),
            route_none: Arc::from(ROUTE_NONE),
            active_requests: add(r, &table::HTTP_SERVER_ACTIVE_REQUESTS, Gauge::default()),
            publish: publish::Counters::register(r, &egress),
            egress,
            guards: GuardCounters::register(r),
            traces: Traces::register(r),
            exits: closed_counter(r, &table::PROCESS_EXIT_TOTAL),
            cpu_seconds: add(r, &table::PROCESS_CPU_SECONDS_TOTAL, Counter::default()),
            resident_memory: add(r, &table::PROCESS_RESIDENT_MEMORY_BYTES, Gauge::default()),
            open_fds: add(r, &table::PROCESS_OPEN_FDS, Gauge::default()),
            max_fds: add(r, &table::PROCESS_MAX_FDS, Gauge::default()),
            threads: add(r, &table::PROCESS_THREADS, Gauge::default()),
            orphans_reaped: add(r, &table::ORPHANS_REAPED_TOTAL, Counter::default()),
            engine_restarts: add(r, &table::ENGINE_RESTARTS_TOTAL, Counter::default()),
            logs: LogFamilies::register(r),
            outbox: outbox::Counters::register(r),
            app_series_dropped: add(
                r,
                &table::APP_METRICS_SERIES_DROPPED_TOTAL,
                Counter::default(),
            ),
            app_scrape_errors: add(r, &table::APP_METRICS_SCRAPE_ERRORS_TOTAL, Counter::default()),
            build_info: add(r, &table::PLIMSOLL_BUILD_INFO, Family::default()),
        }
    }

    pub(super) fn build_info(&self, version: &'static str, rev: &'static str) {
        self.build_info.get_or_create(&[("version", version), ("rev", rev)]).set(1);
    }

    pub(super) fn shutdown(&self, outcome: StopOutcome) -> Histogram {
        let outcome = match outcome {
            StopOutcome::Graceful => "graceful",
            StopOutcome::Killed => "killed",
            StopOutcome::Crashed => "crashed",
        };
        self.shutdown.get_or_create_owned(&[("outcome", outcome)])
    }

    pub(super) fn shutdown_phase(&self, phase: StopPhase) -> Histogram {
        let phase = match phase {
            StopPhase::Drain => "drain",
            StopPhase::Grace => "grace",
            StopPhase::Sweep => "sweep",
            StopPhase::Flush => "flush",
            StopPhase::Linger => "linger",
        };
        self.shutdown_phase.get_or_create_owned(&[("phase", phase)])
    }

    pub(super) fn exit(&self, exit: Exit) -> Counter {
        let code = match exit {
            Exit::Code(0) => "0",
            Exit::Code(1) => "1",
            Exit::Code(2) => "2",
            Exit::Code(126) => "126",
            Exit::Code(127) => "127",
            Exit::Code(_) => OTHER,
            Exit::Signal => "signal",
        };
        self.exits.get_or_create_owned(&[("code", code)])
    }

    /// The histogram of a class of requests; `route` is the declared route of that class.
    pub(super) fn request(&self, class: Class, route: Option<&Arc<str>>) -> &Histogram {
        self.seen_requests[class.index()].get_or_init(|| {
            let labels = RequestLabels {
                method: METHODS.get(class.method).copied().unwrap_or(OTHER),
                status: STATUSES[class.status],
                route: route.unwrap_or(&self.route_none).clone(),
            };
            self.requests.get_or_create_owned(&labels)
        })
    }

    pub(super) fn probe(&self, dependency: &str) -> Histogram {
        self.dependency_probe
            .get_or_create_owned(&DependencyLabels { dependency: dependency.to_owned() })
    }

    pub(super) fn dependency(&self, name: &str, kind: &'static str, severity: Severity, up: bool) {
        let severity = match severity {
            Severity::Hard => "hard",
            Severity::Soft => "soft",
        };
        let labels = ProbeLabels { dependency: name.to_owned(), kind, severity };
        self.dependency_up.get_or_create(&labels).set(i64::from(up));
    }

    pub(super) fn dependency_last_success(&self, name: &str, at: f64) {
        let labels = DependencyLabels { dependency: name.to_owned() };
        self.dependency_last_success.get_or_create(&labels).set(at);
    }

    pub(super) fn dependency_age(&self, name: &str, seconds: f64) {
        let labels = DependencyLabels { dependency: name.to_owned() };
        self.dependency_age.get_or_create(&labels).set(seconds);
    }

    pub(super) fn dependency_value(&self, name: &str, value: u64) {
        let labels = DependencyLabels { dependency: name.to_owned() };
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.dependency_value.get_or_create(&labels).set(value);
    }

    pub(super) fn last_ready(&self, at: f64) {
        set_both(&self.last_ready, at);
    }

    pub(super) fn last_heartbeat(&self, at: f64) {
        set_both(&self.last_heartbeat, at);
    }

    pub(super) fn process(&self, figures: &Figures) {
        let grown = figures.cpu_seconds - self.cpu_seconds.get();
        if grown > 0.0 {
            self.cpu_seconds.inc_by(grown);
        }
        self.resident_memory.set(figures.resident_bytes);
        self.open_fds.set(figures.open_fds);
        self.max_fds.set(figures.max_fds);
        self.threads.set(figures.threads);
    }
}

/// A name and its alias with the unit.
fn set_both(gauges: &[LateGauge; 2], at: f64) {
    for gauge in gauges {
        gauge.get_or_create(&[]).set(at);
    }
}

pub(super) fn add<M: Registered + Clone>(registry: &mut Registry, metric: &Metric, handle: M) -> M {
    registry.register(metric.family_name(), metric.help, handle.clone());
    handle
}

fn plain_histogram(registry: &mut Registry, metric: &'static Metric) -> Histogram {
    add(registry, metric, Buckets(metric).new_metric())
}

pub(super) fn histograms<L>(registry: &mut Registry, metric: &'static Metric) -> Histograms<L>
where
    L: Clone + std::hash::Hash + Eq + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
{
    debug_assert_eq!(metric.kind, Kind::Histogram);
    add(registry, metric, Family::new_with_constructor(Buckets(metric)))
}

fn closed_histogram(registry: &mut Registry, metric: &'static Metric) -> Histograms<Labels<1>> {
    let family = histograms(registry, metric);
    for labels in closed_labels(metric) {
        drop(family.get_or_create(&labels));
    }
    family
}

pub(super) fn closed_counter(
    registry: &mut Registry,
    metric: &'static Metric,
) -> Family<Labels<1>, Counter> {
    let family = add(registry, metric, Family::default());
    for labels in closed_labels(metric) {
        drop(family.get_or_create(&labels));
    }
    family
}

/// Each value of the one label of a metric.
fn closed_labels(metric: &'static Metric) -> impl Iterator<Item = Labels<1>> {
    metric.labels.iter().flat_map(|label| {
        let values = match label.values {
            Values::Closed(values) => values,
            Values::Declared { .. } => &[],
        };
        values.iter().map(|value| [(label.name, *value)])
    })
}

const METHODS: &[&str] = closed(&table::HTTP_SERVER_REQUEST_DURATION_SECONDS, 0);
const STATUSES: &[&str] = closed(&table::HTTP_SERVER_REQUEST_DURATION_SECONDS, 1);

/// The values of a closed label.
const fn closed(metric: &Metric, label: usize) -> &'static [&'static str] {
    match metric.labels[label].values {
        Values::Closed(values) => values,
        Values::Declared { .. } => &[],
    }
}

/// What requests have in common that are measured together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    method: usize,
    status: usize,
    route: usize,
}

impl Class {
    const COUNT: usize = (METHODS.len() + 1) * STATUSES.len() * (table::ROUTES_MAX + 1);

    /// The class of a request; a `route` past `ROUTES_MAX` is none.
    pub(super) fn of(method: &str, status: u16, route: Option<usize>) -> Self {
        let method = METHODS.iter().position(|known| *known == method);
        let status = usize::from(status / 100).clamp(1, STATUSES.len()) - 1;
        let route = route.filter(|route| *route < table::ROUTES_MAX);
        Self {
            method: method.unwrap_or(METHODS.len()),
            status,
            route: route.map_or(0, |route| route + 1),
        }
    }

    fn index(self) -> usize {
        (self.route * STATUSES.len() + self.status) * (METHODS.len() + 1) + self.method
    }
}
