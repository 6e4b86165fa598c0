//! The HTTP API. Health, access logs and drains are not its business: whoever runs it sees to
//! those.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/documents` | 201 or 200, the document |
//! | `GET /v1/documents?limit&after&status` | `{documents, next}` |
//! | `GET /v1/documents/{id}` | the document |
//! | `GET /v1/documents/{id}/text?from&limit&q` | `{lines, next}`; lines carry marks for `q` |
//! | `GET /v1/documents/{id}/file` | the file, with ranges |
//! | `POST /v1/documents/{id}/retry` | 202, the document |
//! | `DELETE /v1/documents/{id}` | 204 |
//! | `GET /v1/search?q&limit&offset` | `{total, hits}` |
//! | `GET /v1/stats` | counts |
//! | `GET /metrics` | Prometheus text |

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tower_http::services::ServeFile;

use crate::blobs::Blobs;
use crate::documents::{self, Cursor, Document, Line, Status};
use crate::metrics::{BackendMetrics, CONTENT_TYPE};
use crate::problem::Problem;
use crate::queue;
use crate::search;
use crate::store::Store;
use crate::upload;

const LIST_LIMIT: i64 = 50;
const LIST_LIMIT_MAX: i64 = 200;
const SEARCH_LIMIT: i64 = 20;
const SEARCH_LIMIT_MAX: i64 = 100;
const SEARCH_OFFSET_MAX: i64 = 10_000;
const QUERY_CHARS_MAX: usize = 1_000;
const TEXT_LIMIT: i64 = 500;
const TEXT_LIMIT_MAX: i64 = 5_000;

/// What every handler shares.
#[derive(Debug, Clone)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The files.
    pub blobs: Blobs,
    /// The counters.
    pub metrics: BackendMetrics,
    /// Room for uploads.
    pub uploads: Arc<Semaphore>,
}

impl App {
    /// An application over an open store.
    pub fn new(store: Store, blobs: Blobs) -> Result<Self, prometheus::Error> {
        let uploads = Arc::new(Semaphore::new(upload::UPLOADS_MAX));
        Ok(Self { store, blobs, metrics: BackendMetrics::new()?, uploads })
    }
}

/// The routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/v1/documents", get(list).post(upload::post))
        .route("/v1/documents/{id}", get(fetch).delete(delete))
        .route("/v1/documents/{id}/text", get(text))
        .route("/v1/documents/{id}/file", get(file))
        .route("/v1/documents/{id}/retry", post(retry))
        .route("/v1/search", get(find))
        .route("/v1/stats", get(stats))
        .route("/metrics", get(metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        // `upload` has its own limit, and counts what really arrives.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// Query parameters, with errors in our form.
struct Parameters<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let query =
            query.map_err(|error: QueryRejection| Problem::bad_parameter(error.body_text()));
        Ok(Self(query?.0))
    }
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    limit: Option<i64>,
    after: Option<String>,
    status: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listing {
    documents: Vec<Document>,
    next: Option<String>,
}

async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Listing>, Problem> {
    let limit = query.limit.unwrap_or(LIST_LIMIT).clamp(1, LIST_LIMIT_MAX);
    let status = match query.status.as_deref() {
        None | Some("") => None,
        Some(name) => Some(Status::named(name).ok_or_else(|| {
            let known = documents::STATUSES.map(Status::name).join(", ");
            Problem::bad_parameter(format!("`status` is none of {known}"))
        })?),
    };
    let cursor = query.after.as_deref().map(parse_cursor).transpose()?;
    let mut documents = documents::list(&app.store, status, cursor.as_ref(), limit + 1).await?;
    let has_more = documents.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        documents.pop();
    }
    let last = documents.last().filter(|_| has_more);
    let next = last.map(|document| format!("{}-{}", document.created_ms, document.id));
    Ok(Json(Listing { documents, next }))
}

fn parse_cursor(after: &str) -> Result<Cursor, Problem> {
    let parsed = after.split_once('-').and_then(|(created_ms, id)| {
        Some(Cursor { created_ms: created_ms.parse().ok()?, id: checked_id(id)?.to_owned() })
    });
    parsed.ok_or_else(|| Problem::bad_parameter("`after` is not the `next` of a list"))
}

/// An id is 64 hexadecimal digits; anything else never reaches the database or a path.
fn checked_id(id: &str) -> Option<&str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (id.len() == 64 && id.bytes().all(is_digit)).then_some(id)
}

async fn find_document(app: &App, id: &str) -> Result<Document, Problem> {
    let id = checked_id(id).ok_or_else(|| Problem::no_document(id))?;
    documents::get(&app.store, id).await?.ok_or_else(|| Problem::no_document(id))
}

