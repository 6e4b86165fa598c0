//! Publishing over HTTP, on the admin listeners: from this host or through the socket only.
//!
//! It deliberately keeps no state. Invariant: a status below 300 is sent only after the message is
//! as sure as the answer says; whatever was not answered with one may be sent again under its id.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use contract::{
    bodies::{self, Published, SpoolStatus, Status},
    endpoints::{self, Endpoint},
};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;

use super::{
    Message, Publisher, Receipt, Rejected, State, batch, settings::TopicSettings,
    spool_thread::now_us,
};
use crate::{
    admin::{Peer, json, refuse},
    metrics::publish::lag,
};

/// Most bytes of a batch.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of a body that are read only to be forgotten.
const DISCARDED_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the disk may take; what it does later is not told to anybody.
const DISK_TIMEOUT: Duration = Duration::from_secs(30);
/// Seconds after which a full spool may be asked again.
const RETRY_AFTER_S: &str = "2";
/// Most dead letters of one answer.
const DEAD_LETTERS_MAX: usize = 1000;
const KEY_HEADER: &str = "x-key";
const ID_HEADER: &str = "idempotency-key";
/// Headers that every message takes along.
const CARRIED: [&str; 3] = ["content-type", "traceparent", "tracestate"];
/// Prefix of the headers of CloudEvents.
const CARRIED_PREFIX: &str = "ce-";

/// Whether an endpoint is answered here.
#[must_use]
pub fn is_ours(endpoint: &Endpoint) -> bool {
    [
        endpoints::PUBLISH,
        endpoints::PUBLISH_BATCH,
        endpoints::SPOOL,
        endpoints::DEAD_LETTERS,
        endpoints::DEAD_RETRY,
        endpoints::DEAD_DROP,
    ]
    .contains(endpoint)
}

/// Answers a request to an endpoint of ours.
pub async fn answer(
    publisher: Option<&Publisher>,
    endpoint: &'static Endpoint,
    request: Request<Incoming>,
    peer: Peer,
) -> Response<Bytes> {
    if !peer.is_local() {
        let error = "only this host publishes here".to_owned();
        return refuse(StatusCode::FORBIDDEN, error);
    }
    let Some(publisher) = publisher else {
        let error = "nothing can be published: `PLIMSOLL_PUBLISH` declares no topic".to_owned();
        return refuse(StatusCode::NOT_FOUND, error);
    };
    let path = request.uri().path().to_owned();
    let name = endpoints::parameter(endpoint, &path).unwrap_or_default();
    let answered = async {
        if *endpoint == endpoints::PUBLISH {
            publish_one(publisher, name, request).await
        } else if *endpoint == endpoints::PUBLISH_BATCH {
            publish_batch(publisher, request).await
        } else if *endpoint == endpoints::SPOOL {
            Ok(status(publisher))
        } else if *endpoint == endpoints::DEAD_LETTERS {
            dead_letters(publisher).await
        } else {
            decide(publisher, endpoint, name).await
        }
    };
    answered.await.unwrap_or_else(|refusal| refusal)
}

async fn publish_one(
    publisher: &Publisher,
    topic: &str,
    request: Request<Incoming>,
) -> Result<Response<Bytes>, Response<Bytes>> {
    let (parts, body) = request.into_parts();
    let topics = &publisher.settings().topics;
    let message = match topics.get(topic) {
        Some(settings) => headers(topic, settings, &parts.headers),
        None => Ok(Message { topic: topic.to_owned(), ..Message::default() }),
    };
    let message = message.and_then(|message| publisher.check(&message).map(|()| message));
    let message = match message {
        Ok(message) => message,
        Err(error) => {
            publisher.counters().invalid(topic);
            // Only so that its sender hears the answer.
            let _ = read(body, 0).await;
            return Err(rejected(&error));
        }
    };
    let limit = usize::try_from(publisher.settings().max_body.0).unwrap_or(usize::MAX);
    let body = read(body, limit).await.inspect_err(|_| publisher.counters().invalid(topic))?;
    let published = publisher.publish(Message { body, ..message });
    let receipt = match tokio::time::timeout(DISK_TIMEOUT, published).await {
        Ok(published) => published.map_err(|error| rejected(&error))?,
        Err(_) => return Err(rejected(&Rejected::Broken("it does not answer".into()))),
    };
    Ok(json(code(&receipt), bodies::JSON, &accepted(receipt)))
}

