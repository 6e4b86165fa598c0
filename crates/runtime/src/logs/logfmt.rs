//! Reads a line of `key=value` pairs, as logfmt loggers write it, as the object that it means.
//!
//! Go's, Ruby's and Python's loggers agree on the form and on little else, so it is taken strictly:
//! every word is a pair, no key comes twice, and one key at least is one of our fields or aliases.
//! Anything else is text. Values stay texts, since nobody knows whether `id=007` is a number.
//!
//! It deliberately interprets nothing else: the object goes the way of every other object.
//!
//! Invariant: a line without a message of its own keeps all of itself as `msg`.

use super::Level;
use super::escape::push_string;

/// Fewest pairs of a line that is logfmt: one alone may be a sentence.
const PAIRS_MIN: usize = 2;
/// Most pairs that are looked at.
const PAIRS_MAX: usize = 64;

/// What a key means to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The message.
    Message,
    /// How bad it is.
    Level,
    /// Another field of ours.
    Field,
    /// None of ours.
    Other,
}

/// The object that a line means; none when it is no logfmt. `role` says what a key is.
pub(super) fn object(line: &str, role: impl Fn(&str) -> Role) -> Option<String> {
    let mut rest = line.trim_matches([' ', '\t', '\r']);
    let mut out = Vec::new();
    let (mut pairs, mut is_ours, mut has_message) = (0, false, false);
    while !rest.is_empty() {
        let (key, value, next) = pair(rest)?;
        rest = next.trim_start_matches([' ', '\t']);
        if pairs == 0 {
            // Most lines are text, and end at their first word.
            out.reserve(line.len() + line.len() / 4);
        }
        out.push(if pairs == 0 { b'{' } else { b',' });
        push_string(&mut out, key);
        out.push(b':');
        let role = role(key);
        match (role, Level::named(value.text().as_bytes())) {
            (Role::Level, Some(level)) => push_string(&mut out, level.word()),
            _ => value.push(&mut out),
        }
        is_ours |= role != Role::Other;
        has_message |= role == Role::Message;
        pairs += 1;
        if pairs > PAIRS_MAX {
            return None;
        }
    }
    if pairs < PAIRS_MIN || !is_ours {
        return None;
    }
    if !has_message {
        out.extend_from_slice(b",\"msg\":");
        push_string(&mut out, line);
    }
    out.push(b'}');
    String::from_utf8(out).ok()
}

/// A value as it is written.
#[derive(Clone, Copy)]
enum Written<'a> {
    /// Up to the next blank.
    Plain(&'a str),
    /// With its quotes, as in JSON.
    Quoted(&'a str),
}

impl<'a> Written<'a> {
    fn text(self) -> &'a str {
        match self {
            Written::Plain(text) => text,
            Written::Quoted(text) => text.trim_matches('"'),
        }
    }

    fn push(self, out: &mut Vec<u8>) {
        match self {
            Written::Plain(text) => push_string(out, text),
            // Whether its escapes are JSON's is found by whoever reads the object.
            Written::Quoted(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

/// The first pair of a text, and what stands behind it.
fn pair(text: &str) -> Option<(&str, Written<'_>, &str)> {
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-/@".contains(byte);
    let length = text.bytes().position(|byte| !is_key(&byte))?;
    let (key, rest) = text.split_at(length);
    if !key.as_bytes().first()?.is_ascii_alphabetic() && !key.starts_with(['_', '@']) {
        return None;
    }
    let rest = rest.strip_prefix('=')?;
    let (value, rest) = if rest.starts_with('"') {
        let end = closing_quote(rest)?;
        let (value, rest) = rest.split_at(end);
        (Written::Quoted(value), rest)
    } else {
        let end = rest.find([' ', '\t']).unwrap_or(rest.len());
        let (value, rest) = rest.split_at(end);
        if value.contains(|c: char| c == '"' || c.is_control()) {
            return None;
        }
        (Written::Plain(value), rest)
    };
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some((key, value, rest))
}

/// The index behind the quote that closes the one at the beginning.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<String> {
        object(line, |key| match key {
            "msg" => Role::Message,
            "level" => Role::Level,
            "ts" => Role::Field,
            _ => Role::Other,
        })
    }

    #[test]
    fn pairs_become_an_object_of_texts() {
        assert_eq!(
            read(
                r#"ts=2026-11-21T09:14:02Z level=WARN msg="disk \"a\" full" used=0.97 id=007 why="#
            )
            .as_deref(),
            Some(concat!(
                r#"{"ts":"2026-11-21T09:14:02Z","level":"warn","msg":"disk \"a\" full","#,
                r#""used":"0.97","id":"007","why":""}"#
            ))
        );
    }

    #[test]
    fn a_line_without_a_message_keeps_itself() {
        assert_eq!(
            read("level=info path=/a?b=c").as_deref(),
            Some(r#"{"level":"info","path":"/a?b=c","msg":"level=info path=/a?b=c"}"#)
        );
    }

    #[test]
    fn what_is_not_all_pairs_is_text() {
        let lines = [
            "",
            "level=info",
            "a=1 b=2",
            "level=info and more",
            "took level=info x=1",
            "level=info x=\"open",
            "level=info x=\"a\"b",
            "level=info x=a\"b",
            "level=info 1x=2",
            "level=info =2",
            "level=info é=2",
            "2026/11/21 level=info msg=x",
        ];
        for line in lines {
            assert_eq!(read(line), None, "{line}");
        }
        let many = "level=info ".to_owned() + &"a=1 ".repeat(PAIRS_MAX);
        assert_eq!(read(&many), None);
    }
}
