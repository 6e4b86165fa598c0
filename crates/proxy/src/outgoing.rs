//! A request on its way to an application: its head as bytes, its body as it comes.
//!
//! The head is written from the client's fields in one pass: what ends at this hop is left out,
//! what this hop says is put behind, and no table of fields is built only to be taken apart again.
//! The body is framed anew, so that only we decide where it ends. It deliberately keeps the head
//! until the exchange is over: a request of which nothing was answered can be sent again from it.
//!
//! Invariant: the bytes of one [`Outgoing`] are one request, or a beginning of it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName};
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::body::{BodyError, RequestBody, Signal};
use crate::fields;

/// Bytes that most heads fit into.
const HEAD_BYTES: usize = 1024;

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The head, and later what frames the body.
    text: Vec<u8>,
    /// Bytes of `text` that were sent.
    n_text_sent: usize,
    /// The piece of the body that follows `text`.
    data: Bytes,
    /// What follows `data`.
    tail: &'static [u8],
    body: RequestBody,
    framing: BodyFraming,
    /// Whether a byte was ever sent.
    has_begun: bool,
    pub(crate) is_head: bool,
    pub(crate) is_idempotent: bool,
    /// Told when the application wants the body.
    pub(crate) signal: Option<Arc<Signal>>,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFraming {
    /// So many bytes are left.
    Length(u64),
    /// In chunks.
    Chunked,
    /// All of it was framed.
    Ended,
}

/// Why a request could not be sent.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// Its body broke off.
    Body,
    /// The application takes no more.
    Socket,
}

impl Outgoing {
    /// A request whose head was written up to its fields about the body, which are added here.
    /// `has_length` tells whether the client gave a length, be it zero.
    pub(crate) fn new(mut head: Vec<u8>, body: RequestBody, has_length: bool) -> Self {
        let framing = match (body.is_end_stream(), body.size_hint().exact()) {
            (true, _) => {
                if has_length {
                    head.extend_from_slice(b"content-length: 0\r\n");
                }
                BodyFraming::Ended
            }
            (false, Some(length)) => {
                push_field(&mut head, b"content-length", length.to_string().as_bytes());
                BodyFraming::Length(length)
            }
            (false, None) => {
                head.extend_from_slice(b"transfer-encoding: chunked\r\n");
                BodyFraming::Chunked
            }
        };
        head.extend_from_slice(b"\r\n");
        Self {
            text: head,
            n_text_sent: 0,
            data: Bytes::new(),
            tail: b"",
            body,
            framing,
            has_begun: false,
            is_head: false,
            is_idempotent: false,
            signal: None,
        }
    }

    /// An empty head with room for a usual one.
    pub(crate) fn room() -> Vec<u8> {
        Vec::with_capacity(HEAD_BYTES)
    }

    /// Makes it one that can be sent on another connection, when that does no harm: nothing was
    /// sent, or (`was_reused`: the connection may have been dead all along) nothing but the
    /// head of a request that may be repeated.
    pub(crate) fn rewind(&mut self, was_reused: bool) -> bool {
        let has_no_body = matches!(self.body, RequestBody::Empty);
        if self.has_begun && !(was_reused && self.is_idempotent && has_no_body) {
            return false;
        }
        self.n_text_sent = 0;
        self.has_begun = false;
        true
    }

