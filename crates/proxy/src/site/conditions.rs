//! What a request asks of a file that may not have changed, or only a part of (RFC 9110, 13, 14).
//!
//! It deliberately answers several ranges with the whole file, which a server may: what asks for
//! them today is either a download tool that copes, or an attack.
//!
//! Invariant: a part is sent only of the state that `If-Range` names.

use std::ops::Range;
use std::time::SystemTime;

use http::header::{
    HeaderMap, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderName, Method};

use crate::framing::plain_number;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes; never none.
    Part(Range<u64>),
    /// No byte of it is in the range.
    OutOfRange,
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: it is not what the client thinks.
    Failed,
}

/// What a `GET` or `HEAD` wants of a file with this tag, time and length.
pub(super) fn wanted(
    method: &Method,
    headers: &HeaderMap,
    tag: &HeaderValue,
    modified: SystemTime,
    n_bytes: u64,
) -> Wanted {
    let tag_bytes = tag.as_bytes();
    let has_matched = match has_tag(headers, &IF_MATCH, |it, is_weak| !is_weak && it == tag_bytes) {
        Some(has_matched) => has_matched,
        None => date(headers, &IF_UNMODIFIED_SINCE).is_none_or(|since| modified <= since),
    };
    if !has_matched {
        return Wanted::Failed;
    }
    let is_known = match has_tag(headers, &IF_NONE_MATCH, |it, _| it == tag_bytes) {
        Some(is_known) => is_known,
        None => date(headers, &IF_MODIFIED_SINCE).is_some_and(|since| modified <= since),
    };
    if is_known {
        return Wanted::NotModified;
    }
    if method != Method::GET || n_bytes == 0 || !may_be_part(headers, tag, modified) {
        return Wanted::Whole;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    match (ranges.next(), ranges.next()) {
        (Some(range), None) => part(range.as_bytes(), n_bytes),
        _ => Wanted::Whole,
    }
}

/// Whether a part would go with what the client has.
fn may_be_part(headers: &HeaderMap, tag: &HeaderValue, modified: SystemTime) -> bool {
    let Some(condition) = headers.get(IF_RANGE) else { return true };
    condition == tag || date(headers, &IF_RANGE).is_some_and(|known| known == modified)
}

/// The one range of bytes that is asked for; what is not understood is not there.
fn part(range: &[u8], n_bytes: u64) -> Wanted {
    let Some((unit, range)) = halves(range, b'=') else { return Wanted::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Wanted::Whole;
    }
    let Some((first, last)) = halves(range, b'-') else { return Wanted::Whole };
    let range = match (first.is_empty(), number(first), last.is_empty(), number(last)) {
        (true, _, false, Some(n_last)) => n_bytes.saturating_sub(n_last)..n_bytes,
        (false, Some(first), true, _) => first..n_bytes,
        (false, Some(first), false, Some(last)) if first <= last => {
            first..last.saturating_add(1).min(n_bytes)
        }
        _ => return Wanted::Whole,
    };
    if range.start < range.end { Wanted::Part(range) } else { Wanted::OutOfRange }
}

fn halves(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = memchr::memchr(at, text)?;
    Some((text[..index].trim_ascii(), text[index + 1..].trim_ascii()))
}

/// Digits; more of them than a file has bytes are many.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| plain_number(text).unwrap_or(u64::MAX))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// Whether a field names a tag that is the one; `None` when there is no such field. A tag comes
/// with its quotes, and with whether it is weak.
fn has_tag(
    headers: &HeaderMap,
    name: &HeaderName,
    is_it: impl Fn(&[u8], bool) -> bool,
) -> Option<bool> {
    let lines = headers.get_all(name);
    lines.iter().next()?;
    Some(lines.iter().any(|line| any_tag(line.as_bytes(), &is_it)))
}

fn any_tag(mut list: &[u8], is_it: impl Fn(&[u8], bool) -> bool) -> bool {
    loop {
        list = list.trim_ascii_start();
        if let Some(rest) = list.strip_prefix(b",") {
            list = rest;
            continue;
        }
        if list.first() == Some(&b'*') {
            return true;
        }
        let strong = list.strip_prefix(b"W/");
        let is_weak = strong.is_some();
        list = strong.unwrap_or(list);
        // A comma may stand inside the quotes.
        let Some(b'"') = list.first() else { return false };
        let Some(end) = memchr::memchr(b'"', &list[1..]) else { return false };
        if is_it(&list[..end + 2], is_weak) {
            return true;
        }
        list = &list[end + 2..];
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DATE: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
    const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";

    fn ask(method: &Method, fields: &[(HeaderName, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        wanted(method, &headers, &HeaderValue::from_static("\"a,b\""), modified, 10)
    }

    fn get(fields: &[(HeaderName, &str)]) -> Wanted {
        ask(&Method::GET, fields)
    }

    #[test]
    fn one_range_of_bytes_is_cut_out_and_what_is_no_range_is_not_there() {
        for (range, expected) in [
            ("bytes=2-4", Wanted::Part(2..5)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=2-99", Wanted::Part(2..10)),
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("Bytes = 2 - 4", Wanted::Part(2..5)),
            ("bytes=0-18446744073709551615", Wanted::Part(0..10)),
            ("bytes=0-99999999999999999999999", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::OutOfRange),
            ("bytes=20-30", Wanted::OutOfRange),
            ("bytes=99999999999999999999999-", Wanted::OutOfRange),
            ("bytes=-0", Wanted::OutOfRange),
            ("bytes=4-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=x-y", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes", Wanted::Whole),
        ] {
            assert_eq!(get(&[(RANGE, range)]), expected, "{range}");
        }
        assert_eq!(
            ask(&Method::HEAD, &[(RANGE, "bytes=2-4")]),
            Wanted::Whole,
            "GET alone has parts"
        );
        assert_eq!(get(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")]), Wanted::Whole);
    }

    #[test]
    fn a_part_of_another_state_is_not_sent() {
        for (condition, is_part) in [
            ("\"a,b\"", true),
            ("W/\"a,b\"", false),
            ("\"other\"", false),
            (DATE, true),
            (BEFORE, false),
            ("nonsense", false),
        ] {
            let wanted = get(&[(RANGE, "bytes=2-4"), (IF_RANGE, condition)]);
            let expected = if is_part { Wanted::Part(2..5) } else { Wanted::Whole };
            assert_eq!(wanted, expected, "{condition}");
        }
    }

    #[test]
    fn conditions_are_looked_at_in_the_order_of_the_standard() {
        for (fields, expected) in [
            (&[(IF_NONE_MATCH, "\"a,b\"")][..], Wanted::NotModified),
            (&[(IF_NONE_MATCH, "\"x\" , W/\"a,b\"")], Wanted::NotModified),
            (&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")], Wanted::NotModified),
            (&[(IF_NONE_MATCH, "*")], Wanted::NotModified),
            (&[(IF_NONE_MATCH, "\"x\"")], Wanted::Whole),
            (&[(IF_NONE_MATCH, "a,b")], Wanted::Whole),
            (&[(IF_NONE_MATCH, "\"a,b")], Wanted::Whole),
            (&[(IF_MODIFIED_SINCE, DATE)], Wanted::NotModified),
            (&[(IF_MODIFIED_SINCE, BEFORE)], Wanted::Whole),
            (&[(IF_MODIFIED_SINCE, "nonsense")], Wanted::Whole),
            (&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DATE)], Wanted::Whole),
            (&[(IF_MATCH, "\"a,b\"")], Wanted::Whole),
            (&[(IF_MATCH, "*")], Wanted::Whole),
            (&[(IF_MATCH, "W/\"a,b\"")], Wanted::Failed),
            (&[(IF_MATCH, "\"x\"")], Wanted::Failed),
            (&[(IF_UNMODIFIED_SINCE, DATE)], Wanted::Whole),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Wanted::Failed),
            (&[(IF_MATCH, "\"a,b\""), (IF_UNMODIFIED_SINCE, BEFORE)], Wanted::Whole),
            (&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")], Wanted::Failed),
            (&[(IF_NONE_MATCH, "\"a,b\""), (RANGE, "bytes=20-")], Wanted::NotModified),
        ] {
            assert_eq!(get(fields), expected, "{fields:?}");
        }
    }
}
