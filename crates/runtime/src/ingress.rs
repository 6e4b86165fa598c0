//! The service port: answers the health paths, forwards everything else to the app.
//!
//! The forwarding itself is `proxy`'s; this module says what is local, what is measured and what is
//! logged. It listens from the first moment of the engine: while the app accepts no connections
//! yet, a request is held for [`HOLD`] and then told 503 with `Retry-After`, so that a start or a
//! restart is a slow answer and not a failed one. Health paths are answered always, count in no
//! metric and write no line: they are ours, and an app's error budget is not spent by a probe.
//!
//! A drain has two steps, as the lifecycle has: [`Ingress::announce`] (serve on, and say
//! `Connection: close`), then [`Ingress::refuse`] (503 for new requests; what runs, ends). It
//! deliberately has no time limit of its own.
//!
//! Invariant: after [`Ingress::closed`], nothing that was accepted is unanswered.

pub mod admit;
pub mod jwt;
mod key_news;
pub mod limit;
pub mod path;
pub mod policy;
mod route;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proxy::{
    Address, Drain, Router, Server, Settings, Site, SiteError, SiteSettings, Target, Upstream,
    UpstreamSettings,
};
use tokio::task::JoinHandle;

use crate::admin::DetailPolicy;
use crate::audit::Audit;
use crate::board::Board;
use crate::logs::Sink;
use crate::metrics::Metrics;
use crate::telemetry::Tracer;
pub use admit::{GuardError, GuardSettings};
use admit::{Guards, Surroundings};
pub use jwt::{Rejection, Secret};
use watch::Watch;

/// How long a request waits for an app that accepts no connections.
pub const HOLD: Duration = Duration::from_secs(2);

/// Most requests that wait so at once; above: 503 at once.
pub const HOLD_REQUESTS_MAX: usize = 1024;

/// What stands behind the service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// An app that listens here.
    App(SocketAddr),
    /// A built site.
    Site {
        /// Its directory.
        directory: PathBuf,
        /// Whether unknown paths answer with `index.html`.
        is_spa: bool,
        /// `Content-Security-Policy`, in place of the default.
        csp: Option<String>,
    },
}

/// The secret that tokens are signed with, now and whenever it changes.
pub type SharedSecret = tokio::sync::watch::Receiver<Secret>;

/// What an ingress is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Name of the service, for pages.
    pub service: String,
    /// What stands behind it.
    pub behind: Behind,
    /// Declared routes such as `/v1/items/{id}`, in the order that the metrics know them.
    pub routes: Vec<String>,
    /// Whether every request writes a line.
    pub access_log: bool,
    /// Whether the app answers the health paths itself.
    pub app_health: bool,
    /// Who sees details on them.
    pub details: DetailPolicy,
    /// Who gets in.
    pub guards: GuardSettings,
    /// The secret of tokens, when it may change.
    pub hmac: Option<SharedSecret>,
    /// Where refusals are kept.
    pub audit: Audit,
    /// The state that the health paths tell.
    pub board: Arc<Board>,
    /// Where requests are measured.
    pub metrics: Arc<Metrics>,
    /// Where lines go.
    pub sink: Sink,
    /// Where spans go.
    pub tracer: Tracer,
}

