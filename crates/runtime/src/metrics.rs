//! The metrics of one process: registered from the contract's table, recorded by the parts of the
//! engine, rendered for a scrape.
//!
//! What is a state (ready, a dependency's verdict, the app's memory) is read from the board and
//! `/proc` when it is scraped; what is an event is counted when it happens. The app's own metrics
//! are merged into the same exposition. It deliberately adds no series that `contract::metrics`
//! does not list.
//!
//! Invariant: the number of series is bounded: every label value comes from a closed set or from
//! names that the configuration declares.

pub mod egress;
mod exposition;
mod guards;
mod logs;
pub mod outbox;
mod process;
pub mod publish;
mod registry;
mod scrape;
mod scrapes;
mod secrets;
mod traces;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::bodies::{OPENMETRICS_TEXT, PROMETHEUS_TEXT, Status};
use contract::metrics as table;
use jiff::Timestamp;
use prometheus_client::registry::Registry;

pub use exposition::{Exposition, Form};
pub use guards::GuardCounters;
pub use scrape::{APP_METRICS_BYTES_MAX, APP_METRICS_TIMEOUT, AppMetrics, ScrapeError};

use crate::board::{self, Identity, Moment, Snapshot};
use crate::logs::{Counters as LogCounters, RedactionCounters};
use crate::telemetry;
use process::Process;
use registry::{Class, Handles};

/// Revision that this was built from, when the build was told one.
pub const REVISION: &str = match option_env!("PLIMSOLL_BUILD_REV") {
    Some(revision) => revision,
    None => "unknown",
};

/// How a stop ended: the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopOutcome {
    /// The app ended by itself in time.
    Graceful,
    /// The app had to be killed.
    Killed,
    /// The app ended without having been asked.
    Crashed,
}

/// A phase of a stop: the label `phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopPhase {
    /// Serving on, unready.
    Drain,
    /// Waiting for the app.
    Grace,
    /// Ending what the app left behind.
    Sweep,
    /// Emptying the log pipes.
    Flush,
    /// Waiting for a last scrape.
    Linger,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By a signal.
    Signal,
}

/// All metrics of this process. Cheap to record from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    handles: Handles,
    /// Declared routes, cut to those that get series of their own.
    routes: Vec<Arc<str>>,
    process: Mutex<Process>,
    scrapes: scrapes::Scrapes,
}

impl Metrics {
    /// Registers every metric of the table. `routes` are the declared routes of the ingress; those
    /// past `contract::metrics::ROUTES_MAX` are counted as `other`.
    #[must_use]
    pub fn new(identity: &Identity, routes: &[String]) -> Arc<Self> {
        let service = ("service".into(), identity.service.clone().into());
        let mut registry = Registry::with_labels([service].into_iter());
        let handles = Handles::register(&mut registry);
        handles.build_info(env!("CARGO_PKG_VERSION"), REVISION);
        let routes = routes.iter().take(table::ROUTES_MAX).map(|route| Arc::from(&**route));
        let (process, scrapes) = (Mutex::default(), scrapes::Scrapes::default());
        Arc::new(Self { registry, handles, routes: routes.collect(), process, scrapes })
    }

    /// The counters of the log pipeline.
    #[must_use]
    pub fn log_counters(&self) -> LogCounters {
        self.handles.logs.counters()
    }

    /// The counters of redaction.
    #[must_use]
    pub fn redaction_counters(&self) -> RedactionCounters {
        self.handles.logs.redactions()
    }

    /// The counters of the outbox.
    #[must_use]
    pub fn outbox(&self) -> outbox::Counters {
        self.handles.outbox.clone()
    }

    /// The counters of durable publish.
    #[must_use]
    pub fn publish(&self) -> Arc<publish::Counters> {
        self.handles.publish.clone()
    }

    /// The figures of calls to one declared dependency.
    #[must_use]
    pub fn egress(&self, dependency: &str) -> egress::Figures {
        self.handles.egress.of(dependency)
    }

    /// The counters of the task that exports spans.
    #[must_use]
    pub fn trace_counters(&self) -> telemetry::Counters {
        self.handles.traces.counters()
    }

