//! Watches dependencies in the background and keeps a verdict of each on the board.
//!
//! One task per probe: probe, record, sleep for the interval with a jitter of a tenth. Each kind is
//! a file of its own that answers one question, "does it pass now?"; `verdict` makes a status of
//! the answers. It deliberately answers no request: readers take the cached verdict, so that a
//! dependency that swallows packets costs them nothing.
//!
//! Invariant: a probe ends within its timeout, at most one of each name runs, and what it says of a
//! failure holds no credentials.

mod detached;
mod exec;
mod heartbeat;
mod http;
mod kafka;
mod log_beats;
mod mask;
mod own;
mod postgres;
mod redis;
mod settings;
mod tcp;
mod tls;
mod verdict;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use contract::bodies::Status;
use contract::{env_vars, log_events};
use serde_json::Value;
use tokio::task::JoinSet;

pub use log_beats::{LineHook, LogBeats};
pub use own::spawn_own;
pub(crate) use postgres::login as postgres_login;
pub use settings::{
    Confidential, Heartbeat, Http, HttpUrl, Kafka, Kind, Lag, Postgres, ProbeError, ProbeSettings,
    Redis, SchemaVersion, Statuses, Via, fill, parse, parse_values,
};

use crate::board::{self, Board, Depth, Moment, OWN_KIND, Observed, Phase, Verdict};
use crate::jitter::jittered;
use crate::logs::{Level, Sink, Value as Field};
use crate::metrics::Metrics;
use verdict::Machine;

/// The interval varies by this part of itself, so that replicas do not probe in step.
const JITTER: f64 = 0.1;

/// The interval until the first pass, if that is shorter.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);

/// Most characters of a failure's text.
const OUTPUT_CHARS_MAX: usize = 300;

/// The running probes; dropping it ends them.
#[derive(Debug)]
pub struct Probes {
    _tasks: JoinSet<()>,
}

/// Puts a verdict of each probe on the board, failing until its first result, and starts to probe
/// at once. Must be called inside a tokio runtime.
#[must_use]
pub fn spawn(
    probes: BTreeMap<String, ProbeSettings>,
    board: &Arc<Board>,
    metrics: &Arc<Metrics>,
    sink: &Sink,
    log_beats: &LogBeats,
) -> Probes {
    announce(&probes, board);
    let mut tasks = JoinSet::new();
    for (name, settings) in probes {
        let reports = (board, metrics, sink);
        let is_own = settings.asks_app();
        tasks.spawn(Watch::new(name, settings, is_own, log_beats, reports).run());
    }
    Probes { _tasks: tasks }
}

/// Puts a failing verdict of each probe on the board, so that gates are closed before the first
/// result, and before there are secrets to ask with.
pub fn announce(probes: &BTreeMap<String, ProbeSettings>, board: &Board) {
    for (name, settings) in probes.iter().filter(|(_, settings)| !settings.asks_app()) {
        let now = Moment::now();
        board.record(name, unknown(settings, now), now);
    }
}

/// The verdict before the first result.
fn unknown(settings: &ProbeSettings, now: Moment) -> Verdict {
    Verdict {
        kind: settings.kind.word(),
        severity: settings.severity,
        gates: settings.gates,
        interval: settings.interval,
        status: Status::Fail,
        observed: None,
        depth: None,
        checked: now,
        last_success: None,
        consecutive_failures: 0,
        output: Some("no result yet".into()),
    }
}

/// What one probe found.
#[derive(Debug)]
struct Found {
    /// Ok, or what failed.
    result: Result<(), String>,
    /// What was measured, if not the probe's own duration.
    observed: Option<Observed>,
    /// How much waits there, if that was asked for.
    depth: Option<Depth>,
    /// When the dependency gave its last sign of life, if that is not now.
    last_success: Option<jiff::Timestamp>,
}

impl From<Result<(), String>> for Found {
    fn from(result: Result<(), String>) -> Self {
        Self { result, observed: None, depth: None, last_success: None }
    }
}

