//! Answers from the board: `/live`, `/ready`, `/started`, `/health`, `/info`.
//!
//! The bodies are those of `contract::bodies`, the paths those of `contract::endpoints`. It
//! deliberately touches nothing but a snapshot. Invariant: a status code and the word in its body
//! agree.

use contract::bodies::{
    HEALTH_JSON, Info, JSON, Live, LiveStatus, Ready, ReadyStatus, Refused, Started, StartedStatus,
    Status, Up,
};
use contract::endpoints::{self, Endpoint};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, header};
use hyper::body::Bytes;
use serde::Serialize;

use super::Detail;
use super::health::{self, health};
use crate::board::{self, Board, Moment, Reason, Snapshot};

/// What a client of MicroProfile Health adds to its media type.
const PROFILE: &str = "profile=microprofile";

/// Answers a request to an endpoint that the ingress has too; none when the path is not one.
#[must_use]
pub fn respond(board: &Board, parts: &Parts, detail: Detail) -> Option<Response<Bytes>> {
    let endpoint = endpoints::find_on_ingress(parts.uri.path())?;
    Some(match refuse_method(endpoint, &parts.method) {
        Some(refusal) => refusal,
        None => {
            answer(endpoint, &board.snapshot(), Moment::now(), detail, Form::of(&parts.headers))
                .map(|body| if parts.method == Method::HEAD { Bytes::new() } else { body })
        }
    })
}

/// Whose words an answer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Those of `contract::bodies`.
    Ours,
    /// Those of MicroProfile Health.
    MicroProfile,
}

impl Form {
    /// The form that a request asks for: `Accept: application/json;profile=microprofile`.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let is_asked = accept.unwrap_or_default().split(',').any(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(JSON));
            let profile = |part: &str| part.replace('"', "").eq_ignore_ascii_case(PROFILE);
            is_json && parts.any(profile)
        });
        if is_asked { Form::MicroProfile } else { Form::Ours }
    }
}

/// The answer of an endpoint that needs no waiting.
pub(super) fn answer(
    endpoint: &Endpoint,
    snapshot: &Snapshot,
    now: Moment,
    detail: Detail,
    form: Form,
) -> Response<Bytes> {
    if form == Form::MicroProfile
        && let Some(body) = health::microprofile(endpoint, snapshot, now, detail)
    {
        return json(code(body.status == Up::Up), JSON, &body);
    }
    if *endpoint == endpoints::LIVE {
        let body = live(snapshot, now);
        json(code(body.status == LiveStatus::Alive), JSON, &body)
    } else if *endpoint == endpoints::READY {
        let body = ready(snapshot, now);
        json(code(body.status == ReadyStatus::Ready), JSON, &body)
    } else if *endpoint == endpoints::STARTED {
        let body = started(snapshot, now);
        json(code(body.status == StartedStatus::Started), JSON, &body)
    } else if *endpoint == endpoints::HEALTH {
        let body = health(snapshot, now, detail);
        json(code(body.status != Status::Fail), HEALTH_JSON, &body)
    } else {
        json(StatusCode::OK, JSON, &info(snapshot))
    }
}

/// 405 when the endpoint does not take the method.
pub(super) fn refuse_method(endpoint: &Endpoint, method: &Method) -> Option<Response<Bytes>> {
    let (is_taken, allow) = match endpoint.method {
        endpoints::Method::Get => (matches!(*method, Method::GET | Method::HEAD), "GET, HEAD"),
        endpoints::Method::Post => (*method == Method::POST, "POST"),
    };
    if is_taken {
        return None;
    }
    let error = format!("`{}` takes {allow}", endpoint.path);
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, error);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    Some(response)
}

/// A refusal with a reason.
pub(crate) fn refuse(status: StatusCode, error: String) -> Response<Bytes> {
    json(status, JSON, &Refused { error, paths: Vec::new() })
}

/// 404 with the paths that exist.
pub(super) fn unknown_path() -> Response<Bytes> {
    let paths = endpoints::ALL.iter().map(|endpoint| endpoint.path.to_owned()).collect();
    let error = "there is no such endpoint".to_owned();
    json(StatusCode::NOT_FOUND, JSON, &Refused { error, paths })
}

fn code(is_yes: bool) -> StatusCode {
    if is_yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A whole answer of JSON.
pub(crate) fn json(
    status: StatusCode,
    media_type: &'static str,
    body: &impl Serialize,
) -> Response<Bytes> {
    let mut text = serde_json::to_vec(body).expect("bodies have text keys only");
    text.push(b'\n');
    reply(status, media_type, text.into())
}

/// A whole answer with the headers that each has.
pub(crate) fn reply(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let value = header::HeaderValue::from_static;
    headers.insert(header::CACHE_CONTROL, value(endpoints::CACHE_CONTROL));
    headers.insert(header::CONTENT_TYPE, value(media_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, value("nosniff"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    response
}

fn live(snapshot: &Snapshot, now: Moment) -> Live {
    match board::live(snapshot, now) {
        None => Live { status: LiveStatus::Alive, reason: None },
        Some(reason) => Live { status: LiveStatus::Dead, reason: Some(reason.to_string()) },
    }
}

fn ready(snapshot: &Snapshot, now: Moment) -> Ready {
    let reasons = words(board::ready(snapshot, now));
    let is_ready = reasons.is_empty();
    let status = if is_ready { ReadyStatus::Ready } else { ReadyStatus::Unready };
    let checks = snapshot.verdicts.iter();
    let checks = checks.map(|(name, verdict)| (name.clone(), verdict.status_at(now))).collect();
    Ready { status, since: Some(snapshot.ready_since.wall.to_string()), reasons, checks }
}

fn started(snapshot: &Snapshot, now: Moment) -> Started {
    let reasons = words(board::started(snapshot, now));
    let is_started = reasons.is_empty();
    let status = if is_started { StartedStatus::Started } else { StartedStatus::Starting };
    Started { status, reasons }
}

pub(super) fn words(reasons: Vec<Reason>) -> Vec<String> {
    reasons.into_iter().map(|reason| reason.to_string()).collect()
}

fn info(snapshot: &Snapshot) -> Info {
    let identity = &snapshot.identity;
    Info {
        service: identity.service.clone(),
        release: known(&identity.version),
        env: known(&identity.env),
        instance: identity.instance.clone(),
        plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
        rev: crate::metrics::REVISION.to_owned(),
    }
}

pub(super) fn known(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
