//! `plimsoll run --publish` with a real Kafka that is stopped, killed and started again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    Certificate, Kafka, KafkaRecord, Run, get_unix, request_unix, wait_for, wait_for_some,
};

use crate::run_harness::{SIGKILL, SIGTERM, binary, engine_pid};

/// Everything together, on a machine that does other things too.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A service that publishes, and the directory that outlives it.
pub(crate) struct Publishing {
    pub(crate) run: Run,
    sock: PathBuf,
}

impl Publishing {
    /// Starts it with the spool of `directory`.
    pub(crate) fn start(directory: &Path, publish: &Value, more: &[&str], app: &str) -> Self {
        let sock = directory.join("admin.sock");
        let (sock_text, publish) = (sock.to_str().unwrap().to_owned(), publish.to_string());
        let mut args = vec!["--listen", "off", "--sock", &sock_text, "--publish", &publish];
        args.extend(more);
        args.extend(["--", "sh", "-c", app]);
        let run = Run::start(&binary(), args);
        let service = Self { run, sock };
        wait_for("the spool to open", LIMIT, || service.spool().is_some());
        service
    }

    /// What waits in the spool.
    pub(crate) fn spool(&self) -> Option<Value> {
        let answer =
            get_unix(&self.sock, "/v1/spool").ok().filter(|answer| answer.status == 200)?;
        serde_json::from_slice(&answer.body).ok()
    }

    pub(crate) fn sock(&self) -> &Path {
        &self.sock
    }

    /// Publishes until it is accepted.
    fn publish(&self, topic: &str, key: &str, id: &str, body: &str) {
        wait_for("an accepted message", LIMIT, || publish(&self.sock, topic, key, id, body));
    }

    fn wait_for_nothing_pending(&self) {
        wait_for("an empty spool", LIMIT, || {
            self.spool().is_some_and(|spool| spool["pending"] == 0)
        });
    }

    fn has_breaker(&self, state: &str) -> bool {
        let text = get_unix(&self.sock, "/metrics").unwrap().text();
        text.contains(&format!("dependency=\"publish:kafka\",state=\"{state}\"}} 1"))
    }

    fn metric(&self, name: &str) -> f64 {
        let text = get_unix(&self.sock, "/metrics").unwrap().text();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(-1.0)
    }
}