async fn fetch(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Document>, Problem> {
    Ok(Json(find_document(&app, &id).await?))
}

async fn delete(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = checked_id(&id).ok_or_else(|| Problem::no_document(&id))?;
    let was_there = documents::delete(&app.store, &app.blobs, id).await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_document(id)) }
}

async fn retry(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let document = find_document(&app, &id).await?;
    if !matches!(document.status, Status::Failed | Status::NeedsOcr) {
        let detail = format!("the document is `{}`", document.status.name());
        return Err(Problem::new(StatusCode::CONFLICT, "document_not_failed", detail));
    }
    queue::requeue_one(&app.store, &document.id, document.status).await?;
    Ok((StatusCode::ACCEPTED, Json(find_document(&app, &id).await?)).into_response())
}

#[derive(Debug, Deserialize)]
struct TextQuery {
    from: Option<i64>,
    limit: Option<i64>,
    q: Option<String>,
}

#[derive(Debug, Serialize)]
struct MarkedLine {
    #[serde(flatten)]
    line: Line,
    marks: Vec<(usize, usize)>,
}

#[derive(Debug, Serialize)]
struct Text {
    lines: Vec<MarkedLine>,
    next: Option<i64>,
}

async fn text(
    State(app): State<App>,
    Path(id): Path<String>,
    Parameters(query): Parameters<TextQuery>,
) -> Result<Json<Text>, Problem> {
    let document = find_document(&app, &id).await?;
    let from = query.from.unwrap_or(0).max(0);
    let limit = query.limit.unwrap_or(TEXT_LIMIT).clamp(1, TEXT_LIMIT_MAX);
    let phrases = parse_query(query.q.as_deref())?;
    let lines = documents::lines(&app.store, &document.id, from, limit).await?;
    let next = lines.last().map(|line| line.position + 1).filter(|n| *n < document.sentences);
    let marked = |line: Line| MarkedLine { marks: search::marks(&line.text, &phrases), line };
    Ok(Json(Text { lines: lines.into_iter().map(marked).collect(), next }))
}

/// The file as it came. Types that a browser would run are never sent: none is ever accepted.
async fn file(
    State(app): State<App>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let document = find_document(&app, &id).await?;
    let mut service = ServeFile::new(app.blobs.path(&document.id));
    let mut response = service.try_call(request).await?.into_response();
    if response.status() == StatusCode::NOT_FOUND {
        return Err(Problem::no_document(&id));
    }
    let media_type = match document.media_type.as_str() {
        "text/plain" => "text/plain; charset=utf-8",
        other => other,
    };
    let disposition = format!("inline; filename*=UTF-8''{}", percent_encode(&document.name));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_DISPOSITION, &disposition),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "private, max-age=3600"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

fn percent_encode(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

#[derive(Debug, Deserialize)]
struct SearchQuery {
    q: Option<String>,
    limit: Option<i64>,
    offset: Option<i64>,
}

async fn find(
    State(app): State<App>,
    Parameters(query): Parameters<SearchQuery>,
) -> Result<Json<search::Found>, Problem> {
    let phrases = parse_query(query.q.as_deref())?;
    let limit = query.limit.unwrap_or(SEARCH_LIMIT).clamp(1, SEARCH_LIMIT_MAX);
    let offset = query.offset.unwrap_or(0).clamp(0, SEARCH_OFFSET_MAX);
    let timer = app.metrics.search_duration.start_timer();
    let found = search::search(&app.store, &phrases, limit, offset).await;
    timer.observe_duration();
    Ok(Json(found?))
}

fn parse_query(query: Option<&str>) -> Result<Vec<search::Phrase>, Problem> {
    let query = query.unwrap_or("");
    if query.chars().count() > QUERY_CHARS_MAX {
        let detail = format!("`q` is longer than {QUERY_CHARS_MAX} characters");
        return Err(Problem::bad_parameter(detail));
    }
    Ok(search::parse(query))
}

#[derive(Debug, Serialize)]
struct Stats {
    documents: i64,
    by_status: BTreeMap<&'static str, i64>,
    queue: queue::Depth,
}

async fn stats(State(app): State<App>) -> Result<Json<Stats>, Problem> {
    let counts = documents::count(&app.store).await?;
    Ok(Json(Stats {
        documents: counts.iter().map(|(_, n)| n).sum(),
        by_status: counts.into_iter().map(|(status, n)| (status.name(), n)).collect(),
        queue: queue::depth(&app.store).await?,
    }))
}

/// Answers without the database as well: then the gauges keep their last values.
async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    if let Ok(counts) = documents::count(&app.store).await {
        for (status, n) in counts {
            app.metrics.documents.with_label_values(&[status.name()]).set(n);
        }
    }
    let text = app.metrics.encode().map_err(std::io::Error::other)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

async fn no_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "route_unknown", "there is nothing at this address")
}

async fn no_method() -> Problem {
    let detail = "this address does not take that method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_unknown", detail)
}
