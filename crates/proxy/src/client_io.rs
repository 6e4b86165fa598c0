//! The client's socket as hyper sees it: framing checked, slow clients bounded.
//!
//! Every byte that is read passes the [`Framing`] machine. A refused byte inside a head is replaced
//! by one that hyper refuses too, so that hyper answers 400 after the answers that are still due,
//! and closes; inside a body it becomes an error of that body. Nothing behind it is read. The
//! timeouts live here because only here it is known what the client is late with. It deliberately
//! does not watch bodies: whether a body stalls or is not asked for only its reader knows.
//!
//! Invariant: hyper never sees a byte behind a refused one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::framing::{Framing, Place};
use crate::limits::{HEAD_ALONE_BYTES_MIN, LINGER, LINGER_BYTES_MAX, Limits};
use crate::watch::Refusal;

/// Bytes that are refused wherever in a head they stand, and end it.
pub(crate) const POISON: &[u8] = b"\0\r\n\r\n";

/// What the socket and the exchanges of one connection know of each other.
#[derive(Debug)]
pub(crate) struct Wire {
    framing: Mutex<Framing>,
    exchanges: AtomicU32,
    refusal: OnceLock<Refusal>,
}

impl Wire {
    /// A new connection.
    pub(crate) fn new(framing: Framing) -> Arc<Self> {
        Arc::new(Self {
            framing: Mutex::new(framing),
            exchanges: AtomicU32::new(0),
            refusal: OnceLock::new(),
        })
    }

    /// An exchange began.
    pub(crate) fn enter(&self) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    /// An exchange ended.
    pub(crate) fn leave(&self) {
        self.exchanges.fetch_sub(1, Ordering::Relaxed);
    }

    /// Why the connection was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
    }

    /// The upgrade was denied; whether the connection can go on with another request.
    pub(crate) fn deny_upgrade(&self) -> bool {
        self.framing().deny_upgrade()
    }

    fn framing(&self) -> MutexGuard<'_, Framing> {
        self.framing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_busy(&self) -> bool {
        self.exchanges.load(Ordering::Relaxed) > 0
    }
}

/// The client's socket as hyper sees it.
#[derive(Debug)]
pub(crate) struct ClientIo {
    socket: TcpStream,
    wire: Arc<Wire>,
    /// What was read to find out the protocol, and is to be read again.
    prefix: Vec<u8>,
    place: Place,
    /// Whether a byte was refused: the rest is not read.
    is_shut: bool,
    /// Whether that byte was inside a body, which then ends in an error.
    is_body_refused: bool,
    limits: Arc<Limits>,
    reading_since: Option<Instant>,
    head_since: Option<Instant>,
    writing_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    is_timer_set: bool,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    timer: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl ClientIo {
    /// Wraps a socket from which `prefix` was read.
    pub(crate) fn new(
        socket: TcpStream,
        prefix: Vec<u8>,
        wire: Arc<Wire>,
        limits: Arc<Limits>,
    ) -> Self {
        let place = wire.framing().place();
        Self {
            socket,
            wire,
            prefix,
            place,
            is_shut: false,
            is_body_refused: false,
            reading_since: None,
            head_since: None,
            writing_since: None,
            timer: Box::pin(tokio::time::sleep(limits.idle_timeout)),
            is_timer_set: false,
            limits,
            linger: None,
        }
    }

    /// The socket, after an upgrade.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Checks what was just read into `buf` behind its first `before` bytes.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        self.reading_since = None;
        let (place, violation) = {
            let mut framing = self.wire.framing();
            let violation = framing.follow(&buf.filled()[before..]).err();
            (framing.place(), violation)
        };
        if place != Place::InHead {
            self.head_since = None;
        } else if self.place != Place::InHead || self.head_since.is_none() {
            self.head_since = Some(Instant::now());
        }
        self.place = place;
        let Some(violation) = violation else { return };
        self.is_shut = true;
        let _first = self.wire.refusal.set(violation.refusal);
        buf.set_filled(before + violation.n_valid);
        if violation.is_in_head {
            let room = buf.remaining().min(POISON.len());
            buf.put_slice(&POISON[..room]);
            return;
        }
        self.is_body_refused = true;
    }

