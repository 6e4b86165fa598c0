//! Who asks, as far as trusted proxies tell: `x-forwarded-for` and `forwarded` (RFC 7239).
//!
//! Both are read from the right, over addresses that are trusted proxies, to the first that is not.
//! A proxy continues the one field that it knows and passes the other on as its client wrote it, so
//! where both are there and name different clients, neither is believed. It deliberately reads no
//! `by`, `host` or `proto`, and takes obfuscated names (`unknown`, `_x`) for the end of what is
//! known.
//!
//! Invariant: the result is the peer's address, or one that a trusted proxy has named.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::trust::TrustedProxies;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most elements of `forwarded` that are read; more are no chain of proxies.
const ELEMENTS_MAX: usize = 64;

/// The address of the client of a request that came from `peer`.
#[must_use]
pub fn client_address(headers: &HeaderMap, peer: IpAddr, trusted: &TrustedProxies) -> IpAddr {
    if !trusted.trusts(peer) {
        return peer;
    }
    let by_list = headers.contains_key(X_FORWARDED_FOR).then(|| {
        let lines = headers.get_all(X_FORWARDED_FOR).iter();
        let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let items = lines.iter().rev().flat_map(|line| line.rsplit(','));
        furthest(items.map(|item| address(item.trim())), peer, trusted)
    });
    let by_elements = headers.contains_key(FORWARDED).then(|| {
        let nodes = nodes(headers.get_all(FORWARDED).iter().map(HeaderValue::as_bytes));
        furthest(nodes.unwrap_or_default().into_iter().rev(), peer, trusted)
    });
    match (by_list, by_elements) {
        (None, None) => peer,
        (Some(client), None) | (None, Some(client)) => client,
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) => peer,
    }
}

/// Walks from the nearest hop outward, as long as trusted proxies speak.
fn furthest(
    nodes: impl Iterator<Item = Option<IpAddr>>,
    peer: IpAddr,
    trusted: &TrustedProxies,
) -> IpAddr {
    let mut client = peer;
    for node in nodes {
        let Some(address) = node else { break };
        client = address.to_canonical();
        if !trusted.trusts(client) {
            break;
        }
    }
    client
}

/// The node of each element, in order: an address, or nothing that is one. `None` when a line does
/// not follow the grammar, because then its end cannot be told from its client's beginning.
pub(crate) fn nodes<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Option<IpAddr>>> {
    let mut nodes = Vec::new();
    for line in lines {
        let mut rest = line.trim_ascii();
        while !rest.is_empty() {
            // Empty elements of a list are legal (RFC 9110, 5.6.1).
            if let [b',', after @ ..] = rest {
                rest = after.trim_ascii_start();
                continue;
            }
            let (node, after) = element(rest)?;
            nodes.push(node);
            if nodes.len() > ELEMENTS_MAX {
                return None;
            }
            rest = after;
        }
    }
    Some(nodes)
}

/// One element, and what follows its comma.
fn element(mut rest: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let (mut node, mut has_node) = (None, false);
    loop {
        if !rest.is_empty() && !matches!(rest[0], b';' | b',') {
            let (name, value, after) = pair(rest)?;
            if name.eq_ignore_ascii_case(b"for") {
                // No parameter may stand twice (RFC 7239, 4).
                if std::mem::replace(&mut has_node, true) {
                    return None;
                }
                node = std::str::from_utf8(&value).ok().and_then(address);
            }
            rest = after.trim_ascii_start();
        }
        match rest {
            [] => return Some((node, rest)),
            [b';', after @ ..] => rest = after.trim_ascii_start(),
            [b',', after @ ..] => return Some((node, after.trim_ascii_start())),
            _ => return None,
        }
    }
}

/// A name, its value, and what follows it.
type Pair<'a> = (&'a [u8], Cow<'a, [u8]>, &'a [u8]);

