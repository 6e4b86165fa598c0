//! The guards of the ingress, in front of a real app.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use testkit::wait_for_some;

use crate::run_harness::{PATIENCE, SIGKILL, SIGTERM, Service, engine_pid, run, script};
use crate::run_publish::SmallDisk;

/// An app that answers every request with what it was asked.
const APP: &str = r#"
import http.server, os
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

/// One answer, head and body.
fn ask(address: SocketAddr, method: &str, path: &str, fields: &str) -> String {
    let mut answer = String::new();
    wait_for_some("an answer", PATIENCE, || {
        let mut socket = TcpStream::connect(address).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        answer.clear();
        socket.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(())
    });
    answer
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], testkit::lasting_port()))
}

#[test]
fn a_client_above_its_rate_is_429_and_health_is_not_limited() {
    let address = port();
    let flags = ["--ingress", &address.to_string(), "--rate-limit", "2/h"];
    let _run = run(&flags, &["python3", "-c", APP]);
    let first = ask(address, "GET", "/", "");
    assert_eq!(status(&first), 200, "{first}");
    assert!(first.contains("ratelimit-remaining: 1"), "{first}");
    assert_eq!(status(&ask(address, "GET", "/", "")), 200);
    let refused = ask(address, "GET", "/", "");
    assert_eq!(status(&refused), 429, "{refused}");
    assert!(refused.to_lowercase().contains("retry-after: "), "{refused}");
    for _ in 0..5 {
        assert_eq!(status(&ask(address, "GET", "/live", "")), 200);
    }
    // This machine is trusted, so it may say who asks.
    let other = ask(address, "GET", "/", "X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(status(&other), 200, "{other}");
}

#[test]
fn a_policy_denies_with_its_reason_and_the_audit_log_holds() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.rego");
    let text = "package plimsoll\nallow := {\"allow\": input.method == \"GET\", \
                \"reason\": \"read only\"}\n";
    std::fs::write(&policy, text).unwrap();
    let log = directory.path().join("audit.log");
    let address = port();
    let ingress = address.to_string();
    let flags = ["--ingress", &ingress, "--policy", policy.to_str().unwrap()];
    let flags = [&flags[..], &["--audit-log", log.to_str().unwrap()]].concat();
    let run = run(&flags, &["python3", "-c", APP]);
    assert_eq!(status(&ask(address, "GET", "/a", "")), 200);
    let refused = ask(address, "POST", "/a", "");
    assert_eq!(status(&refused), 403, "{refused}");
    assert!(refused.contains("\"detail\":\"read only\""), "{refused}");
    wait_for_some("a record", PATIENCE, || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("\"action\":\"policy.deny\"").then_some(())
    });
    drop(run);
    assert_eq!(verified(&log).0, Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replacen("denied", "allowed", 1)).unwrap();
    let (code, words) = verified(&log);
    assert_eq!(code, Some(1));
    assert!(words.contains("line 2 was changed"), "{words}");
}

/// What `plimsoll audit verify` says of a log.
fn verified(log: &std::path::Path) -> (Option<i32>, String) {
    let plimsoll = env!("CARGO_BIN_EXE_plimsoll");
    let output = std::process::Command::new(plimsoll).args(["audit", "verify"]).arg(log).output();
    let output = output.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_audit_log_has_a_life_from_its_start_to_its_stop() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let (token, topics) = (directory.path().join("token"), directory.path().join("spool"));
    std::fs::write(&token, "first-value-of-the-token").unwrap();
    let publish = format!(r#"{{"dir": "{}", "topics": {{"notes": {{}}}}}}"#, topics.display());
    let flags = [
        "--audit-log",
        log.to_str().unwrap(),
        "--secrets",
        "{\"poll\": \"1s\"}",
        "--publish",
        &publish,
    ];
    let mut service = Service::start_with(&flags, &["sleep", "600"], |command| {
        command.env("TOKEN", format!("${{secret:file:{}}}", token.display()));
    });
    service.wait_for_status("/ready", 200);
    std::fs::write(&token, "second-value-of-the-token").unwrap();
    let records = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_for_some("a rotated secret", PATIENCE, || {
        records().iter().any(|record| record["action"] == "secret.rotated").then_some(())
    });
    for path in ["/v1/unready", "/v1/ready", "/v1/drain"] {
        assert_eq!(service.post(path).status, 204, "{path}");
    }
    assert_eq!(service.post("/v1/spool/dlq/7/drop").status, 404);
    testkit::signal(engine_pid(&service.run), SIGKILL);
    wait_for_some("the next engine", PATIENCE, || {
        let is_start = |record: &&Value| record["action"] == "engine.started";
        (records().iter().filter(is_start).count() == 2).then_some(())
    });
    service.run.signal(SIGTERM);
    service.run.wait(PATIENCE);
    let records = records();
    let actions: Vec<_> = records.iter().map(|it| it["action"].as_str().unwrap()).collect();
    for action in [
        "engine.started",
        "secret.read",
        "secret.rotated",
        "unready",
        "ready",
        "drain",
        "dead_letter.drop",
        "stop",
    ] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
    let stop = records.iter().find(|it| it["action"] == "stop").unwrap();
    assert_eq!(stop["actor"], "SIGTERM");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("value-of-the-token"), "{text}");
    assert_eq!(verified(&log), (Some(0), String::new()));
}

#[test]
fn a_full_disk_refuses_deeds_says_so_and_is_named_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let (log, ballast) = (directory.path().join("audit.log"), directory.path().join("ballast"));
    let service = Service::start(&["--audit-log", log.to_str().unwrap()], &["sleep", "600"]);
    service.wait_for_status("/ready", 200);
    assert_eq!(service.post("/v1/unready").status, 204);
    // The last page of the log may have room for some more records.
    let mut filling = std::fs::File::create(&ballast).unwrap();
    while filling.write_all(&[0; 4096]).is_ok() {}
    let refused = wait_for_some("a refusal", PATIENCE, || {
        Some(service.post("/v1/ready")).filter(|answer| answer.status != 204)
    });
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("the audit log cannot be kept"), "{}", refused.text());
    service.run.line("\"audit.failing\"");
    let metrics = service.ask("/metrics").unwrap().text();
    let is_lost = |line: &str| line.starts_with("audit_records_total{") && line.contains("lost");
    assert!(metrics.lines().any(is_lost), "{metrics}");
    // A deleted file keeps its room as long as it is open.
    drop(filling);
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(service.post("/v1/ready").status, 204);
    service.run.line("\"audit.kept\"");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"action\":\"audit.lost\""), "{text}");
    assert_eq!(verified(&log).0, Some(0));
}

#[test]
fn guards_that_cannot_be_read_are_a_clear_error_before_anything_starts() {
    for (flag, value, part) in [
        ("--rate-limit", "lots", "`lots` is not a rate"),
        ("--jwt", "{}", "missing field `issuer`"),
        ("--policy", "/nonexistent.rego", "cannot read the policy"),
        ("--trusted-proxies", "home", "`home` is not an address or a network"),
    ] {
        let mut run = script(&["--ingress", "127.0.0.1:0", flag, value], "exit 0");
        let ended = run.wait(PATIENCE);
        assert_eq!(ended.code, 78, "{flag}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{flag}: {}", ended.stderr);
    }
}
