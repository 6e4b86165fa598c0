//! The span of a request that came through the ingress, with the names of OpenTelemetry's semantic
//! conventions for HTTP.
//!
//! It is made when the exchange is over, from ids that were settled when it began. It deliberately
//! holds no query and no header but `user-agent`: secrets travel in both.

use std::time::SystemTime;

use opentelemetry::trace::SpanKind;
use proxy::{Exchange, Outcome};

use super::{Span, Tracer};

/// Methods that may name a span; others are `_OTHER`, as the conventions want it.
const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY"];

/// What the ingress knows besides the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The declared route that it matched.
    pub route: Option<&'a str>,
    /// The status that was counted.
    pub status: u16,
}

impl Tracer {
    /// Records a request that is over.
    pub fn served(&self, exchange: &Exchange<'_>, request: Request<'_>) {
        let Some(shared) = &self.0 else { return };
        if !exchange.trace.is_sampled() {
            return;
        }
        let method = method(exchange.method.as_str());
        let verb = if method == "_OTHER" { "HTTP" } else { method };
        let name = match request.route {
            Some(route) => format!("{verb} {route}").into(),
            None => verb.into(),
        };
        let context = exchange.trace.clone();
        let mut span =
            Span::recording(name, SpanKind::Server, context, shared.limits, shared.queue.clone());
        span.begun(SystemTime::now() - exchange.duration);
        describe(&mut span, exchange, request, method);
    }
}

fn describe(span: &mut Span, exchange: &Exchange<'_>, request: Request<'_>, method: &'static str) {
    span.set("http.request.method", method);
    if method == "_OTHER" {
        span.set("http.request.method_original", exchange.method.as_str());
    }
    span.set("url.scheme", "http");
    span.set("url.path", exchange.path);
    if let Some(route) = request.route {
        span.set("http.route", route);
    }
    if !exchange.host.is_empty() {
        span.set("server.address", exchange.host);
    }
    span.set("client.address", exchange.client.to_string());
    span.set("network.protocol.version", version(exchange.version));
    if let Some(agent) = exchange.user_agent {
        span.set("user_agent.original", agent);
    }
    span.set("http.request.body.size", exchange.bytes_in);
    span.set("http.response.body.size", exchange.bytes_out);
    span.set("plimsoll.request_id", exchange.request_id);
    if exchange.status.is_some() {
        span.set("http.response.status_code", request.status);
    }
    match exchange.outcome {
        Outcome::Unavailable
        | Outcome::UpstreamFailed
        | Outcome::TimedOut
        | Outcome::ClientLeft => span.fail(exchange.outcome.as_str()),
        _ if request.status >= 500 => span.fail(&request.status.to_string()),
        _ => {}
    }
}

fn method(method: &str) -> &'static str {
    METHODS.iter().find(|known| **known == method).copied().unwrap_or("_OTHER")
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