    /// What a read gives when nothing more is read.
    fn shut(&self) -> io::Result<()> {
        match self.wire.refusal() {
            Some(refusal) if self.is_body_refused => {
                Err(io::Error::new(io::ErrorKind::InvalidData, refusal.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// Nothing to read: fails when the client is late.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = match self.place {
            Place::InHead => {
                *self.head_since.get_or_insert_with(Instant::now) + self.limits.head_timeout
            }
            Place::Between | Place::Elsewhere if !self.wire.is_busy() => {
                *self.reading_since.get_or_insert_with(Instant::now) + self.limits.idle_timeout
            }
            _ => {
                self.reading_since = None;
                return Poll::Pending;
            }
        };
        let is_late = self.poll_late(cx, deadline);
        self.give_up(is_late)
    }

    /// The last bytes of an answer may have been written: hyper reads again only when there is
    /// something to read, so the wait for the next request begins here.
    fn watch_idle(&mut self, cx: &mut Context<'_>) {
        if self.place == Place::Between && !self.wire.is_busy() {
            let since = *self.reading_since.insert(Instant::now());
            // When it is over, this task wakes, and the next read finds out.
            let _is_late = self.poll_late(cx, since + self.limits.idle_timeout);
        }
    }

    fn give_up(&mut self, is_late: Poll<()>) -> Poll<io::Result<()>> {
        if is_late.is_pending() {
            return Poll::Pending;
        }
        self.is_shut = true;
        if self.place != Place::Between {
            let _first = self.wire.refusal.set(Refusal::TooSlow);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ready at `deadline`. The one timer is only set anew to fire earlier, or after it has fired.
    fn poll_late(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if !self.is_timer_set || self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
            self.is_timer_set = true;
        }
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Notes whether the client takes what is written, and fails when it has not for too long.
    fn wrote<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing_since = None;
            self.watch_idle(cx);
            return result;
        }
        let since = *self.writing_since.get_or_insert_with(Instant::now);
        let deadline = since + self.limits.stall_timeout;
        if self.poll_late(cx, deadline).is_pending() {
            return Poll::Pending;
        }
        self.is_shut = true;
        let _first = self.wire.refusal.set(Refusal::TooSlow);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_shut {
            return Poll::Ready(this.shut());
        }
        let before = buf.filled().len();
        if !this.prefix.is_empty() {
            let n_bytes = this.prefix.len().min(buf.remaining());
            buf.put_slice(&this.prefix[..n_bytes]);
            this.prefix.drain(..n_bytes);
            this.check(buf, before);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.socket).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                this.check(buf, before);
                // An empty read means the end: a body refused at its first byte ends in its error.
                let is_empty = buf.filled().len() == before;
                Poll::Ready(if is_empty { this.shut() } else { Ok(()) })
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => this.wait(cx),
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // A head that goes out first is on its way while the kernel copies a large body; in one
        // call the two cost twice the processor time, measured on loopback by Linux 6.18.
        let n_bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        let is_large = n_bytes > HEAD_ALONE_BYTES_MIN;
        let bufs = if is_large && bufs.len() > 1 { &bufs[..1] } else { bufs };
        let result = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends our half and, when the client was still sending, throws that away for a moment:
    /// closing a socket with unread bytes resets it, and the answer would be lost with it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            match Pin::new(&mut this.socket).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => (),
                other => return other,
            }
            if this.place == Place::Between && !this.is_shut {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            timer: Box::pin(tokio::time::sleep(LINGER)),
            bytes_left: LINGER_BYTES_MAX,
        });
        let mut scratch = [0; 4096];
        while linger.bytes_left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    linger.bytes_left = linger.bytes_left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return linger.timer.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}
