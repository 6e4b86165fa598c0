//! One request and its answer, from the accepted head to the last byte of the body.
//!
//! [`exchange`] is the one place that decides who answers: the owner's local endpoints, a refusal,
//! or the target of a route. What is true of an exchange is kept in its [`Flight`], which travels
//! with the response body and reports when that ends, is cut, or is dropped.
//!
//! Invariant: a [`Flight`] is counted in its server, and reported once, when it is dropped.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{BodyError, Progress};
use crate::connection::Client;
use crate::fields::{self, Seen};
use crate::forward::{self, Tunnel, UpstreamBody};
use crate::forwarded::client_address;
use crate::page::problem;
use crate::router::{Route, Target, normal_host};
use crate::server::{Counted, Drain};
use crate::site::SiteBody;
use crate::trace::TraceContext;
use crate::turn::Turn;
use crate::upstream::InFlight;
use crate::watch::{Admission, Exchange, Hooks, Outcome};

/// `Retry-After` of an answer during a drain.
const DRAIN_RETRY: Duration = Duration::from_secs(1);

/// Answers one request.
pub(crate) async fn exchange<H: Hooks>(
    client: Arc<Client<H>>,
    request: Request<Incoming>,
) -> Result<Response<ExchangeBody<H>>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let is_http1 = parts.version <= Version::HTTP_11;
    let mut flight = Flight::begin(client, &parts);
    let asked_upgrade = is_http1 && flight.seen.upgrade;
    let Answer { mut response, outcome, must_close, took_body, tunnel } =
        decide(&mut flight, &mut parts, body).await;
    flight.outcome = outcome;
    flight.status = Some(response.status());
    let id = flight.request_id.clone();
    let shared = &flight.client.shared;
    let headers = response.headers_mut();
    headers.entry(fields::X_REQUEST_ID).or_insert(id);
    if let Some(tunnel) = tunnel {
        tokio::spawn(tunnel.run(flight));
        return Ok(response.map(|source| ExchangeBody::new(source, None)));
    }
    // Bytes of another protocol that came early cannot be another request.
    // Nobody reads the rest of a request that was answered before its end.
    let must_close = must_close || has_body && !took_body;
    let must_close = must_close || asked_upgrade && !flight.client.wire.deny_upgrade();
    if is_http1 && (must_close || shared.phase() >= Drain::Announce) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|source| ExchangeBody::new(source, Some(flight))))
}

/// Decides who answers.
async fn decide<H: Hooks>(
    flight: &mut Box<Flight<H>>,
    parts: &mut Parts,
    body: Incoming,
) -> Answer {
    let shared = Arc::clone(&flight.client.shared);
    let settled = fields::settle_host(&parts.uri, parts.version, &mut parts.headers);
    let refused = match settled {
        Err(detail) => {
            flight.host = parts.headers.get(HOST).cloned();
            Some(Answer::refused(parts, StatusCode::BAD_REQUEST, detail))
        }
        Ok(host) => {
            flight.host = host;
            refusal(parts, shared.settings.limits.target_bytes_max)
        }
    };
    if refused.is_none()
        && let Some(response) = shared.hooks.local(parts)
    {
        return Answer::new(response.map(Source::full), Outcome::Local);
    }
    shared.hooks.started();
    if let Some(answer) = refused {
        return answer;
    }
    if shared.phase() == Drain::Refuse {
        return Answer::draining(parts);
    }
    let fields = match shared.hooks.admit(parts, flight.address).await {
        Admission::Pass(fields) => fields,
        Admission::Refuse(response) => {
            return Answer::new(response.map(Source::full), Outcome::Refused);
        }
    };
    let mut answer = answer(flight, parts, body).await;
    answer.response.headers_mut().extend(fields);
    answer
}

/// What is wrong with a request that no target should see.
fn refusal(parts: &Parts, target_bytes_max: usize) -> Option<Answer> {
    if parts.method == Method::CONNECT {
        let detail = "this is not a forward proxy";
        return Some(Answer::refused(parts, StatusCode::METHOD_NOT_ALLOWED, detail));
    }
    let n_bytes = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if n_bytes > target_bytes_max {
        let detail = "the address is too long";
        return Some(Answer::refused(parts, StatusCode::URI_TOO_LONG, detail));
    }
    None
}

