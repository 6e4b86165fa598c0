//! Servers and workers of the frameworks that our users have, unmodified: each is healthy, is
//! measured, and finishes what it had begun when it is asked to stop.

use std::{ffi::OsStr, path::PathBuf, process::Command, thread, time::Duration};

use serde_json::Value;
use testkit::{Ended, Redis, free_port, get, python_path, wait_for, wait_for_some};

use crate::run_harness::{PATIENCE, SIGTERM, Service, messages};

/// A JVM and a first import of a big framework take their time on a busy machine.
const SLOW_START: Duration = Duration::from_secs(180);

fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks")
}

/// A web service behind the ingress, ready to serve.
struct Web {
    service: Service,
    port: u16,
}

impl Web {
    fn start<A: AsRef<OsStr>>(flags: &[&str], command: &[A]) -> Self {
        Self::start_with(flags, command, |_| {})
    }

    fn start_with<A: AsRef<OsStr>>(
        flags: &[&str],
        command: &[A],
        more: impl FnOnce(&mut Command),
    ) -> Self {
        let port = free_port();
        let ingress = format!("127.0.0.1:{port}");
        let all: Vec<&str> = ["--ingress", &ingress].iter().chain(flags).copied().collect();
        let service = Service::start_with(&all, command, more);
        wait_for_some("the server to be ready", SLOW_START, || {
            service.ask("/ready").filter(|answer| answer.status == 200)
        });
        let hello = get(port, "/hello").unwrap();
        assert!(hello.status == 200 && hello.text().contains("hello"), "{}", hello.text());
        Self { service, port }
    }

    /// Stops it while a request is in flight, which must be answered in full.
    #[track_caller]
    fn stops_only_after(mut self, path: &'static str, began: &str, answer: &str, code: i32) {
        let port = self.port;
        let client = thread::spawn(move || get(port, path).unwrap());
        self.service.run.line(began);
        let ended = self.stop();
        let response = client.join().unwrap();
        assert_eq!((response.status, response.text()), (200, answer.to_owned()), "{ended:?}");
        assert_eq!(ended.code, code, "{ended:?}");
    }

    fn stop(&mut self) -> Ended {
        self.service.run.signal(SIGTERM);
        let ended = self.service.run.wait(PATIENCE);
        self.service.run.wait_for_nothing_left(Duration::ZERO);
        for line in ended.stdout.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["service"].is_string() && line["ts"].is_string(), "{line}");
        }
        ended
    }
}

fn with_python(command: &mut Command) {
    command.env("PYTHONPATH", python_path()).current_dir(sources());
}

#[test]
fn fastapi_under_uvicorn_finishes_its_requests() {
    let command = "exec python3 -m uvicorn fastapi_app:app --host \"$HOST\" --port \"$PORT\"";
    let web = Web::start_with(&["--service", "api"], &["sh", "-c", command], with_python);
    // Uvicorn ends a clean stop by raising the signal again.
    web.stops_only_after("/slow", "slow request began", "{\"slept\":1.0}", 143);
}

#[test]
fn flask_under_gunicorn_finishes_its_requests_in_every_worker() {
    let command = "exec python3 -m gunicorn --workers 2 --bind \"$HOST:$PORT\" flask_app:app";
    let web = Web::start_with(&["--service", "web"], &["sh", "-c", command], with_python);
    web.stops_only_after("/slow", "slow request began", "{\"slept\":1.0}\n", 0);
}

#[test]
fn a_celery_task_that_runs_is_finished_before_the_worker_ends() {
    let redis = Redis::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let with_redis = |command: &mut Command| {
        with_python(command);
        command.env("REDIS_URL", redis.url());
    };
    let worker = "exec python3 -m celery -A celery_app worker --loglevel INFO --concurrency 2";
    let mut service =
        Service::start_with(&["--service", "celery_worker"], &["sh", "-c", worker], with_redis);
    wait_for("the worker", SLOW_START, || service.run.stdout().contains("ready."));
    let mut send = Command::new("python3");
    with_redis(&mut send);
    let send = send.args(["-c", "import celery_app, sys; celery_app.work.delay(sys.argv[1])"]);
    assert!(send.arg(&gate).status().unwrap().success());
    service.run.line("task began");
    service.run.signal(SIGTERM);
    service.run.line("Warm shutdown");
    std::fs::write(&gate, "").unwrap();
    let ended = service.run.wait(PATIENCE);
    let lines =
        messages(&ended.stdout, "stdout").into_iter().chain(messages(&ended.stdout, "stderr"));
    assert!(lines.into_iter().any(|line| line.ends_with("task ended")), "{ended:?}");
    assert_eq!(ended.code, 0, "{ended:?}");
    service.run.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn a_go_server_finishes_its_requests() {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("server");
    let build = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(sources().join("server.go"))
        .status();
    assert!(build.unwrap().success());
    let web = Web::start(&["--service", "go"], &[&binary]);
    web.stops_only_after("/slow", "slow request began", "slept", 0);
}

#[test]
fn a_node_server_that_knows_no_signal_finishes_its_requests() {
    let source = sources().join("server.js");
    let command = ["node", source.to_str().unwrap()];
    let web = Web::start(&["--service", "node", "--success-exit-codes", "143"], &command);
    web.stops_only_after("/slow", "slow request began", "slept", 0);
}

#[test]
fn a_java_server_ends_with_0_where_143_is_declared_a_success() {
    let source = sources().join("Server.java");
    let command = ["java", "-Xmx64m", source.to_str().unwrap()];
    let web = Web::start(&["--service", "java", "--success-exit-codes", "143"], &command);
    // This server has no shutdown hook: the ingress alone waits for what is in flight.
    web.stops_only_after("/slow", "slow request began", "slept", 0);
}