/// Tries to publish once; whether it was accepted.
pub(crate) fn publish(sock: &Path, topic: &str, key: &str, id: &str, body: &str) -> bool {
    let length = body.len();
    let request = format!(
        "POST /v1/publish/{topic} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         X-Key: {key}\r\nIdempotency-Key: {id}\r\nContent-Type: application/json\r\n\
         traceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    request_unix(sock, &request).is_ok_and(|answer| matches!(answer.status, 200 | 202))
}

/// Checks that first copies keep the order of their keys, where a value is `{"n": number}`, and
/// returns the ids.
pub(crate) fn ids_in_order(records: &[KafkaRecord]) -> BTreeSet<String> {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for record in records {
        let value: Value = serde_json::from_slice(&record.payload).unwrap();
        let n = value["n"].as_u64().unwrap();
        if ids.insert(record.header("plimsoll-id").to_owned()) {
            let before = last.insert(record.key_text(), n);
            assert!(before.is_none_or(|before| before < n), "{} overtook {n}", before.unwrap());
        }
    }
    ids
}

fn settings(directory: &Path, kafka: &Kafka, topics: &Value) -> Value {
    json!({"dir": directory.join("spool"), "kafka": {"brokers": kafka.bootstrap()}, "topics": topics})
}

#[test]
fn what_is_accepted_arrives_in_order_though_broker_and_engine_are_killed() {
    let directory = TempDir::new().unwrap();
    let mut kafka = Kafka::start();
    kafka.create_topic("orders", 3, &[]);
    let settings = settings(directory.path(), &kafka, &json!({"orders": {}}));
    let service = Publishing::start(directory.path(), &settings, &[], "exec sleep 1000");
    let send = |from: usize, to: usize| {
        for n in from..to {
            let (key, body) = ((n % 7).to_string(), json!({"n": n}).to_string());
            service.publish("orders", &key, &format!("id-{n}"), &body);
        }
    };
    send(0, 200);
    service.wait_for_nothing_pending();
    kafka.kill();
    send(200, 400);
    wait_for("the lag to grow", LIMIT, || service.metric("memory_wal_lag_seconds") > 1.0);
    testkit::signal(engine_pid(&service.run), SIGKILL);
    send(400, 600);
    kafka.restart();
    let back = Instant::now();
    service.wait_for_nothing_pending();
    let resumed = back.elapsed();
    println!("delivered again {resumed:?} after the broker answered");
    wait_for("no lag", LIMIT, || service.metric("memory_wal_lag_seconds") == 0.0);

    let records = kafka.consume("orders");
    let ids = ids_in_order(&records);
    assert_eq!(ids, (0..600).map(|n| format!("id-{n}")).collect());
    let trace = "00-11111111111111111111111111111111-";
    assert!(records.iter().all(|record| record.header("traceparent").starts_with(trace)));
    assert!(records.iter().all(|record| record.header("content-type") == "application/json"));
    let Publishing { mut run, .. } = service;
    let marker = run.marker();
    run.signal(SIGTERM);
    run.wait(LIMIT);
    wait_for("nothing left", LIMIT, || marker.processes().is_empty());
}

#[test]
fn of_messages_that_the_broker_refuses_none_is_lost_and_no_other_is_harmed() {
    let directory = TempDir::new().unwrap();
    let kafka = Kafka::start();
    kafka.create_topic("orders", 1, &[("max.message.bytes", "20000")]);
    kafka.create_topic("orders.dlq", 1, &[]);
    let settings = settings(directory.path(), &kafka, &json!({"orders": {"dlq": "orders.dlq"}}));
    let service = Publishing::start(directory.path(), &settings, &[], "exec sleep 1000");
    for n in 0..60 {
        // Some are too large for the topic, and stand between small ones of their key.
        let filler = if n % 20 == 10 { "x".repeat(30_000) } else { String::new() };
        let body = json!({"n": n, "filler": filler}).to_string();
        service.publish("orders", "k", &format!("id-{n}"), &body);
    }
    service.wait_for_nothing_pending();
    let ids = ids_in_order(&kafka.consume("orders"));
    let refused = [10, 30, 50];
    let taken = (0..60).filter(|n| !refused.contains(n));
    assert_eq!(ids, taken.map(|n| format!("id-{n}")).collect());
    let dead = kafka.consume("orders.dlq");
    let dead_ids: BTreeSet<_> = dead.iter().map(|record| record.header("plimsoll-id")).collect();
    assert_eq!(dead_ids, BTreeSet::from(["id-10", "id-30", "id-50"]));
    assert!(dead.iter().all(|record| record.header("plimsoll-error").contains("TooLarge")));
    assert!(dead.iter().all(|record| record.header("plimsoll-topic") == "orders"));
}

#[test]
fn a_broker_that_is_not_there_keeps_nobody_from_serving() {
    let directory = TempDir::new().unwrap();
    let settings = json!({
        "dir": directory.path().join("spool"),
        "kafka": {"brokers": "no-such-host.invalid:9092"},
        "topics": {"orders": {}},
    });
    let service = Publishing::start(directory.path(), &settings, &[], "exec sleep 1000");
    service.publish("orders", "k", "id-1", "{}");
    let line = wait_for_some("the outage", LIMIT, || {
        let stdout = service.run.stdout();
        stdout.lines().find(|line| line.contains("\"publish.stopped\"")).map(str::to_owned)
    });
    assert!(line.contains("no-such-host.invalid"), "{line}");
    let ready = get_unix(service.sock(), "/ready").unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
    wait_for("the lag to grow", LIMIT, || service.metric("publish_wal_lag_seconds") > 0.5);
}

#[test]
fn a_broker_with_tls_and_a_login_is_published_to_once_the_password_is_right() {
    let directory = TempDir::new().unwrap();
    let certificate = Certificate::of(&[]);
    let kafka = Kafka::start_secure(&certificate, "shop", "kafka-password-1");
    kafka.create_topic("orders", 1, &[]);
    let password = directory.path().join("password");
    std::fs::write(&password, "not-the-password").unwrap();
    let settings = json!({
        "dir": directory.path().join("spool"),
        "topics": {"orders": {}},
        "kafka": {"brokers": kafka.secure_bootstrap(), "properties": {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": certificate.authority(),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "shop",
            "sasl.password": format!("${{secret:file:{}}}", password.display()),
        }},
    });
    let more = ["--secrets", r#"{"poll": "300ms"}"#];
    let service = Publishing::start(directory.path(), &settings, &more, "exec sleep 1000");
    service.publish("orders", "k", "id-1", "{}");
    let line = wait_for_some("the refusal", LIMIT, || {
        let stdout = service.run.stdout();
        stdout.lines().find(|line| line.contains("\"publish.stopped\"")).map(str::to_owned)
    });
    assert!(line.contains("uthentication"), "{line}");
    wait_for("an open breaker", LIMIT, || service.has_breaker("open"));
    std::fs::write(&password, "kafka-password-1").unwrap();
    service.wait_for_nothing_pending();
    wait_for("a closed breaker", LIMIT, || service.has_breaker("closed"));
    assert_eq!(kafka.consume("orders")[0].header("plimsoll-id"), "id-1");
    let stdout = service.run.stdout();
    assert!(!stdout.contains("not-the-password") && !stdout.contains("kafka-password-1"));
}