/// Answers by the target of the route.
async fn answer<H: Hooks>(
    flight: &mut Box<Flight<H>>,
    parts: &mut Parts,
    body: Incoming,
) -> Answer {
    let route = {
        let router = flight.client.shared.router.load();
        let host = flight.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        // `OPTIONS *` is about the server as a whole.
        let path = if parts.uri.path() == "*" { "/" } else { parts.uri.path() };
        router.find(host, path).map(Arc::clone)
    };
    let Some(route) = route else {
        let detail = "no service is published at this address";
        let response = problem(&parts.headers, StatusCode::NOT_FOUND, None, detail, None);
        return Answer::new(response.map(Source::full), Outcome::Served);
    };
    flight.route = Some(Arc::clone(&route));
    match &route.target {
        Target::Upstream(upstream) => {
            flight.upstream = Some(upstream.enter());
            forward::forward(flight, &route, upstream, parts, body).await
        }
        Target::Site(site) => {
            Answer::new(site.answer(parts).await.map(Source::site), Outcome::Served)
        }
        Target::Down(down) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let (service, wait) = (Some(down.service.as_str()), Some(down.retry_after));
            let response = problem(&parts.headers, status, service, &down.reason, wait);
            Answer::new(response.map(Source::full), Outcome::Unavailable)
        }
    }
}

/// A response, and what it means.
pub(crate) struct Answer {
    pub(crate) response: Response<Source>,
    /// The outcome, unless the body still decides it.
    pub(crate) outcome: Outcome,
    /// Whether the client's connection cannot go on.
    pub(crate) must_close: bool,
    /// Whether all of the request body was read.
    pub(crate) took_body: bool,
    /// What the connection becomes after the response.
    pub(crate) tunnel: Option<Tunnel>,
}

impl Answer {
    /// An answer after which the connection goes on.
    pub(crate) fn new(response: Response<Source>, outcome: Outcome) -> Self {
        Self { response, outcome, must_close: false, took_body: false, tunnel: None }
    }

    /// A refusal after which the connection is not trusted with another request.
    fn refused(parts: &Parts, status: StatusCode, detail: &str) -> Self {
        let response = problem(&parts.headers, status, None, detail, None);
        Self { must_close: true, ..Self::new(response.map(Source::full), Outcome::Refused) }
    }

    fn draining(parts: &Parts) -> Self {
        let response = problem(
            &parts.headers,
            StatusCode::SERVICE_UNAVAILABLE,
            None,
            "the service is shutting down",
            Some(DRAIN_RETRY),
        );
        Self { must_close: true, ..Self::new(response.map(Source::full), Outcome::Refused) }
    }
}

/// What is true of an exchange, reported when it is dropped.
pub(crate) struct Flight<H: Hooks> {
    pub(crate) client: Arc<Client<H>>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<StatusCode>,
    pub(crate) progress: Option<Arc<Progress>>,
    pub(crate) bytes_out: u64,
    /// Bytes that came in through a tunnel.
    pub(crate) bytes_tunnelled: u64,
    upstream: Option<InFlight>,
    route: Option<Arc<Route>>,
    started: Instant,
    method: Method,
    uri: Uri,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) seen: Seen,
    version: Version,
    pub(crate) trace: TraceContext,
    user_agent: Option<HeaderValue>,
    pub(crate) request_id: HeaderValue,
    address: IpAddr,
    _counted: Counted<H>,
}

