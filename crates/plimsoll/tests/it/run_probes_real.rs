//! Probes meet a real PostgreSQL, Redis and Kafka, with and without TLS: logins, schemas, depths,
//! restarts; and one that never answers.

use std::{net::TcpListener, path::Path, process::Command};

use serde_json::Value;
use testkit::{Kafka, Postgres, Redis, free_port, wait_for_some};

use crate::run_harness::{PATIENCE, Service};

/// Waits for a check of `/health` that is wanted.
#[track_caller]
fn check(service: &Service, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for_some(&format!("the check `{name}`"), PATIENCE, || {
        let health: Value = serde_json::from_slice(&service.ask("/health")?.body).ok()?;
        let check = health["checks"][name][0].clone();
        is_wanted(&check).then_some(check)
    })
}

/// Waits for what a failing check says.
#[track_caller]
fn output(service: &Service, name: &str, text: &str) -> Value {
    let says = |check: &Value| check["output"].as_str().is_some_and(|said| said.contains(text));
    check(service, name, says)
}

fn start(probes: &Value) -> Service {
    Service::start(&["--probes", &probes.to_string()], &["sleep", "60"])
}

#[test]
fn a_database_is_up_when_it_has_the_schema_that_is_needed() {
    let mut postgres = Postgres::start();
    let _ = postgres.sql("create table version (v text)");
    let _ = postgres.sql("insert into version values ('a1')");
    let schema =
        |version: &str| serde_json::json!({"sql": "select v from version", "equals": version});
    let timing = |mut probe: Value| {
        probe["interval_ms"] = 2000.into();
        probe["timeout_ms"] = 2000.into();
        probe["severity"] = "soft".into();
        probe
    };
    let url = postgres.url();
    let nothing = format!("{}/nothing", url.strip_suffix("/app").unwrap());
    let probe =
        |url: &str, check: Value| timing(serde_json::json!({"postgres": url, "check": check}));
    let probes = serde_json::json!({
        "db": probe(&url, serde_json::json!({"schema_version": schema("a1")})),
        "old": probe(&url, serde_json::json!({"schema_version": schema("b2")})),
        "gone": probe(&nothing, serde_json::json!({})),
        "write": probe(&url, serde_json::json!({"sql": "delete from version"})),
    });
    let service = start(&probes);
    check(&service, "db:responseTime", |check| check["status"] == "pass");
    output(&service, "old:responseTime", "schema is at `a1`, expected `b2`");
    output(&service, "gone:responseTime", "database \"nothing\" does not exist");
    output(&service, "write:responseTime", "in a read-only transaction");
    assert_eq!(postgres.sql("select count(*) from version"), "1");
    postgres.kill();
    output(&service, "db:responseTime", "connection refused");
    postgres.restart();
    check(&service, "db:responseTime", |check| check["status"] == "pass");
}

#[test]
fn a_redis_is_asked_with_its_password_and_its_queue_is_measured() {
    let mut redis = Redis::start(&["--requirepass", "hush-hush"]);
    let port = redis.port();
    let probe = |url: String| {
        serde_json::json!({"redis": url, "llen": "celery", "warn": 0, "severity": "soft",
            "interval_ms": 2000, "timeout_ms": 2000})
    };
    let probes = serde_json::json!({
        "cache": probe(format!("redis://:hush-hush@127.0.0.1:{port}")),
        "open": probe(format!("redis://127.0.0.1:{port}")),
        "guess": probe(format!("redis://:guess@127.0.0.1:{port}")),
    });
    let service = start(&probes);
    check(&service, "cache:responseTime", |check| check["status"] == "pass");
    let length = check(&service, "cache:length", |check| check["observedValue"] == 0.0);
    assert_eq!(length["observedUnit"], "items");
    output(&service, "open:responseTime", "NOAUTH");
    let wrong = output(&service, "guess:responseTime", "WRONGPASS");
    assert!(!wrong.to_string().contains("hush"));
    let metrics = service.ask("/metrics").unwrap().text();
    assert!(metrics.contains("dependency=\"cache\"} 0"), "{metrics}");
    redis.kill();
    output(&service, "cache:responseTime", "connection refused");
    redis.resume();
    check(&service, "cache:responseTime", |check| check["status"] == "pass");
    assert!(!service.run.stdout().contains("hush"));
}

