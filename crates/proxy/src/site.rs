//! A built site as a target: files of one directory, with the headers a browser should see.
//!
//! This module decides what is answered; `names` which file a path means and how long it is kept,
//! `beneath` what may be read, `conditions` whether all of it is sent, and `shelf` keeps what is
//! small and was read before. It deliberately compresses nothing itself and lists no directory.
//!
//! Invariant: every file that is sent lies inside the directory after all links are followed, is
//! what is there at that moment, and no part of its path begins with a dot (but `.well-known`).

mod beneath;
mod body;
mod conditions;
mod encoding;
mod found;
mod names;
mod shelf;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

pub(crate) use self::body::SiteBody;
use self::conditions::{Wanted, wanted};
use self::encoding::Encodings;
use self::found::{Content, Found, Lookup, find};
use self::shelf::{SETTLE_SECONDS, Shelf};
use crate::page::problem;

/// Content security policy unless the manifest says otherwise: what no site misses.
pub const DEFAULT_CSP: &str = "frame-ancestors 'self'; base-uri 'self'; object-src 'none'";

/// How a site is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteSettings {
    /// Whether a path that is no file is answered with `index.html`.
    pub is_spa: bool,
    /// `Content-Security-Policy`.
    pub content_security_policy: String,
    /// More response headers; one of the same name replaces ours.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self { is_spa: false, content_security_policy: DEFAULT_CSP.to_owned(), headers: Vec::new() }
    }
}

/// A directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// There is no such directory.
    #[error("cannot serve `{path}`: {source}\nhelp: build the site first, or name its directory")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The policy cannot be a header.
    #[error("`{policy}` is not a content security policy")]
    Policy {
        /// The policy.
        policy: String,
    },
}

/// A directory that is served.
#[derive(Debug)]
pub struct Site {
    files: Arc<Files>,
    is_spa: bool,
}

/// What is read, here or where blocking is allowed.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    /// What every answer has.
    headers: HeaderMap,
    shelf: Shelf,
}

impl Site {
    /// Serves a directory.
    ///
    /// # Errors
    /// When it does not exist, or the policy cannot be a header.
    pub fn new(directory: &Path, settings: &SiteSettings) -> Result<Arc<Self>, SiteError> {
        Self::with_patience(directory, settings, SETTLE_SECONDS)
    }

