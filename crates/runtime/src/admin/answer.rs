//! Answers from the board: `/live`, `/ready`, `/started`, `/health`, `/info`.
//!
//! The bodies are those of `contract::bodies`, the paths those of `contract::endpoints`. It
//! deliberately touches nothing but a snapshot. Invariant: a status code and the word in its body
//! agree.

use contract::bodies::{
    Check, HEALTH_JSON, HEALTH_VERSION, Health, Info, JSON, Live, LiveStatus, Observed, Ready,
    ReadyStatus, Refused, Severity, Started, StartedStatus, Status,
};
use contract::endpoints::{self, Endpoint};
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use hyper::body::Bytes;
use serde::Serialize;

use super::Detail;
use crate::board::{self, Board, Moment, Phase, Reason, Snapshot, Verdict};
use crate::egress::State;
use crate::publish::report::PublishState;
use crate::secret;

/// Answers a request to an endpoint that the ingress has too; none when the path is not one.
#[must_use]
pub fn respond(board: &Board, parts: &Parts, detail: Detail) -> Option<Response<Bytes>> {
    let endpoint = endpoints::find_on_ingress(parts.uri.path())?;
    Some(match refuse_method(endpoint, &parts.method) {
        Some(refusal) => refusal,
        None => answer(endpoint, &board.snapshot(), Moment::now(), detail)
            .map(|body| if parts.method == Method::HEAD { Bytes::new() } else { body }),
    })
}

/// The answer of an endpoint that needs no waiting.
pub(super) fn answer(
    endpoint: &Endpoint,
    snapshot: &Snapshot,
    now: Moment,
    detail: Detail,
) -> Response<Bytes> {
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

fn words(reasons: Vec<Reason>) -> Vec<String> {
    reasons.into_iter().map(|reason| reason.to_string()).collect()
}

/// The worst that matters: what makes the service unready or dead fails, anything else that is not
/// as it should be warns.
fn health(snapshot: &Snapshot, now: Moment, detail: Detail) -> Health {
    let mut reasons = board::ready(snapshot, now);
    reasons.extend(board::live(snapshot, now).filter(|reason| !reasons.contains(reason)));
    let statuses =
        || snapshot.verdicts.iter().map(|(name, verdict)| (name, verdict, verdict.status_at(now)));
    let secrets = snapshot.secrets.as_ref().map(secrets_check);
    let of_secrets = secrets.as_ref().map(|check| check.status);
    let breakers = snapshot.breakers.values().map(|state| breaker_status(*state));
    let worst = statuses().map(|(_, _, status)| status).chain(breakers).chain(of_secrets).max();
    let worst = worst.unwrap_or(Status::Pass);
    let worst = worst.max(snapshot.publish.as_ref().map_or(Status::Pass, |p| p.status));
    let status = if reasons.is_empty() { worst.min(Status::Warn) } else { Status::Fail };
    let mut health = Health {
        status,
        version: HEALTH_VERSION.to_owned(),
        release_id: None,
        service_id: snapshot.identity.service.clone(),
        instance: None,
        notes: Vec::new(),
        checks: std::collections::BTreeMap::new(),
    };
    if detail == Detail::Summary {
        return health;
    }
    health.release_id = known(&snapshot.identity.version);
    health.instance = known(&snapshot.identity.instance);
    health.notes = words(reasons);
    let soft = statuses().filter(|(_, verdict, status)| {
        verdict.severity == Severity::Soft && *status == Status::Fail
    });
    health.notes.extend(soft.map(|(name, ..)| format!("{name} is soft: serving without it")));
    health.checks.insert("app:process".into(), vec![app_check(snapshot)]);
    if let Some(check) = secrets {
        health.checks.insert("secrets:age".into(), vec![check]);
    }
    for (name, verdict, status) in statuses() {
        let measured = if verdict.kind == "heartbeat" { "heartbeat" } else { "responseTime" };
        let check = dependency_check(verdict, status, now);
        health.checks.insert(format!("{name}:{measured}"), vec![check]);
    }
    for (name, state) in &snapshot.breakers {
        health.checks.insert(format!("{name}:circuitBreaker"), vec![breaker_check(*state)]);
    }
    if let Some(publish) = &snapshot.publish {
        health.checks.insert("publish:lag".into(), vec![publish_check(publish)]);
    }
    health
}

/// A breaker is soft: the service is ready, and serves without the dependency.
fn breaker_status(state: State) -> Status {
    if state == State::Closed { Status::Pass } else { Status::Warn }
}

fn breaker_check(state: State) -> Check {
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Text(state.word().into())),
        severity: Some(Severity::Soft),
        ..Check::new(breaker_status(state))
    }
}

fn app_check(snapshot: &Snapshot) -> Check {
    let app = &snapshot.app;
    let (status, observed) = match (app.pid, snapshot.phase) {
        (Some(_), _) => (Status::Pass, "running".to_owned()),
        (None, phase) if phase < Phase::Started => (Status::Warn, phase.word().to_owned()),
        (None, _) => (Status::Fail, app.last_exit.clone().unwrap_or_else(|| "gone".into())),
    };
    let exited = app.last_exit.as_ref().map(|how| format!("last exit: {how}"));
    let restarted = match app.restarts {
        0 => None,
        1 => Some("restarted once".to_owned()),
        times => Some(format!("restarted {times} times")),
    };
    let output: Vec<String> = exited.into_iter().chain(restarted).collect();
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Text(observed)),
        time: app.since.map(|since| since.wall.to_string()),
        output: (!output.is_empty()).then(|| output.join("; ")),
        pid: app.pid,
        ..Check::new(status)
    }
}

/// Old values serve as well as new ones, but somebody should know.
fn secrets_check(state: &secret::State) -> Check {
    let output = state
        .output
        .clone()
        .or_else(|| state.awaited.as_ref().map(|reference| format!("waiting for {reference}")));
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Number(state.oldest_s.round())),
        observed_unit: Some("s".into()),
        output: output.clone(),
        ..Check::new(if output.is_some() { Status::Warn } else { Status::Pass })
    }
}

fn publish_check(publish: &PublishState) -> Check {
    let lag = (publish.lag.as_secs_f64() * 1000.0).round() / 1000.0;
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Number(lag)),
        observed_unit: Some("s".into()),
        output: publish.output.clone(),
        pending: Some(publish.pending),
        ..Check::new(publish.status)
    }
}

fn dependency_check(verdict: &Verdict, status: Status, now: Moment) -> Check {
    let stale = verdict
        .is_stale(now)
        .then(|| format!("no result for {} s", now.since(verdict.checked).as_secs()));
    Check {
        component_type: Some("component".into()),
        observed_value: verdict.observed.map(|observed| {
            // Microseconds are as much as a probe can tell.
            Observed::Number((observed.value * 1000.0).round() / 1000.0)
        }),
        observed_unit: verdict.observed.map(|observed| observed.unit.to_owned()),
        time: Some(verdict.checked.wall.to_string()),
        output: stale.or_else(|| verdict.output.clone()),
        severity: Some(verdict.severity),
        last_success: verdict.last_success.map(|at| at.to_string()),
        consecutive_failures: Some(verdict.consecutive_failures.into()),
        ..Check::new(status)
    }
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

fn known(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
