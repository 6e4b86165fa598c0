//! The side of the control socket that `up` holds.
//!
//! Every connection is one task, and their number is bounded; a reader of logs that is slow loses
//! lines in the hub, never here.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::Ends;
use crate::hub::{Batch, Follower};
use crate::up::{Command, Refused, Request as Wish, Status};

/// How many connections are served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to pause when accepting fails, as it does without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long clients may take to read the last lines when the platform has ended.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);
/// How many old lines can be asked for at once.
const TAIL_MAX: usize = 100_000;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Answers on the control socket until the engine has ended, and those who follow have read on.
///
/// # Errors
/// When the listener cannot be used at all.
pub async fn serve(listener: std::os::unix::net::UnixListener, ends: Ends) -> std::io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    let mut status = ends.status.clone();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = ended(&mut status) => break,
        };
        let Some((stream, place)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if !is_allowed(&stream) {
            continue;
        }
        let ends = ends.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, ends.clone()));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // A client that leaves in the middle is its own business.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    let last_words = async { while connections.join_next().await.is_some() {} };
    // A client that does not read is left behind.
    let _ = tokio::time::timeout(LAST_WORDS_LIMIT, last_words).await;
    Ok(())
}

/// The next client, and a place for it; none when the system has nothing to give.
async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> Option<(UnixStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, place))
}

/// Waits until nobody publishes a status any more.
async fn ended(status: &mut watch::Receiver<Status>) {
    while status.changed().await.is_ok() {}
}

/// The mode of the socket says the same; a shared directory or a wrong umask must not undo it.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(request: Request<Incoming>, ends: Ends) -> Result<Answer, Infallible> {
    let path = request.uri().path().trim_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    let answer = match (request.method(), parts.as_slice()) {
        (&Method::GET, ["v1", "status"]) => json_answer(StatusCode::OK, &*ends.status.borrow()),
        (&Method::GET, ["v1", "logs"]) => logs(request.uri().query().unwrap_or(""), &ends),
        (&Method::POST, ["v1", "down"]) => ask(&ends, Wish::Shutdown).await,
        (&Method::POST, ["v1", "items", name, verb]) => {
            let name = percent_decoded(name);
            match *verb {
                "start" => ask(&ends, Wish::Start { name }).await,
                "stop" => ask(&ends, Wish::Stop { name }).await,
                "restart" => ask(&ends, Wish::Restart { name }).await,
                _ => unknown(&path),
            }
        }
        _ => unknown(&path),
    };
    Ok(answer)
}

async fn ask(ends: &Ends, request: Wish) -> Answer {
    let (answer, answered) = oneshot::channel();
    let command = Command { request, answer: Some(answer) };
    if ends.commands.send(command).await.is_err() {
        return json_answer(StatusCode::CONFLICT, &Refused::Stopping);
    }
    match answered.await {
        Ok(Ok(())) => json_answer(StatusCode::ACCEPTED, &json!({"accepted": true})),
        Ok(Err(refused @ Refused::Unknown { .. })) => json_answer(StatusCode::NOT_FOUND, &refused),
        Ok(Err(refused)) => json_answer(StatusCode::CONFLICT, &refused),
        // The engine ended before it came to this one: it was stopping.
        Err(_) => json_answer(StatusCode::CONFLICT, &Refused::Stopping),
    }
}

fn logs(query: &str, ends: &Ends) -> Answer {
    let (mut name, mut tail, mut is_followed) = (None, 0, false);
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "name" => name = Some(percent_decoded(value)).filter(|name| !name.is_empty()),
            "tail" => tail = value.parse().unwrap_or(TAIL_MAX).min(TAIL_MAX),
            "follow" => is_followed = value == "true",
            _ => {}
        }
    }
    if let Some(name) = &name {
        let status = ends.status.borrow();
        if !status.items.iter().any(|item| item.name == *name) {
            let mut known: Vec<String> =
                status.items.iter().map(|item| item.name.clone()).collect();
            known.sort();
            let refused = Refused::Unknown { name: name.clone(), known };
            return json_answer(StatusCode::NOT_FOUND, &refused);
        }
    }
    let follower = ends.hub.follow(name.as_deref(), tail);
    let body = LogBody::new(follower, is_followed);
    with_headers(StatusCode::OK, "application/x-ndjson", BodyExt::boxed(body))
}

fn unknown(path: &str) -> Answer {
    json_answer(StatusCode::NOT_FOUND, &json!({"error": format!("there is no `/{path}`")}))
}

fn json_answer<T: serde::Serialize>(status: StatusCode, document: &T) -> Answer {
    let bytes = serde_json::to_vec(document).expect("our documents have string keys only");
    with_headers(status, "application/json", Full::from(bytes).boxed())
}

fn with_headers(
    status: StatusCode,
    content_type: &'static str,
    body: BoxBody<Bytes, Infallible>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    answer
}

/// A name as it was before it became part of a path or query.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A follower as the body of an answer; dropped with the connection, so nothing lingers.
struct LogBody {
    reading: Reading,
    is_followed: bool,
}

/// A wait for the next batch, which gives its follower back.
type Next = dyn Future<Output = (Box<Follower>, Option<Batch>)> + Send + Sync;

enum Reading {
    Idle(Box<Follower>),
    Waiting(Pin<Box<Next>>),
    Ended,
}

impl LogBody {
    fn new(follower: Follower, is_followed: bool) -> Self {
        Self { reading: Reading::Idle(Box::new(follower)), is_followed }
    }
}

impl Body for LogBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            match std::mem::replace(&mut self.reading, Reading::Ended) {
                Reading::Idle(mut follower) if self.is_followed => {
                    self.reading = Reading::Waiting(Box::pin(async move {
                        let batch = follower.next().await;
                        (follower, batch)
                    }));
                }
                Reading::Idle(mut follower) => {
                    let batch = follower.read_now();
                    if batch.lines.is_empty() && batch.missed.is_empty() {
                        return Poll::Ready(None);
                    }
                    self.reading = Reading::Idle(follower);
                    return Poll::Ready(Some(Ok(Frame::data(written(&batch)))));
                }
                Reading::Waiting(mut waiting) => {
                    let polled = waiting.as_mut().poll(context);
                    if polled.is_pending() {
                        self.reading = Reading::Waiting(waiting);
                    }
                    let (follower, batch) = ready!(polled);
                    let Some(batch) = batch else { return Poll::Ready(None) };
                    self.reading = Reading::Idle(follower);
                    return Poll::Ready(Some(Ok(Frame::data(written(&batch)))));
                }
                Reading::Ended => return Poll::Ready(None),
            }
        }
    }
}

/// A batch as lines of JSON; the items' own lines keep their bytes.
fn written(batch: &Batch) -> Bytes {
    let mut out = Vec::with_capacity(batch.lines.len() * 256);
    for missed in &batch.missed {
        let event = json!({"item": &*missed.item, "missed": missed.n_lines});
        out.extend_from_slice(event.to_string().as_bytes());
        out.push(b'\n');
    }
    for line in &batch.lines {
        out.extend_from_slice(b"{\"item\":");
        out.extend_from_slice(json!(&*line.item).to_string().as_bytes());
        out.extend_from_slice(b",\"line\":");
        out.extend_from_slice(&line.bytes);
        out.extend_from_slice(b"}\n");
    }
    out.into()
}
