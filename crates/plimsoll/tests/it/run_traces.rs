//! Traces of a process under `plimsoll run`, as a real OpenTelemetry Collector gets them.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Certificate, Collector, Run, free_port, python_path, wait_for_some};

use crate::run_harness::{PATIENCE, SIGTERM, run_with, script};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Answers with its own `TRACEPARENT` and with the `traceparent` of the request.
const APP: &str = "\
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ['TRACEPARENT'] + ' ' + self.headers['traceparent']).encode()
        self.send_response(500 if self.path.startswith('/broken') else 200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()";

/// A service whose traces go to `endpoint`, and its port.
fn service(endpoint: &str, variables: &[(&str, &str)]) -> (Run, u16) {
    let port = free_port();
    let ingress = format!("127.0.0.1:{port}");
    let flags = ["--service", "shop", "--ingress", &ingress, "--routes", "/items/{id},/broken"];
    let run = run_with(&flags, &["python3", "-c", APP], |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        command.envs(variables.iter().copied());
    });
    run.line("\"event\":\"ready\"");
    (run, port)
}

fn get(port: u16, path: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: tester\r\ntraceparent: {PARENT}\r\n\
         Connection: close\r\n\r\n"
    );
    testkit::request(port, &request).unwrap().text()
}

fn stop(mut run: Run) -> String {
    run.signal(SIGTERM);
    run.wait(PATIENCE).stdout
}

/// The whole life of a service as the collector saw it.
fn check_life(collector: &Collector, endpoint: &str, protocol: &str) {
    let variables = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2"),
    ];
    let (run, port) = service(endpoint, &variables);
    let seen = get(port, "/items/7?token=hunter2");
    let failed = get(port, "/broken");
    assert!(failed.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{failed}");
    let stdout = stop(run);

    let (startup, continued) = seen.split_once(' ').unwrap();
    let span = collector.span("service.startup");
    assert_eq!(startup, format!("00-{}-{}-01", span.trace_id, span.span_id));
    assert_eq!((span.service.as_str(), span.parent_id.as_str()), ("shop", ""));
    assert_eq!(span.events.last().map(String::as_str), Some("ready"), "{span:?}");

    let span = collector.span("GET /items/{id}");
    assert_eq!(continued, format!("00-{}-{}-01", span.trace_id, span.span_id));
    assert_eq!(span.parent_id, "00f067aa0ba902b7");
    assert_eq!(span.kind, "Server");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/items/{id}"),
        ("url.path", "/items/7"),
        ("server.address", "shop.example"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "tester"),
    ] {
        assert_eq!(span.attributes.get(key).map(String::as_str), Some(value), "{key}: {span:?}");
    }
    let line = stdout.lines().find(|line| line.contains("/items/7")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["trace_id"], &line["span_id"]),
        (&span.trace_id.into(), &span.span_id.into())
    );

    let span = collector.span("GET /broken");
    assert_eq!(span.status, "Error");
    assert_eq!(span.attributes["error.type"], "500");

    let span = collector.span("service.shutdown");
    assert_eq!(span.attributes["plimsoll.shutdown.signal"], "SIGTERM");
    assert_eq!(span.attributes["plimsoll.shutdown.outcome"], "graceful");
    assert_eq!(span.events, ["draining", "stopping", "sweeping", "flushing"]);
    let line = stdout.lines().find(|line| line.contains("shutdown.begin")).unwrap();
    assert!(line.contains(&span.trace_id) && line.contains(&span.span_id), "{line}");
    assert!(!collector.printed().contains("hunter2"));
    assert!(!stdout.contains("hunter2"), "{stdout}");
}

#[test]
fn a_life_and_its_requests_reach_a_real_collector_over_http() {
    let collector = Collector::start();
    check_life(&collector, &collector.http_endpoint(), "http/protobuf");
}

#[test]
fn a_life_and_its_requests_reach_a_real_collector_over_grpc() {
    let collector = Collector::start();
    check_life(&collector, &collector.grpc_endpoint(), "grpc");
}

#[test]
fn a_collector_that_never_answers_delays_a_stop_by_no_more_than_the_flush() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let (run, port) = service(&endpoint, &[]);
    assert!(get(port, "/items/1").contains("-01"));
    let begun = Instant::now();
    let stdout = stop(run);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(stdout.contains("shutdown.end"), "{stdout}");
}

#[test]
fn a_collector_that_is_away_is_told_once() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let (run, port) = service(&endpoint, &[("OTEL_BSP_SCHEDULE_DELAY", "10")]);
    let line = wait_for_some("a line that says so", PATIENCE, || {
        get(port, "/items/1");
        run.stdout().lines().find(|line| line.contains("traces.failing")).map(str::to_owned)
    });
    assert!(line.contains("\"level\":\"warn\""), "{line}");
    let stdout = stop(run);
    assert_eq!(stdout.matches("traces.failing").count(), 1, "{stdout}");
}

#[test]
fn a_sampler_decides_before_the_application_is_told() {
    let collector = Collector::start();
    let off = [("OTEL_TRACES_SAMPLER", "always_off")];
    let (run, port) = service(&collector.http_endpoint(), &off);
    let seen = get(port, "/items/1");
    assert!(seen.ends_with("-00") && seen.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{seen}");
    stop(run);
    assert_eq!(collector.spans(), []);
}

#[test]
fn without_an_endpoint_there_is_no_trace_and_no_variable() {
    let mut run = script(&[], "echo \"got=${TRACEPARENT:-none}\"");
    assert!(run.wait(PATIENCE).stdout.contains("got=none"));
}

#[test]
fn a_collector_with_tls_is_reached_over_http_and_grpc_if_its_authority_is_known() {
    let certificate = Certificate::of(&[]);
    let collector = Collector::start_tls(&certificate);
    let authority = certificate.authority();
    let known = ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.to_str().unwrap());
    for (endpoint, protocol, path) in [
        (collector.http_endpoint(), "http/protobuf", "/items/1"),
        (collector.grpc_endpoint(), "grpc", "/broken"),
    ] {
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let (run, port) = service(&endpoint, &[known, protocol]);
        get(port, path);
        stop(run);
    }
    assert_eq!(collector.span("GET /items/{id}").attributes["url.path"], "/items/1");
    assert_eq!(collector.span("GET /broken").status, "Error");

    let (run, port) = service(&collector.http_endpoint(), &[("OTEL_BSP_SCHEDULE_DELAY", "10")]);
    get(port, "/items/unknown");
    run.line("traces.failing");
    stop(run);
    assert!(!collector.printed().contains("/items/unknown"));
}

/// Knows its telemetry library and nothing of us: the rest comes from its environment.
const SDK: &str = "\
import os
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
parent = extract({'traceparent': os.environ['TRACEPARENT']})
with provider.get_tracer('app').start_as_current_span('work', context=parent):
    pass
provider.shutdown()";

#[test]
fn the_spans_of_the_real_python_sdk_join_ours() {
    let collector = Collector::start();
    let mut run = run_with(&["--service", "shop"], &["python3", "-c", SDK], |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http_endpoint());
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        command.env("PYTHONPATH", python_path());
    });
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    let (work, startup) = (collector.span("work"), collector.span("service.startup"));
    assert_eq!((work.service.as_str(), startup.service.as_str()), ("shop", "shop"));
    assert_eq!((&work.trace_id, &work.parent_id), (&startup.trace_id, &startup.span_id));
}