impl<H: Hooks> Flight<H> {
    /// Begins an exchange: counts it, and settles its ids and who asked.
    fn begin(client: Arc<Client<H>>, parts: &Parts) -> Box<Self> {
        client.wire.enter();
        let seen = Seen::of(&parts.headers);
        let trusted = &client.shared.settings.trusted_proxies;
        let address = if seen.forwarded_for {
            client_address(&parts.headers, client.peer.address, trusted)
        } else {
            client.peer.address
        };
        let hooks = &client.shared.hooks;
        let mut trace =
            if seen.traceparent { TraceContext::of(&parts.headers) } else { TraceContext::start() };
        hooks.sample(&mut trace);
        let user_agent =
            if hooks.wants_user_agent() { parts.headers.get(USER_AGENT).cloned() } else { None };
        Box::new(Self {
            outcome: Outcome::ClientLeft,
            status: None,
            progress: None,
            bytes_out: 0,
            bytes_tunnelled: 0,
            upstream: None,
            route: None,
            started: Instant::now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            host: None,
            seen,
            version: parts.version,
            trace,
            user_agent,
            request_id: if seen.request_id {
                fields::request_id(&parts.headers)
            } else {
                fields::new_id()
            },
            address,
            _counted: client.shared.enter(),
            client,
        })
    }
}

impl<H: Hooks> Drop for Flight<H> {
    fn drop(&mut self) {
        self.client.wire.leave();
        let host = self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let bytes_in = self.progress.as_ref().map_or(0, |progress| progress.bytes());
        self.client.shared.hooks.finished(&Exchange {
            method: &self.method,
            path: self.uri.path(),
            host: &normal_host(host),
            version: self.version,
            route: self.route.as_ref().map(|route| route.label.as_str()),
            upstream: self.upstream.as_ref().map(InFlight::name),
            status: self.status,
            outcome: self.outcome,
            duration: self.started.elapsed(),
            bytes_in: bytes_in + self.bytes_tunnelled,
            bytes_out: self.bytes_out,
            trace: &self.trace,
            request_id: self.request_id.to_str().unwrap_or_default(),
            client: self.address,
            user_agent: self.user_agent.as_ref().and_then(|agent| agent.to_str().ok()),
        });
    }
}

/// The body of an answer, with the exchange that ends when it does.
pub(crate) struct ExchangeBody<H: Hooks> {
    source: Source,
    flight: Option<Box<Flight<H>>>,
    /// Whose turn it is, on HTTP/2.
    turn: Option<Arc<Turn>>,
    /// An error that waits until what came before it was written.
    error: Option<BodyError>,
}

/// Where the bytes of an answer come from.
pub(crate) enum Source {
    /// Nowhere.
    Empty,
    /// Memory.
    Full(Bytes),
    /// The application.
    Upstream(UpstreamBody),
    /// A file.
    Site(Box<SiteBody>),
}

impl Source {
    /// From memory.
    pub(crate) fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }

    fn site(body: SiteBody) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Site(Box::new(body)) }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Upstream(body) => body.poll_frame(cx),
            Self::Site(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|it| it.map_err(BodyError::File))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Upstream(body) => body.is_end_stream(),
            Self::Site(body) => body.is_end_stream(),
        }
    }
}

impl<H: Hooks> ExchangeBody<H> {
    fn new(source: Source, flight: Option<Box<Flight<H>>>) -> Self {
        let turn = Turn::current();
        if let Some(turn) = &turn {
            turn.answered();
        }
        Self { source, flight, turn, error: None }
    }
}

impl<H: Hooks> Body for ExchangeBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = this.source.poll_frame(cx);
        if let Some(turn) = &this.turn {
            turn.asked(frame.is_ready());
        }
        let frame = std::task::ready!(frame);
        let Some(flight) = &mut this.flight else { return Poll::Ready(frame) };
        let is_forwarded = matches!(this.source, Source::Upstream(_));
        match &frame {
            Some(Ok(frame)) => {
                flight.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.source.is_end_stream() {
                    flight.complete(is_forwarded);
                    this.flight = None;
                }
            }
            Some(Err(_)) => {
                flight.outcome = Outcome::UpstreamFailed;
                this.flight = None;
            }
            None => {
                flight.complete(is_forwarded);
                this.flight = None;
            }
        }
        if let Some(Err(error)) = frame {
            // Hyper drops what it has not written when a body fails: let it write first.
            this.error = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(body) => body.size_hint(),
            Source::Site(body) => body.size_hint(),
        }
    }
}

impl<H: Hooks> Flight<H> {
    /// The body was handed on whole.
    fn complete(&mut self, is_forwarded: bool) {
        if is_forwarded {
            self.outcome = Outcome::Forwarded;
        }
    }
}