/// 200 says that nothing new came of it.
fn code(receipt: &Receipt) -> StatusCode {
    if receipt.is_duplicate { StatusCode::OK } else { StatusCode::ACCEPTED }
}

fn accepted(receipt: Receipt) -> Published {
    Published {
        id: Some(receipt.id),
        seq: Some(receipt.seq),
        durable: Some(receipt.durable.word().to_owned()),
        ..Published::default()
    }
}

/// What a request's headers say of its message.
fn headers(
    topic: &str,
    settings: &TopicSettings,
    headers: &HeaderMap,
) -> Result<Message, Rejected> {
    let mut message = Message { topic: topic.to_owned(), ..Message::default() };
    for (name, value) in headers {
        let (name, bytes) = (name.as_str(), Bytes::copy_from_slice(value.as_bytes()));
        if name == KEY_HEADER {
            message.key = Some(bytes);
        } else if name == ID_HEADER {
            let Ok(id) = std::str::from_utf8(&bytes) else {
                return Err(Rejected::Invalid("`Idempotency-Key` is not UTF-8".into()));
            };
            message.id = Some(id.to_owned());
        } else if is_carried(name, settings) {
            message.headers.push((name.to_owned(), bytes));
        }
    }
    Ok(message)
}

/// Whether a header travels with a message of the topic.
pub(super) fn is_carried(name: &str, settings: &TopicSettings) -> bool {
    CARRIED.contains(&name)
        || name.starts_with(CARRIED_PREFIX)
        || settings.headers.iter().any(|declared| declared.eq_ignore_ascii_case(name))
}

async fn publish_batch(
    publisher: &Publisher,
    request: Request<Incoming>,
) -> Result<Response<Bytes>, Response<Bytes>> {
    let body = read(request.into_body(), BATCH_BYTES_MAX).await?;
    let messages = batch::parse(&body, &publisher.settings().topics)
        .map_err(|error| refuse(error.status(), error.to_string()))?;
    let published = publisher.publish_all(messages);
    let Ok(outcome) = tokio::time::timeout(DISK_TIMEOUT, published).await else {
        return Err(rejected(&Rejected::Broken("it does not answer".into())));
    };
    let is_whole = outcome.iter().all(Result::is_ok);
    let mut lines = Vec::new();
    for outcome in outcome {
        let line = match outcome {
            Ok(receipt) => Published { status: Some(code(&receipt).as_u16()), ..accepted(receipt) },
            Err(error) => Published {
                status: Some(status_of(&error).as_u16()),
                error: Some(error.to_string()),
                ..Published::default()
            },
        };
        serde_json::to_writer(&mut lines, &line).expect("memory takes every write");
        lines.push(b'\n');
    }
    let status = if is_whole { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
    Ok(crate::admin::reply(status, bodies::NDJSON, lines.into()))
}

/// Reads a body of at most `limit` bytes. What is longer is read too, up to
/// [`DISCARDED_BYTES_MAX`], and forgotten: who still writes would not hear the refusal.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Response<Bytes>> {
    let collected = async {
        let (mut bytes, mut length) = (BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            length += data.len();
            if length <= limit {
                bytes.extend_from_slice(&data);
            } else if length > limit + DISCARDED_BYTES_MAX {
                break;
            }
        }
        Ok::<_, hyper::Error>((length <= limit).then(|| bytes.freeze()))
    };
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            let error = format!("the body is longer than {limit} bytes");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, error))
        }
        Ok(Err(error)) => Err(refuse(StatusCode::BAD_REQUEST, format!("the body broke: {error}"))),
        Err(_) => {
            let error = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(refuse(StatusCode::REQUEST_TIMEOUT, error))
        }
    }
}

