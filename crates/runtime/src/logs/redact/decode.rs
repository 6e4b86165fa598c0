//! Undoes the escapes in which a secret may hide: those of strings in JSON and most languages, and
//! those of URLs.
//!
//! A string may escape any of its characters (`<` as `\u003c`, `/` as `\/`, `é` as `\u00e9`), so
//! that the spellings of a secret cannot be listed; the text is undone instead, once per level of
//! nesting. It deliberately accepts what no reader would: a secret in broken JSON is still one.
//!
//! Invariant: every range of decoded bytes has a range of source bytes that holds all of it and
//! cuts no escape.

use std::ops::Range;

/// Text without one level of escapes, and where it came from. Kept for its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    steps: Vec<Step>,
    source_bytes: usize,
}

/// From here on decoded bytes are those of one escape, or of the source as they are.
#[derive(Clone, Copy, Debug)]
struct Step {
    decoded: usize,
    source: usize,
    is_escape: bool,
}

impl Decoded {
    /// Undoes backslash escapes; false, and nothing usable, if there are none.
    pub(super) fn unescape(&mut self, source: &[u8]) -> bool {
        self.decode(source, b'\\', escaped)
    }

    /// Undoes percent escapes; false, and nothing usable, if there are none.
    pub(super) fn unquote(&mut self, source: &[u8]) -> bool {
        self.decode(source, b'%', |rest, out| {
            out.push(hex(rest.get(1..3)?)?.try_into().ok()?);
            Some(3)
        })
    }

    fn decode(
        &mut self,
        source: &[u8],
        mark: u8,
        escape: impl Fn(&[u8], &mut Vec<u8>) -> Option<usize>,
    ) -> bool {
        self.bytes.clear();
        self.steps.clear();
        self.source_bytes = source.len();
        let mut at = 0;
        while let Some(offset) = memchr::memchr(mark, &source[at..]) {
            let found = at + offset;
            self.plain(at, &source[at..found]);
            let decoded = self.bytes.len();
            match escape(&source[found..], &mut self.bytes) {
                Some(taken) => {
                    self.steps.push(Step { decoded, source: found, is_escape: true });
                    at = found + taken;
                }
                None => {
                    self.plain(found, &source[found..=found]);
                    at = found + 1;
                }
            }
        }
        self.plain(at, &source[at..]);
        self.steps.iter().any(|step| step.is_escape)
    }

    fn plain(&mut self, source: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.steps.push(Step { decoded: self.bytes.len(), source, is_escape: false });
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Where in the source a range of decoded bytes, which is not empty, came from.
    pub(super) fn origin(&self, decoded: &Range<usize>) -> Range<usize> {
        let (_, first) = self.step_of(decoded.start);
        let start = if first.is_escape {
            first.source
        } else {
            first.source + (decoded.start - first.decoded)
        };
        let (index, last) = self.step_of(decoded.end - 1);
        let end = if last.is_escape {
            self.steps.get(index + 1).map_or(self.source_bytes, |next| next.source)
        } else {
            last.source + (decoded.end - last.decoded)
        };
        start..end
    }

    fn step_of(&self, decoded: usize) -> (usize, Step) {
        let after = self.steps.partition_point(|step| step.decoded <= decoded);
        let index = after.saturating_sub(1);
        (index, self.steps[index])
    }
}

/// Decodes the escape at the beginning of `rest`; how many bytes it has.
fn escaped(rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let byte = match rest.get(1)? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'x' => {
            out.push(hex(rest.get(2..4)?)?.try_into().ok()?);
            return Some(4);
        }
        b'u' => return unicode(rest, out),
        byte @ (b'"' | b'\\' | b'/' | b'\'') => *byte,
        _ => return None,
    };
    out.push(byte);
    Some(2)
}

/// Decodes `\uXXXX`, and the second half of a pair with its first.
fn unicode(rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let first = hex(rest.get(2..6)?)?;
    let mut push = |code: u32, taken| {
        let mut utf8 = [0; 4];
        out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
        Some(taken)
    };
    if (0xd800..0xdc00).contains(&first) && rest.get(6..8) == Some(b"\\u") {
        let second = hex(rest.get(8..12)?)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        return push(0x10000 + ((first - 0xd800) << 10) + second, 12);
    }
    push(first, 6)
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unescaped(source: &str) -> Vec<u8> {
        let mut decoded = Decoded::default();
        decoded.unescape(source.as_bytes());
        decoded.bytes
    }

    #[test]
    fn every_escape_of_json_is_undone() {
        assert_eq!(
            unescaped(r#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z"#),
            "a\"\\/\u{8}\u{c}\n\r\té😀z".as_bytes()
        );
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in ["\\", "\\u12", "\\ud83d\\u0041", "\\q", "100%", "%zz"] {
            let mut decoded = Decoded::default();
            assert!(!decoded.unescape(text.as_bytes()) || text.contains("41"), "{text}");
            assert!(!decoded.unquote(text.as_bytes()));
            assert_eq!(decoded.bytes, text.as_bytes());
        }
    }

    #[test]
    fn an_origin_holds_whole_escapes() {
        let mut decoded = Decoded::default();
        assert!(decoded.unescape(br"ab\u00e9\n"));
        assert_eq!(decoded.bytes, "abé\n".as_bytes());
        assert_eq!(decoded.origin(&(0..2)), 0..2);
        assert_eq!(decoded.origin(&(1..3)), 1..8);
        assert_eq!(decoded.origin(&(3..4)), 2..8);
        assert_eq!(decoded.origin(&(4..5)), 8..10);
    }

    proptest! {
        #[test]
        fn decoding_the_origin_of_a_range_holds_the_range(
            text in r#"([a-zé]|\\n|\\u00e9|\\ud83d\\ude00|\\\\|\\"|\\q){0,20}"#,
            from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
        ) {
            let mut decoded = Decoded::default();
            decoded.unescape(text.as_bytes());
            prop_assume!(!decoded.bytes.is_empty());
            let (from, to) = (from.index(decoded.bytes.len()), to.index(decoded.bytes.len()));
            let range = from.min(to)..from.max(to) + 1;
            let wanted = decoded.bytes[range.clone()].to_vec();
            let origin = decoded.origin(&range);
            let mut part = Decoded::default();
            part.unescape(&text.as_bytes()[origin]);
            prop_assert!(memchr::memmem::find(&part.bytes, &wanted).is_some());
        }
    }
}
