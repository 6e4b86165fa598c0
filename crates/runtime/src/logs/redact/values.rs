//! Finds the values of secrets, in any encoding.
//!
//! What can be listed is searched for in one pass (`finder`): the value, its hexadecimal digits,
//! its base64 at each of the three places where it can stand in a group, and, of a value of several
//! lines, each long line. What cannot be listed, since any character may be escaped, is found by
//! undoing the escapes (`decode`). It deliberately searches for no short and no plain value: they
//! stand in too many words.
//!
//! Invariant: of a usable value no occurrence in a covered encoding is missed, not even one that
//! overlaps another.

use std::collections::BTreeSet;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use contract::redactions::VALUE_BYTES_MIN;

use super::decode::Decoded;
use super::finder::Finder;

/// Shortest line of a value of several lines that is searched for by itself, bytes.
const LINE_BYTES_MIN: usize = 16;
/// Fewest different bytes, and fewest letters and digits, of a value that is no punctuation.
const VARIETY_MIN: usize = 4;
/// A longer value is searched for in parts of this length, bytes.
const PART_BYTES_MAX: usize = 4 * 1024;
/// Most bytes of all that is searched for; what is past that is not.
const ALL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a string may have been put into another and still be looked into.
const LEVELS_MAX: usize = 3;
/// An escape has so many bytes for one at most.
const ESCAPE_BYTES: usize = 6;

/// All values of a moment.
#[derive(Debug, Default)]
pub(super) struct Values {
    finder: Option<Finder>,
    /// Sorted.
    needles: Vec<Vec<u8>>,
    longest: usize,
}

/// Memory for undoing escapes.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    levels: [Decoded; LEVELS_MAX],
    quoted: Decoded,
}

/// Whether a value can be told from ordinary text.
pub(super) fn is_usable(value: &str) -> bool {
    let value = value.trim();
    let letters = value.bytes().filter(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
    let different: BTreeSet<u8> = value.bytes().collect();
    value.len() >= VALUE_BYTES_MIN
        && letters.take(VARIETY_MIN).count() == VARIETY_MIN
        && different.len() >= VARIETY_MIN
}

impl Values {
    /// Prepares the search for all of these.
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut needles = BTreeSet::new();
        let mut n_bytes = 0;
        for value in values.filter(|value| is_usable(value)) {
            for part in parts(value.trim()) {
                for needle in encodings(part.as_bytes()) {
                    n_bytes += needle.len();
                    if n_bytes <= ALL_BYTES_MAX {
                        needles.insert(needle);
                    }
                }
            }
        }
        let longest = needles.iter().map(Vec::len).max().unwrap_or(0);
        let needles: Vec<_> = needles.into_iter().collect();
        let finder = Finder::new(&needles);
        Self { finder, needles, longest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// In how many bytes a match has room, however it is escaped.
    pub(super) fn reach(&self) -> usize {
        self.longest * ESCAPE_BYTES
    }

    /// Calls `found` with each range of `text` that is a value.
    pub(super) fn find(&self, text: &[u8], room: &mut Room, mut found: impl FnMut(Range<usize>)) {
        let Some(finder) = &self.finder else { return };
        let needles = &self.needles;
        finder.find(needles, text, &mut found);
        let Some(first) = memchr::memchr2(b'\\', b'%', text) else { return };
        let has_percent = memchr::memchr(b'%', &text[first..]).is_some();
        let Room { levels, quoted } = room;
        let mut n_levels = 0;
        while n_levels < LEVELS_MAX {
            let (done, next) = levels.split_at_mut(n_levels);
            let source = done.last().map_or(text, |level| &level.bytes);
            if !next[0].unescape(source) {
                break;
            }
            n_levels += 1;
            let levels = &levels[..n_levels];
            let decoded = &levels[n_levels - 1].bytes;
            finder.find(needles, decoded, &mut |range| found(origin(levels, range)));
        }
        if !has_percent {
            return;
        }
        // Quoted text inside a string, or the string as it is.
        for n_levels in BTreeSet::from([0, n_levels]) {
            let levels = &levels[..n_levels];
            let source = levels.last().map_or(text, |level| &level.bytes);
            if quoted.unquote(source) {
                finder.find(needles, &quoted.bytes, &mut |range| {
                    found(origin(levels, quoted.origin(&range)));
                });
            }
        }
    }

    /// Whether `text` ends in the middle of what may become a value.
    pub(super) fn may_go_on(&self, text: &[u8]) -> bool {
        let longest = self.longest.saturating_sub(1).min(text.len());
        (SUSPICIOUS_BYTES_MIN..=longest).any(|length| {
            let tail = &text[text.len() - length..];
            let at = self.needles.partition_point(|needle| needle.as_slice() < tail);
            self.needles
                .get(at)
                .is_some_and(|needle| needle.len() > length && needle.starts_with(tail))
        })
    }
}

/// So many bytes of a value at the end of a text are no coincidence.
const SUSPICIOUS_BYTES_MIN: usize = 4;

fn origin(levels: &[Decoded], range: Range<usize>) -> Range<usize> {
    levels.iter().rev().fold(range, |range, level| level.origin(&range))
}

/// The value, in parts if it is long, and its long lines.
fn parts(value: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN);
    for mut text in std::iter::once(value).chain(lines.filter(|line| is_usable(line))) {
        while text.len() > PART_BYTES_MAX {
            let cut = text.floor_char_boundary(PART_BYTES_MAX);
            parts.push(&text[..cut]);
            text = &text[cut..];
        }
        // What is left of a long value may be too little to search for; take it with more.
        if text.len() < VALUE_BYTES_MIN && text.len() < value.len() {
            text = &value[value.floor_char_boundary(value.len() - LINE_BYTES_MIN)..];
        }
        parts.push(text);
    }
    parts
}

/// All encodings that can be listed.
fn encodings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![value.to_vec()];
    if value.contains(&b' ') {
        // A form has a plus for a space.
        all.push(value.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect());
    }
    let digits = |table: &[u8; 16]| {
        let pair = |byte: &u8| [table[usize::from(byte >> 4)], table[usize::from(byte & 15)]];
        value.iter().flat_map(pair).collect()
    };
    all.push(digits(b"0123456789abcdef"));
    all.push(digits(b"0123456789ABCDEF"));
    for alphabet in [&STANDARD, &URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, NO_PAD);
        for before in 0..3 {
            all.push(core_of_base64(&engine, value, before));
        }
    }
    all
}

