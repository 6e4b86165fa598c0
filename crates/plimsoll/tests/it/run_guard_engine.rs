//! What the death of an engine costs: no line, no process, no waiting connection.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use testkit::{children, free_port, get, is_alive, signal, wait_for, wait_for_some};

use crate::run_harness::{PATIENCE, SIGKILL, SIGTERM, Service, app_pid, binary, messages, run};

/// How often the engine is killed.
const KILLS: usize = 8;

/// Writes numbered lines to both streams as fast as it is read, and serves requests.
const CHATTY_SERVER: &str = "
import os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '4')
        self.end_headers()
        self.wfile.write(b'done')
    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 512

def talk(stream, word):
    number = 0
    while not os.path.exists(os.environ['QUIET']):
        os.write(stream, b''.join(b'%s %d\\n' % (word, number + i) for i in range(50)))
        number += 50
    os.write(stream, b'%s last %d\\n' % (word, number))

threading.Thread(target=talk, args=(1, b'out')).start()
threading.Thread(target=talk, args=(2, b'err')).start()
server = Server((os.environ.get('HOST', '127.0.0.1'), int(os.environ['PORT'])), Handler)
server.serve_forever()
";

#[test]
fn killing_the_engine_again_and_again_costs_no_line_and_no_request_of_the_app() {
    let directory = tempfile::tempdir().unwrap();
    let quiet = directory.path().join("quiet");
    let (port, app_port) = (free_port(), free_port());
    let (ingress, direct) = (format!("127.0.0.1:{port}"), app_port.to_string());
    let mut child = std::process::Command::new(binary());
    child.args(["--listen", "off", "--ingress", &ingress, "--app-port", &direct]);
    child.args(["--access-log", "off", "--", "python3", "-c", CHATTY_SERVER]);
    // A pipe, as under every container engine.
    let mut child = child.env("QUIET", &quiet).stdout(Stdio::piped()).spawn().unwrap();
    let guard = i32::try_from(child.id()).unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let n_last = Arc::new(AtomicUsize::new(0));
    let lines = thread::spawn({
        let n_last = n_last.clone();
        move || {
            let seen = stdout.lines().map(Result::unwrap).inspect(|line| {
                n_last.fetch_add(usize::from(line.contains(" last ")), Ordering::Relaxed);
            });
            seen.collect::<Vec<_>>()
        }
    });
    wait_for("the app to answer", PATIENCE, || get(port, "/").is_ok_and(|a| a.status == 200));

    let (is_over, n_direct) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = thread::spawn({
        let (is_over, n_direct) = (is_over.clone(), n_direct.clone());
        move || {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(get(app_port, "/").unwrap().status, 200, "a request past the engine");
                n_direct.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for _ in 0..KILLS {
        let before = n_direct.load(Ordering::Relaxed);
        wait_for("some requests", PATIENCE, || n_direct.load(Ordering::Relaxed) > before + 20);
        let engine = engine_of(guard, None);
        signal(engine, SIGKILL);
        // Waits in the backlog until the next engine accepts it.
        assert_eq!(get(port, "/").unwrap().status, 200, "a connection that waited");
        engine_of(guard, Some(engine));
    }
    is_over.store(true, Ordering::Relaxed);
    client.join().unwrap();
    std::fs::write(&quiet, "").unwrap();
    wait_for("the last lines", PATIENCE, || n_last.load(Ordering::Relaxed) == 2);
    signal(guard, SIGTERM);
    child.wait().unwrap();
    let lines = lines.join().unwrap();
    for (stream, word) in [("stdout", "out"), ("stderr", "err")] {
        let messages = messages(&lines.join("\n"), stream);
        let (last, numbered) = messages.split_last().unwrap();
        assert_eq!(*last, format!("{word} last {}", numbered.len()));
        for (number, message) in numbered.iter().enumerate() {
            assert_eq!(*message, format!("{word} {number}"));
        }
    }
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')), "a torn line");
}

/// The engine of this guard that is not `former`.
fn engine_of(guard: i32, former: Option<i32>) -> i32 {
    wait_for_some("an engine", PATIENCE, || {
        let is_engine = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with("plimsoll-engin"))
        };
        children(guard).into_iter().find(|pid| is_engine(pid) && Some(*pid) != former)
    })
}

#[test]
fn the_endpoints_are_back_within_300_ms() {
    let service = Service::start(&[], &["sleep", "600"]);
    service.wait_for_status("/ready", 200);
    let mut slowest = Duration::ZERO;
    let mut engine = engine_of(service.run.pid(), None);
    for _ in 0..2 {
        let killed = Instant::now();
        signal(engine, SIGKILL);
        wait_for("an answer", PATIENCE, || {
            service.ask("/live").is_some_and(|answer| answer.status == 200)
        });
        slowest = slowest.max(killed.elapsed());
        engine = engine_of(service.run.pid(), Some(engine));
    }
    eprintln!("slowest return: {slowest:?}");
    // The bound is a figure of the benchmarks; here it must only be no other order of magnitude.
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

#[test]
fn a_new_engine_does_not_tell_the_start_again() {
    let mut run = run(&[], &["sleep", "600"]);
    run.line("\"event\":\"ready\"");
    let app = app_pid(&run);
    signal(engine_of(run.pid(), None), SIGKILL);
    run.line("\"event\":\"engine.restarted\"");
    assert!(is_alive(app));
    run.signal(SIGTERM);
    let ended = run.wait(PATIENCE);
    let n = |event: &str| ended.stdout.matches(&format!("\"event\":\"{event}\"")).count();
    assert_eq!((n("app.spawned"), n("ready"), n("unready")), (1, 1, 0), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().filter(|line| line.is_empty()).count(), 0);
}
