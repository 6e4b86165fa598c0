//! Sends a request to an application and brings its answer back.
//!
//! What may be sent twice: a request of which not a byte was sent (the connection was refused, or
//! was closed before it was used), and one without a body whose method is idempotent, when a
//! *pooled* connection ended before the first byte of a response. Nothing else, ever. While every
//! address refuses connections a request waits up to the upstream's `hold`.
//!
//! `Expect: 100-continue` is the application's to answer: the head goes first, the body is held
//! back until the application's 100 (or [`EXPECT_WAIT`](crate::limits::EXPECT_WAIT)), and only then
//! does hyper send the client its 100. Other 1xx answers end here: hyper cannot pass them on.
//!
//! Invariant: once a byte of a body was sent, the request is not sent again.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT, HeaderMap, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, sleep_until};

use crate::body::{BodyError, Progress, RequestBody, Signal, Stall};
use crate::client_io::ClientIo;
use crate::exchange::{Answer, Flight, Source};
use crate::fields::{self, Hop};
use crate::framing::is_upgrade_honoured;
use crate::limits::ATTEMPTS_MAX;
use crate::link::{Link, LinkError, Reader};
use crate::outgoing::Outgoing;
use crate::page::problem;
use crate::response::{Decoder, Head, Step};
use crate::router::Route;
use crate::tunnel;
use crate::upstream::{Stream, Upstream};
use crate::watch::{Hooks, Outcome};

/// First wait between two rounds over the addresses of an upstream that refuses; doubles.
const HOLD_FIRST: Duration = Duration::from_millis(10);

/// Longest wait between two rounds.
const HOLD_LONGEST: Duration = Duration::from_millis(160);

/// `Retry-After` of an upstream that is not there.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// Forwards a request to `upstream` and answers with what comes back.
pub(crate) async fn forward<H: Hooks>(
    flight: &mut Box<Flight<H>>,
    route: &Route,
    upstream: &Arc<Upstream>,
    parts: &mut Parts,
    body: Incoming,
) -> Answer {
    if let (Some(max), Some(length)) = (route.body_bytes_max, body.size_hint().exact())
        && length > max
    {
        return too_large(&parts.headers);
    }
    let upgrade = if flight.seen.upgrade { take_upgrade(parts, &body) } else { None };
    let stall_timeout = flight.client.shared.settings.limits.stall_timeout;
    let (body, progress) = RequestBody::new(body, route.body_bytes_max, stall_timeout);
    flight.progress.clone_from(&progress);
    let mut request = outgoing(parts, body, upgrade.as_ref().map(|(_, protocol)| protocol), flight);
    let shard = flight.client.shared.settings.shard;
    match offer(upstream, shard, &mut request, flight).await {
        Ok(sent) if sent.head.status == StatusCode::SWITCHING_PROTOCOLS => {
            switch(sent, upgrade, upstream)
        }
        Ok(sent) => respond(sent, request, upstream, shard),
        Err(failure) => Answer {
            took_body: request.is_sent(),
            ..failed(&failure, &parts.headers, upstream, progress.as_deref())
        },
    }
}

/// The upgrade that a request asks for, when it is one that we pass on.
fn take_upgrade(parts: &mut Parts, body: &Incoming) -> Option<(OnUpgrade, HeaderValue)> {
    let pending = parts.extensions.remove::<OnUpgrade>()?;
    let protocol = parts.headers.get(UPGRADE)?;
    let is_wanted = parts.version == Version::HTTP_11
        && body.is_end_stream()
        && fields::has_option(&parts.headers, b"upgrade")
        && is_upgrade_honoured(protocol.as_bytes());
    is_wanted.then(|| (pending, protocol.clone()))
}

