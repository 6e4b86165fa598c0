//! How much the proxy costs: against the application itself, and against nginx doing the same.
//!
//! `cargo bench -p proxy` starts a small application, this proxy and nginx as processes of their
//! own, lets `wrk` ask each in turn for several rounds, and prints medians of one run. It needs
//! `wrk` and, for the comparison, `nginx`. Processor time per request is the figure to trust on a
//! busy machine.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on")]

use std::convert::Infallible;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::{Exchange, Hooks, Router, Server, Settings, Target, Upstream};
use tokio::net::TcpListener;

const ROUNDS: usize = 7;
const SECONDS: u32 = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("app") => run(app()),
        Some("front") => run(front(arguments[2].parse().unwrap(), arguments.get(3).cloned())),
        _ => compare(),
    }
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future);
}

/// Listens on a free port and says which.
async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener
}

/// An application that says hello.
async fn app() {
    let listener = listen().await;
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let service = service_fn(|_| async {
            let mut response = Response::new(Full::new(Bytes::from_static(b"hello, world\n")));
            response.headers_mut().insert("content-type", "text/plain".parse().unwrap());
            Ok::<_, Infallible>(response)
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service),
        );
    }
}

/// The proxy, with a line per request into a buffered file when one is named.
async fn front(upstream: SocketAddr, log: Option<String>) {
    let listener = listen().await;
    let router = Router::single("app", Target::Upstream(Upstream::tcp("app", upstream)));
    match log {
        Some(path) => {
            let log = Log(Mutex::new(BufWriter::with_capacity(65536, File::create(path).unwrap())));
            Server::new(Settings::default(), router, log).serve(listener).await;
        }
        None => Server::new(Settings::default(), router, ()).serve(listener).await,
    }
}

/// One line per request, as nginx's `access_log buffer=64k` writes it.
struct Log(Mutex<BufWriter<File>>);

impl Hooks for Log {
    fn finished(&self, exchange: &Exchange<'_>) {
        let mut log = self.0.lock().unwrap();
        let _written = writeln!(
            log,
            "{{\"method\":\"{}\",\"path\":\"{}\",\"status\":{},\"us\":{},\"bytes\":{},\"trace\":\"{}\",\"id\":\"{}\"}}",
            exchange.method,
            exchange.path,
            exchange.status.map_or(0, |status| status.as_u16()),
            exchange.duration.as_micros(),
            exchange.bytes_out,
            exchange.trace.trace_id(),
            exchange.request_id,
        );
    }
}

/// A process that is killed when it is dropped.
struct Server1 {
    name: &'static str,
    child: Child,
    address: String,
    rounds: Vec<Round>,
}

impl Drop for Server1 {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

fn compare() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("front.log").display().to_string();
    let app = start("app itself", &["app"]);
    let mut servers = vec![
        start("proxy", &["front", &app.address]),
        start("proxy, access log", &["front", &app.address, &log]),
    ];
    let access = |name: &str| directory.path().join(name).display().to_string();
    for (name, duties, log) in [
        ("nginx, bare", Duties::None, None),
        ("nginx, same duties", Duties::Same, None),
        ("nginx, same + log", Duties::Same, Some(access("nginx.log"))),
    ] {
        servers.extend(nginx(name, directory.path(), &app.address, duties, log.as_deref()));
    }
    servers.insert(0, app);
    for connections in [1, 64] {
        for round in 0..=ROUNDS {
            for server in &mut servers {
                let measured = wrk(server, connections);
                if round > 0 {
                    server.rounds.push(measured);
                }
            }
        }
        println!("\n{connections} connections, {ROUNDS} rounds of {SECONDS} s, medians");
        println!(
            "{:20} {:>9} {:>9} {:>9} {:>11} {:>8}",
            "", "req/s", "p50 us", "p99 us", "cpu us/req", "rss kB"
        );
        for server in &mut servers {
            let median = |value: fn(&Round) -> f64| {
                let mut values: Vec<f64> = server.rounds.iter().map(value).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!(
                "{:20} {:9.0} {:9.0} {:9.0} {:11.1} {:8}",
                server.name,
                median(|round| round.per_second),
                median(|round| round.p50_us),
                median(|round| round.p99_us),
                median(|round| round.cpu_us),
                resident_kb(server.child.id()),
            );
            server.rounds.clear();
        }
    }
}

fn start(name: &'static str, arguments: &[&str]) -> Server1 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    Server1 { name, child, address: address.trim().to_owned(), rounds: Vec::new() }
}

/// What nginx does besides passing a request on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duties {
    /// Nothing.
    None,
    /// What the proxy does: an id, a trace, and the fields that say who asked.
    Same,
}

/// The fields of [`Duties::Same`]. nginx knows no random span id; a fixed one costs it less.
const SAME_DUTIES: &str = "proxy_set_header X-Request-Id $request_id;
    add_header X-Request-Id $request_id always;
    proxy_set_header Traceparent \"00-$request_id-0000000000000001-01\";
    proxy_set_header Forwarded \"for=$remote_addr;host=\\\"$host\\\";proto=$scheme\";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Proto $scheme;";

/// nginx with one worker and kept-alive upstream connections; nothing when it is not installed.
fn nginx(
    name: &'static str,
    directory: &std::path::Path,
    upstream: &str,
    duties: Duties,
    log: Option<&str>,
) -> Option<Server1> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let log_line = log.map_or_else(
        || "access_log off;".to_owned(),
        |path| format!("access_log {path} json buffer=64k;"),
    );
    let fields = if duties == Duties::Same { SAME_DUTIES } else { "" };
    let root = directory.display();
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {root}/{n}.pid; \
         error_log {root}/{n}.err;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root};\n\
         uwsgi_temp_path {root}; scgi_temp_path {root};\n\
         log_format json escape=json '{{\"method\":\"$request_method\",\"path\":\"$uri\",\
         \"status\":$status,\"s\":$request_time,\"bytes\":$body_bytes_sent,\
         \"trace\":\"$request_id\",\"id\":\"$request_id\"}}';\n\
         {log_line} keepalive_requests 10000000;\n\
         upstream app {{ server {upstream}; keepalive 256; keepalive_requests 10000000; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://app; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
         {fields} }} }} }}\n",
        n = name.len(),
    );
    let path = directory.join(format!("{}.conf", name.len()));
    std::fs::write(&path, config).unwrap();
    let child = Command::new("nginx").arg("-c").arg(&path).stderr(Stdio::inherit()).spawn().ok()?;
    while std::net::TcpStream::connect(&address).is_err() {
        std::thread::yield_now();
    }
    Some(Server1 { name, child, address, rounds: Vec::new() })
}

fn wrk(server: &Server1, connections: u32) -> Round {
    let before = cpu_us(server.child.id());
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{SECONDS}s"), "--latency"])
        .arg(format!("http://{}/hello?x=1", server.address))
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{}: {text}", server.name);
    let value = |key: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(key)).unwrap_or_default();
        line.trim().trim_start_matches(key).trim().to_owned()
    };
    let n_requests: f64 = text
        .lines()
        .find(|line| line.contains("requests in"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap();
    Round {
        per_second: value("Requests/sec:").parse().unwrap(),
        p50_us: micros(&value("50%")),
        p99_us: micros(&value("99%")),
        cpu_us: (cpu_us(server.child.id()) - before) / n_requests,
    }
}

fn micros(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap_or(0));
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        _ => 1e6,
    };
    number.parse().unwrap_or(f64::NAN) * factor
}

/// Processor time of a process, from its statistics (ticks of 10 ms).
fn cpu_us(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 1e4
}

fn resident_kb(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).unwrap_or("?").to_owned()
}
