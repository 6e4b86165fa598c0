//! Bodies of a call: the application's on its way out, the dependency's on its way back.
//!
//! Both stream. A small body with a known length is kept, so that it can be sent again; every other
//! is sent once. It deliberately looks at no byte. Invariant: neither side is waited for longer
//! than the idle timeout within a body, and an answer ends at its deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::flight::{Flight, Outcome};

/// Most bytes of a body that is kept to be sent again.
const KEPT_BYTES_MAX: u64 = 64 * 1024;

/// The body of what we answer with.
pub type ResponseBody = Either<Full<Bytes>, AnswerBody>;

/// The body of a request, as often as it can be sent.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// As often as wanted.
    Kept(Bytes),
    /// Once.
    Stream(Option<Box<Outgoing>>),
}

impl RequestBody {
    /// Reads a small body whole, and leaves any other as it is.
    ///
    /// # Errors
    /// When it breaks off, or does not come in time.
    pub(super) async fn read(body: Incoming, idle: Duration) -> Result<Self, ()> {
        if body.is_end_stream() {
            return Ok(Self::Kept(Bytes::new()));
        }
        if body.size_hint().exact().is_some_and(|length| length <= KEPT_BYTES_MAX) {
            let read = tokio::time::timeout(idle, body.collect()).await;
            return read.map_err(drop)?.map(|read| Self::Kept(read.to_bytes())).map_err(drop);
        }
        Ok(Self::Stream(Some(Box::new(Outgoing {
            body,
            silence: Silence::new(idle),
            has_failed: Arc::default(),
        }))))
    }

    /// Whether it can be sent again.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// The body for one try, and what tells whether the application broke it off.
    pub(super) fn take(&mut self) -> (reqwest::Body, Option<Arc<AtomicBool>>) {
        match self {
            Self::Kept(bytes) => (bytes.clone().into(), None),
            Self::Stream(stream) => match stream.take() {
                Some(stream) => {
                    let has_failed = stream.has_failed.clone();
                    (reqwest::Body::wrap(*stream), Some(has_failed))
                }
                None => (Bytes::new().into(), None),
            },
        }
    }
}

/// The application's body on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Incoming,
    silence: Silence,
    has_failed: Arc<AtomicBool>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx).map_err(io::Error::other);
        let frame = match frame {
            Poll::Pending if this.silence.is_over(cx) => {
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
            Poll::Ready(frame) => {
                this.silence.broken();
                Poll::Ready(frame)
            }
            Poll::Pending => Poll::Pending,
        };
        if let Poll::Ready(Some(Err(_))) = &frame {
            this.has_failed.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The dependency's body on its way back, with the call that ends when it does.
#[derive(Debug)]
pub struct AnswerBody {
    body: reqwest::Body,
    silence: Silence,
    deadline: Option<Pin<Box<Sleep>>>,
    flight: Option<Flight>,
}

impl AnswerBody {
    pub(super) fn new(
        body: reqwest::Body,
        idle: Duration,
        deadline: Option<Instant>,
        mut flight: Flight,
    ) -> Self {
        let flight = if body.is_end_stream() {
            flight.completed();
            None
        } else {
            Some(flight)
        };
        let deadline = deadline.map(|at| Box::pin(sleep_until(at)));
        Self { body, silence: Silence::new(idle), deadline, flight }
    }

    fn fail(&mut self, outcome: Outcome) {
        if let Some(mut flight) = self.flight.take() {
            flight.broke(outcome);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let is_late = this.deadline.as_mut().is_some_and(|at| at.as_mut().poll(cx).is_ready());
        if is_late {
            this.fail(Outcome::Timeout);
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending if this.silence.is_over(cx) => {
                this.fail(Outcome::Timeout);
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Err(error))) => {
                this.fail(Outcome::Broken);
                Poll::Ready(Some(Err(io::Error::other(error.without_url()))))
            }
            Poll::Ready(frame) => {
                this.silence.broken();
                let is_over = frame.is_none() || this.body.is_end_stream();
                if is_over && let Some(mut flight) = this.flight.take() {
                    flight.completed();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a peer has said nothing while it was listened to.
#[derive(Debug)]
struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// The peer said something.
    fn broken(&mut self) {
        self.timer = None;
    }

    /// To be asked while the peer says nothing: begins to count, or wakes when it is too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        timer.as_mut().poll(cx).is_ready()
    }
}