/// The request as the application gets it.
fn outgoing<H: Hooks>(
    parts: &mut Parts,
    mut body: RequestBody,
    upgrade: Option<&HeaderValue>,
    flight: &Flight<H>,
) -> Outgoing {
    let seen = flight.seen;
    if seen.connection {
        fields::end_named(&mut parts.headers);
    }
    if parts.version == Version::HTTP_2 {
        fields::join_cookies(&mut parts.headers);
    }
    let keeps_expect = seen.expect
        && parts.headers.contains_key(EXPECT)
        && parts.version == Version::HTTP_11
        && !body.is_end_stream();
    let mut signal = None;
    if keeps_expect {
        let given = Arc::new(Signal::default());
        body.hold_until(Arc::clone(&given));
        signal = Some(given);
    }
    let mut head = Outgoing::room();
    let (trace, request_id) = (&flight.trace, &flight.request_id);
    let hop = Hop {
        trace,
        request_id,
        host: flight.host.as_ref(),
        upgrade,
        accepts_trailers: seen.te && fields::accepts_trailers(&parts.headers),
        keeps_expect,
    };
    fields::write_head(&mut head, parts, &flight.client.peer, &hop);
    let mut request = Outgoing::new(head, body, seen.content_length);
    request.signal = signal;
    request.is_head = parts.method == Method::HEAD;
    request.is_idempotent = matches!(
        parts.method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    request
}

/// A response head that came back, and the connection that its body is on.
struct Sent {
    head: Head,
    link: Box<Link>,
    address: usize,
}

/// Why there is no response head.
#[derive(Debug)]
enum Failure {
    /// No address accepts a connection.
    Unreachable,
    /// The application broke off.
    Broken,
    /// The application did not answer in time.
    Late,
}

/// Offers a request to the addresses of an upstream until one answers.
async fn offer<H: Hooks>(
    upstream: &Upstream,
    shard: usize,
    request: &mut Outgoing,
    flight: &Flight<H>,
) -> Result<Sent, Failure> {
    let began = Instant::now();
    let mut held = None;
    let mut wait = HOLD_FIRST;
    let mut n_attempts = 0;
    let mut may_reuse = true;
    loop {
        let mut was_tried = false;
        for address in upstream.turns() {
            let pooled = if may_reuse { upstream.take(shard, address) } else { None };
            let mut link = match pooled {
                Some(link) => link,
                None => match upstream.connect(address).await {
                    Ok(link) => link,
                    Err(_) => continue,
                },
            };
            n_attempts += 1;
            match send(&mut link, request, upstream, flight).await? {
                Ok(head) => return Ok(Sent { head, link, address }),
                Err(LinkError::Silent)
                    if n_attempts < ATTEMPTS_MAX && request.rewind(link.is_reused()) => {}
                Err(_) => return Err(Failure::Broken),
            }
            may_reuse = false;
            was_tried = true;
        }
        if was_tried {
            continue;
        }
        if began.elapsed() + wait > upstream.settings().hold {
            return Err(Failure::Unreachable);
        }
        if held.is_none() {
            held = Some(upstream.hold().ok_or(Failure::Unreachable)?);
        }
        sleep(wait).await;
        wait = (wait * 2).min(HOLD_LONGEST);
    }
}

/// Sends a request on a link and waits for the response head, but not for ever: the time is counted
/// anew while the application still takes the body.
async fn send<H: Hooks>(
    link: &mut Link,
    request: &mut Outgoing,
    upstream: &Upstream,
    flight: &Flight<H>,
) -> Result<Result<Head, LinkError>, Failure> {
    let timeout = upstream.settings().head_timeout;
    let mut deadline = Instant::now() + timeout;
    let kept = flight.client.timer.lock().ok().and_then(|mut timer| timer.take());
    let mut timer = kept.unwrap_or_else(|| Box::pin(sleep_until(deadline)));
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    let mut n_seen = 0;
    let mut sending = pin!(link.send(request));
    let sent = std::future::poll_fn(|cx| {
        if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
            return Poll::Ready(Ok(sent));
        }
        loop {
            // A timer of an earlier exchange fires early, and is then set anew.
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now >= deadline {
                let n_bytes = flight.progress.as_deref().map_or(0, Progress::bytes);
                if n_bytes == n_seen {
                    return Poll::Ready(Err(Failure::Late));
                }
                n_seen = n_bytes;
                deadline = now + timeout;
            }
            timer.as_mut().reset(deadline);
        }
    })
    .await;
    if let Ok(mut kept) = flight.client.timer.lock() {
        *kept = Some(timer);
    }
    sent
}

/// Passes a response on.
fn respond(sent: Sent, request: Outgoing, upstream: &Arc<Upstream>, shard: usize) -> Answer {
    let Sent { mut head, link, address } = sent;
    if head.has_hop {
        fields::end_hop(&mut head.headers);
    }
    let home = Home { upstream: Arc::clone(upstream), shard, address };
    let is_sent = request.is_sent();
    let body = std::mem::replace(&mut head.body, Decoder::Length(0));
    let (source, outcome) = if body.is_ended() {
        if is_sent {
            home.take_back(link);
        }
        (Source::Empty, Outcome::Forwarded)
    } else {
        let stall = Stall::new(upstream.settings().body_idle_timeout);
        let from = if is_sent {
            From::Link(link, home)
        } else {
            From::Reader(link.split(request, upstream.settings().body_idle_timeout))
        };
        (
            Source::Upstream(UpstreamBody { decoder: body, from: Some(from), stall }),
            Outcome::ClientLeft,
        )
    };
    Answer { took_body: is_sent, ..Answer::new(response(head, source), outcome) }
}