/// `token "=" ( token / quoted-string )`, and what follows it.
fn pair(rest: &[u8]) -> Option<Pair<'_>> {
    let (name, rest) = token(rest)?;
    let rest = rest.strip_prefix(b"=")?;
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let (value, rest) = token(rest)?;
        return Some((name, Cow::Borrowed(value), rest));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((name, Cow::Owned(value), &quoted[at + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}

fn token(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
    (end > 0).then(|| rest.split_at(end))
}

/// An address, with or without a port; one of IPv6 with a port is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (
                IpAddr::V6(host.parse().ok()?),
                port.strip_prefix(':').or(port.is_empty().then_some("0")),
            )
        }
        None => {
            let (host, port) = text.split_once(':')?;
            (IpAddr::V4(host.parse().ok()?), Some(port))
        }
    };
    let is_port = |port: &str| {
        let is_number =
            !port.is_empty() && port.len() <= 5 && port.bytes().all(|it| it.is_ascii_digit());
        // A port may be hidden too (RFC 7239, 6).
        is_number || (port.starts_with('_') && port.len() > 1)
    };
    port.filter(|port| is_port(port)).map(|_| host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn client(fields: &[(&'static str, &str)]) -> String {
        let trusted = "10.0.0.0/8".parse().expect("a network");
        client_address(&headers(fields), PEER, &trusted).to_string()
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
        for (text, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=198.51.100.9, for=192.0.2.60, for=10.2.3.4", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"192.0.2.1:80\"", "192.0.2.1"),
            ("for=\"192.0.2.1:_hidden\"", "192.0.2.1"),
            ("for=\"[::ffff:192.0.2.9]\"", "192.0.2.9"),
            ("host=\"a,b;c=d\\\"\";for=192.0.2.7", "192.0.2.7"),
            (", ,for=192.0.2.7,", "192.0.2.7"),
            // The proxy at 10.2.3.4 does not say for whom it speaks.
            ("for=198.51.100.9, for=_secret, for=10.2.3.4", "10.2.3.4"),
            ("for=198.51.100.9, for=unknown", "10.0.0.1"),
            ("proto=http", "10.0.0.1"),
        ] {
            assert_eq!(client(&[("forwarded", text)]), expected, "{text}");
        }
        let lines = [("forwarded", "for=198.51.100.9"), ("forwarded", "for=192.0.2.60")];
        assert_eq!(client(&lines), "192.0.2.60");
    }

    #[test]
    fn a_line_that_is_not_of_the_grammar_says_nothing() {
        for text in [
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1",
            "for=192.0.2.1 for=192.0.2.2",
            "for = 192.0.2.1",
            "for=[2001:db8::1]",
            "192.0.2.1",
            "for=\"\\",
            "for=192.0.2.1:80",
        ] {
            assert_eq!(client(&[("forwarded", text)]), "10.0.0.1", "{text}");
        }
        let many = vec!["for=10.1.1.1"; ELEMENTS_MAX + 1].join(",");
        assert_eq!(client(&[("forwarded", &many)]), "10.0.0.1");
    }

    #[test]
    fn a_field_that_the_proxy_did_not_write_cannot_lie_against_the_one_it_did() {
        let agreed = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
        assert_eq!(client(&agreed), "192.0.2.1");
        let forged = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=203.0.113.5")];
        assert_eq!(client(&forged), "10.0.0.1");
    }

    #[test]
    fn who_is_not_trusted_names_nobody() {
        let headers = headers(&[("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.1")]);
        let stranger = IpAddr::from([203, 0, 113, 9]);
        assert_eq!(client_address(&headers, stranger, &TrustedProxies::loopback()), stranger);
    }

    proptest! {
        #[test]
        fn nodes_that_are_written_are_read(
            chain in proptest::collection::vec((any::<IpAddr>(), any::<Option<u16>>()), 1..20),
            has_more in any::<bool>(),
        ) {
            let element = |(address, port): &(IpAddr, Option<u16>)| {
                let node = match address {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("[{address}]"),
                };
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                let more = if has_more { "proto=https ; host=\"a,\\\";for=1.1.1.1\";" } else { "" };
                format!("{}for=\"{node}{port}\"", more.replace(" ", ""))
            };
            let line = chain.iter().map(element).collect::<Vec<_>>().join(" , ");
            let read = nodes([line.as_bytes()].into_iter());
            let written = chain.iter().map(|(address, _)| Some(*address)).collect();
            prop_assert_eq!(read, Some(written), "{}", line);
        }

        #[test]
        fn no_bytes_do_harm(
            line in "[ -~]{0,80}",
            token in "(for|by|=|\"|;|,|\\\\|1\\.2\\.3\\.4| |\\[::1\\]){0,24}",
        ) {
            for text in [&line, &token] {
                let trusted = "0.0.0.0/0".parse().expect("a network");
                let headers = headers(&[("forwarded", text), ("x-forwarded-for", text)]);
                let _client = client_address(&headers, PEER, &trusted);
            }
        }
    }
}
