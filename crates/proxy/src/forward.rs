//! Sends a request to an application and brings its answer back.
//!
//! What may be sent twice: a request of which not a byte was sent (the connection was refused, or was
//! closed before it was used), and one without a body whose method is idempotent, when a *pooled*
//! connection ended before the first byte of a response. Nothing else, ever. While every
//! address refuses connections a request waits up to the upstream's `hold`.
//!
//! `Expect: 100-continue` is the application's to answer: the head goes first, the body is held back
//! until the application's 100 (or [`EXPECT_WAIT`](crate::limits::EXPECT_WAIT)), and only then does
//! hyper send the client its 100. Other 1xx answers end here: hyper cannot pass them on.
//!
//! Invariant: once a byte of a body was sent, the request is not sent again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, EXPECT, HeaderMap, HeaderValue, TE, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, sleep_until};

use crate::body::{BodyError, Progress, RequestBody, Signal, Stall};
use crate::client_io::ClientIo;
use crate::exchange::{Answer, Flight, Source};
use crate::fields;
use crate::framing::is_upgrade_honoured;
use crate::limits::ATTEMPTS_MAX;
use crate::link::{Link, Outgoing, SendError};
use crate::page::problem;
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
    mut parts: Parts,
    body: Incoming,
) -> Answer {
    if let (Some(max), Some(length)) = (route.body_bytes_max, body.size_hint().exact())
        && length > max
    {
        return too_large(&parts.headers);
    }
    let upgrade = take_upgrade(&mut parts, &body);
    let stall_timeout = flight.client.shared.settings.limits.stall_timeout;
    let (body, progress) = RequestBody::new(body, route.body_bytes_max, stall_timeout);
    flight.progress.clone_from(&progress);
    let accept = parts.headers.get(ACCEPT).cloned();
    let request = outgoing(parts, body, upgrade.as_ref().map(|(_, protocol)| protocol), flight);
    let shard = flight.client.shared.settings.shard;
    match offer(upstream, shard, request, flight).await {
        Ok(sent) if sent.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            switch(sent, upgrade, upstream).await
        }
        Ok(sent) => respond(sent, progress.as_deref(), upstream, shard),
        Err(failure) => {
            let headers = accept.into_iter().map(|accept| (ACCEPT, accept)).collect();
            failed(&failure, &headers, upstream, progress.as_deref())
        }
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
    parts: Parts,
    mut body: RequestBody,
    upgrade: Option<&HeaderValue>,
    flight: &Flight<H>,
) -> Outgoing {
    let Parts { method, uri, version, mut headers, .. } = parts;
    fields::end_hop(&mut headers);
    fields::forward(&mut headers, &flight.client.peer);
    flight.trace.apply(&mut headers);
    headers.insert(fields::X_REQUEST_ID, flight.request_id.clone());
    if version == Version::HTTP_2 {
        fields::join_cookies(&mut headers);
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let expects = headers.contains_key(EXPECT);
    let may_hold = version == Version::HTTP_11 && !body.is_end_stream();
    let mut signal = None;
    if expects && may_hold {
        let given = Arc::new(Signal::default());
        body.hold_until(Arc::clone(&given));
        signal = Some(given);
    } else if expects {
        headers.remove(EXPECT);
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = origin_form(uri);
    *request.headers_mut() = headers;
    if let Some(signal) = signal {
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                signal.give();
            }
        });
    }
    request
}

/// The target without scheme and host, as an origin server expects it.
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let target = uri.into_parts().path_and_query;
    target.map_or_else(Uri::default, Uri::from)
}