fn status_of(error: &Rejected) -> StatusCode {
    match error {
        Rejected::UnknownTopic { .. } => StatusCode::NOT_FOUND,
        Rejected::KeyRequired(_) | Rejected::Invalid(_) => StatusCode::BAD_REQUEST,
        Rejected::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Rejected::Full | Rejected::Busy => StatusCode::TOO_MANY_REQUESTS,
        Rejected::Opening | Rejected::Broken(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn rejected(error: &Rejected) -> Response<Bytes> {
    let mut response = refuse(status_of(error), error.to_string());
    if matches!(error, Rejected::Full | Rejected::Busy | Rejected::Opening) {
        let seconds = header::HeaderValue::from_static(RETRY_AFTER_S);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

fn status(publisher: &Publisher) -> Response<Bytes> {
    let settings = publisher.settings();
    let state = publisher.state();
    let state = state.borrow();
    let (stats, output) = match &*state {
        State::Opening => (None, Some(Rejected::Opening.to_string())),
        State::Closed(words) => (None, Some(Rejected::Broken(words.clone()).to_string())),
        State::Open(stats) => {
            let broken = stats.broken.clone().map(|words| Rejected::Broken(words).to_string());
            let full = stats.is_full.then(|| Rejected::Full.to_string());
            (Some(stats.clone()), broken.or(full))
        }
    };
    let stats = stats.unwrap_or_default();
    let body = SpoolStatus {
        status: if output.is_none() { Status::Pass } else { Status::Fail },
        output,
        pending: stats.pending,
        lag_seconds: lag(&stats, now_us()).as_secs_f64(),
        bytes: stats.bytes,
        max_bytes: settings.max_bytes.0,
        dead: stats.dead,
        last_seq: stats.last_seq,
        fsync: settings.fsync.to_string(),
        topics: settings.topics.keys().cloned().collect(),
    };
    json(StatusCode::OK, bodies::JSON, &body)
}

async fn dead_letters(publisher: &Publisher) -> Result<Response<Bytes>, Response<Bytes>> {
    let letters = publisher.dead_letters(0, DEAD_LETTERS_MAX).await;
    let letters = letters.map_err(|error| rejected(&error))?;
    let total = match &*publisher.state().borrow() {
        State::Open(stats) => stats.dead.max(letters.len() as u64),
        State::Opening | State::Closed(_) => letters.len() as u64,
    };
    let letters = letters.into_iter().map(|letter| bodies::DeadLetter {
        seq: letter.seq,
        time: time(letter.at_us),
        topic: letter.topic,
        id: letter.id,
        key: letter.key,
        bytes: letter.bytes,
        error: letter.error,
    });
    let body = bodies::DeadLetters { letters: letters.collect(), total };
    Ok(json(StatusCode::OK, bodies::JSON, &body))
}

fn time(at_us: u64) -> String {
    let at = i64::try_from(at_us).ok().and_then(|at| Timestamp::from_microsecond(at).ok());
    at.unwrap_or_default().to_string()
}

/// Retries or drops a dead letter.
async fn decide(
    publisher: &Publisher,
    endpoint: &Endpoint,
    number: &str,
) -> Result<Response<Bytes>, Response<Bytes>> {
    let none = || refuse(StatusCode::NOT_FOUND, format!("there is no dead letter `{number}`"));
    let seq: u64 = number.parse().map_err(|_| none())?;
    if *endpoint == endpoints::DEAD_RETRY {
        let retried = publisher.retry_dead(seq).await.map_err(|error| rejected(&error))?;
        let body = Published { seq: Some(retried.ok_or_else(none)?), ..Published::default() };
        return Ok(json(StatusCode::ACCEPTED, bodies::JSON, &body));
    }
    let is_dropped = publisher.drop_dead(seq).await.map_err(|error| rejected(&error))?;
    if !is_dropped {
        return Err(none());
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
