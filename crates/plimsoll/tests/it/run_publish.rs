//! Messages taken over HTTP and from the command line, kept on a real disk, without a broker.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testkit::{Response, request_unix, wait_for_some};

use crate::run_harness::{PATIENCE, SIGKILL, SIGTERM, Service, engine_pid};

/// A ready service whose spool is in `directory`.
fn service(directory: &Path, more: &str) -> Service {
    let spool = directory.join("spool");
    let settings = format!(
        r#"{{"dir": "{}", "topics": {{"orders": {{"key": "required"}}, "notes": {{}}}}{more}}}"#,
        spool.display()
    );
    let service = Service::start(&["--publish", &settings], &["sleep", "600"]);
    service.wait_for_status("/ready", 200);
    service
}

fn try_post(sock: &Path, path: &str, headers: &str, body: &str) -> Option<Response> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}");
    request_unix(sock, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).ok()
}

fn post(sock: &Path, path: &str, headers: &str, body: &str) -> Response {
    try_post(sock, path, headers, body).unwrap()
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

fn stop(mut service: Service) {
    service.run.signal(SIGTERM);
    service.run.wait(PATIENCE);
}

#[test]
fn every_answer_of_publish_is_the_one_of_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), r#", "max_body": 100"#);
    let sock = service.sock();
    let orders = "/v1/publish/orders";
    let first = post(sock, orders, "X-Key: 1\r\nIdempotency-Key: a\r\n", "{}");
    assert_eq!(first.status, 202);
    assert_eq!(json(&first), serde_json::json!({"id": "a", "seq": 1, "durable": "disk"}));
    let again = post(sock, "/publish/orders", "X-Key: 1\r\nIdempotency-Key: a\r\n", "{}");
    assert_eq!((again.status, json(&again)["seq"].as_u64()), (200, Some(1)));
    for (path, headers, body, status) in [
        (orders, "", "{}", 400),
        (orders, "X-Key: 1\r\n", &*"x".repeat(101), 413),
        ("/v1/publish/nothing", "", "{}", 404),
        ("/v1/publish", "", "{\"topic\": \"notes\"}", 400),
        (
            "/v1/publish",
            "",
            "{\"topic\":\"notes\",\"data\":1}\n{\"topic\":\"orders\",\"data\":1}",
            207,
        ),
        (
            "/v1/publish",
            "",
            "{\"topic\":\"notes\",\"data\":1}\n{\"topic\":\"notes\",\"text\":\"x\"}",
            202,
        ),
    ] {
        assert_eq!(post(sock, path, headers, body).status, status, "{path} {headers} {body}");
    }
    let spool = json(&service.wait_for_status("/v1/spool", 200));
    assert_eq!((spool["pending"].as_u64(), spool["last_seq"].as_u64()), (Some(4), Some(4)));
    let health = wait_for_some("the lag on /health", PATIENCE, || {
        let health = json(&service.ask("/health")?);
        (health["checks"]["publish:lag"][0]["pending"] == 4).then_some(health)
    });
    assert_eq!(health["status"], "pass");
    let metrics = service.wait_for_status("/metrics", 200).text();
    for name in ["publish_wal_lag_seconds", "memory_wal_lag_seconds", "publish_spool_records"] {
        assert!(metrics.contains(&format!("\n{name}{{")), "{name}");
    }
    stop(service);
}

#[test]
fn what_was_accepted_outlives_a_killed_engine_and_a_killed_guard() {
    let directory = tempfile::tempdir().unwrap();
    let mut accepted = BTreeMap::new();
    for life in 0..3 {
        let mut service = service(directory.path(), "");
        let sock = &service.sock().to_owned();
        for (id, seq) in &accepted {
            let again = post(sock, "/v1/publish/notes", &format!("Idempotency-Key: {id}\r\n"), "x");
            assert_eq!((again.status, json(&again)["seq"].as_u64()), (200, Some(*seq)), "{id}");
        }
        for number in 0..30 {
            let id = format!("{life}-{number}");
            if number == 15 {
                testkit::signal(engine_pid(&service.run), SIGKILL);
            }
            // While no engine lives a request may be cut off: then it is sent again.
            let answer = wait_for_some("an answer", PATIENCE, || {
                try_post(sock, "/v1/publish/notes", &format!("Idempotency-Key: {id}\r\n"), "x")
                    .filter(|answer| matches!(answer.status, 200 | 202))
            });
            accepted.insert(id, json(&answer)["seq"].as_u64().unwrap());
        }
        let pending = json(&service.wait_for_status("/v1/spool", 200))["pending"].as_u64();
        assert_eq!(pending, Some(accepted.len() as u64));
        service.run.signal(SIGKILL);
        service.run.wait(PATIENCE);
        service.run.wait_for_nothing_left(PATIENCE);
    }
    let mut seqs: Vec<u64> = accepted.values().copied().collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), accepted.len(), "a number was given twice");
}

