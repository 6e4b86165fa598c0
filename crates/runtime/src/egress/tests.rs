//! Calls over real sockets, to dependencies that behave as badly as real ones.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::board::{Identity, Moment};
use crate::logs;
use crate::metrics::form_for;

/// What a dependency does with one request.
#[derive(Clone, Copy)]
enum Does {
    /// Answers with these bytes and closes.
    Answers(&'static str),
    /// Answers with these bytes and resets the connection.
    Resets(&'static str),
    /// Says nothing until the caller leaves.
    Stalls,
}

const OK: Does = Does::Answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: 5\r\n\r\nok");
const BUSY: Does =
    Does::Answers("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nbusy");

/// A dependency that plays its script, and then goes on with its last line.
struct Peer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    async fn start(script: &'static [Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            let mut n_requests = 0;
            while let Ok((socket, _)) = listener.accept().await {
                let does = script[n_requests.min(script.len() - 1)];
                n_requests += 1;
                tokio::spawn(play(socket, does, seen.clone()));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

async fn play(mut socket: TcpStream, does: Does, seen: Arc<Mutex<Vec<String>>>) {
    let request = read_request(&mut socket).await;
    seen.lock().expect("not poisoned").push(request);
    match does {
        Does::Answers(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
        Does::Resets(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
        Does::Stalls => drop(socket.read_u8().await),
    }
}

/// A head, and as much body as it says.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        let Ok(byte) = socket.read_u8().await else { return text };
        text.push(char::from(byte));
    }
    let lower = text.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    socket.read_exact(&mut body).await.expect("a body");
    text + &String::from_utf8(body).expect("text")
}

/// A dependency named `dep`, called on a listener of its own.
struct Rig {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
    egress: Arc<Egress>,
    _listening: Listening,
    _log: ([OwnedFd; 4], logs::Pipeline),
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe")
}

fn rig(url: &str, change: impl FnOnce(&mut Dependency)) -> Rig {
    let identity = Identity { service: "api".into(), ..Identity::default() };
    let board = Board::new(identity.clone(), Moment::now());
    let metrics = Metrics::new(&identity, &[]);
    let mut dependency = Dependency::new(url);
    dependency.timeout = Duration::from_secs(5);
    dependency.try_timeout = Duration::from_secs(5);
    dependency.retries.backoff = Duration::from_millis(1);
    change(&mut dependency);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    dependency.listen = Some(address);
    let settings = [("dep".to_owned(), dependency)].into();
    let ((stdout, out), (stderr, err)) = (pipe(), pipe());
    let ((reader, writer), (other_reader, other)) = (pipe(), pipe());
    let (sink, pipeline) = logs::start(
        &logs::Settings::new(logs::Format::Off, identity),
        logs::Inputs { stdout, stderr, journal: None },
        logs::Outputs { stdout: writer, stderr: other },
        metrics.log_counters(),
    )
    .expect("a pipeline");
    let parts =
        EgressParts { board: board.clone(), metrics: metrics.clone(), sink, tracer: Tracer::off() };
    let egress = Arc::new(Egress::new(&settings, &parts).expect("a client"));
    let listening = listen(&egress, vec![listener]).expect("serving");
    let kept = ([out, err, reader, other_reader], pipeline);
    Rig { address, metrics, board, egress, _listening: listening, _log: kept }
}

impl Rig {
    async fn send(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.expect("a connection");
        socket.write_all(request.as_bytes()).await.expect("room");
        let mut answer = Vec::new();
        // An answer that breaks off is one too.
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn ask(&self, method: &str, path: &str, more: &str) -> String {
        let host = self.address;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        self.send(&request).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "").await
    }

    /// The value of the first series that has all of these.
    fn figure(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let text = self.metrics.render(&self.board.snapshot(), Moment::now(), form_for(""), None);
        let is_it =
            |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        let line = text.lines().filter(|line| !line.starts_with('#')).find(is_it)?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    fn ended(&self, outcome: &str) -> f64 {
        let label = format!("outcome=\"{outcome}\"");
        self.figure("egress_requests_total", &[&label]).unwrap_or_default()
    }
}

fn url(peer: &Peer) -> String {
    format!("http://{}/base", peer.address)
}

/// An address that nobody listens on.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn a_call_goes_below_the_declared_address_with_the_declared_fields() {
    let peer = Peer::start(&[OK]).await;
    let rig = rig(&url(&peer), |it| drop(it.headers.insert("x-key".into(), "secret".into())));
    let more = "X-Key: mine\r\nConnection: x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
                Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
                Tracestate: a=b\r\n";
    let answer = rig.ask("GET", "/x%20y?q=1", more).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("ok") && !answer.contains("keep-alive: 5"), "{answer}");
    let [request] = &peer.requests()[..] else { panic!("one request") };
    assert!(request.starts_with("GET /base/x%20y?q=1 HTTP/1.1\r\n"), "{request}");
    let lower = request.to_lowercase();
    assert!(lower.contains(&format!("host: {}\r\n", peer.address)), "{request}");
    assert!(lower.contains("x-key: secret\r\n") && !lower.contains("mine"), "{request}");
    assert!(!lower.contains("x-hop") && !lower.contains("te: trailers"), "{request}");
    assert!(lower.contains("-00f067aa0ba902b7-01\r\n"), "nothing records: it passes: {request}");
    assert!(lower.contains("tracestate: a=b\r\n"), "{request}");
    assert!((rig.ended("success") - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn what_is_safe_is_tried_again_and_what_is_not_is_not() {
    let peer = Peer::start(&[BUSY, BUSY, OK]).await;
    let rig = rig(&url(&peer), |_| {});
    assert!(rig.get("/").await.ends_with("ok"));
    assert_eq!((peer.requests().len(), rig.figure("egress_retries_total", &[])), (3, Some(2.0)));

    let peer = Peer::start(&[BUSY, OK]).await;
    let rig = self::rig(&url(&peer), |_| {});
    let body = "Content-Length: 2\r\n\r\nhi";
    let post = |more: &str| {
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}{body}")
    };
    assert!(rig.send(&post("")).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(peer.requests().len(), 1);

    let peer = Peer::start(&[BUSY, OK]).await;
    let rig = self::rig(&url(&peer), |_| {});
    assert!(rig.send(&post("Idempotency-Key: 7\r\n")).await.ends_with("ok"));
    let requests = peer.requests();
    assert!(requests.len() == 2 && requests.iter().all(|it| it.ends_with("hi")), "{requests:?}");
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_passed_on() {
    let peer = Peer::start(&[
        Does::Answers("HTTP/1.1 429 Slow\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"),
        OK,
    ])
    .await;
    let rig = rig(&url(&peer), |_| {});
    let answer = rig.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 60"), "{answer}");
    assert!(!answer.contains("plimsoll-egress"), "it is the dependency's: {answer}");
    assert_eq!((peer.requests().len(), rig.ended("client_error")), (1, 1.0));
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let peer = Peer::start(&[BUSY]).await;
    let rig = rig(&url(&peer), |it| {
        it.retries = Retries { budget: 0.5, budget_min: 0.0, ..it.retries };
        it.breaker = None;
    });
    for _ in 0..8 {
        rig.get("/").await;
    }
    assert_eq!(peer.requests().len(), 12, "eight calls pay for four retries");
}

#[tokio::test]
async fn a_dependency_that_is_not_there_is_502_and_then_not_asked() {
    let rig = rig(&nowhere(), |it| {
        it.retries.max = 0;
        it.breaker = Some(Breaker { min_calls: 3, ..Breaker::default() });
    });
    for _ in 0..3 {
        let answer = rig.get("/").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(answer.contains("plimsoll-egress: unreachable"), "{answer}");
    }
    let answer = rig.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("plimsoll-egress: breaker_open"), "{answer}");
    assert!(answer.contains("retry-after: ") && answer.contains("\"dependency\":\"dep\""));
    assert_eq!((rig.ended("unreachable"), rig.ended("breaker_open")), (3.0, 1.0));
    assert_eq!(rig.figure("circuit_breaker_state", &["state=\"open\""]), Some(1.0));
    assert_eq!(rig.figure("circuit_breaker_state", &["state=\"closed\""]), Some(0.0));
    assert_eq!(rig.board.snapshot().breakers["dep"], State::Open);
}

#[tokio::test]
async fn a_breaker_closes_when_the_dependency_is_back() {
    let peer = Peer::start(&[Does::Resets(""), Does::Resets(""), OK]).await;
    let rig = rig(&url(&peer), |it| {
        it.retries.max = 0;
        let open = Duration::from_millis(50);
        it.breaker = Some(Breaker { min_calls: 2, open, probes: 1, ..Breaker::default() });
    });
    for _ in 0..2 {
        assert!(rig.get("/").await.contains("plimsoll-egress: broken"));
    }
    assert!(rig.get("/").await.contains("plimsoll-egress: breaker_open"));
    let mut answer = String::new();
    while !answer.ends_with("ok") {
        answer = rig.get("/").await;
    }
    assert_eq!(rig.board.snapshot().breakers["dep"], State::Closed);
}

#[tokio::test]
async fn a_dependency_that_says_nothing_is_504_in_time() {
    let peer = Peer::start(&[Does::Stalls]).await;
    let rig = rig(&url(&peer), |it| it.timeout = Duration::from_millis(100));
    let answer = rig.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(answer.contains("plimsoll-egress: timeout"), "{answer}");
    assert_eq!(rig.ended("timeout"), 1.0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_and_is_not_repeated() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let peer = Peer::start(Vec::leak(vec![Does::Answers(half)])).await;
    let rig = rig(&url(&peer), |_| {});
    let answer = rig.get("/").await;
    assert!(answer.ends_with("half") && answer.contains("content-length: 100"), "{answer}");
    assert_eq!((peer.requests().len(), rig.ended("broken")), (1, 1.0));
}

#[tokio::test]
async fn a_body_that_stops_is_cut_by_the_idle_timeout_and_by_the_deadline() {
    for (idle, total) in [(50, 5000), (5000, 100)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a caller");
            read_request(&mut socket).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
            socket.write_all(head).await.expect("room");
            drop(socket.read_u8().await);
        });
        let rig = rig(&base, |it| {
            it.idle_timeout = Duration::from_millis(idle);
            it.timeout = Duration::from_millis(total);
        });
        assert!(rig.get("/").await.ends_with("half"));
        assert_eq!(rig.ended("timeout"), 1.0);
    }
}

#[tokio::test]
async fn too_many_calls_at_once_are_refused_and_the_place_is_given_back() {
    let peer = Peer::start(&[Does::Stalls, OK]).await;
    let rig = rig(&url(&peer), |it| {
        it.bulkhead = Bulkhead { max: 1, queue: 0, wait: Duration::from_secs(5) };
    });
    let mut first = TcpStream::connect(rig.address).await.expect("a connection");
    first.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("room");
    while peer.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let answer = rig.get("/").await;
    assert!(answer.contains("plimsoll-egress: bulkhead_full"), "{answer}");
    drop(first);
    while !rig.get("/").await.ends_with("ok") {}
    assert_eq!(rig.ended("cancelled"), 1.0, "the first caller left");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a caller");
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut buffer = vec![0; 4096];
        let mut text = String::new();
        while !text.contains("one") {
            let length = socket.read(&mut buffer).await.expect("bytes");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        socket.write_all(head).await.expect("room");
        socket.write_all(b"3\r\nuno\r\n").await.expect("room");
        while !text.contains("two") {
            let length = socket.read(&mut buffer).await.expect("bytes");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        socket.write_all(b"3\r\ndos\r\n0\r\n\r\n").await.expect("room");
        drop(socket.read(&mut buffer).await);
    });
    let rig = rig(&base, |_| {});
    let mut socket = TcpStream::connect(rig.address).await.expect("a connection");
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head).await.expect("room");
    socket.write_all(b"3\r\none\r\n").await.expect("room");
    let mut answer = String::new();
    let mut buffer = vec![0; 4096];
    while !answer.contains("uno") {
        let length = socket.read(&mut buffer).await.expect("bytes");
        assert!(length > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    socket.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.expect("room");
    while !answer.contains("dos") {
        let length = socket.read(&mut buffer).await.expect("bytes");
        assert!(length > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

#[tokio::test]
async fn a_redirect_is_the_applications_affair() {
    let peer = Peer::start(&[Does::Answers(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    )])
    .await;
    let answer = rig(&url(&peer), |_| {}).get("/").await;
    assert!(answer.starts_with("HTTP/1.1 302") && answer.contains("location: "), "{answer}");
}

#[tokio::test]
async fn a_path_that_leads_out_and_a_stranger_are_refused() {
    let peer = Peer::start(&[OK]).await;
    let rig = rig(&url(&peer), |_| {});
    assert!(rig.get("/../admin").await.contains("plimsoll-egress: path"));
    assert!(rig.get("/%2e%2e/admin").await.contains("plimsoll-egress: path"));
    let close = "Connection: close\r\n\r\n";
    for head in
        ["Host: evil.example", "Host: localhost\r\nOrigin: https://evil.example", "Host: [::2]:1"]
    {
        let answer = rig.send(&format!("GET / HTTP/1.1\r\n{head}\r\n{close}")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{head}: {answer}");
    }
    for head in ["Host: [::1]:1", "Host: localhost\r\nOrigin: http://localhost:3000"] {
        let answer = rig.send(&format!("GET / HTTP/1.1\r\n{head}\r\n{close}")).await;
        assert!(answer.ends_with("ok"), "{head}: {answer}");
    }
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn a_secret_is_waited_for_and_then_sent() {
    let peer = Peer::start(&[OK]).await;
    let rig = rig(&url(&peer), |it| {
        drop(it.headers.insert("authorization".into(), "Bearer ${secret:key}".into()));
    });
    assert!(rig.get("/").await.contains("plimsoll-egress: secret"));
    let failed = rig.egress.resolve(async |_| Err("no such secret".to_owned())).await;
    assert_eq!(failed, [("dep".to_owned(), "no such secret".to_owned())]);
    let fill = async |text: String| Ok(text.replace("${secret:key}", "hunter2"));
    assert!(rig.egress.resolve(fill).await.is_empty());
    assert!(rig.get("/").await.ends_with("ok"));
    assert!(peer.requests()[0].contains("authorization: Bearer hunter2\r\n"));
    assert!(!format!("{:?}", rig.egress).contains("hunter2"));
}