fn response(head: Head, source: Source) -> Response<Source> {
    let mut response = Response::new(source);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    if let Some(Ok(reason)) = head.reason.map(ReasonPhrase::try_from) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// Answers in the place of an application that did not.
fn failed(
    failure: &Failure,
    headers: &HeaderMap,
    upstream: &Upstream,
    progress: Option<&Progress>,
) -> Answer {
    if progress.is_some_and(Progress::is_too_large) {
        return too_large(headers);
    }
    let (status, outcome, detail, retry) = match failure {
        _ if progress.is_some_and(Progress::has_stalled) => (
            StatusCode::REQUEST_TIMEOUT,
            Outcome::ClientLeft,
            "the request body did not arrive in time",
            None,
        ),
        _ if progress.is_some_and(Progress::has_failed) => (
            StatusCode::BAD_REQUEST,
            Outcome::ClientLeft,
            "the request body broke off or is malformed",
            None,
        ),
        Failure::Unreachable => (
            StatusCode::SERVICE_UNAVAILABLE,
            Outcome::Unavailable,
            "the service accepts no connections: it is starting, restarting or down",
            Some(UNAVAILABLE_RETRY),
        ),
        Failure::Broken => (
            StatusCode::BAD_GATEWAY,
            Outcome::UpstreamFailed,
            "the service closed the connection without a complete answer",
            None,
        ),
        Failure::Late => (
            StatusCode::GATEWAY_TIMEOUT,
            Outcome::TimedOut,
            "the service did not answer in time",
            None,
        ),
    };
    let is_clients = outcome == Outcome::ClientLeft;
    let service = (!is_clients).then(|| upstream.name());
    let response = problem(headers, status, service, detail, retry).map(Source::full);
    Answer { must_close: is_clients, ..Answer::new(response, outcome) }
}

fn too_large(headers: &HeaderMap) -> Answer {
    let detail = "the request body is larger than this address accepts";
    let response = problem(headers, StatusCode::PAYLOAD_TOO_LARGE, None, detail, None);
    Answer { must_close: true, ..Answer::new(response.map(Source::full), Outcome::Refused) }
}

/// Turns an exchange into a tunnel.
fn switch(sent: Sent, upgrade: Option<(OnUpgrade, HeaderValue)>, upstream: &Upstream) -> Answer {
    let Sent { mut head, link, .. } = sent;
    let protocol = head.headers.get(UPGRADE).cloned();
    let Some((client, wanted)) = upgrade else {
        let detail = "the service switched to a protocol that nobody asked for";
        let status = StatusCode::BAD_GATEWAY;
        let response = problem(&HeaderMap::new(), status, Some(upstream.name()), detail, None);
        let response = response.map(Source::full);
        return Answer::new(response, Outcome::UpstreamFailed);
    };
    fields::end_hop(&mut head.headers);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, protocol.unwrap_or(wanted));
    let mut answer = Answer::new(response(head, Source::Empty), Outcome::ClientLeft);
    answer.tunnel = Some(Tunnel { client, upstream: link.into_upgraded() });
    answer
}

/// An exchange that becomes a tunnel once its 101 was sent.
pub(crate) struct Tunnel {
    client: OnUpgrade,
    upstream: (Stream, Bytes),
}

impl Tunnel {
    /// Takes the client's socket over and passes bytes until both sides have ended.
    pub(crate) async fn run<H: Hooks>(self, mut flight: Box<Flight<H>>) {
        let Ok(client) = self.client.await else { return };
        let Ok(client) = client.downcast::<TokioIo<ClientIo>>() else { return };
        flight.outcome = Outcome::Tunnel;
        let socket = client.io.into_inner().into_socket();
        let (n_in, n_out) = tunnel::join((socket, client.read_buf), self.upstream).await;
        flight.bytes_tunnelled = n_in;
        flight.bytes_out = n_out;
    }
}

/// Where a connection returns to when its exchange has ended.
struct Home {
    upstream: Arc<Upstream>,
    shard: usize,
    address: usize,
}

impl Home {
    fn take_back(self, link: Box<Link>) {
        if link.is_clean() {
            self.upstream.put(self.shard, self.address, link);
        }
    }
}

/// A response body as it comes from the application.
pub(crate) struct UpstreamBody {
    decoder: Decoder,
    /// `None` once it has ended.
    from: Option<From>,
    stall: Stall,
}

/// What a body is read from.
enum From {
    /// A connection that can be used again.
    Link(Box<Link>, Home),
    /// One that still carries the request.
    Reader(Reader),
}

impl From {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Link(link, _) => link.poll_fill(cx),
            Self::Reader(reader) => reader.poll_fill(cx),
        }
    }

    fn bytes(&mut self) -> &mut BytesMut {
        match self {
            Self::Link(link, _) => link.bytes(),
            Self::Reader(reader) => reader.bytes(),
        }
    }
}

impl UpstreamBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = self.poll_piece(cx) else {
            ready!(self.stall.poll_over(cx));
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        };
        self.stall.moved();
        if self.decoder.is_ended()
            && let Some(From::Link(link, home)) = self.from.take()
        {
            home.take_back(link);
        }
        Poll::Ready(frame.transpose())
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let Some(from) = &mut self.from else { return Poll::Ready(Ok(None)) };
        loop {
            match self.decoder.step(from.bytes())? {
                Step::Frame(frame) => return Poll::Ready(Ok(Some(frame))),
                Step::Ended => return Poll::Ready(Ok(None)),
                Step::Starved => (),
            }
            if ready!(from.poll_fill(cx)).map_err(BodyError::Upstream)? == 0 {
                self.decoder.close()?;
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.decoder.is_ended()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.decoder.size_hint()
    }
}
