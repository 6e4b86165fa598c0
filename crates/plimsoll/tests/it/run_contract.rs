//! Servers of three languages, unmodified, meet the whole contract.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use serde_json::Value;
use testkit::{free_port, get, wait_for_some};

use crate::run_harness::{PATIENCE, SIGTERM, Service, messages};

/// Python's own server, told its port as its users do.
const PYTHON: &str = "exec python3 -u -m http.server \"$PORT\" --bind \"$HOST\"";

/// A server as a newcomer to Node writes it.
const NODE: &str = "
const server = require('http').createServer((request, response) => {
  console.log('asked for ' + request.url);
  response.end('hello');
});
server.listen(process.env.PORT, () => console.log('listening'));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
";

/// A worker without a port.
const SHELL: &str = "trap 'echo stopping; exit 0' TERM; echo working; while :; do sleep 0.05; done";

#[test]
fn a_python_server_meets_the_contract() {
    let (service, port) = behind_ingress(&["sh", "-c", PYTHON]);
    let answer = wait_for_some("an answer", PATIENCE, || get(port, "/").ok());
    assert_eq!(answer.status, 200);
    check_endpoints(&service);
    check_ingress(port);
    // Python ends with KeyboardInterrupt on INT and by the signal on TERM.
    check_stop(service, 143);
}

#[test]
fn a_node_server_meets_the_contract() {
    let (service, port) = behind_ingress(&["node", "-e", NODE]);
    let answer = wait_for_some("an answer", PATIENCE, || get(port, "/page").ok());
    assert_eq!((answer.status, answer.text()), (200, "hello".into()));
    service.run.line("asked for /page");
    check_endpoints(&service);
    check_ingress(port);
    check_stop(service, 0);
}

#[test]
fn a_shell_script_meets_the_contract() {
    let service = Service::start(&["--service", "worker"], &["sh", "-c", SHELL]);
    service.wait_for_status("/ready", 200);
    service.run.line("\"working\"");
    check_endpoints(&service);
    let stdout = check_stop(service, 0);
    assert_eq!(messages(&stdout, "stdout"), ["working", "stopping"]);
}

/// Starts a server behind an ingress and waits until it is ready.
fn behind_ingress(command: &[&str]) -> (Service, u16) {
    let port = free_port();
    let ingress = format!("127.0.0.1:{port}");
    let service = Service::start(&["--ingress", &ingress, "--service", "web"], command);
    service.wait_for_status("/ready", 200);
    (service, port)
}

fn check_endpoints(service: &Service) {
    assert_eq!(json(&service.wait_for_status("/live", 200).body)["status"], "alive");
    assert_eq!(json(&service.wait_for_status("/ready", 200).body)["status"], "ready");
    assert_eq!(json(&service.wait_for_status("/started", 200).body)["status"], "started");
    let health = json(&service.wait_for_status("/health/detailed", 200).body);
    assert_eq!(health["status"], "pass");
    assert_eq!(health["checks"]["app:process"][0]["pid"], service.app_pid());
    let metrics = service.wait_for_status("/metrics", 200).text();
    for name in
        ["service_ready", "service_startup_seconds_count", "readiness_last_success_timestamp"]
    {
        let sample = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let value: f64 = sample.rsplit(' ').next().unwrap().parse().unwrap_or_default();
        assert!(value > 0.0, "{name}: {sample:?}");
    }
}

/// The health paths on the service's own port, and the request that was made in its metrics.
fn check_ingress(port: u16) {
    for path in ["/live", "/ready", "/health"] {
        assert_eq!(get(port, path).unwrap().status, 200, "{path}");
    }
}

