//! A connection whose framing is checked before an HTTP/1 server reads it, for listeners that do
//! not forward.
//!
//! What stands in front of such a listener may read two lengths, or a length and an encoding,
//! otherwise than hyper does: so they are refused here by the same machine as at the service port.
//! It deliberately has no timeouts and honours no upgrade: both are its owner's affair.
//!
//! Invariant: the server never sees a byte behind a refused one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client_io::POISON;
use crate::framing::Framing;

/// A connection with its framing checked.
#[derive(Debug)]
pub struct Checked<S> {
    stream: S,
    framing: Framing,
    /// Whether a byte was refused: the rest is not read.
    is_shut: bool,
}

impl<S> Checked<S> {
    /// Checks what is read from a connection, from its first byte on.
    pub fn new(stream: S) -> Self {
        Self { stream, framing: Framing::without_upgrades(), is_shut: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Checked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_shut {
            // An end: hyper has answered, or will, and closes.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let Err(violation) = this.framing.follow(&buf.filled()[before..]) else {
            return Poll::Ready(Ok(()));
        };
        this.is_shut = true;
        buf.set_filled(before + violation.n_valid);
        if violation.is_in_head {
            let room = buf.remaining().min(POISON.len());
            buf.put_slice(&POISON[..room]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Checked<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
