//! Header fields of an exchange: what ends at this hop, what it adds.
//!
//! Fields that belong to one connection (RFC 9110, 7.6.1), and those that `Connection` names, are
//! removed in both directions before ours are added, so that a client cannot name one of ours
//! and have it removed. It deliberately rewrites nothing else: `host`, `server`, `cookie` and the
//! application's own fields pass as they are.
//!
//! Invariant: an application sees one `x-request-id`, one `traceparent`, and `x-forwarded-*`
//! that no untrusted client wrote.

use http::header::{
    CONNECTION, COOKIE, Entry, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Uri, Version};

use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::outgoing::push_field;
use crate::trace::{TraceContext, hex};
use crate::trust::Peer;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// `x-request-id`.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Which of the fields that this hop looks at a request has: one pass over its fields instead of
/// a look-up for each.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) connection: bool,
    pub(crate) content_length: bool,
    pub(crate) expect: bool,
    pub(crate) forwarded_for: bool,
    pub(crate) request_id: bool,
    pub(crate) te: bool,
    pub(crate) traceparent: bool,
    pub(crate) upgrade: bool,
}

impl Seen {
    /// Looks at every field once.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => seen.connection = true,
                "content-length" => seen.content_length = true,
                "expect" => seen.expect = true,
                "x-forwarded-for" | "forwarded" => seen.forwarded_for = true,
                "x-request-id" => seen.request_id = true,
                "te" => seen.te = true,
                "traceparent" => seen.traceparent = true,
                "upgrade" => seen.upgrade = true,
                _ => (),
            }
        }
        seen
    }
}

/// Whether a field belongs to one connection.
pub(crate) fn is_of_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Removes what belongs to one connection from an answer. Most answers have none of it.
pub(crate) fn end_hop(headers: &mut HeaderMap) {
    end_named(headers);
    // Hyper frames the client's side by itself, from what the body says.
    for name in [
        TRANSFER_ENCODING,
        KEEP_ALIVE,
        UPGRADE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
    ] {
        headers.remove(name);
    }
}

/// Removes `Connection` and the fields that it names.
pub(crate) fn end_named(headers: &mut HeaderMap) {
    let Entry::Occupied(entry) = headers.entry(CONNECTION) else { return };
    let (_, values) = entry.remove_entry_mult();
    let values: Vec<HeaderValue> = values.collect();
    for item in values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let item = item.trim_ascii();
        // `host` and `content-length` are no options of a connection; naming them is an attack.
        let is_ours = [&b"close"[..], b"keep-alive", b"te", b"host", b"content-length"]
            .iter()
            .any(|kept| item.eq_ignore_ascii_case(kept));
        if !is_ours && let Ok(name) = HeaderName::from_bytes(item) {
            headers.remove(name);
        }
    }
    headers.remove(HTTP2_SETTINGS);
}

/// Whether `Connection` has this option.
pub(crate) fn has_option(headers: &HeaderMap, option: &[u8]) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(option))
}

/// Whether a field says what only a proxy in front of us may say. Servers that turn names into
/// variables take `_` for `-`.
pub(crate) fn is_claim(name: &str) -> bool {
    let begins = |prefix: &str| {
        name.len() >= prefix.len()
            && name
                .bytes()
                .zip(prefix.bytes())
                .all(|(byte, of_prefix)| byte == of_prefix || (byte == b'_' && of_prefix == b'-'))
    };
    begins("x-forwarded-") || begins("x-real-ip") || name == "forwarded"
}