    /// The same, with the time that a file has to be left alone before it is kept in memory.
    fn with_patience(
        directory: &Path,
        settings: &SiteSettings,
        settle_seconds: u64,
    ) -> Result<Arc<Self>, SiteError> {
        let unreadable = |source| SiteError::Unreadable { path: directory.to_path_buf(), source };
        if !std::fs::metadata(directory).map_err(unreadable)?.is_dir() {
            return Err(unreadable(io::ErrorKind::NotADirectory.into()));
        }
        let policy = &settings.content_security_policy;
        let policy = HeaderValue::from_str(policy)
            .map_err(|_| SiteError::Policy { policy: policy.clone() })?;
        let fixed = HeaderValue::from_static;
        let name = HeaderName::from_static;
        let mut headers = HeaderMap::from_iter([
            (CONTENT_SECURITY_POLICY, policy),
            (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (REFERRER_POLICY, fixed("strict-origin-when-cross-origin")),
            (name("cross-origin-opener-policy"), fixed("same-origin")),
            (name("x-permitted-cross-domain-policies"), fixed("none")),
            (name("x-frame-options"), fixed("SAMEORIGIN")),
        ]);
        for (name, value) in &settings.headers {
            headers.insert(name, value.clone());
        }
        let directory = directory.to_path_buf();
        let shelf = Shelf::new(directory.clone(), settle_seconds);
        let files = Arc::new(Files { directory, headers, shelf });
        Ok(Arc::new(Self { files, is_spa: settings.is_spa }))
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: &Parts) -> Response<SiteBody> {
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        if !is_read {
            let mut response = self.empty(StatusCode::METHOD_NOT_ALLOWED, HeaderMap::new());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return response;
        }
        let accepted = Encodings::of(&request.headers);
        let mut looked_up = match names::below(request.uri.path()) {
            Some(name) => self.look_up(&name, accepted).await,
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if looked_up.as_ref().is_err_and(is_missing) && self.belongs_to_app(request) {
            looked_up = self.look_up(names::INDEX, accepted).await;
        }
        match looked_up {
            Ok(Lookup::Found(found)) => self.send(request, &found),
            Ok(Lookup::Directory) => self.redirect(request),
            Err(error) => self.failed(request, &error),
        }
    }

    async fn look_up(&self, name: &str, accepted: Encodings) -> io::Result<Lookup> {
        if let Some(found) = self.files.shelf.get(name, &accepted) {
            return Ok(Lookup::Found(found));
        }
        let (files, name) = (Arc::clone(&self.files), name.to_owned());
        let done = tokio::task::spawn_blocking(move || {
            let looked_up = find(&files.directory, &name, &accepted, &files.headers);
            if let Ok(Lookup::Found(found)) = &looked_up {
                files.shelf.put(&name, found);
            }
            looked_up
        });
        done.await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }

    fn send(&self, request: &Parts, found: &Found) -> Response<SiteBody> {
        let n_bytes = found.n_bytes();
        let Parts { method, headers, .. } = request;
        let range = match wanted(method, headers, &found.tag, found.modified, n_bytes) {
            Wanted::Failed => return self.empty(StatusCode::PRECONDITION_FAILED, HeaderMap::new()),
            Wanted::NotModified => {
                let mut response = self.empty(StatusCode::NOT_MODIFIED, found.headers.clone());
                for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, ACCEPT_RANGES] {
                    response.headers_mut().remove(name);
                }
                return response;
            }
            Wanted::OutOfRange => {
                let mut response = self.empty(StatusCode::RANGE_NOT_SATISFIABLE, HeaderMap::new());
                response.headers_mut().extend(content_range(&format!("*/{n_bytes}")));
                return response;
            }
            Wanted::Part(range) => range,
            Wanted::Whole => 0..n_bytes,
        };
        let is_whole = range.end - range.start == n_bytes;
        let mut fields = found.headers.clone();
        if !is_whole {
            let (first, last) = (range.start, range.end - 1);
            fields.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            fields.extend(content_range(&format!("{first}-{last}/{n_bytes}")));
        }
        let body = match &found.content {
            _ if request.method == Method::HEAD => SiteBody::Page(None),
            Content::Whole(bytes) => SiteBody::part(bytes, range),
            Content::Open(_) => match found.take_file() {
                Some(file) => SiteBody::stream(file, range),
                None => SiteBody::Page(None),
            },
        };
        let mut response = Response::new(body);
        if !is_whole {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        *response.headers_mut() = fields;
        response
    }

    /// Where the page of a directory is. One slash at the front: two would begin a host.
    fn redirect(&self, request: &Parts) -> Response<SiteBody> {
        let path = request.uri.path().trim_start_matches('/');
        let query = request.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let mut response = self.empty(StatusCode::TEMPORARY_REDIRECT, HeaderMap::new());
        if let Ok(location) = HeaderValue::from_str(&format!("/{path}/{query}")) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    fn failed(&self, request: &Parts, error: &io::Error) -> Response<SiteBody> {
        let (status, detail) = if is_missing(error) {
            (StatusCode::NOT_FOUND, "there is no such page")
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read")
        };
        let mut response = problem(&request.headers, status, None, detail, None);
        for (name, value) in &self.files.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response.map(|page: Bytes| SiteBody::Page(Some(page)))
    }

    fn empty(&self, status: StatusCode, headers: HeaderMap) -> Response<SiteBody> {
        let mut response = Response::new(SiteBody::Page(None));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        for (name, value) in &self.files.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    /// Whether a path that is no file is a page of the application, and not a missing asset.
    fn belongs_to_app(&self, request: &Parts) -> bool {
        let path = request.uri.path();
        let last = path.rsplit('/').next().unwrap_or_default();
        let wants_page = request
            .headers
            .get(ACCEPT)
            .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some());
        self.is_spa && !names::is_hidden(path) && (wants_page || !last.contains('.'))
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidInput
    )
}

fn content_range(range: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((CONTENT_RANGE, HeaderValue::from_str(&format!("bytes {range}")).ok()?))
}

#[cfg(test)]
mod tests;