#[test]
fn a_broker_is_asked_for_its_topics_and_how_far_a_group_is_behind() {
    let mut kafka = Kafka::start();
    kafka.create_topic("orders", 1, &[]);
    for number in 0..4 {
        kafka.produce("orders", "key", &number.to_string());
    }
    kafka.commit("billing", "orders", 0, 3);
    let probe = |topic: &str, group: &str| {
        serde_json::json!({"kafka": kafka.bootstrap(), "topics": [topic],
            "lag": {"group": group, "warn": 1}, "interval_ms": 3000, "timeout_ms": 3000})
    };
    let probes = serde_json::json!({
        "bus": probe("orders", "billing"), "new": probe("orders", "nobody"),
        "gone": probe("gone", "billing"),
    });
    let service = start(&probes);
    check(&service, "bus:responseTime", |check| check["status"] == "pass");
    let lag = check(&service, "bus:lag", |check| check["observedValue"] == 1.0);
    assert_eq!((&lag["status"], &lag["observedUnit"]), (&"pass".into(), &"messages".into()));
    output(&service, "new:responseTime", "lag is 4, more than 1");
    output(&service, "gone:responseTime", "topic `gone`: it does not exist");
    // A topic that is asked for is not made by that.
    assert_eq!(kafka.count("orders"), 4);
    kafka.commit("billing", "orders", 0, 1);
    output(&service, "bus:responseTime", "lag is 3, more than 1");
    kafka.kill();
    check(&service, "bus:responseTime", |check| check["status"] == "fail");
    kafka.restart();
    kafka.commit("billing", "orders", 0, 4);
    check(&service, "bus:responseTime", |check| check["status"] == "pass");
}

/// Makes an authority, and a certificate of its for `127.0.0.1`.
fn certificates(directory: &Path) {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&authority[..], &key].concat());
    let server = ["req", "-subj", "/CN=cache", "-keyout", "cache.key", "-out", "cache.csr"];
    openssl(&[&server[..], &key].concat());
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    let signed = ["x509", "-req", "-in", "cache.csr", "-CA", "ca.pem", "-CAkey", "ca.key"];
    let more = ["-CAcreateserial", "-extfile", "names", "-out", "cache.pem"];
    openssl(&[&signed[..], &more].concat());
}

#[test]
fn a_redis_with_tls_is_trusted_for_its_name_and_its_authority() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let (certificate, key) = (file("cache.pem"), file("cache.key"));
    let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let _redis = Redis::start(&[&tls[..], &["--tls-auth-clients", "no"]].concat());
    let probe = |url: String| {
        serde_json::json!({"redis": url, "severity": "soft", "timeout_ms": 2000,
            "interval_ms": 2000})
    };
    let probes = serde_json::json!({
        "named": probe(format!("rediss://127.0.0.1:{port}")),
        "misnamed": probe(format!("rediss://localhost:{port}")),
        "anyone": probe(format!("rediss://localhost:{port}/#insecure")),
    });
    let flags = ["--probes", &probes.to_string()];
    let trusting = Service::start_with(&flags, &["sleep", "60"], |command| {
        command.env("SSL_CERT_FILE", file("ca.pem"));
    });
    check(&trusting, "named:responseTime", |check| check["status"] == "pass");
    check(&trusting, "anyone:responseTime", |check| check["status"] == "pass");
    output(&trusting, "misnamed:responseTime", "TLS: the server's certificate is for another name");
    let strict = Service::start(&flags, &["sleep", "60"]);
    output(&strict, "named:responseTime", "is signed by nobody whom we trust");
    check(&strict, "anyone:responseTime", |check| check["status"] == "pass");
}

#[test]
fn an_answer_comes_while_every_probe_waits_for_an_hour() {
    // Connections wait in the backlog; nobody ever accepts them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let hour_ms = 3_600_000;
    let probe = |kind: &str, target: String| serde_json::json!({kind: target, "timeout_ms": hour_ms, "interval_ms": hour_ms});
    let probes = serde_json::json!({
        "web": probe("http", format!("http://{address}/")),
        "db": probe("postgres", format!("postgres://app@{address}/x")),
        "cache": probe("redis", format!("redis://{address}")),
        "bus": probe("kafka", address.to_string()),
    });
    let service = start(&probes);
    // No probe can have ended before these answers: they were waited for by nobody.
    service.wait_for_status("/live", 200);
    let ready = service.wait_for_status("/ready", 503).text();
    for name in ["web", "db", "cache", "bus"] {
        assert!(ready.contains(&format!("\"dependency:{name}\"")), "{ready}");
        let waiting = check(&service, &format!("{name}:responseTime"), Value::is_object);
        assert_eq!(waiting["output"], "no result yet");
    }
    assert_eq!(service.ask("/metrics").unwrap().status, 200);
}
