//! What the ingress answers itself, counts and writes down.
//!
//! One metric observation and, if wanted, one line for every request that is not a health path. The
//! path in a line has no query, because secrets travel in queries. It deliberately never waits: a
//! line that does not fit the sink's queue is dropped and counted there.
//!
//! Invariant: `http_server_active_requests` returns to where it was when a request is over.

use std::net::IpAddr;
use std::sync::Arc;

use contract::log_fields as field;
use http::request::Parts as Head;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Bytes;
use proxy::{Admission, Exchange, Hooks, Outcome, Refusal, TraceContext};

use super::Parts;
use super::admit::Guards;
use super::route::Routes;
use crate::admin::{self, DetailPolicy};
use crate::board::Board;
use crate::logs::{Level, Sink, Value};
use crate::metrics::Metrics;
use crate::telemetry::{Request, Tracer};

/// Status that is counted for a client that left before an answer, as nginx has it.
const CLIENT_LEFT: u16 = 499;

/// The hooks of the ingress.
#[derive(Debug)]
pub(super) struct Watch {
    routes: Routes,
    access_log: bool,
    app_health: bool,
    details: DetailPolicy,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    sink: Sink,
    tracer: Tracer,
    guards: Option<Guards>,
    /// Declared routes, for the names of spans.
    route_names: Vec<String>,
}

impl Watch {
    pub(super) fn new(parts: Parts, guards: Option<Guards>) -> Self {
        Self {
            routes: Routes::new(&parts.routes),
            access_log: parts.access_log,
            app_health: parts.app_health,
            details: parts.details,
            board: parts.board,
            metrics: parts.metrics,
            sink: parts.sink,
            tracer: parts.tracer,
            guards,
            route_names: parts.routes,
        }
    }

    fn write(&self, exchange: &Exchange<'_>, status: u16) {
        let level = if status < 500 { Level::Info } else { Level::Warn };
        let client = exchange.client.to_string();
        let duration_ms = exchange.duration.as_micros() as f64 / 1e3;
        self.sink.event(
            level,
            said(exchange.outcome),
            &[
                (field::TRACE_ID.name, Value::Str(exchange.trace.trace_id())),
                (field::SPAN_ID.name, Value::Str(exchange.trace.span_id())),
                (field::REQUEST_ID.name, Value::Str(exchange.request_id)),
                (field::METHOD.name, Value::Str(exchange.method.as_str())),
                (field::PATH.name, Value::Str(exchange.path)),
                (field::STATUS.name, status.into()),
                (field::DURATION_MS.name, Value::F64(duration_ms)),
                (field::BYTES_IN.name, Value::U64(exchange.bytes_in)),
                (field::BYTES_OUT.name, Value::U64(exchange.bytes_out)),
                (field::CLIENT.name, Value::Str(&client)),
            ],
        );
    }
}

impl Hooks for Watch {
    fn local(&self, request: &Head) -> Option<Response<Bytes>> {
        if self.app_health {
            return None;
        }
        // A proxy on this host speaks for strangers: details only if everyone may see them.
        admin::respond(&self.board, request, self.details.detail(false))
    }

    fn sample(&self, trace: &mut TraceContext) {
        self.tracer.sample(trace);
    }

    fn wants_user_agent(&self) -> bool {
        self.tracer.is_on()
    }

    async fn admit(&self, request: &mut Head, client: IpAddr) -> Admission {
        let Some(guards) = &self.guards else { return Admission::Pass(HeaderMap::new()) };
        let index = self.routes.find(request.uri.path());
        let route = index.and_then(|index| self.route_names.get(index)).map(String::as_str);
        guards.admit(request, client, route).await
    }

    fn started(&self) {
        self.metrics.request_began();
    }

    fn finished(&self, exchange: &Exchange<'_>) {
        if exchange.outcome == Outcome::Local {
            return;
        }
        let status = exchange.status.as_ref().map_or(CLIENT_LEFT, StatusCode::as_u16);
        let method = exchange.method.as_str();
        let route = self.routes.find(exchange.path);
        self.metrics.request_ended(method, status, route, exchange.duration);
        let route = route.and_then(|index| self.route_names.get(index)).map(String::as_str);
        self.tracer.served(exchange, Request { route, status });
        if self.access_log {
            self.write(exchange, status);
        }
    }

    fn refused(&self, refusal: Refusal, client: IpAddr) {
        if self.access_log {
            let client = client.to_string();
            let fields = [
                (field::CLIENT.name, Value::Str(&client)),
                ("reason", Value::Str(refusal.as_str())),
            ];
            self.sink.event(Level::Warn, "connection refused: not a request", &fields);
        }
    }
}

/// What a line says.
fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded | Outcome::Local | Outcome::Served => "request",
        Outcome::Refused => "request refused",
        Outcome::Unavailable => "request failed: the app accepts no connections",
        Outcome::UpstreamFailed => "request failed: the app broke off",
        Outcome::TimedOut => "request failed: the app did not answer in time",
        Outcome::ClientLeft => "request cut: the client left",
        Outcome::Tunnel => "tunnel closed",
    }
}
