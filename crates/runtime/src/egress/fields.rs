//! Header fields of a call: what ends at this hop in either direction.
//!
//! The same rules as in `proxy`: fields of one connection (RFC 9110, 7.6.1), and those that
//! `Connection` names, are not passed on, and both messages are framed anew. It deliberately
//! rewrites nothing else.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that belong to one connection.
const OF_HOP: [HeaderName; 11] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
    EXPECT,
];

/// Whether nobody but us may set this field of a call.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    OF_HOP.contains(name) || [HOST, CONTENT_LENGTH].contains(name)
}
