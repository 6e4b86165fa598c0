//! One call, with its tries.
//!
//! What is tried again: a call of which nothing reached the dependency (no connection), and one
//! whose method is idempotent or that has an `Idempotency-Key`, when the connection broke, the
//! answer did not come in time, or it was 429, 502, 503 or 504. Only with a body that was kept, as
//! long as the budget lasts, and never past the timeout. It deliberately follows no redirect.
//!
//! Invariant: once the head of an answer was passed on, nothing is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use reqwest::Url;
use tokio::time::Instant;

use super::answer::{self, Reason};
use super::body::{AnswerBody, RequestBody, ResponseBody};
use super::dependency::Dependency;
use super::fields;
use super::flight::{Flight, Outcome};
use super::target;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `Retry-After` when the bulkhead is full.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// Why there is no answer, and how long it may take until there is one.
type Refusal = (Reason, Option<Duration>);

/// Calls the dependency with what the application asked for, at `path` below its address.
pub(super) async fn call(
    dependency: &Arc<Dependency>,
    request: Request<Incoming>,
    path: &str,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let parent = parts.headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let mut span = dependency.tracer.client(parts.method.as_str(), parent);
    if span.is_recorded() {
        span.set("http.request.method", parts.method.as_str());
        span.set("server.address", dependency.base.host_str().unwrap_or_default());
        span.set("server.port", dependency.base.port_or_known_default().unwrap_or_default());
        span.set("peer.service", dependency.name.as_str());
    }
    let mut flight = Flight::begin(dependency.clone(), span);
    match answer(dependency, &mut flight, parts, body, path).await {
        Ok(answer) => pass_on(dependency, flight, answer),
        Err((reason, retry_after)) => {
            flight.ends(outcome(reason));
            answer::refuse(reason, &dependency.name, retry_after)
                .map(|body| Either::Left(Full::new(body)))
        }
    }
}

/// An answer of the dependency's, and when it must have ended.
struct Answered {
    response: Response<reqwest::Body>,
    deadline: Instant,
}

async fn answer(
    dependency: &Arc<Dependency>,
    flight: &mut Flight,
    parts: Parts,
    body: Incoming,
    path: &str,
) -> Result<Answered, Refusal> {
    let settings = &dependency.settings;
    let deadline = Instant::now() + settings.timeout;
    let url = target::url(&dependency.base, path, parts.uri.query()).ok_or((Reason::Path, None))?;
    if flight.span.is_recorded() {
        // Without the query: secrets travel in it.
        let mut shown = url.clone();
        shown.set_query(None);
        flight.span.set("url.full", shown.as_str());
    }
    let declared = dependency.fields().ok_or((Reason::Secret, Some(FULL_RETRY)))?;
    if let Some(wait) = dependency.refuses() {
        return Err((Reason::BreakerOpen, Some(wait)));
    }
    let permit = dependency.enter(settings.timeout).await;
    flight.permit = Some(permit.ok_or((Reason::BulkheadFull, Some(FULL_RETRY)))?);
    let is_idempotent = is_idempotent(&parts.method)
        || parts.headers.contains_key(IDEMPOTENCY_KEY)
        || declared.contains_key(IDEMPOTENCY_KEY);
    let headers = headers(parts.headers, declared, flight.span.traceparent());
    let body = RequestBody::read(body, settings.idle_timeout).await;
    let body = body.map_err(|()| (Reason::Request, None))?;
    dependency.called();
    let call = Call { method: parts.method, url, headers, is_idempotent, deadline };
    let response = tries(dependency, flight, &call, body).await?;
    Ok(Answered { response, deadline })
}

/// What every try sends.
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    is_idempotent: bool,
    deadline: Instant,
}

/// What one try brought.
enum Tried {
    Answer(Response<reqwest::Body>),
    Failed(Reason),
}

async fn tries(
    dependency: &Arc<Dependency>,
    flight: &mut Flight,
    call: &Call,
    mut body: RequestBody,
) -> Result<Response<reqwest::Body>, Refusal> {
    let mut n_retries = 0;
    loop {
        let admission = match dependency.admit() {
            Ok(admission) => admission,
            Err(wait) => return Err((Reason::BreakerOpen, Some(wait))),
        };
        flight.admission = admission;
        let tried = try_once(dependency, call, &mut body).await;
        let is_failure = match &tried {
            Tried::Answer(response) => response.status().is_server_error(),
            // The application's fault says nothing of the dependency.
            Tried::Failed(reason) => *reason != Reason::Request,
        };
        if is_failure && let Some(admission) = flight.admission.take() {
            admission.failed();
        }
        let wait = wait(dependency, call, &body, &tried, n_retries);
        let Some(wait) = wait.filter(|_| dependency.may_retry()) else {
            return match tried {
                Tried::Answer(response) => Ok(response),
                Tried::Failed(reason) => Err((reason, None)),
            };
        };
        n_retries += 1;
        let cause = match &tried {
            Tried::Answer(response) => response.status().as_str().to_owned(),
            Tried::Failed(reason) => reason.word().to_owned(),
        };
        flight.span.set("http.request.resend_count", n_retries);
        flight.span.event("retry", [("cause", cause.into())]);
        drop(tried);
        flight.admission = None;
        tokio::time::sleep(wait).await;
    }
}

