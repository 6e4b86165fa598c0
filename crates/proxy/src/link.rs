//! One HTTP/1.1 connection to an application, driven by whoever uses it.
//!
//! There is no task, channel or wake-up between an exchange and its socket: the exchange polls it
//! itself, and dropping the exchange closes the socket, so that the application sees its client
//! leave. The price is that an idle connection only notices its end when it is looked at
//! ([`Link::is_alive`]). When a response begins before the request body has ended, the two
//! directions are split ([`Link::split`]): they must not wait for each other.
//!
//! What an application says is believed as little as what a client says: a response whose end two
//! parsers could see differently (see `response`) is none, and a connection on which anything
//! follows a response is not used again. It deliberately passes no 1xx on, except that a 100 lets
//! the body go.
//!
//! Invariant: between two exchanges a link has neither unread response bytes nor unsent
//! request bytes.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncReadExt, ReadHalf};

use crate::limits::{BUFFER_BYTES_MAX, INFORMATIONAL_MAX, RESPONSE_HEAD_BYTES_MAX};
use crate::outgoing::{Outgoing, SendFailure};
use crate::response::{self, Head};
use crate::upstream::Stream;

/// Room made for one read; grows to [`READ_BYTES_MAX`] while reads fill it.
const READ_BYTES: usize = 8 * 1024;

/// Most bytes of one read.
const READ_BYTES_MAX: usize = BUFFER_BYTES_MAX / 2;

/// One connection to an application.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    buffer: Buffer,
    /// Bytes of the buffer in which no whole head was found.
    n_seen: usize,
    /// Whether it has carried an exchange before.
    is_reused: bool,
    /// Whether it can carry another one after this.
    is_kept: bool,
}

/// Why an exchange has no response: the request can be judged by [`Outgoing::rewind`].
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The connection ended before the first byte of a response.
    Silent,
    /// What came is no response, or the request broke off.
    Broken,
}

