//! A built site as a target: files of one directory, with the headers a browser should see.
//!
//! [`ServeDir`] does ranges, conditional requests, strong entity tags, and picks `.br` and `.gz`
//! files; this module decides what may be read, what is cached for how long, and when a path
//! belongs to the single-page application. It deliberately compresses nothing itself, lists no
//! directory, and keeps nothing in memory: a rebuilt site is served at once.
//!
//! Invariant: every file that is opened lies inside the directory after all links are followed,
//! and no part of its path below it begins with a dot (but `.well-known`).

use std::future::Future;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, ServeFileSystemResponseBody, TokioFile};

use crate::page::problem;

/// Content security policy unless the manifest says otherwise: what no site misses.
pub const DEFAULT_CSP: &str = "frame-ancestors 'self'; base-uri 'self'; object-src 'none'";

/// For a year, and never asked again: the name changes with the content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Asked again every time; an unchanged file costs a 304.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Directories in which bundlers put nothing but hashed names.
const ASSET_DIRECTORIES: &[&str] = &["assets", "_next", "_app", "_astro", "static", "build"];

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
pub struct Site {
    files: ServeDir<tower_http::services::fs::DefaultServeDirFallback, Inside>,
    headers: Vec<(HeaderName, HeaderValue)>,
    is_spa: bool,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("is_spa", &self.is_spa).finish_non_exhaustive()
    }
}

impl Site {
    /// Serves a directory.
    ///
    /// # Errors
    /// When it does not exist, or the policy cannot be a header.
    pub fn new(directory: &Path, settings: &SiteSettings) -> Result<Arc<Self>, SiteError> {
        let unreadable = |source| SiteError::Unreadable { path: directory.to_path_buf(), source };
        if !std::fs::metadata(directory).map_err(unreadable)?.is_dir() {
            return Err(unreadable(io::ErrorKind::NotADirectory.into()));
        }
        let policy = &settings.content_security_policy;
        let policy = HeaderValue::from_str(policy)
            .map_err(|_| SiteError::Policy { policy: policy.clone() })?;
        let fixed = HeaderValue::from_static;
        let name = HeaderName::from_static;
        let mut headers = vec![
            (CONTENT_SECURITY_POLICY, policy),
            (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (REFERRER_POLICY, fixed("strict-origin-when-cross-origin")),
            (name("cross-origin-opener-policy"), fixed("same-origin")),
            (name("x-permitted-cross-domain-policies"), fixed("none")),
            (name("x-frame-options"), fixed("SAMEORIGIN")),
        ];
        headers.extend(settings.headers.iter().cloned());
        let inside = Inside { root: Arc::from(directory) };
        let files =
            ServeDir::with_backend(directory, inside).precompressed_br().precompressed_gzip();
        Ok(Arc::new(Self { files, headers, is_spa: settings.is_spa }))
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: &Parts) -> Response<SiteBody> {
        let mut response = self.file(request, request.uri.clone()).await;
        if response.status() == StatusCode::NOT_FOUND && self.belongs_to_app(request) {
            response = self.file(request, Uri::from_static("/index.html")).await;
        }
        let is_html = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let may_be_kept =
            response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
        if may_be_kept {
            let is_immutable = !is_html && has_hashed_name(request.uri.path());
            let value = if is_immutable { IMMUTABLE } else { NO_CACHE };
            response.headers_mut().insert(CACHE_CONTROL, value);
        }
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    async fn file(&self, request: &Parts, uri: Uri) -> Response<SiteBody> {
        let mut ask = Request::new(http_body_util::Empty::<Bytes>::new());
        ask.method_mut().clone_from(&request.method);
        ask.headers_mut().clone_from(&request.headers);
        *ask.uri_mut() = uri;
        let answer = self.files.clone().try_call(ask).await;
        let failed = match answer {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => StatusCode::NOT_FOUND,
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => StatusCode::NOT_FOUND,
            Ok(response) => return response.map(SiteBody::File),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidFilename => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        };
        let detail = match failed {
            StatusCode::NOT_FOUND => "there is no such page",
            _ => "the file cannot be read",
        };
        problem(&request.headers, failed, None, detail, None).map(SiteBody::page)
    }

    /// Whether a path that is no file is a page of the application, and not a missing asset.
    fn belongs_to_app(&self, request: &Parts) -> bool {
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let path = request.uri.path();
        let last = path.rsplit('/').next().unwrap_or_default();
        let wants_page = request
            .headers
            .get(ACCEPT)
            .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some());
        self.is_spa && is_read && !is_hidden(path) && (wants_page || !last.contains('.'))
    }
}

fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') || part.starts_with("%2e"))
}