/// What a probe needs to run again and again.
#[derive(Debug)]
enum Check {
    Tcp(tcp::Tcp),
    Http(http::Http),
    Exec(Vec<String>),
    Postgres(Box<postgres::Postgres>),
    Redis(Box<redis::Redis>),
    Kafka(Box<kafka::Kafka>),
    Heartbeat(heartbeat::Beat),
}

impl Check {
    fn new(name: &str, settings: &ProbeSettings, log_beats: &LogBeats) -> Self {
        let timeout = settings.timeout;
        match settings.kind.clone() {
            Kind::Tcp(target) => Check::Tcp(tcp::Tcp::new(target)),
            Kind::Http(http) => Check::Http(http::Http::new(http)),
            Kind::Exec(command) => Check::Exec(command),
            Kind::Postgres(it) => Check::Postgres(Box::new(postgres::Postgres::new(&it, timeout))),
            Kind::Redis(it) => Check::Redis(Box::new(redis::Redis::new(&it))),
            Kind::Kafka(it) => Check::Kafka(Box::new(kafka::Kafka::new(it, timeout))),
            Kind::Heartbeat(it) => Check::Heartbeat(heartbeat::Beat::new(it, log_beats.of(name))),
        }
    }

    async fn run(&mut self, board: &Board) -> Found {
        match self {
            Check::Tcp(tcp) => tcp.check().await.into(),
            Check::Http(http) => http.check().await.into(),
            Check::Exec(command) => exec::check(command).await.into(),
            Check::Postgres(postgres) => postgres.check().await.into(),
            Check::Redis(redis) => redis.check().await,
            Check::Kafka(kafka) => kafka.check().await,
            Check::Heartbeat(beat) => beat.check(board).await,
        }
    }

    /// What was being waited for when the time was over.
    fn waited_for(&self) -> String {
        match self {
            Check::Tcp(tcp) => tcp.waited_for(),
            Check::Http(http) => http.waited_for(),
            Check::Exec(command) => format!("`{}`", command[0]),
            Check::Postgres(postgres) => postgres.waited_for(),
            Check::Redis(redis) => redis.waited_for(),
            Check::Kafka(kafka) => kafka.waited_for(),
            Check::Heartbeat(beat) => beat.waited_for(),
        }
    }
}

/// One probe and what it reports to.
struct Watch {
    name: String,
    settings: ProbeSettings,
    check: Check,
    /// Whether it asks the app itself: from its start until it is asked to stop.
    is_own: bool,
    machine: Machine,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    sink: Sink,
}

impl Watch {
    /// A watch that reports to these three.
    fn new(
        name: String,
        settings: ProbeSettings,
        is_own: bool,
        log_beats: &LogBeats,
        (board, metrics, sink): (&Arc<Board>, &Arc<Metrics>, &Sink),
    ) -> Self {
        // The app has answered before anybody asks its own paths.
        let machine = if is_own { Machine::seen_up } else { Machine::new };
        Self {
            machine: machine(settings.fall, settings.rise),
            check: Check::new(&name, &settings, log_beats),
            is_own,
            name,
            settings,
            board: board.clone(),
            metrics: metrics.clone(),
            sink: sink.clone(),
        }
    }

    async fn run(mut self) {
        let mut last = unknown(&self.settings, Moment::now());
        let mut is_first = true;
        while self.is_due().await {
            let began = Moment::now();
            let limit = self.settings.timeout;
            let found = match tokio::time::timeout(limit, self.check.run(&self.board)).await {
                Ok(found) => found,
                Err(_) => {
                    let waited_for = self.check.waited_for();
                    Err(format!("{waited_for}: no answer within {} ms", limit.as_millis())).into()
                }
            };
            let now = Moment::now();
            let took = now.since(began);
            if !self.is_own {
                self.metrics.probed(&self.name, took);
            }
            let next = self.judge(found, took, &last, now);
            self.board.record(&self.name, next.clone(), now);
            // That the app passes, which has just started, is no news.
            let is_news = is_first && !(self.is_own && next.status == Status::Pass);
            if is_news || (!is_first && next.status != last.status) {
                self.report(&next);
            }
            (last, is_first) = (next, false);
            tokio::time::sleep(jittered(self.pause(&last), JITTER, fastrand::f64())).await;
        }
    }

