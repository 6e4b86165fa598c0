//! Ends the HTTP/2 streams whose client takes nothing of its answer.
//!
//! On HTTP/1 a client that does not read leaves the socket full, and a write that does not end is
//! seen by `client_io`. On HTTP/2 it just grants no window: hyper then waits, without limit, and
//! does not even ask the body, which holds a connection to an application meanwhile. What is seen
//! from outside is a stream that wakes and does not ask its body. So the task of each stream is
//! wrapped: whenever it rests and it is the client's turn, a clock runs. It deliberately measures
//! the wait for any room at all, not a rate, as the limit for HTTP/1 does.
//!
//! Invariant: between two pieces of an answer no HTTP/2 client is waited for longer than the
//! limit, and a stream that is cut drops its body.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

tokio::task_local! {
    static TURN: Arc<Turn>;
}

/// Whose turn it is on one stream; written by its body, read by its task.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Whether there is an answer to be taken.
    is_answered: AtomicBool,
    /// How often the body was asked for more.
    n_asked: AtomicU32,
    /// Whether the body has said, when last asked, that it has nothing yet.
    is_ours: AtomicBool,
}

impl Turn {
    /// The turn of the stream whose task this is; none on HTTP/1.
    pub(crate) fn current() -> Option<Arc<Self>> {
        TURN.try_with(Arc::clone).ok()
    }

    /// An answer was made: the client can take it.
    pub(crate) fn answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// The body was asked, and had a piece or not.
    pub(crate) fn asked(&self, has_piece: bool) {
        self.n_asked.fetch_add(1, Ordering::Relaxed);
        self.is_ours.store(!has_piece, Ordering::Relaxed);
    }
}

/// Runs each stream as a task that ends when its client stalls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamExecutor {
    /// How long a client may take nothing.
    pub(crate) stall_timeout: Duration,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let turn = Arc::new(Turn::default());
        let watched = Watched {
            stream: Box::pin(stream),
            turn: Arc::clone(&turn),
            stall_timeout: self.stall_timeout,
            waiting_since: None,
            timer: None,
        };
        tokio::spawn(TURN.scope(turn, watched));
    }
}

/// A stream with its clock.
struct Watched<F> {
    stream: Pin<Box<F>>,
    turn: Arc<Turn>,
    stall_timeout: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let n_before = this.turn.n_asked.load(Ordering::Relaxed);
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !this.turn.is_answered.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let was_asked = this.turn.n_asked.load(Ordering::Relaxed) != n_before;
        if was_asked {
            this.waiting_since = None;
            if this.turn.is_ours.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
        }
        let deadline = *this.waiting_since.get_or_insert_with(Instant::now) + this.stall_timeout;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            // A timer of an earlier wait fires early, and is then set anew.
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                // Dropped with its half of the stream, which resets it.
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}
