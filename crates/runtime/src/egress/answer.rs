//! Answers of ours, in the place of a dependency that gave none.
//!
//! `application/problem+json` with the word of the outcome in a header of its own, so that a caller
//! can tell our 503 from the dependency's. It deliberately shows no address.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// Says that we answered, and why.
pub const HEADER: HeaderName = HeaderName::from_static("plimsoll-egress");

/// Why there is no answer of the dependency's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too many of the last calls failed.
    BreakerOpen,
    /// Too many calls are under way, and too many wait.
    BulkheadFull,
    /// It took too long.
    Timeout,
    /// No connection could be made.
    Unreachable,
    /// The connection broke off.
    Broken,
    /// No such dependency is declared.
    Unknown,
    /// The path leads out of the declared address.
    Path,
    /// The caller may not call.
    Forbidden,
    /// The body of the request broke off.
    Request,
    /// A secret in the declared header fields could not be resolved.
    Secret,
}

impl Reason {
    /// The reason as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker_open",
            Self::BulkheadFull => "bulkhead_full",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Unknown => "unknown_dependency",
            Self::Path => "path",
            Self::Forbidden => "forbidden",
            Self::Request => "request",
            Self::Secret => "secret",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BreakerOpen | Self::BulkheadFull | Self::Secret => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Unreachable | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Path | Self::Request => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::BreakerOpen => "too many of the last calls failed, so none is made for a while",
            Self::BulkheadFull => "too many calls to the dependency are under way",
            Self::Timeout => "the dependency did not answer in time",
            Self::Unreachable => "no connection to the dependency can be made",
            Self::Broken => "the dependency closed the connection without a complete answer",
            Self::Unknown => "no such dependency is declared in `--egress`",
            Self::Path => "the path leads out of the dependency's declared address",
            Self::Forbidden => "only processes of this host may call through plimsoll",
            Self::Request => "the body of the request broke off or did not come in time",
            Self::Secret => "a secret that the call needs could not be resolved",
        }
    }
}

/// The answer for a reason; `retry_after` when a wait may help.
pub(super) fn refuse(
    reason: Reason,
    dependency: &str,
    retry_after: Option<Duration>,
) -> Response<Bytes> {
    let status = reason.status();
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": reason.detail(),
        "reason": reason.word(),
        "dependency": dependency,
    });
    let mut response = Response::new(Bytes::from(format!("{body}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(HEADER, HeaderValue::from_static(reason.word()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    if reason == Reason::Request {
        // What is left of the body is not waited for.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