    /// The app became ready for the first time, so long after its spawn.
    pub fn started_up(&self, took: Duration) {
        self.handles.startup.observe(took.as_secs_f64());
    }

    /// A stop ended, so long after the first signal; also used for the last stop of an earlier
    /// life.
    pub fn shut_down(&self, outcome: StopOutcome, took: Duration) {
        self.handles.shutdown(outcome).observe(took.as_secs_f64());
    }

    /// A phase of a stop ended.
    pub fn stop_phase(&self, phase: StopPhase, took: Duration) {
        self.handles.shutdown_phase(phase).observe(took.as_secs_f64());
    }

    /// The app's process ended.
    pub fn app_exited(&self, exit: Exit) {
        self.handles.exit(exit).inc();
    }

    /// The guard reaped so many orphans.
    pub fn orphans_reaped(&self, count: u64) {
        self.handles.orphans_reaped.inc_by(count);
    }

    /// Where the guards of the ingress count.
    pub fn guards(&self) -> GuardCounters {
        self.handles.guards.clone()
    }

    /// A request came in at the ingress. Pair with [`Metrics::request_ended`].
    pub fn request_began(&self) {
        self.handles.active_requests.inc();
    }

    /// A request that [`Metrics::request_began`] counted is over. `route` is the index of the
    /// declared route that it matched.
    pub fn request_ended(&self, method: &str, status: u16, route: Option<usize>, took: Duration) {
        self.handles.active_requests.dec();
        let route = route.filter(|index| *index < self.routes.len());
        let class = Class::of(method, status, route);
        let route = route.and_then(|index| self.routes.get(index));
        self.handles.request(class, route).observe(took.as_secs_f64());
    }

    /// A probe of a dependency took so long, whether it passed or not.
    pub fn probed(&self, dependency: &str, took: Duration) {
        self.handles.probe(dependency).observe(took.as_secs_f64());
    }

    /// Everything, as of now. `app` is what the app itself exposes, or why that could not be read.
    #[must_use]
    pub fn render(
        &self,
        snapshot: &Snapshot,
        now: Moment,
        form: Form,
        app: Option<Result<Exposition, ScrapeError>>,
    ) -> String {
        self.refresh(snapshot, now);
        self.scrapes.note(now.mono);
        if matches!(app, Some(Err(_))) {
            self.handles.app_scrape_errors.inc();
        }
        let app = app.and_then(Result::ok).map(|app| {
            let (merged, left_out) = app.without_ours(table::APP_SERIES_MAX);
            self.handles.app_series_dropped.inc_by(left_out as u64);
            merged
        });
        let mut own = String::new();
        prometheus_client::encoding::text::encode_registry(&mut own, &self.registry)
            .expect("a string takes every write");
        let mut exposition = Exposition::parse(&own, Form::OpenMetrics);
        if let Some(app) = app {
            exposition.append(app);
        }
        exposition.print(form)
    }

    /// Comes with the next scrape; at once when nobody has scraped of late.
    pub fn next_scrape(&self, now: Moment) -> impl Future<Output = ()> + use<> {
        self.scrapes.next(now.mono)
    }

    /// Sets what is a state rather than an event.
    fn refresh(&self, snapshot: &Snapshot, now: Moment) {
        let handles = &self.handles;
        let is_ready = board::ready(snapshot, now).is_empty();
        handles.ready.set(i64::from(is_ready));
        handles.live.set(i64::from(board::live(snapshot, now).is_none()));
        handles.started.set(i64::from(snapshot.has_started));
        handles.draining.set(i64::from(snapshot.draining));
        if let Some(at) = if is_ready { Some(now.wall) } else { snapshot.last_ready } {
            handles.last_ready(unix_seconds(at));
        }
        if let Some(at) = snapshot.last_heartbeat() {
            handles.last_heartbeat(unix_seconds(at));
        }
        let dependencies =
            snapshot.verdicts.iter().filter(|(_, verdict)| verdict.kind != board::OWN_KIND);
        for (name, verdict) in dependencies {
            handles.dependency_age(name, now.since(verdict.checked).as_secs_f64());
            if let Some(depth) = verdict.depth {
                handles.dependency_value(name, depth.value);
            }
            let is_up = verdict.status_at(now) != Status::Fail;
            handles.dependency(name, verdict.kind, verdict.severity, is_up);
            if let Some(at) = verdict.last_success {
                handles.dependency_last_success(name, unix_seconds(at));
            }
        }
        raise(&handles.engine_restarts, u64::from(snapshot.engine_restarts));
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(figures) = process.sample(snapshot.app.pid) {
            handles.process(&figures);
        }
    }
}

