//! What a client reads when we answer in a service's place.
//!
//! A browser gets a small page, everything else `application/problem+json` (RFC 9457). Both say
//! what happened in one sentence and, where there is one, name the service. They deliberately list
//! nothing: no other hosts, no addresses, no versions.
//!
//! Invariant: every text in a page is escaped, and no page is cached.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

/// An answer in a service's place: `detail` is one sentence for whoever asked.
pub fn problem(
    request_headers: &HeaderMap,
    status: StatusCode,
    service: Option<&str>,
    detail: &str,
    retry_after: Option<Duration>,
) -> Response<Bytes> {
    let title = status.canonical_reason().unwrap_or("Error");
    let wants_page = request_headers
        .get(ACCEPT)
        .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some());
    let (content_type, body) = if wants_page {
        ("text/html; charset=utf-8", page(status, title, service, detail))
    } else {
        ("application/problem+json", json(status, title, service, detail))
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    );
    if let Some(wait) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

fn json(status: StatusCode, title: &str, service: Option<&str>, detail: &str) -> String {
    let mut problem = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    if let Some(service) = service {
        problem["service"] = service.into();
    }
    format!("{problem}\n")
}

fn page(status: StatusCode, title: &str, service: Option<&str>, detail: &str) -> String {
    let service = service.map_or_else(String::new, |service| {
        format!("<p>service <code>{}</code></p>\n", escape(service))
    });
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{code} {title}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;\
         padding:0 1rem}}code{{background:#8882;padding:0 .3em}}</style></head>\n\
         <body><h1>{code} {title}</h1>\n{service}<p>{detail}</p>\n</body></html>\n",
        code = status.as_u16(),
        detail = escape(detail),
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(char),
        }
    }
    escaped
}
