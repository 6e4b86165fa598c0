//! Takes the value that stands behind a key: `"password": "x"`, `password=x`, `Cookie: x`.
//!
//! A key counts however it is written (`api_key`, `apiKey`, `API-KEY`) and whatever stands before
//! it (`db_password`). JSON may stand in a string, and that in another: then quotes have
//! backslashes before them, as many as the closing quote must have. It deliberately reads no
//! grammar: the text behind a key is enough, and broken JSON leaks as well as good.
//!
//! Invariant: what is taken is a whole value. Where a string loses its inside it stays a string,
//! and what was no string becomes one.

use std::ops::Range;

/// The keys whose values are taken, unless the settings say otherwise.
pub(super) const DEFAULT: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "api_key",
    "authorization",
    "cookie",
    "private_key",
    "dsn",
    "connection_string",
];

/// Keys that are the end of too many other words.
const ONLY_WHOLE: &[&str] = &["pwd", "dsn"];
/// Keys that are headers: their value may have several words.
const HEADERS: &[&str] = &["authorization", "cookie"];
/// What separates the words of a key in its spellings.
const SEPARATORS: &[&str] = &["", "_", "-", ".", " "];
/// Most spaces between a key, its sign and its value.
const SPACES_MAX: usize = 8;
/// What stands where there is no secret.
const NOTHING: &[&[u8]] =
    &[b"null", b"nil", b"none", b"true", b"false", b"undefined", b"***", b"****", b"*****"];
/// From this length on a word behind a colon is no ordinary word, whatever it has.
const WORD_BYTES_MIN: usize = 12;
/// From this length on it is none when it has more than letters.
const MIXED_BYTES_MIN: usize = 8;

/// What a spelling says of its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    is_only_whole: bool,
    is_header: bool,
}

/// A value behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) span: Range<usize>,
    /// The quote to put around the marker: of a value that was no string, in JSON.
    pub(super) quote: Option<Range<usize>>,
    /// The key was in quotes, or a header.
    pub(super) is_key: bool,
}

