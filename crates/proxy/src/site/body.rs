//! The body of an answer of a site.
//!
//! What is in memory is one piece. What is not is read piece by piece where blocking is allowed,
//! each when there is room for it. It deliberately reads nothing ahead.
//!
//! Invariant: a body is as long as was said, or ends in an error.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::found::read_piece;
use crate::limits::BUFFER_BYTES_MAX;

/// The body of an answer of a site.
#[derive(Debug)]
pub(crate) enum SiteBody {
    /// In memory.
    Page(Option<Bytes>),
    /// On the disk.
    Stream(Stream),
}

/// What is left of a file that is sent.
#[derive(Debug)]
pub(crate) struct Stream {
    left: Range<u64>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle(File),
    Reading(JoinHandle<(File, io::Result<Bytes>)>),
    Over,
}

impl SiteBody {
    /// A part of what is in memory.
    pub(super) fn part(bytes: &Bytes, range: Range<u64>) -> Self {
        let at = |place: u64| usize::try_from(place).map_or(bytes.len(), |it| it.min(bytes.len()));
        let part = bytes.slice(at(range.start)..at(range.end));
        Self::Page(Some(part).filter(|part| !part.is_empty()))
    }

    /// A part of a file.
    pub(super) fn stream(file: File, left: Range<u64>) -> Self {
        Self::Stream(Stream { left, state: State::Idle(file) })
    }
}

impl Stream {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let n_left = self.left.end - self.left.start;
        if n_left == 0 {
            self.state = State::Over;
        }
        if let State::Idle(_) = &self.state
            && let State::Idle(mut file) = std::mem::replace(&mut self.state, State::Over)
        {
            let n_bytes = usize::try_from(n_left)
                .map_or(BUFFER_BYTES_MAX, |n_left| n_left.min(BUFFER_BYTES_MAX));
            let at = self.left.start;
            self.state = State::Reading(tokio::task::spawn_blocking(move || {
                let piece = read_piece(&mut file, at, n_bytes);
                (file, piece)
            }));
        }
        let State::Reading(reading) = &mut self.state else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(cx));
        self.state = State::Over;
        let piece = match read {
            // Shorter than it was when its length was said.
            Ok((_, Ok(piece))) if piece.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((file, Ok(piece))) => {
                self.left.start += piece.len() as u64;
                self.state = State::Idle(file);
                Ok(piece)
            }
            Ok((_, Err(error))) => Err(error),
            Err(gone) => Err(io::Error::other(gone)),
        };
        Poll::Ready(Some(piece))
    }
}

impl Body for SiteBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Page(page) => Poll::Ready(page.take().map(|page| Ok(Frame::data(page)))),
            Self::Stream(stream) => {
                stream.poll_piece(cx).map(|piece| piece.map(|it| it.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(page) => page.is_none(),
            Self::Stream(stream) => stream.left.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Page(page) => page.as_ref().map_or(0, |page| page.len() as u64),
            Self::Stream(stream) => stream.left.end - stream.left.start,
        })
    }
}