/// A response head that came back, and the connection that its body is on.
struct Sent {
    response: Response<Incoming>,
    link: Link,
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
    mut request: Outgoing,
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
            let spare = spare(&link, &request);
            let sent = send(&mut link, request, upstream, flight).await?;
            n_attempts += 1;
            request = match (sent, spare) {
                (Ok(response), _) => return Ok(Sent { response, link, address }),
                (Err(SendError { unsent: Some(unsent) }), _) if n_attempts < ATTEMPTS_MAX => {
                    *unsent
                }
                (Err(_), Some(spare)) if n_attempts < ATTEMPTS_MAX => spare,
                (Err(_), _) => return Err(Failure::Broken),
            };
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

/// A copy of a request that may be sent a second time, should this pooled connection be dead.
fn spare(link: &Link, request: &Outgoing) -> Option<Outgoing> {
    let is_idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    if !link.is_reused() || !is_idempotent || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut spare = Request::new(RequestBody::Empty);
    spare.method_mut().clone_from(request.method());
    spare.uri_mut().clone_from(request.uri());
    spare.headers_mut().clone_from(request.headers());
    Some(spare)
}

/// Sends a request on a link and waits for the response head, but not for ever: the time is counted
/// anew while the application still takes the body.
async fn send<H: Hooks>(
    link: &mut Link,
    request: Outgoing,
    upstream: &Upstream,
    flight: &Flight<H>,
) -> Result<Result<Response<Incoming>, SendError>, Failure> {
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
fn respond(
    sent: Sent,
    progress: Option<&Progress>,
    upstream: &Arc<Upstream>,
    shard: usize,
) -> Answer {
    let Sent { response, link, address } = sent;
    let (mut parts, incoming) = response.into_parts();
    fields::end_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    let has_sent_all = progress.is_none_or(Progress::has_ended);
    let home = Home { upstream: Arc::clone(upstream), shard, address };
    let (source, outcome) = if incoming.is_end_stream() {
        if has_sent_all {
            home.take_back(link);
        }
        (Source::Empty, Outcome::Forwarded)
    } else {
        let stall = Stall::new(upstream.settings().body_idle_timeout);
        let link = if has_sent_all {
            Some((link, home))
        } else {
            link.detach();
            None
        };
        (Source::Upstream(UpstreamBody { incoming, link, stall }), Outcome::ClientLeft)
    };
    Answer::new(Response::from_parts(parts, source), outcome)
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
async fn switch(
    sent: Sent,
    upgrade: Option<(OnUpgrade, HeaderValue)>,
    upstream: &Upstream,
) -> Answer {
    let Sent { response, link, .. } = sent;
    let (mut parts, _) = response.into_parts();
    let protocol = parts.headers.get(UPGRADE).cloned();
    let (Some((client, wanted)), Some(socket)) = (upgrade, link.into_upgraded().await) else {
        let detail = "the service switched to a protocol that nobody asked for";
        let status = StatusCode::BAD_GATEWAY;
        let response = problem(&HeaderMap::new(), status, Some(upstream.name()), detail, None);
        let response = response.map(Source::full);
        return Answer::new(response, Outcome::UpstreamFailed);
    };
    fields::end_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, protocol.unwrap_or(wanted));
    let mut answer = Answer::new(Response::from_parts(parts, Source::Empty), Outcome::ClientLeft);
    answer.tunnel = Some(Tunnel { client, upstream: socket });
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
    fn take_back(self, link: Link) {
        self.upstream.put(self.shard, self.address, link);
    }
}

/// A response body as it comes from the application.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    /// The connection it is on, when this body has to drive it.
    link: Option<(Link, Home)>,
    stall: Stall,
}

impl UpstreamBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_pending()
            && let Some((link, _)) = &mut self.link
        {
            let _ended = link.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        let Poll::Ready(frame) = frame else {
            ready!(self.stall.poll_over(cx));
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        };
        self.stall.moved();
        let frame = frame.map(|frame| frame.map_err(BodyError::Upstream));
        let is_whole = match &frame {
            None => true,
            Some(Ok(_)) => self.incoming.is_end_stream(),
            Some(Err(_)) => false,
        };
        if is_whole && let Some((link, home)) = self.link.take() {
            home.take_back(link);
        }
        Poll::Ready(frame)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
