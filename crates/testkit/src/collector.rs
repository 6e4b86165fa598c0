//! A real OpenTelemetry Collector for one test.
//!
//! It takes OTLP over HTTP and gRPC and prints what it got; [`Collector::spans`] reads that. It
//! deliberately interprets no value: attributes are the texts that the collector prints.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::tool_cache;
use crate::certificate::Certificate;
use crate::run::Run;
use crate::wait::{lasting_port, wait_for, wait_for_some};

/// Its directory in the cache.
pub const COLLECTOR: &str = "otelcol-0.148.0";
/// How long it may take to listen, and a span to arrive.
const LIMIT: Duration = Duration::from_secs(20);

/// A running collector; it ends when dropped.
#[derive(Debug)]
pub struct Collector {
    run: Run,
    scheme: &'static str,
    http: u16,
    grpc: u16,
    _directory: TempDir,
}

/// A span that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrivedSpan {
    /// `service.name` of its resource.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `Server`, `Client`, `Internal` or `Producer`.
    pub kind: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// 16 hexadecimal digits, or nothing.
    pub parent_id: String,
    /// `Unset`, `Ok` or `Error`.
    pub status: String,
    /// Values as texts.
    pub attributes: BTreeMap<String, String>,
    /// Names of its events, in order.
    pub events: Vec<String>,
}

impl Collector {
    /// Starts one and waits until it listens.
    ///
    /// # Panics
    /// When it is not installed (`cargo xtask tools`) or does not listen.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as("http", "")
    }

    /// The same with TLS, on both ports.
    ///
    /// # Panics
    /// As [`Collector::start`].
    #[must_use]
    pub fn start_tls(certificate: &Certificate) -> Self {
        let (cert, key) = (certificate.certificate(), certificate.key());
        let tls = format!(
            ", tls: {{ cert_file: \"{}\", key_file: \"{}\" }}",
            cert.display(),
            key.display()
        );
        Self::start_as("https", &tls)
    }

    fn start_as(scheme: &'static str, more: &str) -> Self {
        let (http, grpc) = (lasting_port(), lasting_port());
        let directory = TempDir::new().expect("a temporary directory can be made");
        let config = directory.path().join("config.yaml");
        fs::write(&config, configuration(http, grpc, more)).expect("it can be written");
        let program = tool_cache().join(COLLECTOR).join("otelcol");
        assert!(program.exists(), "no collector is installed: run `cargo xtask tools`");
        let run = Run::start(&program, [format!("--config=file:{}", config.display())]);
        wait_for("the collector to listen", LIMIT, || {
            [http, grpc].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        Self { run, scheme, http, grpc, _directory: directory }
    }

    /// Where it takes OTLP over HTTP.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.http)
    }

    /// Where it takes OTLP over gRPC.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.grpc)
    }

    /// What has arrived so far.
    #[must_use]
    pub fn spans(&self) -> Vec<ArrivedSpan> {
        // It prints to stderr, as all its lines.
        parse(&self.run.stderr())
    }

    /// Waits for a span of this name, and returns the first.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    #[must_use]
    pub fn span(&self, name: &str) -> ArrivedSpan {
        wait_for_some(&format!("a span `{name}`"), LIMIT, || {
            self.spans().into_iter().find(|span| span.name == name)
        })
    }

    /// Everything that it printed, to look for what must not be there.
    #[must_use]
    pub fn printed(&self) -> String {
        self.run.stderr()
    }
}

fn configuration(http: u16, grpc: u16, more: &str) -> String {
    format!(
        "receivers:\n  otlp:\n    protocols:\n      http: {{ endpoint: \"127.0.0.1:{http}\"{more} }}\n      \
         grpc: {{ endpoint: \"127.0.0.1:{grpc}\"{more} }}\nexporters:\n  debug: {{ verbosity: detailed }}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n    \
         traces: {{ receivers: [otlp], exporters: [debug] }}\n"
    )
}

/// Reads what the debug exporter prints.
fn parse(text: &str) -> Vec<ArrivedSpan> {
    let mut spans: Vec<ArrivedSpan> = Vec::new();
    let (mut service, mut is_event) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with("Span #") {
            spans.push(ArrivedSpan { service: service.clone(), ..ArrivedSpan::default() });
            is_event = false;
        } else if line.starts_with("SpanEvent #") {
            is_event = true;
        } else if let Some(pair) = line.strip_prefix("     -> ") {
            let Some((key, value)) = pair.split_once(": ") else { continue };
            let value = value.split_once('(').map_or(value, |(_, rest)| rest.trim_end_matches(')'));
            match (key, spans.last_mut()) {
                ("service.name", _) => service = value.to_owned(),
                ("Name", Some(span)) if is_event => span.events.push(value.to_owned()),
                (_, Some(span)) if !is_event => {
                    span.attributes.insert(key.to_owned(), value.to_owned());
                }
                _ => {}
            }
        } else if let (Some((key, value)), Some(span)) = (line.split_once(':'), spans.last_mut()) {
            let value = value.trim().to_owned();
            match key.trim() {
                "Trace ID" => span.trace_id = value,
                "Parent ID" => span.parent_id = value,
                "ID" => span.span_id = value,
                "Name" => span.name = value,
                "Kind" => span.kind = value,
                "Status code" => span.status = value,
                _ => {}
            }
        }
    }
    spans.retain(|span| !span.name.is_empty());
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints_is_read() {
        let text = "Resource attributes:\n     -> service.name: Str(api)\nSpan #0\n    \
                    Trace ID       : 0af7\n    Parent ID      : \n    ID             : b9c7\n    \
                    Name           : GET /x\n    Kind           : Server\n    Status code    : Unset\n\
                    Attributes:\n     -> url.path: Str(/x)\n     -> n: Int(2)\nEvents:\nSpanEvent #0\n     \
                    -> Name: ready\n     -> Timestamp: 2026\n";
        let [span] = &parse(text)[..] else { panic!("one span") };
        assert_eq!((span.service.as_str(), span.name.as_str()), ("api", "GET /x"));
        assert_eq!((span.trace_id.as_str(), span.parent_id.as_str()), ("0af7", ""));
        assert_eq!(span.attributes["url.path"], "/x");
        assert_eq!(span.attributes["n"], "2");
        assert_eq!(span.events, ["ready"]);
    }
}
