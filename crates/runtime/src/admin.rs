//! The endpoints of a process: is it alive, is it ready, what does it measure.
//!
//! [`respond`] answers what needs no waiting, from the board alone; the ingress uses the same
//! function for the public ones. [`serve`] runs a listener of its own around it, on TCP or a Unix
//! socket, and adds what waits or commands: `/metrics`, `/v1/heartbeat`, `/v1/drain`. It
//! deliberately has no authentication: who can reach loopback or open the socket's file may ask.
//!
//! Invariant: no answer but that of `/metrics` waits for anything, and that one is bounded.

mod answer;
mod audited;
pub mod client;
mod health;
mod serve;

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use answer::respond;
pub(crate) use answer::{json, refuse, reply};
pub use serve::{Listener, Server, serve};

use crate::audit::Audit;
use crate::board::Board;
use crate::egress::Egress;
use crate::error::Error;
use crate::metrics::{AppMetrics, Metrics};
use crate::publish::Publisher;

/// How much `/health` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Every check with what it said.
    Full,
    /// The verdict alone: the asker may be anyone.
    #[default]
    Summary,
}

/// Who sees every check on `/health`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetailPolicy {
    /// Who asks over the socket or from this host.
    #[default]
    Local,
    /// Everyone.
    Always,
}

impl FromStr for DetailPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "local" => Ok(DetailPolicy::Local),
            "always" => Ok(DetailPolicy::Always),
            _ => Err(Error::Word {
                what: "choice of who sees details",
                text: text.to_owned(),
                accepted: "`local`, `always`",
            }),
        }
    }
}

impl DetailPolicy {
    /// What an asker sees. On the ingress pass `false`: a proxy on this host speaks for strangers.
    #[must_use]
    pub fn detail(self, is_local: bool) -> Detail {
        if is_local || self == DetailPolicy::Always { Detail::Full } else { Detail::Summary }
    }
}

/// What the admin endpoints answer from.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The state.
    pub board: Arc<Board>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Where the app exposes metrics of its own.
    pub app_metrics: Option<AppMetrics>,
    /// Who sees details.
    pub details: DetailPolicy,
    /// Calls that go through us.
    pub egress: Option<Arc<Egress>>,
    /// Where messages go in, when something can be published.
    pub publisher: Option<Publisher>,
    /// Where it is kept who changed what.
    pub audit: Audit,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Through the Unix socket.
    Socket,
    /// Through TCP.
    Tcp(IpAddr),
}

