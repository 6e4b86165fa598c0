//! One HTTP/1.1 connection to an application, driven by whoever uses it.
//!
//! Hyper splits a client connection into a handle and a future, and the usual thing is to spawn the
//! future. Here the exchange polls it itself: one task instead of two per request, no wake-up from
//! one to the other, and dropping the exchange closes the socket, so that the application sees
//! its client leave. The price is that an idle connection only notices its end when it is polled,
//! which [`Link::is_alive`] does. When a response begins before the request body has ended, the future
//! is spawned after all ([`Link::detach`]): the two directions must not wait for each other.
//!
//! Invariant: between two exchanges a link has neither unread response bytes nor unsent
//! request bytes.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use crate::body::RequestBody;
use crate::limits::{BUFFER_BYTES_MAX, HEADERS_MAX};
use crate::upstream::Stream;

/// A request on its way.
pub(crate) type Outgoing = http::Request<RequestBody>;

type Driver = Connection<TokioIo<Stream>, RequestBody>;

/// One connection to an application.
#[derive(Debug)]
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    /// `None` once it has ended or runs on its own.
    driver: Option<Box<Driver>>,
    /// The socket, after an upgrade.
    upgraded: Option<(Stream, Bytes)>,
    /// Whether it has carried an exchange before.
    is_reused: bool,
}

/// Why an exchange has no response.
#[derive(Debug)]
pub(crate) struct SendError {
    /// The request, when not a byte of it was sent.
    pub(crate) unsent: Option<Box<Outgoing>>,
}

impl Link {
    /// Speaks HTTP/1.1 over a socket.
    pub(crate) async fn open(stream: Stream) -> io::Result<Self> {
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        debug_assert_eq!(HEADERS_MAX, 100, "hyper's own default keeps its table on the stack");
        let (sender, driver) =
            builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Some(Box::new(driver)), upgraded: None, is_reused: false })
    }

    /// Whether it can carry an exchange now. Notices what the application closed.
    pub(crate) fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.is_reused = true;
        self.drive(&mut cx).is_pending() && self.sender.is_ready()
    }

    /// Whether it has carried an exchange before, and may therefore have been closed meanwhile.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Sends a request and waits for the head of its response.
    pub(crate) async fn send(
        &mut self,
        request: Outgoing,
    ) -> Result<http::Response<Incoming>, SendError> {
        let mut response = pin!(self.sender.try_send_request(request));
        let mut driver = self.driver.as_mut();
        let mut upgraded = None;
        let answer = std::future::poll_fn(|cx| {
            if let Some(running) = driver.as_mut()
                && let Poll::Ready(ended) = running.poll_without_shutdown(cx)
            {
                upgraded = Some(ended.is_ok());
                driver = None;
            }
            response.as_mut().poll(cx)
        })
        .await;
        if let Some(is_whole) = upgraded {
            let driver = self.driver.take();
            if let Some(driver) = driver.filter(|_| is_whole) {
                let parts = driver.into_parts();
                self.upgraded = Some((parts.io.into_inner(), parts.read_buf));
            }
        }
        answer.map_err(|mut failed| SendError { unsent: failed.take_message().map(Box::new) })
    }

    /// Lets the connection make progress; ready when it has ended.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(driver) = self.driver.as_mut() else { return Poll::Ready(()) };
        let ended = driver.poll_without_shutdown(cx).map(|_| ());
        if ended.is_ready() {
            self.driver = None;
        }
        ended
    }

    /// Lets the connection run on its own until its exchange has ended.
    pub(crate) fn detach(mut self) {
        if let Some(driver) = self.driver.take() {
            // The handle lives as long as the task, or hyper would close after the response head.
            let sender = self.sender;
            tokio::spawn(async move {
                let _ended = driver.await;
                drop(sender);
            });
        }
    }

    /// The socket and what was already read from it, after a 101.
    pub(crate) async fn into_upgraded(mut self) -> Option<(Stream, Bytes)> {
        if let Some(mut driver) = self.driver.take() {
            std::future::poll_fn(|cx| driver.poll_without_shutdown(cx)).await.ok()?;
            let parts = driver.into_parts();
            return Some((parts.io.into_inner(), parts.read_buf));
        }
        self.upgraded
    }
}
