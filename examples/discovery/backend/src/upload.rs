//! Uploads: a form (`curl -F file=@page.pdf`) or the bare bytes (`?name=page.pdf`), streamed to
//! disk in constant memory.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use tokio::time::timeout;

use crate::api::App;
use crate::blobs::{Blobs, Complete};
use crate::documents;
use crate::extract::media_type;
use crate::problem::Problem;

/// The largest document, in bytes.
pub const UPLOAD_BYTES_MAX: u64 = 100 << 20;
/// Uploads at the same time; more are asked to come again.
pub const UPLOADS_MAX: usize = 32;
/// The longest silence in the middle of an upload.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const NAME_CHARS_MAX: usize = 200;

/// `?name=`
#[derive(Debug, Deserialize)]
pub struct UploadQuery {
    name: Option<String>,
}

/// `POST /v1/documents`: 201 for a new document, 200 for one whose bytes are known.
pub async fn post(
    State(app): State<App>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let result = receive(&app, query, request).await;
    let label = match &result {
        Ok((_, true)) => "created",
        Ok((_, false)) => "existing",
        Err(problem) if problem.is_refusal() => "refused",
        Err(_) => "failed",
    };
    app.metrics.uploads.with_label_values(&[label]).inc();
    let (document, is_new) = result?;
    app.metrics.upload_bytes.inc_by(u64::try_from(document.bytes).unwrap_or(0));
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/documents/{}", document.id);
    Ok((status, [(header::LOCATION, location)], Json(document)).into_response())
}

async fn receive(
    app: &App,
    query: UploadQuery,
    request: Request,
) -> Result<(documents::Document, bool), Problem> {
    let Ok(_permit) = app.uploads.try_acquire() else {
        let detail = "too many uploads at once; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "uploads_busy", detail));
    };
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"multipart/form-data"));
    let (complete, name) = if is_form {
        from_form(app, query.name, request).await?
    } else {
        let stream = Body::into_data_stream(request.into_body());
        (save(&app.blobs, stream).await?, query.name)
    };
    if complete.n_bytes == 0 {
        let detail = "the file is empty";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "file_empty", detail));
    }
    let Some(media_type) = media_type(&complete.head) else {
        let detail = "only PDF, PNG, JPEG, TIFF, WebP and plain text can be read";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "file_unsupported", detail));
    };
    let name = file_name(name.as_deref().unwrap_or(""));
    Ok(documents::add(&app.store, &app.blobs, complete, &name, media_type).await?)
}

/// The first part of a form that is a file.
async fn from_form(
    app: &App,
    name: Option<String>,
    request: Request,
) -> Result<(Complete, Option<String>), Problem> {
    let broken = |error: &dyn std::fmt::Display| {
        let detail = format!("the form cannot be read: {error}");
        Problem::new(StatusCode::BAD_REQUEST, "form_invalid", detail)
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(&error))?;
    loop {
        let field = timeout(SILENCE_MAX, form.next_field()).await.map_err(|_| silent())?;
        let Some(field) = field.map_err(|error| broken(&error))? else { break };
        if let Some(file_name) = field.file_name().map(str::to_owned) {
            return Ok((save(&app.blobs, field).await?, name.or(Some(file_name))));
        }
    }
    let detail = "the form holds no file; send one as `curl -F file=@page.pdf`";
    Err(Problem::new(StatusCode::BAD_REQUEST, "form_invalid", detail))
}

async fn save<E: std::fmt::Display>(
    blobs: &Blobs,
    mut stream: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Complete, Problem> {
    let mut incoming = blobs.create()?;
    while let Some(chunk) = timeout(SILENCE_MAX, stream.next()).await.map_err(|_| silent())? {
        let chunk = chunk.map_err(|error| {
            let detail = format!("the upload broke off: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "upload_incomplete", detail)
        })?;
        if incoming.write(&chunk).await? > UPLOAD_BYTES_MAX {
            let detail = format!("a document can have {} MB at most", UPLOAD_BYTES_MAX >> 20);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", detail));
        }
    }
    Ok(incoming.finish().await?)
}

fn silent() -> Problem {
    let detail = format!("nothing was received for {} s", SILENCE_MAX.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "upload_silent", detail)
}

/// The last component of whatever path a browser sent, without control characters.
pub fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or("");
    let visible = last.chars().filter(|c| !c.is_control() && !is_direction_mark(*c));
    let name: String = visible.take(NAME_CHARS_MAX).collect();
    match name.trim() {
        "" | "." | ".." => "untitled".to_owned(),
        name => name.to_owned(),
    }
}

/// Marks that turn `exe.fdp` into `pdf.exe` on a screen.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_never_paths() {
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("C:\\fakepath\\été.pdf"), "été.pdf");
        assert_eq!(file_name("a\0b\n.txt"), "ab.txt");
        assert_eq!(file_name("a/.."), "untitled");
        assert_eq!(file_name(&"x".repeat(1000)).len(), NAME_CHARS_MAX);
    }
}