impl Peer {
    /// Whether the asker is on this host.
    #[must_use]
    pub fn is_local(self) -> bool {
        match self {
            Peer::Socket => true,
            Peer::Tcp(address) => address.to_canonical().is_loopback(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::time::Duration;

    use serde_json::Value;

    use super::client::{Question, Target, get, probe};
    use super::*;
    use crate::board::{Gates, Identity, Moment, Phase, Verdict};
    use contract::bodies::{Severity, Status};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A serving admin, on TCP and on a socket, on a thread of its own.
    struct Rig {
        board: Arc<Board>,
        tcp: SocketAddr,
        sock: PathBuf,
        _directory: tempfile::TempDir,
        _stop: tokio::sync::oneshot::Sender<()>,
    }

    fn rig_with(app_metrics: Option<AppMetrics>) -> Rig {
        rig_of(app_metrics, Audit::off())
    }

    fn rig_of(app_metrics: Option<AppMetrics>, audit: Audit) -> Rig {
        let identity = Identity {
            service: "api".into(),
            version: "1.2".into(),
            instance: "api-1".into(),
            ..Identity::default()
        };
        let admin = Arc::new(Admin {
            board: Board::new(identity.clone(), Moment::now()),
            metrics: Metrics::new(&identity, &[]),
            app_metrics,
            details: DetailPolicy::Local,
            egress: None,
            publisher: None,
            audit,
        });
        let directory = tempfile::tempdir().expect("a directory");
        let sock = directory.path().join("sock");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let tcp = listener.local_addr().expect("bound");
        let unix = UnixListener::bind(&sock).expect("a socket");
        let board = admin.board.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let _on_tcp = serve(Listener::Tcp(listener), admin.clone()).expect("serving");
                let _on_sock = serve(Listener::Unix(unix), admin).expect("serving");
                // The test is over when it drops its end.
                let _ = stopped.await;
            });
        });
        Rig { board, tcp, sock, _directory: directory, _stop: stop }
    }

    fn rig() -> Rig {
        rig_with(None)
    }

    impl Rig {
        fn start(&self) {
            self.board.app_spawned(7, Moment::now());
            self.board.set_phase(Phase::Started, Moment::now());
        }

        fn depend(&self, name: &str, kind: &'static str, status: Status, severity: Severity) {
            let now = Moment::now();
            let verdict = Verdict {
                kind,
                severity,
                gates: Gates { ready: true, ..Gates::default() },
                interval: Duration::from_secs(60),
                status,
                observed: None,
                depth: None,
                checked: now,
                last_success: None,
                consecutive_failures: 4,
                output: Some("connect: connection refused".into()),
            };
            self.board.record(name, verdict, now);
        }

        fn ask(&self, path: &str) -> (u16, Value) {
            let (status, body) = get(&Target::Tcp(self.tcp), path, PATIENCE).expect("an answer");
            (status, serde_json::from_str(&body).expect("JSON"))
        }

        /// Sends bytes over TCP and returns all that comes back.
        fn raw(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.tcp).expect("connected");
            exchange(&mut stream, request)
        }

        fn raw_on_sock(&self, request: &str) -> String {
            let mut stream =
                std::os::unix::net::UnixStream::connect(&self.sock).expect("connected");
            exchange(&mut stream, request)
        }
    }

    fn exchange(stream: &mut (impl Read + Write), request: &str) -> String {
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        // A refused request may end in a reset.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).expect("text")
    }

    fn request(method: &str, path: &str, rest: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}\r\n")
    }

    #[test]
    fn live_touches_nothing_and_every_alias_answers() {
        let rig = rig();
        rig.depend("db", "tcp", Status::Fail, Severity::Hard);
        for path in ["/live", "/livez", "/health/live"] {
            assert_eq!(rig.ask(path), (200, serde_json::json!({"status": "alive"})));
        }
        rig.start();
        rig.board.app_exited("exit 3", Moment::now());
        let dead = serde_json::json!({"status": "dead", "reason": "app_exited"});
        assert_eq!(rig.ask("/live"), (503, dead));
    }

    #[test]
    fn ready_follows_the_board_at_once() {
        let rig = rig();
        let (status, body) = rig.ask("/ready");
        assert_eq!((status, &body["reasons"]), (503, &serde_json::json!(["init"])));
        assert_eq!(rig.ask("/started").0, 503);
        rig.start();
        rig.depend("db", "tcp", Status::Pass, Severity::Hard);
        let (status, body) = rig.ask("/readyz");
        assert_eq!((status, &body["status"]), (200, &"ready".into()));
        assert_eq!(body["checks"], serde_json::json!({"db": "pass"}));
        assert!(body["since"].is_string());
        assert_eq!(rig.ask("/started").0, 200);
        rig.depend("db", "tcp", Status::Fail, Severity::Hard);
        rig.board.drain(Moment::now());
        let (status, body) = rig.ask("/health/ready");
        let reasons = serde_json::json!(["draining", "dependency:db"]);
        assert_eq!((status, &body["reasons"]), (503, &reasons));
    }

    #[test]
    fn health_shows_every_check_to_this_host() {
        let rig = rig();
        rig.start();
        rig.depend("cache", "tcp", Status::Fail, Severity::Soft);
        let (status, body) = rig.ask("/health/detailed");
        assert_eq!((status, &body["status"]), (200, &"warn".into()));
        assert_eq!(body["notes"], serde_json::json!(["cache is soft: serving without it"]));
        assert_eq!(body["checks"]["app:process"][0]["pid"], 7);
        let cache = &body["checks"]["cache:responseTime"][0];
        assert_eq!(cache["output"], "connect: connection refused");
        assert_eq!((&cache["severity"], &cache["status"]), (&"soft".into(), &"fail".into()));
        assert_eq!(cache["consecutiveFailures"], 4);
        rig.depend("db", "tcp", Status::Fail, Severity::Hard);
        assert_eq!(rig.ask("/health").0, 503);
    }

    #[test]
    fn health_tells_strangers_the_verdict_only() {
        let rig = rig();
        rig.start();
        rig.depend("db", "tcp", Status::Fail, Severity::Hard);
        let parts = http::Request::get("/health").body(()).expect("a request").into_parts().0;
        let stranger = DetailPolicy::Local.detail(Peer::Tcp([10, 0, 0, 1].into()).is_local());
        let response = respond(&rig.board, &parts, stranger).expect("ours");
        assert_eq!(response.status(), 503);
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        let expected = serde_json::json!(
            {"status": "fail", "version": "1", "serviceId": "api", "checks": {}}
        );
        assert_eq!(body, expected);
        assert_eq!(DetailPolicy::Always.detail(false), Detail::Full);
    }

    #[test]
    fn the_ingress_leaves_other_paths_to_the_app() {
        let rig = rig();
        for path in ["/metrics", "/info", "/started", "/v1/drain", "/", "/ready/"] {
            let parts = http::Request::get(path).body(()).expect("a request").into_parts().0;
            assert!(respond(&rig.board, &parts, Detail::Summary).is_none(), "{path}");
        }
    }

    #[test]
    fn answers_are_never_cached_and_head_has_no_body() {
        let rig = rig();
        let answer = rig.raw(&request("HEAD", "/live", ""));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("cache-control: no-store\r\n"));
        assert!(answer.contains("content-length: 19\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_unknown_path_names_the_known_ones() {
        let (status, body) = rig().ask("/liveness");
        assert_eq!(status, 404);
        let paths = body["paths"].as_array().expect("a list");
        assert!(paths.contains(&"/live".into()) && paths.contains(&"/metrics".into()));
    }

    #[test]
    fn another_method_is_told_which_is_taken() {
        let rig = rig();
        let answer = rig.raw(&request("POST", "/live", "Content-Length: 0\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"));
        let answer = rig.raw(&request("GET", "/v1/heartbeat", ""));
        assert!(answer.contains("allow: POST\r\n"), "{answer}");
    }

    #[test]
    fn metrics_come_in_the_form_that_is_asked_for() {
        let rig = rig();
        let text = rig.raw(&request("GET", "/metrics", ""));
        assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        assert!(text.contains("\nservice_ready{service=\"api\"} 0\n"), "{text}");
        let open = rig.raw(&request("GET", "/metrics", "Accept: application/openmetrics-text\r\n"));
        assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"));
        assert!(open.ends_with("# EOF\n"));
    }

    /// Serves one exposition to whoever asks, once.
    fn exposing(answer: String) -> AppMetrics {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let count = stream.read(&mut [0; 1024]).expect("a request");
            assert!(count > 0);
            // A reader that has read enough hangs up.
            let _ = stream.write_all(answer.as_bytes());
        });
        AppMetrics::new(&format!("http://{address}/metrics")).expect("an address")
    }

    #[test]
    fn the_apps_own_metrics_are_added() {
        let body = "# TYPE jobs_total counter\njobs_total 5\n";
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n";
        let app = exposing(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        let text = rig_with(Some(app)).raw(&request("GET", "/metrics", ""));
        assert!(text.contains("\njobs_total 5\n"), "{text}");
    }

    #[test]
    fn an_app_without_metrics_costs_only_its_own() {
        let errors = |answer: String| {
            let text = rig_with(Some(exposing(answer))).raw(&request("GET", "/metrics", ""));
            assert!(text.contains("\nservice_ready{service=\"api\"} 0\n"), "{text}");
            text.contains("\napp_metrics_scrape_errors_total{service=\"api\"} 1\n")
        };
        assert!(errors("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()));
        assert!(errors("not HTTP\r\n\r\n".into()));
        let endless = "x 1\n".repeat(crate::metrics::APP_METRICS_BYTES_MAX / 4 + 1);
        assert!(errors(format!("HTTP/1.1 200 OK\r\n\r\n{endless}")));
    }

    #[test]
    fn a_heartbeat_is_noted_where_one_is_expected() {
        let rig = rig();
        let post = request("POST", "/v1/heartbeat", "Content-Length: 0\r\n");
        assert!(rig.raw_on_sock(&post).starts_with("HTTP/1.1 404 "));
        rig.depend("worker", "heartbeat", Status::Pass, Severity::Hard);
        assert!(rig.board.snapshot().heartbeat.is_none());
        assert!(rig.raw_on_sock(&post).starts_with("HTTP/1.1 204 "));
        assert!(rig.board.snapshot().heartbeat.is_some());
        assert!(rig.raw(&post).starts_with("HTTP/1.1 204 "), "loopback is this host");
    }

    #[test]
    fn only_the_socket_commands_a_drain() {
        let rig = rig();
        rig.start();
        let post = request("POST", "/v1/drain", "Content-Length: 0\r\n");
        assert!(rig.raw(&post).starts_with("HTTP/1.1 403 "));
        assert_eq!(rig.ask("/ready").0, 200);
        assert!(rig.raw_on_sock(&post).starts_with("HTTP/1.1 204 "));
        assert_eq!(rig.ask("/ready").1["reasons"], serde_json::json!(["draining"]));
    }

    fn audited(path: &std::path::Path) -> Rig {
        rig_of(None, Audit::open(path, "api", "api-1", |_| ()).expect("a log"))
    }

    #[test]
    fn a_deed_is_on_the_disk_before_it_is_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("audit.log");
        let rig = audited(&log);
        rig.start();
        let post = |path: &str, id: &str| request("POST", path, &format!("X-Request-Id: {id}\r\n"));
        let record = || -> Value {
            let text = std::fs::read_to_string(&log).expect("a log");
            serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
        };
        for (path, action) in
            [("/v1/unready", "unready"), ("/v1/ready", "ready"), ("/v1/drain", "drain")]
        {
            let answer = rig.raw_on_sock(&post(path, "id-7"));
            assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
            assert!(answer.contains("x-request-id: id-7\r\n"), "{answer}");
            let record = record();
            assert_eq!((&record["action"], &record["target"]), (&action.into(), &path.into()));
            assert_eq!(record["details"]["request_id"], "id-7");
            let who = format!("uid {}, pid {}", nix::unistd::getuid(), std::process::id());
            assert_eq!(record["actor"], who.as_str());
            assert_eq!(record["outcome"], "allowed");
        }
        let answer = rig.raw(&post("/v1/drain", "evil id"));
        assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("evil"), "{answer}");
        // Only noted: it is there when the next one is.
        assert!(rig.raw_on_sock(&post("/v1/ready", "last")).starts_with("HTTP/1.1 204 "));
        let text = std::fs::read_to_string(&log).expect("a log");
        let denied = text.lines().find(|line| line.contains("\"outcome\":\"denied\""));
        assert!(denied.expect("a record").contains("\"actor\":\"127.0.0.1:"), "{text}");
        // Nothing to retry: the record says that it came to nothing.
        let answer = rig.raw_on_sock(&post("/v1/spool/dlq/3/retry", "dead"));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(rig.raw_on_sock(&post("/v1/ready", "last")).starts_with("HTTP/1.1 204 "));
        let text = std::fs::read_to_string(&log).expect("a log");
        let of_dead = text.lines().filter(|line| line.contains("dead_letter.retry"));
        assert_eq!(of_dead.filter(|line| line.contains("\"request_id\":\"dead\"")).count(), 2);
        crate::audit::verify(&log).expect("a chain");
    }

    #[test]
    fn what_cannot_be_recorded_is_not_done() {
        for device in ["/dev/full", "/dev/null"] {
            let rig = audited(std::path::Path::new(device));
            rig.start();
            let answer = rig.raw_on_sock(&request("POST", "/v1/drain", ""));
            assert!(answer.starts_with("HTTP/1.1 503 "), "{device}: {answer}");
            assert!(answer.contains("`drain` was not done, because the audit log"), "{answer}");
            assert_eq!(rig.ask("/ready").0, 200, "{device}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let rig = rig();
        rig.depend("worker", "heartbeat", Status::Pass, Severity::Hard);
        let long = "x".repeat(64 * 1024);
        let answer = rig.raw(&request("GET", "/live", &format!("X: {long}\r\n")));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        let lines = "X: y\r\n".repeat(100);
        let answer = rig.raw(&request("GET", "/live", &lines));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        let body = format!("Content-Length: 2000\r\n\r\n{}", "x".repeat(2000));
        let answer = rig.raw_on_sock(&request("POST", "/v1/heartbeat", &body));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let answer = rig.raw("nonsense\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }

    #[test]
    fn a_silent_connection_keeps_nobody_waiting() {
        let rig = rig();
        let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(rig.tcp)).collect();
        assert_eq!(rig.ask("/live").0, 200);
        drop(silent);
    }

    #[test]
    fn the_client_tells_yes_from_no_from_no_answer() {
        let rig = rig();
        for target in [Target::Tcp(rig.tcp), Target::Unix(rig.sock.clone())] {
            let no = probe(&target, Question::Ready, PATIENCE).expect("an answer");
            assert!(!no.is_yes && no.body.contains("unready"));
            let yes = probe(&target, Question::Live, PATIENCE).expect("an answer");
            assert!(yes.is_yes);
        }
        let any = SocketAddr::from(([0, 0, 0, 0], rig.tcp.port()));
        assert!(probe(&Target::Tcp(any), Question::Live, PATIENCE).expect("an answer").is_yes);
    }

    #[test]
    fn the_client_says_why_it_has_no_answer() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = Target::Tcp(silent.local_addr().expect("bound"));
        let error = probe(&target, Question::Live, Duration::from_millis(20)).expect_err("silent");
        assert!(error.to_string().contains("did not answer within 20 ms"), "{error}");
        drop(silent);
        let error = probe(&target, Question::Live, PATIENCE).expect_err("closed");
        assert!(error.to_string().starts_with("cannot connect to `127.0.0.1:"), "{error}");
        let target = Target::Unix("/nonexistent/sock".into());
        let error = probe(&target, Question::Live, PATIENCE).expect_err("no socket");
        assert!(
            error.to_string().contains("no such file")
                || error.to_string().contains("No such file")
        );
    }

    #[test]
    fn the_client_knows_a_stranger() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = Target::Tcp(listener.local_addr().expect("bound"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let count = stream.read(&mut [0; 1024]).expect("a request");
            stream.write_all(b"-ERR unknown command\r\n").expect("sent");
            count
        });
        let error = probe(&target, Question::Live, PATIENCE).expect_err("not HTTP");
        assert!(error.to_string().contains("-ERR unknown command"), "{error}");
        assert!(server.join().expect("served") > 0);
    }
}
