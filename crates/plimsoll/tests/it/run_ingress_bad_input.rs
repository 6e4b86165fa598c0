//! What is no proper HTTP, on every listener of a run: a defined status or a close, and nothing
//! that lasts.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use testkit::{Run, wait_for_some};

use crate::run_harness::{PATIENCE, binary};

/// An app that takes a body and says so.
const APP: &str = r#"
import http.server, os
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.do_GET()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

/// Most memory that an engine may ever have taken, in a debug build.
const RESIDENT_KIB_MAX: u64 = 256 * 1024;

/// A listener, with a path that takes a body.
struct Listener {
    name: &'static str,
    address: SocketAddr,
    takes: &'static str,
}

/// The runs, and what they listen on.
fn listeners(site: &std::path::Path) -> (Vec<Run>, Vec<Listener>) {
    let port = || SocketAddr::from(([127, 0, 0, 1], testkit::lasting_port()));
    let (admin, ingress, fixed) = (port(), port(), port());
    let publish = format!(
        r#"{{"dir": "{}", "topics": {{"notes": {{}}}}}}"#,
        site.with_file_name("spool").display()
    );
    let (admin_text, ingress_text) = (admin.to_string(), ingress.to_string());
    let flags = ["--listen", &admin_text, "--ingress", &ingress_text, "--publish", &publish];
    let command = ["--", "python3", "-c", APP];
    let app = Run::start(&binary(), flags.iter().chain(&command));
    let fixed_text = fixed.to_string();
    let site = site.to_str().unwrap();
    let files = ["--listen", "off", "--ingress", &fixed_text, "--static", site];
    let files = Run::start(&binary(), files);
    let listener = |name, address, takes| Listener { name, address, takes };
    let listeners = vec![
        listener("admin", admin, "/v1/heartbeat"),
        listener("publish", admin, "/v1/publish/notes"),
        listener("ingress", ingress, "/"),
        listener("static", fixed, "/"),
    ];
    for listener in &listeners {
        wait_for_some("a listener that is ready", PATIENCE, || {
            said(
                listener.address,
                &[b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
            )
            .starts_with("HTTP/1.1 200")
            .then_some(())
        });
    }
    (vec![app, files], listeners)
}

/// Sends pieces until they are sent or not taken any more, and reads to the end.
fn said(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let Ok(mut socket) = TcpStream::connect(address) else { return String::new() };
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writing = socket.try_clone().unwrap();
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in pieces {
                if writing.write_all(piece).is_err() {
                    return;
                }
            }
        });
        // A refused connection may end in a reset, but never stays open.
        if let Err(error) = socket.read_to_end(&mut answer) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "it was not closed");
        }
        let _ = socket.shutdown(std::net::Shutdown::Both);
    });
    String::from_utf8_lossy(&answer).into_owned()
}

const BAD: &[u16] = &[400];
const TOO_LARGE: &[u16] = &[431];
const VERSION: &[u16] = &[400, 505];
/// Whoever takes no body may say so before it sees what is wrong with it.
const ANY_CHUNK: &[u16] = &[400, 405, 413];

/// What each is, and the statuses that may answer it.
fn malformed(takes: &str) -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let post = |fields: &str, body: &str| {
        format!("POST {takes} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes()
    };
    let hidden = "0\r\n\r\nGET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    let get = |fields: &str| format!("GET /live HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let many = (0..500).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), BAD),
        ("no request line", b"nonsense\r\n\r\n".to_vec(), BAD),
        ("no version", b"GET /live\r\n\r\n".to_vec(), BAD),
        ("HTTP/3 in text", b"GET /live HTTP/3.0\r\nHost: a\r\n\r\n".to_vec(), VERSION),
        ("a NUL in a field", get("X: a\0b\r\n"), BAD),
        ("a folded line", get("X: a\r\n b\r\n"), BAD),
        ("a bare line feed", get("X: a\nY: b\r\n"), BAD),
        ("a blank before the colon", get("Content-Length : 0\r\n"), BAD),
        ("too many fields", get(&many), TOO_LARGE),
        ("length and encoding", post(&format!("Content-Length: 6\r\n{chunked}"), hidden), BAD),
        ("encoding and length", post(&format!("{chunked}Content-Length: 6\r\n"), hidden), BAD),
        ("two lengths", post("Content-Length: 3\r\nContent-Length: 5\r\n", "abcde"), BAD),
        ("one length twice", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), BAD),
        ("a signed length", post("Content-Length: +3\r\n", "abc"), BAD),
        ("a list of lengths", post("Content-Length: 3, 3\r\n", "abc"), BAD),
        ("another encoding", post("Transfer-Encoding: gzip, chunked\r\n", hidden), BAD),
        ("a hidden encoding", post("Transfer-Encoding: xchunked\r\n", hidden), BAD),
        ("an endless chunk size", post(chunked, &"F".repeat(4000)), ANY_CHUNK),
        ("a chunk of 2^64", post(chunked, "10000000000000000\r\nabc"), ANY_CHUNK),
        ("a chunk without its end", post(chunked, "3\r\nabcX\r\n"), ANY_CHUNK),
    ]
}