/// Lifts a counter to a total that someone else keeps.
fn raise(counter: &prometheus_client::metrics::counter::Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn unix_seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// The form that a scraper asks for: OpenMetrics 1.0 if its `Accept` prefers that, else text.
#[must_use]
pub fn form_for(accept: &str) -> Form {
    let quality = |part: &str| {
        let value = part.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
        value.map_or(1.0, |value| value.trim().parse::<f32>().unwrap_or(0.0))
    };
    let (mut open, mut text) = (0.0f32, 0.0f32);
    for part in accept.split(',') {
        match part.split(';').next().unwrap_or_default().trim() {
            "application/openmetrics-text" => open = open.max(quality(part)),
            "text/plain" | "text/*" | "*/*" => text = text.max(quality(part)),
            _ => {}
        }
    }
    if open > 0.0 && open >= text { Form::OpenMetrics } else { Form::Text }
}

impl Form {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Text => PROMETHEUS_TEXT,
            Form::OpenMetrics => OPENMETRICS_TEXT,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contract::metrics::{Kind, Values};

    use super::*;
    use crate::board::Board;

    fn now() -> Moment {
        Moment::now()
    }

    /// Metrics with a value in every series that can have one.
    fn everything() -> (Arc<Metrics>, Arc<Snapshot>) {
        let identity = Identity { service: "a \"b\"\\".into(), ..Identity::default() };
        let metrics = Metrics::new(&identity, &["/v1/items/{id}".into()]);
        let board = Board::new(identity, now());
        metrics.started_up(Duration::from_millis(70));
        metrics.shut_down(StopOutcome::Killed, Duration::from_secs(20));
        metrics.stop_phase(StopPhase::Grace, Duration::from_secs(20));
        metrics.app_exited(Exit::Code(42));
        metrics.orphans_reaped(2);
        let called = metrics.egress("llm");
        called.ended(crate::egress::Outcome::Success, Duration::from_millis(3));
        called.retried();
        called.breaker(crate::egress::State::Open);
        for (method, status, route) in
            [("GET", 200, Some(0)), ("BREW", 418, None), ("POST", 599, Some(7))]
        {
            metrics.request_began();
            metrics.request_ended(method, status, route, Duration::from_millis(3));
        }
        metrics.probed("db", Duration::from_millis(1));
        metrics.secret_fetched("file", "ok", Duration::from_millis(1));
        let age = Duration::from_secs(3);
        metrics.secret_ages([("token", age, Some(Duration::from_secs(60)))].into_iter());
        let guards = metrics.guards();
        guards.limited(true, 1);
        guards.verified(None);
        guards.fetched_keys(true, Some(age));
        guards.recorded(1);
        guards.decided(true, false, Duration::from_micros(90));
        metrics.outbox().declare();
        let published = metrics.publish();
        published.declare([&"orders".to_owned()].into_iter());
        published.delivered("orders", Duration::from_millis(1));
        published.holds(&crate::publish::Stats::default(), 0);
        let verdict = board::Verdict {
            kind: "tcp",
            severity: contract::bodies::Severity::Hard,
            gates: board::Gates { ready: true, ..Default::default() },
            interval: Duration::from_secs(5),
            status: Status::Pass,
            observed: None,
            depth: Some(board::Depth { what: "length", value: 7, warn: None }),
            checked: now(),
            last_success: Some(now().wall),
            consecutive_failures: 0,
            output: None,
        };
        board.record("db", verdict, now());
        board.app_spawned(std::process::id(), now());
        board.set_phase(board::Phase::Started, now());
        board.heartbeat(now());
        (metrics, board.snapshot())
    }

    /// Name to type and help, and each sample with its labels.
    type Read = (BTreeMap<String, (String, String)>, Vec<(String, BTreeMap<String, String>)>);

    /// A strict reader of what was printed; panics on what Prometheus or OpenMetrics forbid.
    fn read_strictly(text: &str, form: Form) -> Read {
        let (mut families, mut samples) = (BTreeMap::new(), Vec::new());
        let mut current: Option<(String, String)> = None;
        let mut help = None;
        let mut lines = text.lines().peekable();
        assert!(text.ends_with('\n'));
        while let Some(line) = lines.next() {
            if line == "# EOF" {
                assert!(form == Form::OpenMetrics && lines.peek().is_none());
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').expect("a help text");
                assert!(help.replace((name.to_owned(), text.to_owned())).is_none(), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                let (about, text) = help.take().unwrap_or((name.to_owned(), String::new()));
                assert_eq!(about, name, "help and type belong together");
                let known = families.insert(name.to_owned(), (kind.to_owned(), text));
                assert_eq!(known, None, "`{name}` comes twice");
                current = Some((name.to_owned(), kind.to_owned()));
            } else {
                assert!(!line.starts_with('#') && help.is_none(), "{line}");
                let (name, kind) = current.as_ref().expect("a type before the first sample");
                let end = line.find(['{', ' ']).expect("a value");
                let ending =
                    line[..end].strip_prefix(name.as_str()).expect("a sample of its family");
                let endings: &[&str] = match (kind.as_str(), form) {
                    ("counter", Form::OpenMetrics) => &["_total"],
                    ("histogram", _) => &["_bucket", "_sum", "_count"],
                    ("summary", _) => &["", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(endings.contains(&ending), "{line}");
                let sample = (line[..end].to_owned(), labels(&line[end..]));
                assert!(!samples.contains(&sample), "twice: {line}");
                samples.push(sample);
            }
        }
        assert_eq!(form == Form::OpenMetrics, text.ends_with("# EOF\n"));
        (families, samples)
    }

    /// Labels of one sample; no label value of these tests holds `",`.
    fn labels(text: &str) -> BTreeMap<String, String> {
        let Some(text) = text.strip_prefix('{') else { return BTreeMap::new() };
        let (inside, value) = text.rsplit_once("\"} ").expect("an end of labels");
        value.split(' ').next().expect("a value").parse::<f64>().expect("a number");
        inside
            .split("\",")
            .map(|label| label.split_once("=\"").expect("a label"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn what_is_exposed_is_what_the_contract_lists() {
        let (metrics, snapshot) = everything();
        let text = metrics.render(&snapshot, now(), Form::Text, None);
        let (families, samples) = read_strictly(&text, Form::Text);
        let listed: Vec<_> = table::ALL.iter().map(|metric| metric.name).collect();
        let mut exposed: Vec<_> = families.keys().map(String::as_str).collect();
        exposed.sort_by_key(|name| listed.iter().position(|listed| listed == name));
        assert_eq!(exposed, listed);
        for metric in table::ALL {
            let (kind, help) = &families[metric.name];
            assert_eq!(kind, metric.kind.as_str());
            assert_eq!(help, &format!("{}.", metric.help));
        }
        for (name, labels) in &samples {
            let metric = table::ALL.iter().find(|metric| match metric.kind {
                Kind::Histogram => {
                    name.rsplit_once('_').is_some_and(|(base, _)| base == metric.name)
                }
                Kind::Counter | Kind::Gauge => name == metric.name,
            });
            check_labels(metric.expect("listed"), name, labels);
        }
    }

    fn check_labels(metric: &table::Metric, sample: &str, labels: &BTreeMap<String, String>) {
        let mut labels = labels.clone();
        assert_eq!(labels.remove("service").as_deref(), Some("a \\\"b\\\"\\\\"));
        if sample.ends_with("_bucket") {
            let bound = labels.remove("le").expect("a bound");
            let bound: f64 = bound.parse().expect("a number");
            assert!(bound.is_infinite() || metric.buckets.contains(&bound), "{sample} {bound}");
        }
        let names: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
        assert_eq!(labels.len(), names.len(), "{sample} {labels:?}");
        for label in metric.labels {
            let value = &labels[label.name];
            if let Values::Closed(values) = label.values {
                assert!(values.contains(&value.as_str()), "{sample} {value}");
            }
        }
    }

    #[test]
    fn both_forms_are_valid_and_hold_the_same_samples() {
        let (metrics, snapshot) = everything();
        let text = metrics.render(&snapshot, now(), Form::Text, None);
        let open = metrics.render(&snapshot, now(), Form::OpenMetrics, None);
        let (_, in_text) = read_strictly(&text, Form::Text);
        let (_, in_open) = read_strictly(&open, Form::OpenMetrics);
        assert_eq!(in_text, in_open);
    }

    #[test]
    fn promtool_accepts_the_text_form() {
        use std::io::Write;
        use std::process::{Command, Stdio};

        let (metrics, snapshot) = everything();
        let text = metrics.render(&snapshot, now(), Form::Text, None);
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]).stdin(Stdio::piped());
        let promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut promtool) = promtool else {
            println!("skipped: promtool is not installed");
            return;
        };
        promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("read");
        let output = promtool.wait_with_output().expect("an end");
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        // The users fixed names that its style rules would not choose; those are not errors.
        assert!(!said.contains("error"), "{said}");
        assert!(output.status.success() || output.status.code() == Some(3), "{said}");
        println!("{said}");
    }

    #[test]
    fn what_is_not_known_has_no_series() {
        let identity = Identity::default();
        let metrics = Metrics::new(&identity, &[]);
        let snapshot = Board::new(identity, now()).snapshot();
        let text = metrics.render(&snapshot, now(), Form::Text, None);
        for absent in ["readiness_last_success", "worker_last_heartbeat", "dependency_up"] {
            assert!(!text.contains(absent), "{absent}");
        }
        for zero in [
            "service_ready{service=\"\"} 0",
            "process_exit_total{service=\"\",code=\"signal\"} 0",
            "log_dropped_total{service=\"\",stream=\"stderr\"} 0",
            "service_shutdown_seconds_count{service=\"\",outcome=\"killed\"} 0",
        ] {
            assert!(text.contains(zero), "{zero} in\n{text}");
        }
    }

    #[test]
    fn the_apps_metrics_are_merged_and_ours_win() {
        let (metrics, snapshot) = everything();
        let app = "# TYPE process_open_fds gauge\nprocess_open_fds 3\n\
                   # HELP jobs_total Jobs\n# TYPE jobs_total counter\njobs_total{kind=\"a\"} 1\n\
                   service_startup_seconds_count 3\nbroken{ 1\n";
        let render = |form| {
            let app = Some(Ok(Exposition::parse(app, Form::Text)));
            metrics.render(&snapshot, now(), form, app)
        };
        for form in [Form::Text, Form::OpenMetrics] {
            let text = render(form);
            let (_, samples) = read_strictly(&text, form);
            let named = |name: &str| samples.iter().filter(|sample| sample.0 == name).count();
            assert_eq!(named("jobs_total"), 1);
            assert_eq!(named("process_open_fds"), 1);
        }
        // One broken line and two names of ours, in each of the two scrapes so far.
        let dropped = "app_metrics_series_dropped_total{service=\"a \\\"b\\\"\\\\\"} ";
        assert!(render(Form::Text).contains(&format!("{dropped}9")));
    }

    #[test]
    fn an_app_that_cannot_be_read_is_counted() {
        let (metrics, snapshot) = everything();
        let failed = || Some(Err(ScrapeError::Address("x".into())));
        let text = metrics.render(&snapshot, now(), Form::Text, failed());
        assert!(text.contains("app_metrics_scrape_errors_total{service=\"a \\\"b\\\"\\\\\"} 1"));
    }

    #[test]
    fn openmetrics_is_given_to_who_prefers_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(form_for(prometheus), Form::OpenMetrics);
        assert_eq!(form_for("text/plain;q=0.9, application/openmetrics-text;q=0.5"), Form::Text);
        assert_eq!(form_for("*/*"), Form::Text);
        assert_eq!(form_for("application/openmetrics-text;q=0"), Form::Text);
        assert_eq!(form_for(""), Form::Text);
    }
}