    /// Until something was seen up, somebody waits for it: then it is asked more often.
    fn pause(&self, last: &Verdict) -> Duration {
        let interval = self.settings.interval;
        if last.last_success.is_none() { interval.min(FIRST_INTERVAL) } else { interval }
    }

    /// Comes when it is time to ask; false when there is nothing to be asked any more.
    async fn is_due(&self) -> bool {
        if !self.is_own {
            return true;
        }
        let mut updates = self.board.subscribe();
        // The board outlives whoever waits.
        let due = updates.wait_for(|snapshot| snapshot.phase >= Phase::Started).await;
        due.is_ok_and(|snapshot| snapshot.phase < Phase::Stopping)
    }

    fn judge(&mut self, found: Found, took: Duration, last: &Verdict, now: Moment) -> Verdict {
        let passed = found.result.is_ok();
        let warning = found.depth.as_ref().filter(|_| passed).and_then(Depth::warning);
        let mut status = self.machine.on(passed);
        if warning.is_some() {
            status = status.max(Status::Warn);
        }
        let own_duration = Observed { value: took.as_secs_f64() * 1000.0, unit: "ms" };
        let seen = if passed { found.last_success.or(Some(now.wall)) } else { found.last_success };
        let is_heartbeat = matches!(self.check, Check::Heartbeat(_));
        Verdict {
            status,
            observed: found.observed.or(Some(own_duration)),
            depth: found.depth.or(last.depth),
            checked: now,
            last_success: if is_heartbeat {
                found.last_success
            } else {
                seen.or(last.last_success)
            },
            consecutive_failures: if passed { 0 } else { last.consecutive_failures + 1 },
            output: found.result.err().or(warning).map(|output| self.shown(&output)),
            kind: if self.is_own { OWN_KIND } else { self.settings.kind.word() },
            ..unknown(&self.settings, now)
        }
    }

    /// What a failure says, without any secret and not too long.
    fn shown(&self, output: &str) -> String {
        shortened(&self.sink.redactor().redact_str(&mask::mask(output)))
    }

    /// Writes a line when the status has changed.
    fn report(&self, verdict: &Verdict) {
        let (level, event, msg) = match verdict.status {
            Status::Pass => (Level::Info, log_events::PROBE_PASS, "probe passes"),
            Status::Warn => (Level::Warn, log_events::PROBE_WARN, "probe failed"),
            Status::Fail => (Level::Error, log_events::PROBE_FAIL, "probe fails"),
        };
        let mut fields = vec![
            (log_events::KEY, Field::from(event.name)),
            ("probe", Field::from(&self.name)),
            ("kind", verdict.kind.into()),
        ];
        if let Some(output) = &verdict.output {
            fields.push(("failures", verdict.consecutive_failures.into()));
            fields.push(("output", output.into()));
        }
        self.sink.event(level, msg, &fields);
    }
}