/// The characters of the base64 of a longer text that this value alone decides, when `before`
/// bytes of its first group are others.
fn core_of_base64(engine: &GeneralPurpose, value: &[u8], before: usize) -> Vec<u8> {
    let mut text = vec![0; before];
    text.extend_from_slice(value);
    let encoded = engine.encode(&text);
    let first = (before * 8).div_ceil(6);
    let end = text.len() * 8 / 6;
    encoded.as_bytes()[first..end].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "p4ss\"wörd/<&%>\\n!";

    fn spans(secret: &str, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let values = Values::new(std::iter::once(secret));
        values.find(text.as_bytes(), &mut Room::default(), |range| found.push(range));
        found
    }

    #[track_caller]
    fn check_covered(secret: &str, encoded: &str) {
        let text = format!("before {encoded} after");
        let spans = spans(secret, &text);
        let whole = 7..7 + encoded.len();
        assert!(spans.contains(&whole), "{encoded}: {spans:?} of {whole:?}");
    }

    #[test]
    fn every_encoding_is_found_whole() {
        let json = serde_json::to_string(SECRET).expect("JSON");
        let json = json.trim_matches('"').to_owned();
        let nested = serde_json::to_string(&json).expect("JSON");
        check_covered(SECRET, SECRET);
        check_covered(SECRET, &json);
        check_covered(SECRET, nested.trim_matches('"'));
        check_covered(SECRET, r#"p4ss\"w\u00f6rd\/\u003c\u0026%\u003E\\n!"#);
        check_covered(SECRET, r#"\u0070\u0034\u0073\u0073\"w\u00F6rd/<&%>\\n!"#);
        check_covered(SECRET, "p4ss%22w%c3%b6rd%2f%3C%26%25%3E%5Cn%21");
        check_covered(SECRET, "p4ss%22w%C3%B6rd/%3c&%25%3e%5cn!");
        check_covered(
            SECRET,
            &SECRET.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(),
        );
        check_covered(
            SECRET,
            &SECRET.bytes().map(|byte| format!("{byte:02X}")).collect::<String>(),
        );
        check_covered("two words 12", "two+words+12");
    }

    #[test]
    fn each_long_line_of_a_value_is_found() {
        let key = "-----BEGIN X-----\nMIIEpAIBAAKCAQEA7\nshort\n-----END X-----\n";
        check_covered(key, "MIIEpAIBAAKCAQEA7");
        check_covered(key, "-----BEGIN X-----\\nMIIEpAIBAAKCAQEA7\\nshort\\n-----END X-----");
        assert!(spans(key, "short").is_empty());
    }

    #[test]
    fn short_and_plain_values_are_not_searched_for() {
        for value in ["1234567", "        ", "--------", "{}{}{}{}", "aaaaaaaaa", "\n\n12345\n\n\n"]
        {
            assert!(!is_usable(value), "{value}");
        }
        assert!(is_usable("12345678") && is_usable("contraseña") && is_usable("пароль"));
    }

    #[test]
    fn a_long_value_is_found_in_parts() {
        let value: String = (0..2_000).map(|n| format!("{n:05}")).collect();
        let mut covered = vec![false; value.len()];
        for range in spans(&value, &value) {
            covered[range].fill(true);
        }
        assert!(covered.iter().all(|is_covered| *is_covered));
    }

    #[test]
    fn a_text_that_may_go_on_to_a_secret_says_so() {
        let values = Values::new(std::iter::once("hunter2-hunter3"));
        assert!(values.may_go_on(b"password is hunt"));
        assert!(!values.may_go_on(b"password is hun"));
        assert!(!values.may_go_on(b"hunters"));
        assert!(!values.may_go_on(b"hunter2-hunter3"));
    }

    proptest! {
        #[test]
        fn base64_is_found_wherever_the_secret_stands(
            before in prop::collection::vec(any::<u8>(), 0..9),
            after in prop::collection::vec(any::<u8>(), 0..9),
            secret in "[a-z]{4}[A-Z0-9!~?]{5,20}",
        ) {
            let text = [&before, secret.as_bytes(), &after].concat();
            for alphabet in [&STANDARD, &URL_SAFE] {
                let encoded = GeneralPurpose::new(alphabet, NO_PAD).encode(&text);
                prop_assert!(!spans(&secret, &encoded).is_empty(), "{encoded}");
            }
        }
    }
}