async fn try_once(dependency: &Dependency, call: &Call, body: &mut RequestBody) -> Tried {
    let (sent, has_failed) = body.take();
    let mut request = reqwest::Request::new(call.method.clone(), call.url.clone());
    *request.headers_mut() = call.headers.clone();
    *request.body_mut() = Some(sent);
    let limit = call.deadline.min(Instant::now() + dependency.settings.try_timeout);
    match tokio::time::timeout_at(limit, dependency.client().execute(request)).await {
        Ok(Ok(response)) => Tried::Answer(response.into()),
        Err(_) => Tried::Failed(Reason::Timeout),
        Ok(Err(error)) => Tried::Failed(reason(&error, has_failed.as_deref())),
    }
}

fn reason(error: &reqwest::Error, has_failed: Option<&AtomicBool>) -> Reason {
    if has_failed.is_some_and(|it| it.load(Ordering::Relaxed)) {
        Reason::Request
    } else if error.is_connect() {
        Reason::Unreachable
    } else if error.is_timeout() {
        Reason::Timeout
    } else {
        Reason::Broken
    }
}

/// How long to wait before the next try; none when there is to be none.
fn wait(
    dependency: &Dependency,
    call: &Call,
    body: &RequestBody,
    tried: &Tried,
    n_retries: u32,
) -> Option<Duration> {
    let retries = &dependency.settings.retries;
    if n_retries >= retries.max || !body.is_kept() {
        return None;
    }
    let mut least = Duration::ZERO;
    let is_safe = match tried {
        Tried::Failed(Reason::Unreachable) => true,
        Tried::Failed(Reason::Timeout | Reason::Broken) => call.is_idempotent,
        Tried::Failed(_) => false,
        Tried::Answer(response) => {
            least = retry_after(response.headers());
            matches!(response.status().as_u16(), 429 | 502 | 503 | 504) && call.is_idempotent
        }
    };
    // Full jitter: callers that failed together do not come back together.
    let most = retries.backoff.saturating_mul(1 << n_retries.min(16)).min(retries.backoff_max);
    let wait = most.mul_f64(fastrand::f64()).max(least);
    let is_worth_it = least <= retries.backoff_max && Instant::now() + wait < call.deadline;
    (is_safe && is_worth_it).then_some(wait)
}

/// What `Retry-After` asks for, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Duration {
    let Some(text) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else {
        return Duration::ZERO;
    };
    if let Ok(seconds) = text.trim().parse() {
        return Duration::from_secs(seconds);
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok();
    let wait = at.map(|at| at.timestamp().duration_since(jiff::Timestamp::now()));
    wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default()
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

/// The application's header fields without what ends here, then the declared ones, then the trace.
fn headers(mut headers: HeaderMap, declared: HeaderMap, traceparent: Option<&str>) -> HeaderMap {
    fields::end_hop(&mut headers);
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    for (name, value) in declared {
        if let Some(name) = name {
            headers.insert(name, value);
        }
    }
    if let Some(value) = traceparent.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(TRACEPARENT, value);
    }
    headers
}

/// Passes an answer on; the call ends with its last byte.
fn pass_on(
    dependency: &Dependency,
    mut flight: Flight,
    answered: Answered,
) -> Response<ResponseBody> {
    let (mut head, body) = answered.response.into_parts();
    fields::end_hop(&mut head.headers);
    // A header of ours from elsewhere would make an answer look like one of ours.
    head.headers.remove(answer::HEADER);
    head.version = http::Version::HTTP_11;
    flight.answered(head.status.as_u16());
    let settings = &dependency.settings;
    let deadline = (!settings.is_streaming).then_some(answered.deadline);
    if settings.is_streaming
        && let Some(admission) = flight.admission.take()
    {
        admission.succeeded();
    }
    let body = AnswerBody::new(body, settings.idle_timeout, deadline, flight);
    Response::from_parts(head, Either::Right(body))
}

fn outcome(reason: Reason) -> Outcome {
    match reason {
        Reason::BreakerOpen => Outcome::BreakerOpen,
        Reason::BulkheadFull => Outcome::BulkheadFull,
        Reason::Timeout => Outcome::Timeout,
        Reason::Unreachable => Outcome::Unreachable,
        Reason::Broken => Outcome::Broken,
        Reason::Unknown | Reason::Path | Reason::Forbidden | Reason::Request | Reason::Secret => {
            Outcome::Rejected
        }
    }
}

/// A body that is whole already.
pub(super) fn full(body: Bytes) -> ResponseBody {
    Either::Left(Full::new(body))
}