/// Every spelling of a key that is given with `_` between its words, in lower case.
pub(super) fn spellings(key: &str) -> Vec<String> {
    let normal = key.to_ascii_lowercase().replace(['-', '.', ' '], "_");
    let mut all: Vec<String> =
        SEPARATORS.iter().map(|separator| normal.replace('_', separator)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What is to be known of a key.
pub(super) fn kind(key: &str) -> Kind {
    Kind { is_only_whole: ONLY_WHOLE.contains(&key), is_header: HEADERS.contains(&key) }
}

/// Which strings a place is in, told from the quotes before it.
///
/// A quote with no backslash before it begins or ends a string, one with one a string in that
/// string, one with three the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strings {
    upto: usize,
    is_open: [bool; LEVELS_MAX],
}

/// How many strings inside each other are told apart.
const LEVELS_MAX: usize = 4;

impl Strings {
    /// Goes on to `at`, which is not before an earlier one.
    pub(super) fn advance(&mut self, text: &[u8], at: usize) {
        for offset in memchr::memchr_iter(b'"', &text[self.upto..at]) {
            let level = level(backslashes(&text[..self.upto + offset]));
            if let Some(is_open) = self.is_open.get_mut(level) {
                *is_open = !*is_open;
                self.is_open[level + 1..].fill(false);
            }
        }
        self.upto = at;
    }

    fn has_open(&self, level: usize) -> bool {
        self.is_open.get(level).is_some_and(|is_open| *is_open)
    }
}

fn backslashes(before: &[u8]) -> usize {
    before.iter().rev().take_while(|byte| **byte == b'\\').count()
}

fn backslashes_of(level: usize) -> usize {
    (1 << level) - 1
}

/// In how many strings a quote stands that has so many backslashes before it: 0, 1, 3, 7, and in a
/// text with backslashes of its own any number that ends in as many binary ones.
fn level(backslashes: usize) -> usize {
    backslashes.trailing_ones() as usize
}

/// The value behind the key at `key` in `text`, if that is a key and has one.
pub(super) fn value(
    text: &[u8],
    key: &Range<usize>,
    kind: Kind,
    strings: &Strings,
) -> Option<Found> {
    if kind.is_only_whole && key.start > 0 && text[key.start - 1].is_ascii_alphanumeric() {
        return None;
    }
    let key_quote = quote(text, key.end);
    let after_key = key_quote.as_ref().map_or(key.end, |quote| quote.end);
    let at = after_spaces(text, after_key);
    let is_colon = match text.get(at)? {
        b'=' => false,
        b':' if text.get(at + 1) != Some(&b':') => true,
        _ if key_quote.is_none() && at > after_key => return argument(text, key, at),
        _ => return None,
    };
    // `=>` as in Ruby, `:=` as in Go, but no comparison.
    let is_arrow = matches!(&text[at..(at + 2).min(text.len())], b"=>" | b":=");
    let start = after_spaces(text, at + 1 + usize::from(is_arrow));
    if text.get(start)? == &b'=' {
        return None;
    }
    let is_key = key_quote.is_some() || (kind.is_header && is_colon);
    let found = |span: Range<usize>, quote| Some(Found { span, quote, is_key });
    if let Some(opening) = quote(text, start) {
        let is_end = text[opening.end - 1] == b'"' && strings.has_open(level(opening.len() - 1));
        if key_quote.as_ref().is_none_or(|quote| quote.len() != opening.len()) && is_end {
            // The string ends in which the key stands.
            return None;
        }
        let end = closing(text, &opening);
        return filled(text, opening.end..end).and_then(|span| found(span, None));
    }
    if key_quote.as_ref().is_some_and(|quote| !strings.has_open(level(quote.len() - 1))) {
        // The quote belongs to the text, and so may what follows.
        return None;
    }
    match (key_quote, text[start]) {
        (Some(quote), b'{' | b'[') => found(start..balanced(text, start, &quote), Some(quote)),
        (Some(quote), _) => {
            let span = filled(text, start..start + scalar_bytes(&text[start..]))?;
            found(span, Some(quote))
        }
        (None, _) if kind.is_header && is_colon => {
            found(filled(text, start..start + header_bytes(&text[start..]))?, None)
        }
        (None, _) => {
            let span = filled(text, start..start + word_bytes(&text[start..]))?;
            let is_plain = is_colon && at + 1 < start && is_ordinary_word(&text[span.clone()]);
            if is_plain { None } else { found(span, None) }
        }
    }
}

/// `--password x`.
fn argument(text: &[u8], key: &Range<usize>, start: usize) -> Option<Found> {
    let is_part = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
    let before = text[..key.start].iter().rev().take_while(|byte| is_part(byte)).count();
    let flag = &text[key.start - before..key.end];
    if !flag.starts_with(b"--") || text.get(start) == Some(&b'-') {
        return None;
    }
    let span = filled(text, start..start + word_bytes(&text[start..]))?;
    Some(Found { span, quote: None, is_key: false })
}

/// The quote at `at`, with the backslashes before it.
fn quote(text: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = &text[at..];
    let backslashes = rest.iter().take_while(|byte| **byte == b'\\').count();
    let is_quote = matches!(rest.get(backslashes)?, b'"' | b'\'');
    is_quote.then(|| at..at + backslashes + 1)
}

fn after_spaces(text: &[u8], at: usize) -> usize {
    let spaces = text[at..].iter().take(SPACES_MAX).take_while(|byte| **byte == b' ');
    at + spaces.count()
}

/// Where the string ends that `opening` begins: before the closing quote and its backslashes.
fn closing(text: &[u8], opening: &Range<usize>) -> usize {
    let opening_level = level(opening.len() - 1);
    let mark = text[opening.end - 1];
    let mut at = opening.end;
    while let Some(offset) = memchr::memchr(mark, &text[at..]) {
        let found = at + offset;
        // A quote inside has more backslashes; one with fewer ends a string around this one.
        let found_level = level(backslashes(&text[opening.end..found]));
        if found_level <= opening_level {
            return found - backslashes_of(found_level);
        }
        at = found + 1;
    }
    text.len()
}

/// Where the list or object ends that begins at `start`, whose strings have quotes like `quote`.
fn balanced(text: &[u8], start: usize, quote_like: &Range<usize>) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < text.len() {
        match text[at] {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b'"' | b'\'' | b'\\' => {
                let mark = quote_like.end - 1;
                if let Some(opening) = quote(text, at).filter(|q| text[q.end - 1] == text[mark]) {
                    let (found, wanted) = (level(opening.len() - 1), level(quote_like.len() - 1));
                    if found < wanted {
                        // The string ends in which all this stands.
                        return opening.end - 1 - backslashes_of(found);
                    }
                    let is_string = found == wanted;
                    let end = if is_string { closing(text, &opening) } else { opening.start };
                    at = (end + opening.len()).min(text.len());
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// A number; no other word of JSON is a secret.
fn scalar_bytes(rest: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    rest.iter().take_while(|byte| is_part(byte)).count()
}

/// A word, up to what ends it in a text, a query or a list.
fn word_bytes(rest: &[u8]) -> usize {
    let is_end = |index: usize| match rest[index] {
        b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b')' | b']' | b'}' | b'<' | b'>' | b'|' => true,
        b'\\' => matches!(rest.get(index + 1), Some(b'n' | b'r' | b't' | b'"' | b'\\' | b'u')),
        byte => byte.is_ascii_whitespace() || byte.is_ascii_control(),
    };
    (0..rest.len()).find(|index| is_end(*index)).unwrap_or(rest.len())
}

/// The rest of the line, or of the string that it stands in.
fn header_bytes(rest: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\n' | b'\r' | b'\\');
    rest.iter().position(is_end).unwrap_or(rest.len())
}

/// The span, unless there is no secret in it or none any more.
fn filled(text: &[u8], span: Range<usize>) -> Option<Range<usize>> {
    let value = &text[span.clone()];
    let is_nothing = NOTHING.iter().any(|word| word.eq_ignore_ascii_case(value));
    let is_reference = value.starts_with(b"${");
    let is_done = value.starts_with(b"[REDACTED");
    (!value.is_empty() && !is_nothing && !is_reference && !is_done).then_some(span)
}

/// Whether it is more likely to go on with the sentence (`bad token: expected a name`).
fn is_ordinary_word(word: &[u8]) -> bool {
    let is_plain = word.iter().skip(1).all(u8::is_ascii_lowercase);
    let limit = if is_plain { WORD_BYTES_MIN } else { MIXED_BYTES_MIN };
    word.len() < limit && !word.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a text whose one key is `key`.
    fn taken(text: &str, key: &str) -> Option<String> {
        let start = text.to_lowercase().find(key).expect("the key is there");
        let key = start..start + key.len();
        let word = &text.to_lowercase()[key.clone()];
        let mut strings = Strings::default();
        strings.advance(text.as_bytes(), key.start);
        value(text.as_bytes(), &key, kind(word), &strings).map(|found| {
            let quote = found.quote.map_or("", |quote| &text[quote]);
            format!("{}{quote}*{quote}{}", &text[..found.span.start], &text[found.span.end..])
        })
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let keys = ["password", "token", "secret", "authorization", "cookie", "pwd"];
        let key = keys.into_iter().find(|key| text.to_lowercase().contains(key));
        assert_eq!(taken(text, key.expect("a key")).as_deref().unwrap_or(text), expected);
    }

    #[test]
    fn the_value_of_a_json_key_is_taken_whole() {
        check(r#"{"password":"a\"b\\","x":1}"#, r#"{"password":"*","x":1}"#);
        check(r#"{"db_password" : "a" ,"x":1}"#, r#"{"db_password" : "*" ,"x":1}"#);
        check(r#"{"token":12345}"#, r#"{"token":"*"}"#);
        check(r#"{"secret":{"a":["]"],"b":"}"},"x":1}"#, r#"{"secret":"*","x":1}"#);
        check("{'password': 'it\\'s', 'x': 1}", "{'password': '*', 'x': 1}");
    }

    #[test]
    fn json_inside_a_string_is_read_as_well() {
        check(r#""{\"password\":\"a\\\"b\",\"x\":1}""#, r#""{\"password\":\"*\",\"x\":1}""#);
        check(r#""{\"token\": 12}""#, r#""{\"token\": \"*\"}""#);
        check(r#""{\\\"token\\\":\\\"a\\\\\\\"b\\\"}""#, r#""{\\\"token\\\":\\\"*\\\"}""#);
    }

    #[test]
    fn assignments_in_text_are_taken() {
        check("login password=hunter2 ok", "login password=* ok");
        check(r#"user="bob" password="a b" ok"#, r#"user="bob" password="*" ok"#);
        check(r#"{"msg":"password=","x":"y"}"#, r#"{"msg":"password=","x":"y"}"#);
        check(r#""msg":"a=\"b\" password=\"c d\" e""#, r#""msg":"a=\"b\" password=\"*\" e""#);
        check("PASSWORD = 'two words' ok", "PASSWORD = '*' ok");
        check("/login?token=abc&next=/", "/login?token=*&next=/");
        check("password: hunter2", "password: *");
        check("secret => :abcdefgh", "secret => *");
        check("run --db-password hunter2 --x", "run --db-password * --x");
        check(r#""msg":"password=abc\nnext""#, r#""msg":"password=*\nnext""#);
    }

    #[test]
    fn a_header_is_taken_to_its_end() {
        check("Authorization: Digest a=b, c=\"d\"", "Authorization: *\"d\"");
        check("Set-Cookie: sid=abc; Path=/", "Set-Cookie: *");
    }

    #[test]
    fn other_words_are_left_alone() {
        for text in [
            "token: expected a name",
            "tokenizer=fast",
            "token_count=12",
            "secrets: 3",
            "std::token::Kind",
            "if password == x",
            "password=",
            "password=null",
            r#"{"password":null,"x":1}"#,
            r#"{"password":"","x":1}"#,
            "password=[REDACTED:assignment]",
            "password=${DB_PASSWORD}",
            "oldpwd=/home",
            "the token is old",
            "no --token -v",
        ] {
            check(text, text);
        }
    }
}