fn is_alive(listener: &Listener) {
    let live =
        said(listener.address, &[b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]);
    assert!(live.starts_with("HTTP/1.1 200 OK"), "{}: {live}", listener.name);
}

fn status_of(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// The most memory that an engine of these runs has taken.
fn resident_kib_max(runs: &[Run]) -> u64 {
    let of = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is_ours = status.starts_with("Name:\tplimsoll");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse().ok().filter(|_| is_ours)
    };
    let pids = runs.iter().flat_map(Run::processes).collect::<Vec<_>>();
    pids.iter().filter_map(of).max().unwrap()
}

#[test]
fn what_is_no_proper_http_has_its_answer_on_every_listener() {
    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("dist");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("index.html"), "<h1>home</h1>").unwrap();
    let (runs, listeners) = listeners(&site);
    for listener in &listeners {
        for (what, bytes, statuses) in malformed(listener.takes) {
            let answer = said(listener.address, &[&bytes]);
            let place = format!("{what} on {}: {answer}", listener.name);
            assert!(statuses.contains(&status_of(&answer)), "{place}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "a second answer: {place}");
        }
        let piece = vec![b'a'; 1024 * 1024];
        let mut head = vec![&b"GET /live HTTP/1.1\r\nHost: a\r\nX: "[..]];
        head.extend(std::iter::repeat_n(&piece[..], 100));
        let answer = said(listener.address, &head);
        // Closed while more comes, so that a reset may overtake the answer.
        let is_refused = answer.is_empty() || status_of(&answer) == 431;
        assert!(is_refused, "100 MB of head on {}: {answer}", listener.name);
        is_alive(listener);
    }
    let resident = resident_kib_max(&runs);
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
    for run in &runs {
        let words = run.stdout() + &run.stderr();
        assert!(!words.contains("panicked") && !words.contains("engine.restarted"), "{words}");
    }
}

#[test]
fn slow_heads_and_floods_end_on_every_listener_and_keep_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("dist");
    std::fs::create_dir(&site).unwrap();
    let (runs, listeners) = listeners(&site);
    let slow: Vec<_> = listeners
        .iter()
        .map(|listener| {
            let mut socket = TcpStream::connect(listener.address).unwrap();
            socket.set_read_timeout(Some(2 * PATIENCE)).unwrap();
            socket.write_all(b"GET /live HTTP/1.1\r\nHost: a\r\nX: ").unwrap();
            socket
        })
        .collect();
    // Frames that ask for an answer each, of which none is read.
    let ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    for listener in &listeners {
        let mut socket = TcpStream::connect(listener.address).unwrap();
        socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut sent = socket.write_all(preface);
        for _ in 0..2500 {
            sent = sent.and_then(|()| socket.write_all(&ping.repeat(1000)));
        }
        assert!(sent.is_err(), "{} took 42 MB of pings and no answer was read", listener.name);
        is_alive(listener);
    }
    for (mut socket, listener) in slow.into_iter().zip(&listeners) {
        let mut answer = Vec::new();
        // Ended by the listener, with a status or without.
        let ended = socket.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(ended.is_ok(), "a slow head is kept on {}: {ended:?}", listener.name);
        assert!(matches!(status_of(&answer), 0 | 408 | 400), "{}: {answer}", listener.name);
        is_alive(listener);
    }
    let resident = resident_kib_max(&runs);
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
}