fn shortened(text: &str) -> String {
    // One line, whatever a driver writes.
    let mut chars = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(OUTPUT_CHARS_MAX).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// What the application is told about the signs of life that are expected of it.
#[must_use]
pub fn child_variables(values: &BTreeMap<String, Value>) -> Vec<(&'static str, OsString)> {
    let mut variables = Vec::new();
    for settings in parse_values(values).unwrap_or_default().into_values() {
        let Kind::Heartbeat(heartbeat) = settings.kind else { continue };
        match heartbeat.via {
            Via::Notify => {
                let microseconds = heartbeat.max_age.as_micros().to_string();
                variables.push((env_vars::CHILD_WATCHDOG_USEC.name, microseconds.into()));
            }
            Via::File(file) => {
                variables.push((env_vars::CHILD_HEARTBEAT_FILE.name, file.into_os_string()));
            }
            Via::Http | Via::Log(_) => {}
        }
    }
    variables
}

/// Waits until every probe that gates the start passes, or `limit` is over; then says which do not.
///
/// # Errors
/// The gates that are still closed.
pub async fn start_gates_open(board: &Board, limit: Duration) -> Result<(), Vec<board::Reason>> {
    let mut updates = board.subscribe();
    let wait = async {
        while !board::start_gates(&board.snapshot(), Moment::now()).is_empty() {
            if updates.changed().await.is_err() {
                break;
            }
        }
    };
    match tokio::time::timeout(limit, wait).await {
        Ok(()) => Ok(()),
        Err(_) => Err(board::start_gates(&board.snapshot(), Moment::now())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::board::Identity;
    use crate::logs;

    /// Longer than any of these tests needs.
    const PATIENCE: Duration = Duration::from_secs(30);

    struct Rig {
        board: Arc<Board>,
        _probes: Probes,
        _logs: logs::Pipeline,
    }

    fn rig(probes: &str) -> Rig {
        let null = || std::fs::File::options().write(true).open("/dev/null").expect("null").into();
        let empty = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe").0;
        let (sink, pipeline) = logs::start(
            &logs::Settings::new(logs::Format::Json, Identity::default()),
            logs::Inputs { stdout: empty(), stderr: empty(), journal: None },
            logs::Outputs { stdout: null(), stderr: null() },
            logs::Counters::default(),
        )
        .expect("a pipeline");
        let board = Board::new(Identity::default(), Moment::now());
        let metrics = Metrics::new(&Identity::default(), &[]);
        let probes = parse(probes).expect("valid");
        let log_beats = LogBeats::new(&probes);
        let probes = spawn(probes, &board, &metrics, &sink, &log_beats);
        Rig { board, _probes: probes, _logs: pipeline }
    }

    impl Rig {
        /// Waits for a verdict of the probe `p` that is wanted.
        async fn verdict(&self, is_wanted: impl Fn(&Verdict) -> bool) -> Verdict {
            let mut updates = self.board.subscribe();
            let wait = async {
                loop {
                    let verdict = updates.borrow_and_update().verdicts["p"].clone();
                    if is_wanted(&verdict) {
                        return verdict;
                    }
                    updates.changed().await.expect("the board lives");
                }
            };
            tokio::time::timeout(PATIENCE, wait).await.expect("the verdict comes")
        }
    }

    #[tokio::test]
    async fn before_the_first_result_it_is_not_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let rig =
            rig(&format!("{{\"p\": {{\"tcp\": \"127.0.0.1:{port}\", \"gate\": [\"start\"]}}}}"));
        let first = rig.board.snapshot().verdicts["p"].clone();
        assert_eq!((first.status, first.output.as_deref()), (Status::Fail, Some("no result yet")));
        assert_eq!(start_gates_open(&rig.board, PATIENCE).await, Ok(()));
        let verdict = rig.verdict(|verdict| verdict.status == Status::Pass).await;
        assert_eq!(verdict.output, None);
        assert!(verdict.last_success.is_some());
    }

    #[tokio::test]
    async fn a_closed_gate_is_named_when_the_time_is_over() {
        let rig = rig(r#"{"p": {"tcp": "127.0.0.1:1", "gate": ["start"]}}"#);
        let closed = start_gates_open(&rig.board, Duration::from_millis(20)).await;
        assert_eq!(closed, Err(vec![board::Reason::Dependency("p".into())]));
    }

    #[tokio::test]
    async fn a_dependency_that_never_answers_fails_within_the_timeout() {
        // Connections wait in the backlog; nobody ever accepts them.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let rig = rig(&format!(
            "{{\"p\": {{\"http\": \"http://{address}/x?token=hush\", \"timeout_ms\": 40}}}}"
        ));
        let verdict = rig.verdict(|verdict| verdict.consecutive_failures > 0).await;
        assert_eq!(verdict.status, Status::Fail);
        let said = format!("GET http://{address}/x: no answer within 40 ms");
        assert_eq!(verdict.output, Some(said));
    }

    #[tokio::test]
    async fn a_dependency_that_trickles_fails_within_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            // What comes before the request would be no answer to it.
            let _ = stream.read(&mut [0; 1024]);
            stream.set_read_timeout(Some(Duration::from_millis(5))).expect("set");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            // A byte now and then, until the probe gives up.
            while stream.write_all(b"x").is_ok() {
                let _ = stream.read(&mut [0; 64]);
            }
        });
        let rig =
            rig(&format!("{{\"p\": {{\"http\": \"http://{address}/\", \"timeout_ms\": 60}}}}"));
        let verdict = rig.verdict(|verdict| verdict.consecutive_failures > 0).await;
        let said = verdict.output.expect("said");
        assert!(said.ends_with("no answer within 60 ms"), "{said}");
        drop(rig);
        server.join().expect("the connection was closed");
    }

    #[tokio::test]
    async fn it_warns_before_it_fails_and_recovers_with_one_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let rig = rig(&format!("{{\"p\": {{\"tcp\": \"{address}\", \"interval_ms\": 100}}}}"));
        rig.verdict(|verdict| verdict.status == Status::Pass).await;
        drop(listener);
        let warned = rig.verdict(|verdict| verdict.status == Status::Warn).await;
        assert_eq!(warned.output, Some(format!("connect to {address}: connection refused")));
        assert!(warned.last_success.is_some());
        let failed = rig.verdict(|verdict| verdict.status == Status::Fail).await;
        assert_eq!(failed.consecutive_failures, 3);
        let _listener = TcpListener::bind(address).expect("the same port");
        rig.verdict(|verdict| verdict.status == Status::Pass).await;
    }

    #[tokio::test]
    async fn an_answer_is_given_while_every_probe_hangs() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let rig = rig(&format!("{{\"p\": {{\"http\": \"http://{address}/\"}}}}"));
        tokio::task::yield_now().await;
        // No await between question and answer: nothing could have been waited for.
        let reasons = board::ready(&rig.board.snapshot(), Moment::now());
        assert!(reasons.contains(&board::Reason::Dependency("p".into())));
    }

    #[tokio::test]
    async fn an_answer_is_given_while_a_probe_of_every_kind_hangs() {
        // Connections wait in the backlog; nobody ever accepts them.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let kinds = [
            ("http", format!("http://{address}/")),
            ("tls", format!("https://{address}/")),
            ("db", format!("postgres://app:hush@{address}/x")),
            ("cache", format!("redis://:hush@{address}")),
            ("bus", address.to_string()),
        ];
        let probes: BTreeMap<_, _> = kinds
            .into_iter()
            .map(|(name, target)| {
                let kind = match name {
                    "db" => "postgres",
                    "cache" => "redis",
                    "bus" => "kafka",
                    _ => "http",
                };
                let probe = serde_json::json!({kind: target, "timeout_ms": 300});
                (name.to_owned(), probe)
            })
            .collect();
        let rig = rig(&serde_json::to_string(&probes).expect("JSON"));
        tokio::task::yield_now().await;
        // No await between question and answer: nothing could have been waited for.
        let reasons = board::ready(&rig.board.snapshot(), Moment::now());
        let waiting = |name: &&String| rig.board.snapshot().verdicts[*name].last_success.is_none();
        assert_eq!(probes.keys().filter(waiting).count(), 5);
        for name in probes.keys() {
            assert!(reasons.contains(&board::Reason::Dependency(name.clone())), "{name}");
        }
        let mut updates = rig.board.subscribe();
        let all_failed = updates.wait_for(|snapshot| {
            snapshot.verdicts.values().all(|verdict| verdict.consecutive_failures > 0)
        });
        let snapshot = tokio::time::timeout(PATIENCE, all_failed).await.expect("they end");
        for (name, verdict) in &snapshot.expect("the board lives").verdicts {
            let said = verdict.output.clone().expect("said");
            assert!(said.contains("no answer within"), "{name}: {said}");
            assert!(!said.contains("hush"), "{name}: {said}");
        }
    }

    #[tokio::test]
    async fn what_a_command_says_is_shown_without_credentials() {
        let script = "echo cannot reach postgres://app:hush@db/x >&2; exit 1";
        let rig = rig(&format!("{{\"p\": {{\"exec\": [\"sh\", \"-c\", \"{script}\"]}}}}"));
        let verdict = rig.verdict(|verdict| verdict.consecutive_failures > 0).await;
        assert_eq!(
            verdict.output.as_deref(),
            Some("`sh`: exit 1: cannot reach postgres://***@db/x")
        );
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened(&"é".repeat(301)), format!("{}…", "é".repeat(300)));
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened("two\nlines\n"), "two lines");
    }
}