/// Stops a service, and returns what it wrote.
#[track_caller]
fn check_stop(mut service: Service, code: i32) -> String {
    service.run.signal(SIGTERM);
    let ended = service.run.wait(PATIENCE);
    assert_eq!(ended.code, code, "{}", ended.stdout);
    service.run.wait_for_nothing_left(Duration::ZERO);
    for line in ended.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for field in ["ts", "level", "msg", "service", "instance", "stream"] {
            assert!(line[field].is_string(), "{field} is missing in {line}");
        }
    }
    ended.stdout
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn an_app_that_does_not_listen_yet_is_alive_and_not_ready() {
    let port = free_port();
    let flags = ["--ingress", &format!("127.0.0.1:{port}")];
    let service = Service::start(&flags, &["sleep", "60"]);
    service.wait_for_status("/live", 200);
    let ready = service.wait_for_status("/ready", 503);
    assert_eq!(json(&ready.body)["reasons"], serde_json::json!(["starting"]));
    service.wait_for_status("/started", 503);
}

#[test]
fn an_app_is_ready_once_its_own_path_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let flags = ["--app-port", &port, "--ready-http", "/ok"];
    let path = directory.path().to_str().unwrap();
    let command = ["python3", "-m", "http.server", &port, "--bind", "127.0.0.1", "-d", path];
    let service = Service::start(&flags, &command);
    service.wait_for_status("/live", 200);
    wait_for_some("the server itself", PATIENCE, || get(port.parse().unwrap(), "/").ok());
    service.wait_for_status("/ready", 503);
    std::fs::write(directory.path().join("ok"), "yes").unwrap();
    service.wait_for_status("/ready", 200);
}

#[test]
fn a_dependency_that_goes_away_makes_it_unready_and_never_dead() {
    let dependency = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = dependency.local_addr().unwrap();
    let probes = format!(
        r#"{{"db": {{"tcp": "{address}", "interval_ms": 100, "timeout_ms": 50, "fall": 2}}}}"#
    );
    let service = Service::start(&["--probes", &probes], &["sleep", "60"]);
    service.wait_for_status("/ready", 200);
    drop(dependency);
    let ready = service.wait_for_status("/ready", 503);
    assert_eq!(json(&ready.body)["reasons"], serde_json::json!(["dependency:db"]));
    service.wait_for_status("/live", 200);
    let _dependency = std::net::TcpListener::bind(address).unwrap();
    service.wait_for_status("/ready", 200);
}

#[test]
fn the_last_stop_is_told_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--state", directory.path().to_str().unwrap()];
    let mut first = Service::start(&flags, &["sh", "-c", SHELL]);
    first.run.line("\"working\"");
    first.run.signal(SIGTERM);
    first.run.wait(PATIENCE);
    let second = Service::start(&flags, &["sleep", "60"]);
    let metrics = second.wait_for_status("/metrics", 200).text();
    let sample = metrics.lines().find(|line| {
        line.starts_with("service_shutdown_seconds_count") && line.contains("graceful")
    });
    assert!(sample.is_some_and(|sample| sample.ends_with(" 1")), "{sample:?}");
}

#[test]
fn the_app_metrics_are_merged_with_ours() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("metrics"),
        "# TYPE shop_orders_total counter\nshop_orders_total 7\n",
    )
    .unwrap();
    let port = free_port().to_string();
    let path = directory.path().to_str().unwrap();
    let command = ["python3", "-m", "http.server", &port, "--bind", "127.0.0.1", "-d", path];
    let service = Service::start(&["--app-port", &port, "--app-metrics", "/metrics"], &command);
    service.wait_for_status("/ready", 200);
    let metrics = service.wait_for_status("/metrics", 200).text();
    assert!(metrics.contains("shop_orders_total 7"), "{metrics}");
    assert!(metrics.contains("service_ready"));
}

#[test]
fn a_killed_engine_answers_again_and_remembers_that_the_app_had_started() {
    let service = Service::start(&[], &["sleep", "60"]);
    service.wait_for_status("/ready", 200);
    testkit::signal(crate::run_harness::engine_pid(&service.run), crate::run_harness::SIGKILL);
    // The socket is the guard's: a request that comes while no engine lives waits for the next.
    let metrics = wait_for_some("the count of restarts", PATIENCE, || {
        let metrics = service.ask("/metrics")?.text();
        metrics.contains("engine_restarts_total{service=\"sleep\"} 1").then_some(metrics)
    });
    assert!(!metrics.is_empty());
    service.wait_for_status("/ready", 200);
    service.wait_for_status("/started", 200);
}
