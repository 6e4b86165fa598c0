//! A stop under load: what was accepted is answered, and nothing stays behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use testkit::{Run, free_port, get, wait_for};

use crate::run_harness::{PATIENCE, SIGKILL, SIGTERM, engine_pid, run};

/// Concurrent requests at the moment of the stop.
const REQUESTS: usize = 200;

/// Answers each request after as many milliseconds as its path says, and dies of SIGTERM at once.
const SLOW_SERVER: &str = "
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Slow(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        os.write(1, b'begun\\n')
        time.sleep(int(self.path.strip('/')) / 1000)
        self.send_response(200)
        self.send_header('Content-Length', '4')
        self.end_headers()
        self.wfile.write(b'done')

    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 512

Server((os.environ['HOST'], int(os.environ['PORT'])), Slow).serve_forever()
";

/// Starts the slow server behind an ingress and waits until it answers.
fn slow_server(flags: &[&str]) -> (Run, u16) {
    let port = free_port();
    let ingress = format!("127.0.0.1:{port}");
    let flags: Vec<&str> = ["--ingress", &ingress].iter().chain(flags).copied().collect();
    let run = run(&flags, &["python3", "-c", SLOW_SERVER]);
    run.line("\"event\":\"ready\"");
    (run, port)
}

fn n_begun(run: &Run) -> usize {
    run.stdout().lines().filter(|line| line.contains("\"begun\"")).count()
}

#[test]
fn two_hundred_requests_in_flight_all_complete_before_the_app_is_stopped() {
    let (mut run, port) = slow_server(&["--stop-grace", "20s"]);
    let clients: Vec<_> =
        (0..REQUESTS).map(|_| thread::spawn(move || get(port, "/1500"))).collect();
    wait_for("all requests to be in flight", PATIENCE, || n_begun(&run) == REQUESTS);
    let begun = Instant::now();
    run.signal(SIGTERM);
    for client in clients {
        let answer = client.join().unwrap().unwrap();
        assert_eq!((answer.status, answer.text()), (200, "done".to_owned()));
    }
    let ended = run.wait(PATIENCE);
    assert!(begun.elapsed() < Duration::from_secs(20), "the exit came after the grace");
    assert_eq!(ended.code, 143, "python ends by the signal itself");
    run.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn during_the_drain_everything_is_served_and_ready_says_no() {
    let (mut run, port) = slow_server(&["--drain", "1s"]);
    let mut kept = TcpStream::connect(("127.0.0.1", port)).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(ask_on(&mut kept, "/0").starts_with("HTTP/1.1 200"));
    run.signal(SIGTERM);
    run.line("shutdown.begin");
    assert_eq!(get(port, "/ready").unwrap().status, 503);
    assert_eq!(get(port, "/live").unwrap().status, 200);
    assert_eq!(get(port, "/0").unwrap().status, 200, "a new connection");
    assert!(ask_on(&mut kept, "/0").starts_with("HTTP/1.1 200"), "an old connection");
    assert_eq!(run.wait(PATIENCE).code, 143);
}

/// One request on a connection that stays open; the answer has a body of four bytes.
fn ask_on(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"done") {
        let length = stream.read(&mut buffer).unwrap();
        assert!(
            length > 0,
            "the connection was closed after {:?}",
            String::from_utf8_lossy(&answer)
        );
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn while_requests_end_new_ones_are_refused() {
    let (mut run, port) = slow_server(&[]);
    let slow = thread::spawn(move || get(port, "/2000"));
    wait_for("the request to be in flight", PATIENCE, || n_begun(&run) == 1);
    run.signal(SIGTERM);
    run.line("shutdown.begin");
    wait_for("a refusal", PATIENCE, || get(port, "/0").is_ok_and(|answer| answer.status == 503));
    assert_eq!(slow.join().unwrap().unwrap().status, 200);
    assert_eq!(run.wait(PATIENCE).code, 143);
}

#[test]
fn a_request_that_never_ends_cannot_hold_up_the_stop() {
    let (mut run, port) = slow_server(&["--stop-grace", "2s"]);
    let client = thread::spawn(move || get(port, "/600000"));
    wait_for("the request to be in flight", PATIENCE, || n_begun(&run) == 1);
    let begun = Instant::now();
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 143);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(client.join().unwrap().map_or(true, |answer| answer.status >= 500));
    run.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn the_service_port_survives_its_engine() {
    let (run, port) = slow_server(&[]);
    testkit::signal(engine_pid(&run), SIGKILL);
    // At no moment is a connection refused: it waits in the backlog for the next engine.
    let answer = get(port, "/0").unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn load_without_a_stop_loses_nothing() {
    let (run, port) = slow_server(&[]);
    let run = Arc::new(run);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            thread::spawn(move || (0..20).all(|_| get(port, "/1").is_ok_and(|a| a.status == 200)))
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
    wait_for("400 lines", PATIENCE, || n_begun(&run) == 400);
}
