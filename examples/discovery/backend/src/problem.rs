//! Errors of the API, as `application/problem+json` (RFC 9457).
//!
//! What went wrong inside is logged, never shown.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::error;

use crate::documents::AddError;

/// An error that a client can act on.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    /// A problem with a stable `code` and a sentence for a person.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// There is no such document.
    pub fn no_document(id: &str) -> Self {
        let id: String = id.chars().take(80).collect();
        Self::new(StatusCode::NOT_FOUND, "document_unknown", format!("there is no document `{id}`"))
    }

    /// A parameter that cannot be used.
    pub fn bad_parameter(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "parameter_invalid", detail)
    }

    /// Whether the client could have avoided it.
    pub fn is_refusal(&self) -> bool {
        self.status.is_client_error()
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        error!(%error, "the database failed");
        let detail = "the database is not available; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", detail)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        error!(%error, "the file system failed");
        if error.kind() == std::io::ErrorKind::StorageFull {
            let detail = "there is no room left for documents";
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", detail);
        }
        let detail = "the document store is not available";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "storage_unavailable", detail)
    }
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Database(error) => error.into(),
            AddError::File(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:discovery:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response =
            (self.status, [(header::CONTENT_TYPE, content_type)], body.to_string()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