impl Link {
    /// Speaks HTTP/1.1 over a socket.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, buffer: Buffer::default(), n_seen: 0, is_reused: false, is_kept: true }
    }

    /// Whether it can carry an exchange now. Notices what the application closed, or said unasked.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.is_reused = true;
        let mut cx = Context::from_waker(Waker::noop());
        if !self.is_kept || !self.buffer.bytes.is_empty() {
            return false;
        }
        let Self { buffer, stream, .. } = self;
        // A task that has used up its budget is told that every socket is silent, also a closed
        // one.
        let peek = std::future::poll_fn(|cx| buffer.poll_fill(stream, cx));
        let peek = pin!(tokio::task::coop::unconstrained(peek));
        peek.poll(&mut cx).is_pending()
    }

    /// Whether it has carried an exchange before, and may therefore have been closed meanwhile.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether it may go back to its pool after a response that was read to its end.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_kept && self.buffer.bytes.is_empty()
    }

    /// Sends a request and waits for the head of its response; the rest of the request body may
    /// still be unsent then. To be polled again until it is ready, and never after an error.
    pub(crate) async fn send(&mut self, request: &mut Outgoing) -> Result<Head, LinkError> {
        let mut is_sending = true;
        let mut n_informational = 0;
        std::future::poll_fn(|cx| {
            if is_sending {
                match request.poll_send(&mut self.stream, cx) {
                    Poll::Pending => (),
                    Poll::Ready(Err(SendFailure::Body)) => {
                        return Poll::Ready(Err(LinkError::Broken));
                    }
                    // It may have answered before it stopped reading.
                    Poll::Ready(Err(SendFailure::Socket)) => {
                        is_sending = false;
                        self.is_kept = false;
                    }
                    Poll::Ready(Ok(())) => is_sending = false,
                }
            }
            loop {
                let head = ready!(self.poll_head(request, cx)).map_err(|error| match error {
                    // It said something: it has the request.
                    LinkError::Silent if n_informational > 0 => LinkError::Broken,
                    error => error,
                });
                let Some(head) = head? else { continue };
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
                {
                    return Poll::Ready(Ok(head));
                }
                n_informational += 1;
                if n_informational > INFORMATIONAL_MAX {
                    return Poll::Ready(Err(LinkError::Broken));
                }
                if head.status == StatusCode::CONTINUE
                    && let Some(signal) = &request.signal
                {
                    signal.give();
                }
            }
        })
        .await
    }

    /// A head, or `None` when more has to be read for it.
    fn poll_head(
        &mut self,
        request: &Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Head>, LinkError>> {
        if !self.buffer.bytes.is_empty() {
            let read = response::head(&mut self.buffer.bytes, &mut self.n_seen, request.is_head);
            if let Some(head) = read.map_err(|_| LinkError::Broken)? {
                self.is_kept &= head.is_kept;
                return Poll::Ready(Ok(Some(head)));
            }
            if self.buffer.bytes.len() >= RESPONSE_HEAD_BYTES_MAX {
                return Poll::Ready(Err(LinkError::Broken));
            }
        }
        let is_silent = self.buffer.bytes.is_empty();
        match ready!(self.buffer.poll_fill(&mut self.stream, cx)) {
            Ok(1..) => Poll::Ready(Ok(None)),
            Ok(0) | Err(_) if is_silent => Poll::Ready(Err(LinkError::Silent)),
            Ok(0) | Err(_) => Poll::Ready(Err(LinkError::Broken)),
        }
    }

    /// The next bytes of a body into `self.bytes()`; ready with how many, 0 at the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.poll_fill(&mut self.stream, cx)
    }

    /// What was read and not yet used.
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.buffer.bytes
    }

    /// Sends the rest of a request body by itself; what is returned reads on.
    pub(crate) fn split(self, rest: Outgoing, stall: Duration) -> Reader {
        let (read, write) = tokio::io::split(self.stream);
        tokio::spawn(rest.send_rest(write, stall));
        Reader { stream: read, buffer: self.buffer }
    }

    /// The socket and what was already read from it, after a 101.
    pub(crate) fn into_upgraded(self) -> (Stream, Bytes) {
        (self.stream, self.buffer.bytes.freeze())
    }
}

/// The reading half of a link whose request is still being sent; never used for another one.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: ReadHalf<Stream>,
    buffer: Buffer,
}

impl Reader {
    /// As [`Link::poll_fill`].
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.poll_fill(&mut self.stream, cx)
    }

    /// As [`Link::bytes`].
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.buffer.bytes
    }
}

/// Bytes that were read, with room for more.
#[derive(Debug, Default)]
struct Buffer {
    bytes: BytesMut,
    /// Whether the last read filled all the room it had.
    is_busy: bool,
}

impl Buffer {
    fn poll_fill(
        &mut self,
        stream: &mut (impl tokio::io::AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.capacity() - self.bytes.len() < READ_BYTES / 4 {
            self.bytes.reserve(if self.is_busy { READ_BYTES_MAX } else { READ_BYTES });
        }
        let room = self.bytes.capacity() - self.bytes.len();
        let n_bytes = ready!(Pin::new(&mut pin!(stream.read_buf(&mut self.bytes))).poll(cx))?;
        self.is_busy = n_bytes == room;
        Poll::Ready(Ok(n_bytes))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_closed_connection_is_noticed_by_a_task_without_budget() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = ours.expect("a connection");
        drop(theirs);
        stream.readable().await.expect("the end of the connection");
        let mut link = Link::new(Stream::Tcp(stream));
        while tokio::task::coop::has_budget_remaining() {
            // Each turn takes one piece of the budget without giving the thread back.
            std::future::poll_fn(|cx| {
                tokio::task::coop::poll_proceed(cx).map(|it| it.made_progress())
            })
            .await;
        }
        assert!(!link.is_alive());
    }
}