/// A small file system of its own, unmounted at the end.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// None when mounting is not permitted.
    pub(crate) fn mount(path: &'a Path) -> Option<Self> {
        Self::mount_with(path, "size=8m")
    }

    /// The same, with options of its own.
    pub(crate) fn mount_with(path: &'a Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: a test that failed may leave a process that is just ending.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_an_answer_and_nothing_accepted_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let first = service(directory.path(), r#", "max_bytes": "16MiB""#);
    let sock = &first.sock().to_owned();
    let body = "x".repeat(100_000);
    let mut accepted = 0u64;
    let refused = loop {
        let answer = post(sock, "/v1/publish/notes", "", &body);
        match answer.status {
            202 => accepted += 1,
            _ => break answer,
        }
        assert!(accepted < 200, "8 MiB never got full");
    };
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(accepted >= 10, "{accepted}");
    let health = wait_for_some("a warning", PATIENCE, || {
        first.ask("/health").filter(|health| health.text().contains("the spool is full"))
    });
    assert_eq!((health.status, json(&health)["status"].as_str()), (200, Some("warn")));
    let metrics = first.wait_for_status("/metrics", 200).text();
    assert!(metrics.contains("topic=\"notes\",result=\"rejected_full\"} 1"), "{metrics}");
    stop(first);
    let second = service(directory.path(), r#", "max_bytes": "16MiB""#);
    wait_for_some("everything accepted", PATIENCE, || {
        let spool = json(&second.ask("/v1/spool")?);
        (spool["pending"].as_u64() == Some(accepted)).then_some(())
    });
    stop(second);
}

#[test]
fn a_spool_that_cannot_be_written_is_an_error_before_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let settings = format!(r#"{{"dir": "{}", "topics": {{"a": {{}}}}}}"#, file.display());
    let mut run = crate::run_harness::run(&["--publish", &settings], &["sleep", "600"]);
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 74, "{}", ended.stderr);
    assert!(ended.stderr.contains("the spool") && ended.stderr.contains("help:"));
}

/// Runs `plimsoll publish` against a socket.
fn publish(sock: &Path, args: &[&str], body: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .arg("publish")
        .args(args)
        .arg("--sock")
        .arg(sock)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(body.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_command_line_publishes_and_says_why_not() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "");
    let sock = service.sock();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let sent = publish(sock, &["orders", "--key", "1", "--id", "a", "--json"], "{}");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    let answer: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(answer, serde_json::json!({"id": "a", "seq": 1, "durable": "disk"}));
    for (args, body, code, words) in [
        (&["orders"][..], "{}", 1, "needs a key"),
        (&["nothing"], "{}", 1, "is not declared"),
        (&["a/b"], "{}", 2, "is no topic"),
        (&["orders", "--key", "a\r\nX-Evil: 1"], "{}", 2, "cannot be sent"),
        (&["notes"], &*"x".repeat(2_000_000), 1, "is longer than 1048576 bytes"),
        (&["dlq", "retry", "7"], "", 1, "there is no dead letter `7`"),
    ] {
        let refused = publish(sock, args, body);
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {}", said(&refused));
        assert!(said(&refused).contains(words), "{args:?}: {}", said(&refused));
    }
    let status = publish(sock, &["status", "--json"], "");
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((status["pending"].as_u64(), status["status"].as_str()), (Some(1), Some("pass")));
    stop(service);
}
