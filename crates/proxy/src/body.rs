//! The two bodies of an exchange: what is sent to the application and what to the client.
//!
//! Both are streamed: a frame is asked for when there is room for it on the other side, so the
//! memory of an exchange is the buffers of its two connections. Nothing is collected.
//!
//! Invariant: a body that ends without an error was passed on whole.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::limits::EXPECT_WAIT;

/// A body that was cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client left, stalled, or sent what is not HTTP.
    #[error("the request body broke off")]
    Client(#[source] hyper::Error),
    /// The client sent nothing for too long.
    #[error("the request body stalled")]
    ClientStalled,
    /// More bytes than the route allows.
    #[error("the request body is larger than {max} bytes")]
    TooLarge {
        /// Bytes allowed.
        max: u64,
    },
    /// More or fewer bytes than the head said.
    #[error("the body has not the length that its head said")]
    Length,
    /// The connection to the application failed.
    #[error("the response body broke off")]
    Upstream(#[source] std::io::Error),
    /// The application closed the connection before the end.
    #[error("the response body is incomplete")]
    Closed,
    /// The application sent chunks that are none.
    #[error("the chunks of the response are malformed")]
    Chunk,
    /// The application sent nothing for too long.
    #[error("the response body stalled")]
    Stalled,
    /// A file could not be read.
    #[error("the file could not be read")]
    File(#[source] std::io::Error),
}

/// A request body on its way to the application.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None.
    Empty,
    /// What the client sends, as it comes.
    Stream(Box<RequestStream>),
}

/// What the client sends, as it comes.
#[derive(Debug)]
pub(crate) struct RequestStream {
    incoming: Incoming,
    progress: Arc<Progress>,
    gate: Option<Gate>,
    bytes_max: u64,
    stall: Stall,
}

/// How far a request body has come; read by the exchange it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    bytes: AtomicU64,
    has_failed: AtomicBool,
    has_stalled: AtomicBool,
    is_too_large: AtomicBool,
}

impl Progress {
    /// Bytes read from the client.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the client's side broke off.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Whether the client sent nothing for too long.
    pub(crate) fn has_stalled(&self) -> bool {
        self.has_stalled.load(Ordering::Acquire)
    }

    /// Whether it was cut for being larger than the route allows.
    pub(crate) fn is_too_large(&self) -> bool {
        self.is_too_large.load(Ordering::Acquire)
    }
}

impl RequestBody {
    /// The body of a request, counted by what is returned beside it. Cut when it is larger than
    /// `bytes_max`, or when nothing comes for `stall_timeout` although the application waits.
    pub(crate) fn new(
        incoming: Incoming,
        bytes_max: Option<u64>,
        stall_timeout: Duration,
    ) -> (Self, Option<Arc<Progress>>) {
        if incoming.is_end_stream() {
            return (Self::Empty, None);
        }
        let progress = Arc::new(Progress::default());
        let stream = RequestStream {
            incoming,
            progress: Arc::clone(&progress),
            gate: None,
            bytes_max: bytes_max.unwrap_or(u64::MAX),
            stall: Stall::new(stall_timeout),
        };
        (Self::Stream(Box::new(stream)), Some(progress))
    }

    /// Holds the body back until the application asks for it.
    pub(crate) fn hold_until(&mut self, signal: Arc<Signal>) {
        if let Self::Stream(stream) = self {
            stream.gate = Some(Gate { signal, wait: None });
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

impl RequestStream {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.poll_open(cx));
            self.gate = None;
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.stall.poll_over(cx));
            self.progress.has_stalled.store(true, Ordering::Release);
            self.progress.has_failed.store(true, Ordering::Release);
            return Poll::Ready(Some(Err(BodyError::ClientStalled)));
        };
        self.stall.moved();
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let n_bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let total = self.progress.bytes.fetch_add(n_bytes, Ordering::Relaxed) + n_bytes;
                if total > self.bytes_max {
                    self.progress.is_too_large.store(true, Ordering::Release);
                    return Poll::Ready(Some(Err(BodyError::TooLarge { max: self.bytes_max })));
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.progress.has_failed.store(true, Ordering::Release);
                Some(Err(BodyError::Client(error)))
            }
            None => None,
        })
    }
}

/// Notices that a body has not moved for a while; costs a timer only when it ever waited.
#[derive(Debug)]
pub(crate) struct Stall {
    timeout: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Over after `timeout` without movement.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, waiting_since: None, timer: None }
    }

    /// The body moved.
    pub(crate) fn moved(&mut self) {
        self.waiting_since = None;
    }

    /// The body waits; ready when it has for too long.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            // A timer from before the last movement fires early and is then set anew.
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// Says that the application wants the body (`100 Continue`).
#[derive(Debug, Default)]
pub(crate) struct Signal(Mutex<SignalState>);

#[derive(Debug, Default)]
struct SignalState {
    is_given: bool,
    waker: Option<Waker>,
}

impl Signal {
    /// Gives the signal.
    pub(crate) fn give(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_given = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// Holds a body back until a signal, or [`EXPECT_WAIT`].
#[derive(Debug)]
struct Gate {
    signal: Arc<Signal>,
    /// Set when the head is on its way: an application that is waited for owes no answer yet.
    wait: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.signal.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_given {
                return Poll::Ready(());
            }
            state.waker = Some(cx.waker().clone());
        }
        let wait = self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(EXPECT_WAIT)));
        wait.as_mut().poll(cx)
    }
}
