//! What the owner of a [`Server`](crate::Server) answers itself, and what it is told.
//!
//! Static dispatch: a server is generic over one [`Hooks`], so that metrics cost what they cost
//! and nothing more. It deliberately passes borrowed data: whoever wants to keep it copies it.
//!
//! Invariant: every exchange ends in one [`Hooks::finished`]; it was preceded by one
//! [`Hooks::started`] unless its outcome is [`Outcome::Local`].

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};

use crate::trace::TraceContext;

/// What the owner of a server answers itself and wants to know. `()` wants nothing.
pub trait Hooks: Send + Sync + 'static {
    /// Answers a request without forwarding it; asked before the router. Must not block.
    fn local(&self, _request: &Parts) -> Option<Response<Bytes>> {
        None
    }

    /// Settles whether the trace of a request is recorded; asked once, before anybody is told.
    fn sample(&self, _trace: &mut TraceContext) {}

    /// Whether [`Exchange::user_agent`] is wanted.
    fn wants_user_agent(&self) -> bool {
        false
    }

    /// Lets a request for a target in, or answers in its place; asked after [`Hooks::local`]. May
    /// change the fields that the target gets. `client` is who asks, through trusted proxies.
    fn admit(
        &self,
        _request: &mut Parts,
        _client: IpAddr,
    ) -> impl Future<Output = Admission> + Send {
        std::future::ready(Admission::Pass(HeaderMap::new()))
    }

    /// A request is for a target, or refused: whatever [`Hooks::local`] left.
    fn started(&self) {}

    /// An exchange ended: the last byte of the response body was handed to the connection, or
    /// the exchange was cut.
    fn finished(&self, _exchange: &Exchange<'_>) {}

    /// A connection was refused before there was a request.
    fn refused(&self, _refusal: Refusal, _client: IpAddr) {}
}

impl Hooks for () {}

/// Whether a request is let in.
#[derive(Debug)]
pub enum Admission {
    /// It is; the answer gets these fields.
    Pass(HeaderMap),
    /// It is not, and this is the answer.
    Refuse(Response<Bytes>),
}

/// One finished exchange.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// Method of the request.
    pub method: &'a Method,
    /// Path of the request, without the query. From the client: may hold anything.
    pub path: &'a str,
    /// `Host` of the request, without the port; empty when there was none.
    pub host: &'a str,
    /// Protocol the client spoke.
    pub version: Version,
    /// Label of the matched route; `None` when nothing matched or the answer was local.
    pub route: Option<&'a str>,
    /// Name of the upstream that answered, or should have.
    pub upstream: Option<&'a str>,
    /// Status that was sent; `None` when the client left before.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the last byte of the request head to the last byte of the response body.
    pub duration: Duration,
    /// Body bytes read from the client.
    pub bytes_in: u64,
    /// Body bytes handed to the client's connection.
    pub bytes_out: u64,
    /// Trace of the request, with the span of this hop.
    pub trace: &'a TraceContext,
    /// `x-request-id`.
    pub request_id: &'a str,
    /// Address of the client, through trusted proxies.
    pub client: IpAddr,
    /// `user-agent`, when [`Hooks::wants_user_agent`] and it is ASCII. From the client: may hold
    /// anything.
    pub user_agent: Option<&'a str>,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream's answer was passed on whole.
    Forwarded,
    /// [`Hooks::local`] answered.
    Local,
    /// We answered: a static file, or that there is no route.
    Served,
    /// We refused the request: malformed, too large, draining.
    Refused,
    /// No connection to the upstream: 503.
    Unavailable,
    /// The upstream broke off: 502 before its head, a cut body after it.
    UpstreamFailed,
    /// The upstream did not answer in time: 504.
    TimedOut,
    /// The client left, or stalled, before the end.
    ClientLeft,
    /// Became a tunnel, which has now closed.
    Tunnel,
}

impl Outcome {
    /// The outcome as one word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Local => "local",
            Self::Served => "served",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::UpstreamFailed => "upstream_failed",
            Self::TimedOut => "timed_out",
            Self::ClientLeft => "client_left",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Why a connection was refused before there was a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A line ended in a bare LF.
    BareLf,
    /// A header line was folded (obs-fold).
    FoldedLine,
    /// `Content-Length` more than once, or not a plain number.
    Length,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndEncoding,
    /// A `Transfer-Encoding` other than one `chunked`.
    Encoding,
    /// A chunk header that is not one.
    Chunk,
    /// Anything else that hyper refuses: the head is not HTTP, or is too large.
    Malformed,
    /// The head, a body or a read of the response took too long.
    TooSlow,
}

impl Refusal {
    /// The refusal as one word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::FoldedLine => "folded_line",
            Self::Length => "length",
            Self::LengthAndEncoding => "length_and_encoding",
            Self::Encoding => "encoding",
            Self::Chunk => "chunk",
            Self::Malformed => "malformed",
            Self::TooSlow => "too_slow",
        }
    }
}