    /// Whether every byte was sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.framing == BodyFraming::Ended && !self.has_bytes()
    }

    /// Sends what there is; ready when all was sent.
    pub(crate) fn poll_send(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendFailure>> {
        loop {
            // The first piece of a body travels with the head, when it is there already.
            let wants_piece = self.data.is_empty() && self.tail.is_empty();
            let is_starved = if wants_piece && self.framing != BodyFraming::Ended {
                self.poll_piece(cx).map_err(|_| SendFailure::Body)?.is_pending()
            } else {
                false
            };
            while self.has_bytes() {
                match ready!(self.poll_write(stream, cx)) {
                    Ok(1..) => self.has_begun = true,
                    Ok(0) | Err(_) => return Poll::Ready(Err(SendFailure::Socket)),
                }
            }
            if is_starved {
                // Its waker is set: the body has been asked.
                return Poll::Pending;
            }
            if self.framing == BodyFraming::Ended {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends the rest and ends the connection, at whatever pace the application takes it.
    /// An application that takes nothing for `stall` is not waited for any longer.
    pub(crate) async fn send_rest(mut self, mut stream: impl AsyncWrite + Unpin, stall: Duration) {
        let mut timer = pin!(tokio::time::sleep(stall));
        let mut n_before = 0;
        let sent = std::future::poll_fn(|cx| {
            let sent = self.poll_send(&mut stream, cx);
            let n_held = self.n_held();
            if n_held != n_before || n_held == 0 {
                n_before = n_held;
                timer.as_mut().reset(Instant::now() + stall);
            }
            if sent.is_pending() && n_held > 0 && timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(SendFailure::Socket));
            }
            sent
        })
        .await;
        if sent.is_err() {
            // The application sees a body that breaks off.
            let _closed = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await;
        }
    }

    fn has_bytes(&self) -> bool {
        self.n_held() > 0
    }

    /// How many bytes wait for the socket.
    fn n_held(&self) -> usize {
        self.text.len() - self.n_text_sent + self.data.len() + self.tail.len()
    }

    /// Takes the next piece of the body, when it is there.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return Ok(Poll::Pending);
        };
        if self.n_text_sent == self.text.len() {
            self.text.clear();
            self.n_text_sent = 0;
        }
        let Some(frame) = frame.transpose()? else {
            return self.end(None).map(Poll::Ready);
        };
        match frame.into_data() {
            Ok(data) => self.piece(data).map(Poll::Ready),
            Err(frame) => self.end(frame.into_trailers().ok().as_ref()).map(Poll::Ready),
        }
    }

    fn piece(&mut self, data: Bytes) -> Result<(), BodyError> {
        let n_bytes = data.len() as u64;
        match &mut self.framing {
            BodyFraming::Length(left) => {
                *left = left.checked_sub(n_bytes).ok_or(BodyError::Length)?;
                if *left == 0 {
                    self.framing = BodyFraming::Ended;
                }
            }
            BodyFraming::Chunked if data.is_empty() => return Ok(()),
            BodyFraming::Chunked => {
                self.text.extend_from_slice(format!("{n_bytes:x}\r\n").as_bytes());
                self.tail = b"\r\n";
            }
            BodyFraming::Ended => return Err(BodyError::Length),
        }
        self.data = data;
        Ok(())
    }

    /// The body has ended.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BodyError> {
        match self.framing {
            BodyFraming::Length(1..) => return Err(BodyError::Length),
            BodyFraming::Chunked => {
                self.text.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if !may_trail(name) {
                        continue;
                    }
                    push_field(&mut self.text, name.as_str().as_bytes(), value.as_bytes());
                }
                self.text.extend_from_slice(b"\r\n");
            }
            BodyFraming::Length(0) | BodyFraming::Ended => (),
        }
        self.framing = BodyFraming::Ended;
        Ok(())
    }

    /// One write of what there is.
    fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let text = &self.text[self.n_text_sent..];
        let n_bytes = if self.data.is_empty() && self.tail.is_empty() {
            ready!(Pin::new(stream).poll_write(cx, text))?
        } else {
            let parts = [IoSlice::new(text), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            ready!(Pin::new(stream).poll_write_vectored(cx, &parts))?
        };
        let n_text = n_bytes.min(text.len());
        let n_data = (n_bytes - n_text).min(self.data.len());
        self.n_text_sent += n_text;
        self.data.advance(n_data);
        self.tail = &self.tail[n_bytes - n_text - n_data..];
        Poll::Ready(Ok(n_bytes))
    }
}

/// Appends one field line.
pub(crate) fn push_field(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// Whether a field may follow the body: none that frames the message or says whence it came.
fn may_trail(name: &HeaderName) -> bool {
    let frames = [CONTENT_LENGTH, HOST].contains(name);
    !frames && !fields::is_of_hop(name) && !fields::is_claim(name.as_str())
}
