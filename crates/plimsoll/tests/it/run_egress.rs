//! Calls of an application through `plimsoll run`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use testkit::{Certificate, Collector, Run, free_port, get};

use crate::run_harness::{PATIENCE, SIGINT, Service, binary, run, run_with};
use crate::up_harness::{Platform, project};

/// A dependency that answers the first calls with 503 and then with what it was asked.
fn dependency(n_failures: usize) -> SocketAddr {
    failing_at("/", n_failures)
}

/// The same, where only calls below a path count.
fn failing_at(path: &'static str, mut n_failures: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let is_counted = head.starts_with(&format!("GET {path}"));
            let (status, body) = match is_counted && n_failures > 0 {
                true => ("503 Busy", "busy".to_owned()),
                false => ("200 OK", head),
            };
            n_failures -= usize::from(is_counted && n_failures > 0);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            // The caller may be gone.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn declared(address: SocketAddr, more: &str) -> String {
    format!(r#"{{"my-api": {{"url": "http://{address}/v1"{more}}}}}"#)
}

const CALL: &str = "\
import os, urllib.request
url = os.environ['MY_API_EGRESS_URL']
request = urllib.request.Request(url + '/users?a=b', headers={'X-Mine': '1'})
try:
    answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print('status', answer.status, answer.headers.get('plimsoll-egress'))
print('body', answer.read().decode().replace('\\r\\n', ' | '))";

#[test]
fn an_application_calls_a_dependency_and_a_failure_is_tried_again() {
    let address = dependency(1);
    let egress = declared(address, r#", "headers": {"authorization": "Bearer hunter2"}"#);
    let listen = format!("127.0.0.1:{}", free_port());
    let flags = ["--listen", &listen, "--egress", &egress];
    let mut run = Run::start(&binary(), flags.iter().copied().chain(["--", "python3", "-c", CALL]));
    let stdout = run.wait(PATIENCE).stdout;
    assert!(stdout.contains("status 200 None"), "{stdout}");
    assert!(stdout.contains("GET /v1/users?a=b HTTP/1.1"), "{stdout}");
    assert!(stdout.to_lowercase().contains("x-mine: 1"), "{stdout}");
}

#[test]
fn a_secret_reaches_the_dependency_and_no_line() {
    let listen = format!(r#", "listen": "127.0.0.1:{}""#, free_port());
    let more = format!(r#"{listen}, "headers": {{"x-key": "k ${{secret:env:API_KEY}}"}}"#);
    let egress = declared(dependency(0), &more);
    let mut run = run_with(&["--egress", &egress], &["python3", "-c", CALL], |command| {
        command.env("API_KEY", "a-long-secret-value");
    });
    let stdout = run.wait(PATIENCE).stdout;
    assert!(stdout.contains("status 200 None"), "{stdout}");
    assert!(stdout.contains("x-key: k [REDACTED"), "it was sent, and comes back hidden: {stdout}");
    assert!(!stdout.contains("a-long-secret-value"), "{stdout}");
}

#[test]
fn a_dependency_that_is_away_is_an_answer_of_ours() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = format!(r#", "listen": "127.0.0.1:{}", "retries": 0"#, free_port());
    let mut run = run(&["--egress", &declared(nowhere, &listen)], &["python3", "-c", CALL]);
    let stdout = run.wait(PATIENCE).stdout;
    assert!(stdout.contains("status 502 unreachable"), "{stdout}");
    assert!(stdout.contains("no connection to the dependency can be made"), "{stdout}");
}

#[test]
fn a_call_is_part_of_the_callers_trace() {
    let collector = Collector::start();
    let listen = format!(r#", "listen": "127.0.0.1:{}""#, free_port());
    let egress = declared(dependency(0), &listen);
    let call = CALL.replace("'X-Mine': '1'", "'traceparent': os.environ['TRACEPARENT']");
    let mut run = run_with(&["--egress", &egress], &["python3", "-c", &call], |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http_endpoint());
    });
    let stdout = run.wait(PATIENCE).stdout;
    let span = collector.span("GET");
    let startup = collector.span("service.startup");
    assert_eq!((span.kind.as_str(), &span.parent_id), ("Client", &startup.span_id));
    assert_eq!(span.attributes["peer.service"], "my-api");
    assert_eq!(span.attributes["http.response.status_code"], "200");
    assert!(span.attributes["url.full"].ends_with("/v1/users"), "{span:?}");
    let told = format!("traceparent: 00-{}-{}-01", span.trace_id, span.span_id);
    assert!(stdout.contains(&told), "{told} in {stdout}");
}

#[test]
fn the_socket_takes_calls_and_health_shows_the_breaker() {
    let egress = declared(dependency(0), "");
    let service = Service::start(&["--egress", &egress], &["sleep", "60"]);
    let answer = service.wait_for_status("/out/my-api/a", 200);
    assert!(answer.text().starts_with("GET /v1/a HTTP/1.1"), "{}", answer.text());
    assert_eq!(service.ask("/out/other/a").unwrap().status, 404);
    assert_eq!(service.ask("/out/my-api/../a").unwrap().status, 400);
    let health = service.ask("/health").unwrap().text();
    assert!(health.contains("my-api:circuitBreaker") && health.contains("closed"), "{health}");
    let metrics = service.ask("/metrics").unwrap().text();
    let counted =
        "egress_requests_total{service=\"sleep\",dependency=\"my-api\",outcome=\"success\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_place() {
    let mut run = run(&["--egress", r#"{"a": {"url": "http://a", "timeuot": "1s"}}"#], &["true"]);
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `timeout`?"), "{}", ended.stderr);
}

#[test]
fn a_listener_that_is_taken_is_said_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!(r#", "listen": "{}""#, taken.local_addr().unwrap());
    let egress = declared(SocketAddr::from(([127, 0, 0, 1], 1)), &listen);
    let mut run = run(&["--egress", &egress], &["true"]);
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 125, "{}", ended.stderr);
    assert!(ended.stderr.contains("it is taken"), "{}", ended.stderr);
}

/// Serves what its dependency answers, at the address that it was given.
const CALLER: &str = "\
import http.server, os, urllib.request
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            answer = urllib.request.urlopen(os.environ['LLM_URL'] + '/chat?q=1', timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        body = answer.read()
        self.send_response(answer.status)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Api).serve_forever()
";

#[test]
fn a_service_of_a_platform_calls_its_http_resource_as_the_manifest_says() {
    // The first call fails; probes have a path of their own.
    let (address, port) = (failing_at("/v1/chat", 1), free_port());
    let directory = project(&format!(
        "plimsoll: 1\napp: shop\nresources:\n  \
         llm: {{type: http, via: url, url: \"http://{address}/v1\", health: /health, \
         retry: {{max: 1, backoff: 1ms}}, breaker: {{failures: 90%, open: 5s}}}}\nservices:\n  \
         api: {{run: python3 api.py, port: {port}, uses: [llm]}}\n"
    ));
    std::fs::write(directory.path().join("api.py"), CALLER).unwrap();
    let mut platform = Platform::start_in(directory, &["--no-watch"]);
    platform.until_running();
    let answer = get(port, "/").unwrap();
    assert_eq!(answer.status, 200, "the failure was tried again: {}", answer.text());
    assert!(answer.text().starts_with("GET /v1/chat?q=1 HTTP/1.1"), "{}", answer.text());
    platform.run.signal(SIGINT);
    assert_eq!(platform.run.wait(PATIENCE).code, 0);
}

/// An HTTPS server that answers with the path it was asked for.
const TLS_SERVER: &str = "\
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = ('secure ' + self.path).encode()
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print('port', server.server_port, flush=True)
server.serve_forever()";

#[test]
fn a_dependency_with_tls_is_called_if_its_authority_is_known() {
    let certificate = Certificate::of(&[]);
    let (cert, key) = (certificate.certificate(), certificate.key());
    let args = ["-c", TLS_SERVER, cert.to_str().unwrap(), key.to_str().unwrap()];
    let server = Run::start(std::path::Path::new("/usr/bin/env"), ["python3"].iter().chain(&args));
    let line = server.line("port ");
    let port = line.trim_start_matches("port ").trim();
    let call = |variables: &[(&str, &str)]| {
        let listen = free_port();
        let egress = format!(
            r#"{{"my-api": {{"url": "https://localhost:{port}/v1",
                "listen": "127.0.0.1:{listen}", "retries": 0}}}}"#
        );
        let mut run = run_with(&["--egress", &egress], &["python3", "-c", CALL], |command| {
            command.envs(variables.iter().copied());
        });
        run.wait(PATIENCE).stdout
    };
    let authority = certificate.authority();
    let stdout = call(&[("SSL_CERT_FILE", authority.to_str().unwrap())]);
    assert!(stdout.contains("status 200 None"), "{stdout}");
    assert!(stdout.contains("secure /v1/users?a=b"), "{stdout}");
    let stdout = call(&[]);
    assert!(stdout.contains("status 502 unreachable"), "nobody vouches for it: {stdout}");
}