/// Whether a bundler named the file after its content, as `index-BdKx3f9Q.js` or
/// `main.8e0d62a1.js`.
fn has_hashed_name(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some((stem, _extension)) = name.rsplit_once('.') else { return false };
    // `app.8e0d62a1.js.map`: the hash may stand before two extensions.
    let stem = stem.rsplit_once('.').map_or(stem, |(before, last)| {
        if matches!(last, "js" | "css" | "mjs") { before } else { stem }
    });
    let Some(index) = stem.rfind(['-', '.']) else { return false };
    let hash = &stem.as_bytes()[index + 1..];
    if hash.len() < 8 || !hash.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return false;
    }
    let has = |is: fn(&u8) -> bool| hash.iter().any(is);
    let (upper, lower) = (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase));
    let is_hex = hash.iter().all(u8::is_ascii_hexdigit);
    let is_in_assets = directory.split('/').any(|part| ASSET_DIRECTORIES.contains(&part));
    if has(u8::is_ascii_digit) {
        upper || lower && (is_hex || is_in_assets)
    } else {
        upper && lower && is_in_assets
    }
}

/// Opens only what lies inside a directory.
#[derive(Debug, Clone)]
struct Inside {
    root: Arc<Path>,
}

impl Inside {
    /// The real path of a file that may be read.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let hidden = || io::Error::from(io::ErrorKind::NotFound);
        let below = path.strip_prefix(&self.root).map_err(|_| hidden())?;
        for (depth, part) in below.components().enumerate() {
            let Component::Normal(part) = part else { return Err(hidden()) };
            let is_well_known = depth == 0 && part == ".well-known";
            if part.as_encoded_bytes().starts_with(b".") && !is_well_known {
                return Err(hidden());
            }
        }
        // The directory itself may be a link that a release switches, at any moment: it is followed
        // once, so that one look-up is in one release.
        let root = std::fs::canonicalize(&self.root)?;
        let real = std::fs::canonicalize(root.join(below))?;
        if real.starts_with(&root) { Ok(real) } else { Err(hidden()) }
    }

    /// Runs a short piece of file work where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        self,
        path: PathBuf,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let done = tokio::task::spawn_blocking(move || work(self.resolve(&path)?)).await;
        done.unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }
}

type Soon<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Backend for Inside {
    type File = TokioFile;
    type Metadata = std::fs::Metadata;
    type OpenFuture = Soon<TokioFile>;
    type MetadataFuture = Soon<std::fs::Metadata>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let resolved = self.clone().blocking(path, Ok);
        Box::pin(async move {
            let real = resolved.await?;
            // A name that is a directory by now, or a pipe, is no page.
            if !tokio::fs::metadata(&real).await?.is_file() {
                return Err(io::ErrorKind::NotFound.into());
            }
            tower_http::services::fs::TokioBackend.open(real).await
        })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        Box::pin(self.clone().blocking(path, std::fs::metadata))
    }
}

/// The body of an answer of a site.
pub(crate) enum SiteBody {
    /// A file.
    File(ServeFileSystemResponseBody),
    /// A page of ours.
    Page(Option<Bytes>),
}

impl SiteBody {
    fn page(bytes: Bytes) -> Self {
        Self::Page(Some(bytes))
    }
}

impl Body for SiteBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::File(body) => Pin::new(body).poll_frame(cx),
            Self::Page(page) => std::task::Poll::Ready(page.take().map(|it| Ok(Frame::data(it)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::File(body) => body.is_end_stream(),
            Self::Page(page) => page.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::File(body) => body.size_hint(),
            Self::Page(page) => {
                SizeHint::with_exact(page.as_ref().map_or(0, |page| page.len() as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_bundlers_made_are_immutable_and_no_others() {
        for yes in [
            "/assets/index-DiwrgTda.js",
            "/assets/index-BdKx3f9Q.css",
            "/static/js/main.8e0d62a1.js",
            "/main.8e0d62a1.js.map",
            "/_app/immutable/start.DYvEkbo_.js",
            "/index-2EYHF3QS.js",
        ] {
            assert!(has_hashed_name(yes), "{yes}");
        }
        for no in [
            "/index.html",
            "/app.js",
            "/some-component.js",
            "/release-notes2024.js",
            "/index-MyComponent.js",
            "/logo-20240101.png",
            "/robots.txt",
        ] {
            assert!(!has_hashed_name(no), "{no}");
        }
    }
}
