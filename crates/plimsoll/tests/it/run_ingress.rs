//! The guards of the ingress, in front of a real app.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::run_harness::{PATIENCE, run, script};

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
    testkit::wait_for_some("an answer", PATIENCE, || {
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
    testkit::wait_for_some("a record", PATIENCE, || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("\"action\":\"policy.deny\"").then_some(())
    });
    drop(run);
    let verify = |log: &std::path::Path| {
        let plimsoll = env!("CARGO_BIN_EXE_plimsoll");
        let output =
            std::process::Command::new(plimsoll).args(["audit", "verify"]).arg(log).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(verify(&log).0, Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replacen("denied", "allowed", 1)).unwrap();
    let (code, words) = verify(&log);
    assert_eq!(code, Some(1));
    assert!(words.contains("line 1 was changed"), "{words}");
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
