//! Header fields of a call: what ends at this hop in either direction.
//!
//! The same rules as in `proxy`: fields of one connection (RFC 9110, 7.6.1), and those that
//! `Connection` names, are not passed on, and both messages are framed anew. It deliberately
//! rewrites nothing else.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
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

/// Removes what ends here.
pub(super) fn end_hop(headers: &mut HeaderMap) {
    let options: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for item in options.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        // Naming a field that is not of a connection has it removed, but never these.
        if let Ok(name) = HeaderName::from_bytes(item.trim_ascii())
            && ![HOST, CONTENT_LENGTH].contains(&name)
        {
            headers.remove(name);
        }
    }
    for name in OF_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_and_what_it_names_ends_here() {
        let mut headers = HeaderMap::new();
        let pairs = [
            ("connection", "x-mine, Content-Length"),
            ("x-mine", "1"),
            ("content-length", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ];
        for (name, value) in pairs {
            headers.insert(name, HeaderValue::from_static(value));
        }
        end_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-length", "accept"]);
    }
}
