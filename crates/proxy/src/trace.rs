//! W3C Trace Context: continues the caller's trace or starts one.
//!
//! Strict on what comes in (an invalid `traceparent` starts a new trace, and its `tracestate` is
//! dropped), always version 00 on what goes out. It deliberately samples and exports nothing.
//!
//! Invariant: neither id of a [`TraceContext`] is all zeroes.

use http::header::{HeaderMap, HeaderName};

/// `traceparent`.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Bytes of a version 00 `traceparent`.
const TRACEPARENT_BYTES: usize = 55;

/// Flag `sampled`.
const SAMPLED: u8 = 1;

/// The trace that a request belongs to, and the span of our hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The `traceparent` sent on: 55 bytes of ASCII.
    text: [u8; TRACEPARENT_BYTES],
    /// Span of the caller, when it continued a trace.
    parent: Option<[u8; 16]>,
}

impl TraceContext {
    /// Starts a trace.
    pub fn start() -> Self {
        let trace = fastrand::u128(1..=u128::MAX);
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        hex(&trace.to_be_bytes(), &mut text[3..35]);
        hex(&fastrand::u64(1..=u64::MAX).to_be_bytes(), &mut text[36..52]);
        Self { text, parent: None }
    }

    /// Continues a trace with a new span, or nothing when `traceparent` is not valid.
    pub fn continue_from(traceparent: &[u8]) -> Option<Self> {
        let (head, rest) = traceparent.split_at_checked(TRACEPARENT_BYTES)?;
        let is_hex = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == b'0');
        let (version, trace, span, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
        let has_dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
        if !has_dashes || ![version, trace, span, flags].into_iter().all(is_hex) {
            return None;
        }
        if version == b"ff" || is_zero(trace) || is_zero(span) {
            return None;
        }
        // A later version may append fields after another dash; version 00 may not.
        if !rest.is_empty() && (version == b"00" || rest[0] != b'-') {
            return None;
        }
        let mut text = [b'-'; TRACEPARENT_BYTES];
        text.copy_from_slice(head);
        text[..2].copy_from_slice(b"00");
        let sampled = hex_value(flags[1]) & SAMPLED;
        text[53..].copy_from_slice(if sampled == SAMPLED { b"01" } else { b"00" });
        let mut parent = [0; 16];
        parent.copy_from_slice(span);
        hex(&fastrand::u64(1..=u64::MAX).to_be_bytes(), &mut text[36..52]);
        Some(Self { text, parent: Some(parent) })
    }

    /// The trace of a request: the caller's, or a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut incoming = headers.get_all(TRACEPARENT).iter();
        let continued = match (incoming.next(), incoming.next()) {
            (Some(value), None) => Self::continue_from(value.as_bytes()),
            _ => None,
        };
        continued.unwrap_or_else(Self::start)
    }

    /// The `traceparent` sent on, as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The `traceparent` sent on.
    pub fn traceparent(&self) -> &str {
        ascii(&self.text)
    }

    /// Trace id: 32 lower-case hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        ascii(&self.text[3..35])
    }

    /// Span id of this hop: 16 lower-case hexadecimal digits.
    pub fn span_id(&self) -> &str {
        ascii(&self.text[36..52])
    }

    /// Whether the trace is recorded, as far as this hop knows.
    pub fn is_sampled(&self) -> bool {
        self.text[54] == b'1'
    }

    /// Says whether the trace is recorded: to whoever comes after this hop.
    pub fn set_sampled(&mut self, is_sampled: bool) {
        self.text[54] = if is_sampled { b'1' } else { b'0' };
    }

    /// Span id of the caller, when it continued a trace.
    pub fn parent_id(&self) -> Option<&str> {
        self.parent.as_ref().map(|parent| ascii(parent))
    }
}

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Writes `bytes` as lower-case hexadecimal digits; `out` is twice as long.
pub(crate) fn hex(bytes: &[u8], out: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(out.as_chunks_mut::<2>().0) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_parent_is_continued_with_a_new_span() {
        let context = TraceContext::continue_from(VALID.as_bytes()).unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent_id(), Some("00f067aa0ba902b7"));
        assert_ne!(context.span_id(), "00f067aa0ba902b7");
        assert!(context.traceparent().ends_with("-01"));
    }

    #[test]
    fn what_the_specification_forbids_is_not_continued() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::continue_from(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_later_version_is_continued_as_version_00() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-the-future";
        let context = TraceContext::continue_from(later.as_bytes()).unwrap();
        assert!(context.traceparent().starts_with("00-4bf92f"));
        assert!(context.traceparent().ends_with("-01"));
    }
}
