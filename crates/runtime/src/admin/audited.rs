//! What is asked of an admin endpoint that changes something: recorded before it is done.
//!
//! A deed is on the disk of the audit log before it has an effect, and is refused when that cannot
//! be; what came of it otherwise is noted behind it. It deliberately judges nobody: who may ask is
//! the endpoint's affair. Without an audit log nothing here has an effect but the request id.
//!
//! Invariant: with an audit log, no deed of [`DEEDS`] has an effect without a record on the disk.

use contract::endpoints::{self, Endpoint, Listeners};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Bytes;
use serde_json::Map;

use super::Peer;
use super::answer::refuse;
use crate::audit::{Entry, Outcome, Unkept};

/// Endpoints that change something, and what a record calls that.
const DEEDS: [(Endpoint, &str); 5] = [
    (endpoints::DRAIN, "drain"),
    (endpoints::HOLD, "unready"),
    (endpoints::RELEASE, "ready"),
    (endpoints::DEAD_RETRY, "dead_letter.retry"),
    (endpoints::DEAD_DROP, "dead_letter.drop"),
];

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who is at the other end of a connection, for a record: an address, or the process that opened
/// the socket, as the kernel knows it.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

impl Caller {
    /// A process on this host.
    pub(super) fn of_socket(credentials: Option<tokio::net::unix::UCred>) -> Self {
        Self(match credentials {
            None => "socket".to_owned(),
            Some(who) => match who.pid() {
                Some(pid) => format!("uid {}, pid {pid}", who.uid()),
                None => format!("uid {}", who.uid()),
            },
        })
    }
}

/// Something that is asked for.
#[derive(Debug)]
pub(super) struct Deed {
    action: &'static str,
    actor: String,
    target: String,
    request_id: HeaderValue,
    /// Whether who asks may not.
    pub(super) is_forbidden: bool,
}

impl Deed {
    /// The deed that a request asks for; `None` when it changes nothing.
    pub(super) fn of<B>(endpoint: &Endpoint, request: &Request<B>, peer: Peer) -> Option<Self> {
        let (_, action) = DEEDS.iter().find(|(deed, _)| deed == endpoint)?;
        let is_forbidden = match endpoint.listeners {
            Listeners::Socket => peer != Peer::Socket,
            Listeners::Admin | Listeners::AdminAndIngress => !peer.is_local(),
        };
        let caller = request.extensions().get::<Caller>();
        Some(Self {
            action,
            actor: caller.map_or_else(|| "unknown".to_owned(), |caller| caller.0.clone()),
            target: request.uri().path().to_owned(),
            request_id: proxy::request_id(request.headers()),
            is_forbidden,
        })
    }

    /// What is recorded of it.
    pub(super) fn entry(&self, outcome: Outcome, status: Option<StatusCode>) -> Entry {
        let id = self.request_id.to_str().unwrap_or_default();
        let mut details = Map::from_iter([("request_id".to_owned(), id.into())]);
        if let Some(status) = status {
            details.insert("status".to_owned(), status.as_u16().into());
        }
        Entry {
            action: self.action,
            actor: self.actor.clone(),
            target: self.target.clone(),
            outcome,
            details,
        }
    }

    /// Says that it was not done, because it could not be recorded.
    pub(super) fn refused(&self, why: &Unkept) -> Response<Bytes> {
        let error = format!(
            "`{}` was not done, because the audit log cannot be kept: {why}\n\
             help: make room for the file of `--audit-log`, and ask again",
            self.action
        );
        refuse(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// Names the request in its answer.
    pub(super) fn name(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.request_id.clone());
    }
}