/// An ingress cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// The inherited socket is not one that can be served.
    #[error("cannot serve the service port: {0}")]
    Socket(#[source] std::io::Error),
    /// A guard cannot stand.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The site cannot be read.
    #[error(transparent)]
    Site(#[from] SiteError),
}

/// A running ingress. Dropping it closes the listener; what was accepted goes on.
#[derive(Debug)]
pub struct Ingress {
    server: Server<Watch>,
    upstream: Option<Arc<Upstream>>,
    accepting: JoinHandle<()>,
}

/// Serves an inherited listening socket on the current runtime.
///
/// # Errors
/// When the socket cannot be made non-blocking, or the site is not there.
pub fn start(listener: TcpListener, parts: Parts) -> Result<Ingress, IngressError> {
    let (target, upstream) = match &parts.behind {
        Behind::App(address) => {
            let settings = UpstreamSettings {
                hold: HOLD,
                hold_requests_max: HOLD_REQUESTS_MAX,
                ..UpstreamSettings::default()
            };
            let upstream = Upstream::new(&parts.service, vec![Address::Tcp(*address)], settings);
            (Target::Upstream(Arc::clone(&upstream)), Some(upstream))
        }
        Behind::Site { directory, is_spa, csp } => {
            let mut settings = SiteSettings { is_spa: *is_spa, ..SiteSettings::default() };
            if let Some(csp) = csp {
                settings.content_security_policy.clone_from(csp);
            }
            (Target::Site(Site::new(directory, &settings)?), None)
        }
    };
    let router = Router::single(&parts.service, target);
    let guards = guards(&parts)?;
    let settings = match &parts.guards.trusted_proxies {
        None => Settings::default(),
        Some(text) => {
            let wrong = |error: proxy::TrustError| GuardError::Settings(error.to_string());
            Settings { trusted_proxies: text.parse().map_err(wrong)?, ..Settings::default() }
        }
    };
    let server = Server::new(settings, router, Watch::new(parts, guards));
    listener.set_nonblocking(true).map_err(IngressError::Socket)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(IngressError::Socket)?;
    let serving = server.clone();
    let accepting = tokio::spawn(async move { serving.serve(listener).await });
    Ok(Ingress { server, upstream, accepting })
}

fn guards(parts: &Parts) -> Result<Option<Guards>, GuardError> {
    let around = Surroundings {
        service: parts.service.clone(),
        counters: parts.metrics.guards(),
        hmac: parts.hmac.clone(),
        audit: parts.audit.clone(),
        sink: parts.sink.clone(),
    };
    Guards::new(&parts.guards, around)
}

impl Ingress {
    /// Serves on, but asks clients to go elsewhere.
    pub fn announce(&self) {
        self.server.begin_drain(Drain::Announce);
    }

    /// Refuses new requests and closes what is idle; health paths are still answered.
    pub fn refuse(&self) {
        self.server.begin_drain(Drain::Refuse);
    }

    /// Requests in flight, tunnels included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.server.in_flight()
    }

    /// Waits until every connection has ended and lets go of those to the app. Comes to its end
    /// only after [`Ingress::refuse`]; the caller bounds it.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let (server, upstream) = (self.server.clone(), self.upstream.clone());
        async move {
            server.closed().await;
            if let Some(upstream) = upstream {
                upstream.close_idle();
            }
        }
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;

    use serde_json::Value as Json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::board::{Identity, Moment, Phase};
    use crate::logs;
    use crate::metrics::form_for;

    /// An ingress with the far end of its log.
    struct Rig {
        ingress: Ingress,
        address: SocketAddr,
        board: Arc<Board>,
        metrics: Arc<Metrics>,
        sink: Sink,
        lines: Option<BufReader<File>>,
        _stdin: [OwnedFd; 2],
    }

    fn pipe() -> (OwnedFd, OwnedFd) {
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe")
    }

    fn rig(behind: Behind, change: impl FnOnce(&mut Parts)) -> Rig {
        let identity = Identity { service: "api".into(), ..Identity::default() };
        let board = Board::new(identity.clone(), Moment::now());
        let routes = vec!["/items/{id}".to_owned()];
        let metrics = Metrics::new(&identity, &routes);
        let ((stdout, out), (stderr, err)) = (pipe(), pipe());
        let ((reader, writer), (_, other)) = (pipe(), pipe());
        let (sink, _pipeline) = logs::start(
            &logs::Settings::new(logs::Format::Json, identity),
            logs::Inputs { stdout, stderr, journal: None },
            logs::Outputs { stdout: writer, stderr: other },
            metrics.log_counters(),
        )
        .expect("a pipeline");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut parts = Parts {
            service: "api".to_owned(),
            behind,
            routes,
            access_log: true,
            app_health: false,
            details: DetailPolicy::default(),
            guards: GuardSettings::default(),
            hmac: None,
            audit: Audit::off(),
            board: Arc::clone(&board),
            metrics: Arc::clone(&metrics),
            sink: sink.clone(),
            tracer: Tracer::off(),
        };
        change(&mut parts);
        let ingress = start(listener, parts).expect("an ingress");
        let lines = Some(BufReader::new(reader.into()));
        Rig { ingress, address, board, metrics, sink, lines, _stdin: [out, err] }
    }

    impl Rig {
        async fn get(&self, target: &str) -> String {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            ask(self.address, &request).await
        }

        /// The next line; elsewhere, because what writes it runs on this thread.
        async fn line(&mut self) -> Json {
            let mut lines = self.lines.take().expect("one reader");
            let read = tokio::task::spawn_blocking(move || {
                let mut line = String::new();
                lines.read_line(&mut line).expect("a line");
                (lines, line)
            });
            let (lines, line) = read.await.expect("a thread");
            self.lines = Some(lines);
            serde_json::from_str(&line).expect("one JSON object")
        }

        fn exposed(&self) -> String {
            self.metrics.render(&self.board.snapshot(), Moment::now(), form_for(""), None)
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.write_all(request.as_bytes()).await.expect("room");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    /// An app that answers every request on every connection with its first line.
    async fn app() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve_app(listener));
        address
    }

    async fn serve_app(listener: tokio::net::TcpListener) {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = socket.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let text = String::from_utf8_lossy(&head).into_owned();
                        let line = text.lines().next().unwrap_or_default();
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}",
                            line.len()
                        );
                        socket.write_all(answer.as_bytes()).await.expect("room");
                        head.clear();
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn a_request_is_forwarded_measured_and_written_down_without_its_query() {
        let mut rig = rig(Behind::App(app().await), |_| {});
        let answer = rig.get("/items/42?token=secret").await;
        assert!(answer.ends_with("GET /items/42?token=secret HTTP/1.1"), "{answer}");
        let line = rig.line().await;
        assert_eq!(line["msg"], "request");
        assert_eq!(line["stream"], "plimsoll");
        assert_eq!(line["path"], "/items/42");
        assert_eq!((&line["method"], &line["status"]), (&"GET".into(), &200.into()));
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&0.into(), &35.into()));
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["trace_id"].as_str().map(str::len), Some(32));
        assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
        assert!(line["duration_ms"].as_f64().is_some_and(|took| took > 0.0));
        assert!(answer.contains(line["request_id"].as_str().expect("an id")), "{answer}");
        assert!(!line.to_string().contains("secret"), "{line}");
        let exposed = rig.exposed();
        let count = exposed
            .lines()
            .find(|line| {
                line.starts_with("http_server_request_duration_seconds_count")
                    && line.contains("route=\"/items/{id}\"")
            })
            .unwrap_or_else(|| panic!("no count in {exposed}"));
        assert!(count.contains("method=\"GET\"") && count.contains("status=\"2xx\""), "{count}");
        assert!(count.ends_with(" 1"), "{count}");
        assert!(exposed.contains("http_server_active_requests{service=\"api\"} 0"), "{exposed}");
    }

    #[tokio::test]
    async fn health_paths_are_answered_here_and_leave_no_trace() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut rig = rig(Behind::App(nobody), |_| {});
        assert!(rig.get("/ready").await.starts_with("HTTP/1.1 503"), "no app runs");
        rig.board.app_spawned(1, Moment::now());
        rig.board.set_phase(Phase::Started, Moment::now());
        assert!(rig.get("/live").await.contains("\"alive\""));
        assert!(rig.get("/ready").await.starts_with("HTTP/1.1 200"));
        assert!(!rig.exposed().contains("http_server_request_duration_seconds_count{"));
        rig.sink.event(logs::Level::Info, "marker", &[]);
        assert_eq!(rig.line().await["msg"], "marker", "a health path wrote a line");
    }

    #[tokio::test]
    async fn an_app_that_owns_the_health_paths_is_asked() {
        let rig = rig(Behind::App(app().await), |parts| parts.app_health = true);
        assert!(rig.get("/ready").await.ends_with("GET /ready HTTP/1.1"));
    }

    #[tokio::test]
    async fn details_are_shown_to_strangers_only_when_everyone_may_see_them() {
        let process = "app:process";
        let local = rig(Behind::App(app().await), |_| {});
        assert!(!local.get("/health").await.contains(process));
        let always = rig(Behind::App(app().await), |parts| parts.details = DetailPolicy::Always);
        assert!(always.get("/health").await.contains(process));
    }

    #[tokio::test]
    async fn a_request_that_comes_before_the_app_accepts_is_held_and_then_answered() {
        let spare = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = spare.local_addr().expect("an address");
        drop(spare);
        let rig = rig(Behind::App(address), |_| {});
        let asking = rig.get("/early");
        let starting = async {
            while rig.ingress.in_flight() == 0 {
                tokio::task::yield_now().await;
            }
            let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
            tokio::spawn(serve_app(listener));
        };
        let (answer, ()) = tokio::join!(asking, starting);
        assert!(answer.ends_with("GET /early HTTP/1.1"), "{answer}");
    }

    #[tokio::test]
    async fn an_app_that_stays_away_is_503_with_retry_after_and_a_warning() {
        let mut rig = rig(Behind::App(SocketAddr::from(([127, 0, 0, 1], 1))), |_| {});
        let answer = rig.get("/").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("retry-after: 1"), "{answer}");
        let line = rig.line().await;
        assert_eq!(line["level"], "warn");
        assert_eq!(line["msg"], "request failed: the app accepts no connections");
        assert_eq!(line["status"], 503);
    }

    #[tokio::test]
    async fn a_drain_serves_on_then_refuses_and_ends_when_all_is_answered() {
        let rig = rig(Behind::App(app().await), |_| {});
        rig.board.app_spawned(1, Moment::now());
        rig.board.set_phase(Phase::Started, Moment::now());
        rig.ingress.announce();
        assert!(rig.get("/a").await.starts_with("HTTP/1.1 200"));
        rig.ingress.refuse();
        assert!(rig.get("/b").await.starts_with("HTTP/1.1 503"));
        assert!(rig.get("/live").await.starts_with("HTTP/1.1 200"), "alive until the app is gone");
        rig.ingress.closed().await;
        assert_eq!(rig.ingress.in_flight(), 0);
    }

    #[tokio::test]
    async fn bytes_that_are_no_request_are_refused_and_written_down() {
        let mut rig = rig(Behind::App(app().await), |_| {});
        let answer = ask(rig.address, "GET / HTTP/1.1\nHost: a\n\n").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(rig.line().await["reason"], "bare_lf");
    }

    #[tokio::test]
    async fn a_site_is_served_in_place_of_an_app() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("index.html"), "<h1>hi</h1>").expect("a file");
        let path = directory.path().to_path_buf();
        let rig = rig(Behind::Site { directory: path, is_spa: true, csp: None }, |_| {});
        assert!(rig.get("/deep/link").await.ends_with("<h1>hi</h1>"));
        let gone =
            Behind::Site { directory: directory.path().join("gone"), is_spa: false, csp: None };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let parts = Parts {
            service: "api".to_owned(),
            behind: gone,
            routes: Vec::new(),
            access_log: false,
            app_health: false,
            details: DetailPolicy::default(),
            guards: GuardSettings::default(),
            hmac: None,
            audit: Audit::off(),
            board: Arc::clone(&rig.board),
            metrics: Arc::clone(&rig.metrics),
            sink: rig.sink.clone(),
            tracer: Tracer::off(),
        };
        let error = start(listener, parts).expect_err("there is no site");
        assert!(error.to_string().starts_with("cannot serve `"), "{error}");
    }
}