/// Writes the head of a request as the application gets it, up to the fields about its body:
/// what the client said without what ended here, then what this hop says. `headers` is what
/// [`end_named`] left; `upgrade` is passed on, when there is one.
pub(crate) fn write_head(head: &mut Vec<u8>, parts: &Parts, peer: &Peer, hop: &Hop<'_>) {
    let Parts { method, uri, headers, .. } = parts;
    head.extend_from_slice(method.as_str().as_bytes());
    head.push(b' ');
    // Without scheme and host, as an origin server expects it.
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    let mut has = Said::default();
    for (name, value) in headers {
        let is_kept = match name.as_str() {
            "connection"
            | "upgrade"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "transfer-encoding"
            | "te"
            | "content-length"
            | "http2-settings"
            | "x-request-id"
            | "traceparent" => false,
            "tracestate" => hop.trace.parent_id().is_some(),
            "expect" => hop.keeps_expect,
            "forwarded" | "x-forwarded-for" => peer.is_trusted,
            "x-forwarded-proto" => {
                has.proto |= peer.is_trusted;
                peer.is_trusted
            }
            "x-forwarded-host" => {
                has.host |= peer.is_trusted;
                peer.is_trusted
            }
            name => peer.is_trusted || !is_claim(name),
        };
        if is_kept {
            push_field(head, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    write_hop(head, peer, hop, &has);
}

/// What this hop adds to a request.
#[derive(Debug)]
pub(crate) struct Hop<'a> {
    pub(crate) trace: &'a TraceContext,
    pub(crate) request_id: &'a HeaderValue,
    pub(crate) host: Option<&'a HeaderValue>,
    pub(crate) upgrade: Option<&'a HeaderValue>,
    pub(crate) accepts_trailers: bool,
    pub(crate) keeps_expect: bool,
}

/// What a trusted proxy has said already.
#[derive(Debug, Default)]
struct Said {
    proto: bool,
    host: bool,
}

/// Writes what this hop says: who asked, the trace, the id, what is upgraded. One more line of a
/// list means the same as one more item.
fn write_hop(head: &mut Vec<u8>, peer: &Peer, hop: &Hop<'_>, has: &Said) {
    push_field(head, b"forwarded", peer.forwarded(hop.host).as_bytes());
    push_field(head, b"x-forwarded-for", peer.forwarded_for.as_bytes());
    if !has.proto {
        head.extend_from_slice(b"x-forwarded-proto: http\r\n");
    }
    if let (false, Some(host)) = (has.host, hop.host) {
        push_field(head, b"x-forwarded-host", host.as_bytes());
    }
    push_field(head, b"traceparent", hop.trace.as_bytes());
    push_field(head, b"x-request-id", hop.request_id.as_bytes());
    if let Some(protocol) = hop.upgrade {
        head.extend_from_slice(b"connection: upgrade\r\n");
        push_field(head, b"upgrade", protocol.as_bytes());
    } else if hop.accepts_trailers {
        head.extend_from_slice(b"connection: te\r\nte: trailers\r\n");
    }
}

/// Whether `te` has `trailers`, the one item of it that is passed on.
pub(crate) fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get(TE).is_some_and(|value| {
        let mut items = value.as_bytes().split(|byte| *byte == b',');
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// The `x-request-id` of a request if it is sane, or a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut incoming = headers.get_all(X_REQUEST_ID).iter();
    if let (Some(value), None) = (incoming.next(), incoming.next())
        && is_sane_id(value.as_bytes())
    {
        return value.clone();
    }
    new_id()
}

fn is_sane_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(byte))
}

/// A random (version 4) UUID.
pub(crate) fn new_id() -> HeaderValue {
    let mut bytes = fastrand::u128(..).to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; 36];
    for (from, to) in
        [(0..4, 0..8), (4..6, 9..13), (6..8, 14..18), (8..10, 19..23), (10..16, 24..36)]
    {
        hex(&bytes[from], &mut text[to]);
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Makes the `host` of a request the one that counts, and returns it.
///
/// # Errors
/// In words, when there is none, more than one, or one that contradicts itself.
pub(crate) fn settle_host(
    uri: &Uri,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<Option<HeaderValue>, &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err("the request has more than one `host`");
    }
    if let Some(host) = first
        && !is_host(host.as_bytes())
    {
        return Err("`host` is not a host name");
    }
    match (uri.authority(), first) {
        // The target decides (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
        (Some(authority), _) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            let host = HeaderValue::from_str(host).map_err(|_| "the target has no host")?;
            headers.insert(HOST, host.clone());
            Ok(Some(host))
        }
        (None, None) if version >= Version::HTTP_11 => Err("the request has no `host`"),
        (None, host) => Ok(host.cloned()),
    }
}

/// Which bytes a host may have (RFC 3986, 3.2.2), with the colon of a port.
const HOST_BYTES: [bool; 256] = {
    let others = b"-._~:[]%!$&'()*+,;=";
    let mut allowed = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        allowed[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        allowed[others[index] as usize] = true;
        index += 1;
    }
    allowed
};

fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| HOST_BYTES[usize::from(*byte)])
}

/// HTTP/2 may send one cookie per field, HTTP/1.1 has one line (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}
