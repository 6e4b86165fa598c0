//! The side of the control socket that other commands hold.
//!
//! One connection per question; every answer is bounded in size and, but for followed logs, in
//! time.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::net::UnixStream;

use super::{ControlError, place};
use crate::up::{Refused, Status};

/// How long an answer may take to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is not a stream.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest line of a stream; lines of items are far shorter.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Knows where a running `up` is; connects anew for each question.
#[derive(Debug, Clone)]
pub struct Client {
    directory: PathBuf,
    state: PathBuf,
}

/// What may be asked of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Start it if it does not run.
    Start,
    /// Stop it until it is started again.
    Stop,
    /// Build and start it anew.
    Restart,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Of this item; of all otherwise.
    pub name: Option<String>,
    /// So many that are there already.
    pub tail: usize,
    /// And all that come.
    pub is_followed: bool,
}

/// One line of a stream of logs.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// The service or resource.
    pub item: String,
    /// Its line, a JSON object with the bytes that it has.
    #[serde(default)]
    pub line: Option<Box<RawValue>>,
    /// How many of its lines this reader was too slow for.
    #[serde(default)]
    pub missed: u64,
}

/// Lines as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    pending: BytesMut,
    is_ended: bool,
}

impl Client {
    /// For the platform of `directory`, whose state is in `state`.
    pub fn new(directory: &Path, state: &Path) -> Self {
        Self { directory: directory.to_owned(), state: state.to_owned() }
    }

    /// What the platform is doing.
    ///
    /// # Errors
    /// When no `up` runs there, or it does not answer.
    pub async fn status(&self) -> Result<Status, ControlError> {
        let answer = self.ask(Method::GET, "/v1/status").await?;
        read(answer).await
    }

    /// Starts, stops or restarts one item; returns when that was accepted, not when it is done.
    ///
    /// # Errors
    /// When no `up` runs there, or it refuses.
    pub async fn item(&self, verb: Verb, name: &str) -> Result<(), ControlError> {
        let verb = match verb {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        };
        let path = format!("/v1/items/{}/{verb}", percent_encoded(name));
        self.ask(Method::POST, &path).await.map(drop)
    }

    /// Asks the platform to stop; a second time to kill what still runs.
    ///
    /// # Errors
    /// When no `up` runs there, or it refuses.
    pub async fn down(&self) -> Result<(), ControlError> {
        self.ask(Method::POST, "/v1/down").await.map(drop)
    }

    /// Lines of the platform.
    ///
    /// # Errors
    /// When no `up` runs there, or it knows no such item.
    pub async fn logs(&self, query: &LogQuery) -> Result<Events, ControlError> {
        let name = percent_encoded(query.name.as_deref().unwrap_or_default());
        let LogQuery { tail, is_followed, .. } = query;
        let path = format!("/v1/logs?name={name}&tail={tail}&follow={is_followed}");
        let answer = self.ask(Method::GET, &path).await?;
        Ok(Events { body: answer.into_body(), pending: BytesMut::new(), is_ended: false })
    }

    /// Sends one request; an answer that is not a success becomes an error.
    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, ControlError> {
        let timed_out = |_| ControlError::TimedOut { limit_s: ANSWER_TIMEOUT.as_secs() };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.send(method, path))
            .await
            .map_err(timed_out)??;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let refused: Result<Refused, _> = read(answer).await;
        match refused {
            Ok(refused) => Err(refused.into()),
            Err(_) => Err(ControlError::Strange { answer: format!("{status} for `{path}`") }),
        }
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, ControlError> {
        let strange = |error: hyper::Error| {
            // It hangs up on strangers before it reads anything.
            if error.is_incomplete_message() || error.is_canceled() {
                ControlError::NotRunning { directory: self.directory.clone() }
            } else {
                ControlError::Strange { answer: error.to_string() }
            }
        };
        let stream = place::connect(&self.directory, &self.state)?;
        let stream = UnixStream::from_std(stream).map_err(|source| ControlError::Unusable {
            intent: "connect to",
            path: self.state.join(place::SOCKET_NAME),
            source,
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(strange)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "up")
            .body(Empty::<Bytes>::new())
            .map_err(|error| ControlError::Strange { answer: error.to_string() })?;
        sender.send_request(request).await.map_err(strange)
    }
}

impl Events {
    /// The next line; `None` at the end, which is when the platform has stopped if followed.
    ///
    /// # Errors
    /// When the stream is not what it should be.
    pub async fn next(&mut self) -> Result<Option<Event>, ControlError> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line = self.pending.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| ControlError::Strange { answer: error.to_string() });
            }
            if self.is_ended || self.pending.len() > EVENT_BYTES_MAX {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
                // The platform was killed; there is nothing more to read.
                Some(Err(_)) | None => self.is_ended = true,
            }
        }
    }
}

async fn read<T: DeserializeOwned>(answer: Response<Incoming>) -> Result<T, ControlError> {
    let status = answer.status();
    let strange = |text: String| ControlError::Strange { answer: text };
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
    let bytes = tokio::time::timeout(ANSWER_TIMEOUT, body)
        .await
        .map_err(|_| ControlError::TimedOut { limit_s: ANSWER_TIMEOUT.as_secs() })?
        .map_err(|error| strange(error.to_string()))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| match status {
        StatusCode::OK => strange(error.to_string()),
        _ => strange(format!("{status}: {}", String::from_utf8_lossy(&bytes))),
    })
}

/// A name as one segment of a path or one value of a query.
fn percent_encoded(text: &str) -> impl Display {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
