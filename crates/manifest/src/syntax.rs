//! Text into a tree of maps, lists and texts, each with its place.
//!
//! Nothing is guessed: `no`, `1.10` and `08:30` stay the characters that were written, and only a
//! typed key decides what they are. That is also why all problems can be reported at once, where
//! a streaming `Deserialize` would stop at the first.
//! Invariant: time and memory are bounded by the limits below, whatever the text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Budget, DuplicateKeyPolicy, Location, Options};

use crate::{
    diagnostics::{Code, Problem},
    span::{Span, Spanned},
};

/// Largest manifest, in bytes: about a hundred times the largest real one.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of maps and lists.
pub const DEPTH_MAX: usize = 32;

/// Most maps, lists and texts, anchors expanded.
pub const NODES_MAX: usize = 50_000;

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) shape: Shape,
}

/// What a piece of text is, before any key gives it a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Null,
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; a key may appear twice.
    Map(Vec<(Spanned<String>, Node)>),
}

impl Shape {
    /// The word for people.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Shape::Null => "nothing",
            Shape::Text(_) => "a text",
            Shape::List(_) => "a list",
            Shape::Map(_) => "a map",
        }
    }
}

/// Reads one document.
pub(crate) fn read(text: &[u8]) -> Result<Node, Problem> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the manifest has more than {} MiB", TEXT_BYTES_MAX >> 20);
        return Err(Problem::error(Code::TooLarge, message)
            .help(format!("the limit is {TEXT_BYTES_MAX} bytes; move data out of the manifest")));
    }
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(error.valid_up_to()))?;
    let raw: serde_saphyr::Spanned<Raw> = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| problem(&error, text))?;
    let node = placed(raw, text);
    if node.shape == Shape::Null {
        return Err(Problem::error(Code::Empty, "the manifest is empty")
            .help("begin with `plimsoll: 1`, `app: <name>` and `services:`"));
    }
    Ok(node)
}

fn not_utf8(byte: usize) -> Problem {
    Problem::error(Code::NotUtf8, format!("the manifest is not UTF-8 from byte {byte} on"))
        .help("save the file as UTF-8")
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: limits(),
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    }
}

fn limits() -> Option<Budget> {
    serde_saphyr::budget! {
        max_depth: DEPTH_MAX,
        flow_nesting_limit: DEPTH_MAX,
        max_nodes: NODES_MAX,
        max_events: 4 * NODES_MAX,
        max_aliases: 1000,
        max_anchors: 1000,
        max_documents: 2,
        max_merge_keys: 1000,
        max_recorded_anchor_events: NODES_MAX,
        max_recorded_anchor_bytes: 4 * TEXT_BYTES_MAX,
        max_total_scalar_bytes: 4 * TEXT_BYTES_MAX,
    }
}

/// A node before its guessed scalars are put back into the characters that were written.
enum Raw {
    Null,
    /// The reader saw a number or truth value; its text is taken from the source.
    Guessed,
    Text(String),
    List(Vec<serde_saphyr::Spanned<Raw>>),
    Map(Vec<(serde_saphyr::Spanned<String>, serde_saphyr::Spanned<Raw>)>),
}

struct RawVisitor;

macro_rules! guessed {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E>(self, _value: $type) -> Result<Raw, E> {
            Ok(Raw::Guessed)
        }
    )*};
}

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    guessed!(
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
        visit_f64: f64
    );

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list or a text")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

fn placed(raw: serde_saphyr::Spanned<Raw>, text: &str) -> Node {
    let span = span_of(&raw.defined, text);
    match raw.value {
        Raw::Null => Node { span, shape: Shape::Null },
        Raw::Text(value) => Node { span, shape: Shape::Text(value) },
        Raw::Guessed => {
            let range = span.start as usize..span.end as usize;
            let written = text.get(range).unwrap_or("").trim();
            Node { span, shape: Shape::Text(written.to_owned()) }
        }
        Raw::List(items) => {
            let items: Vec<Node> = items.into_iter().map(|item| placed(item, text)).collect();
            let span = items.iter().fold(span, |all, item| grown(all, item.span));
            Node { span: closed(span, text), shape: Shape::List(items) }
        }
        Raw::Map(entries) => {
            let place = |(key, value): (serde_saphyr::Spanned<String>, _)| {
                let key = Spanned::new(key.value, span_of(&key.defined, text));
                (key, placed(value, text))
            };
            let entries: Vec<_> = entries.into_iter().map(place).collect();
            let span = entries
                .iter()
                .fold(span, |all, (key, value)| grown(grown(all, key.span), value.span));
            Node { span: closed(span, text), shape: Shape::Map(entries) }
        }
    }
}

/// A collection's span with one of its items, unless an alias took that from somewhere before.
fn grown(all: Span, item: Span) -> Span {
    if item.start < all.start { all } else { all.join(item) }
}

/// A bracketed collection's span with its closing bracket.
fn closed(span: Span, text: &str) -> Span {
    let closing = match text.as_bytes().get(span.start as usize) {
        Some(b'[') => ']',
        Some(b'{') => '}',
        _ => return span,
    };
    let rest = text.get(span.end as usize..).unwrap_or("");
    let after = rest.trim_start_matches([' ', ',', '\n', '\r']);
    if after.starts_with(closing) {
        let skipped = u32::try_from(rest.len() - after.len()).unwrap_or(0);
        Span { start: span.start, end: span.end + skipped + 1 }
    } else {
        span
    }
}

/// A location as bytes; trailing white space of block texts is left out.
fn span_of(location: &Location, text: &str) -> Span {
    let bytes = location.span();
    let (start, length) = match (bytes.byte_offset(), bytes.byte_len()) {
        (Some(start), Some(length)) => (start, length),
        _ => (byte_of(location, text), 1),
    };
    let limit = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(text.len());
    let (start, end) = (limit(start), limit(start.saturating_add(length)));
    let Some(written) = text.get(start..end) else { return Span::default() };
    let end = start + written.trim_end().len();
    let small = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
    Span { start: small(start), end: small(end) }
}

/// The byte of a location that only has line and column.
fn byte_of(location: &Location, text: &str) -> u64 {
    let before = usize::try_from(location.line()).unwrap_or(usize::MAX).saturating_sub(1);
    let column = usize::try_from(location.column()).unwrap_or(usize::MAX).saturating_sub(1);
    let mut lines = text.split_inclusive('\n');
    let skipped: usize = lines.by_ref().take(before).map(str::len).sum();
    let line = lines.next().unwrap_or("").trim_end();
    let within = line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte);
    u64::try_from(skipped + within).unwrap_or(u64::MAX)
}

fn problem(error: &serde_saphyr::Error, text: &str) -> Problem {
    use serde_saphyr::Error as Yaml;
    let words = words_of(error);
    let cause = match error {
        Yaml::AliasError { error, .. } => error.as_ref(),
        other => other,
    };
    let (code, message, help) = match cause {
        Yaml::MultipleDocuments { .. } => (
            Code::SeveralDocuments,
            "the file holds more than one document".to_owned(),
            "a manifest is one document; remove everything from the second `---` on",
        ),
        Yaml::Budget { .. }
        | Yaml::AliasReplayCounterOverflow { .. }
        | Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. } => (
            Code::TooComplex,
            "the manifest nests or repeats too much".to_owned(),
            "write it flatter, with fewer anchors",
        ),
        _ if words.contains("nesting") || words.contains("recursion limit") => {
            (Code::TooComplex, "the manifest nests too deeply".to_owned(), "write it flatter")
        }
        _ if words.contains("tab") && at_tab(error, text) => {
            (Code::Syntax, "a tab indents this line".to_owned(), "indent with spaces")
        }
        _ => (Code::Syntax, words, "check indentation, quotes and brackets around this place"),
    };
    let problem = Problem::error(code, message).help(help);
    match error.location() {
        Some(location) => problem.at(span_of(&location, text), ""),
        None => problem,
    }
}

fn at_tab(error: &serde_saphyr::Error, text: &str) -> bool {
    let line = error.location().and_then(|l| text.lines().nth(usize::try_from(l.line()).ok()? - 1));
    line.is_some_and(|line| line.contains('\t'))
}

/// The reader's message without the place it puts in front.
fn words_of(error: &serde_saphyr::Error) -> String {
    let whole = error.without_snippet().to_string();
    let first = whole.lines().next().unwrap_or("").trim_start_matches("error: ");
    let words = match first.split_once(": ") {
        Some((place, words)) if place.starts_with("line ") => words,
        _ => first,
    };
    // The place is shown by a caret.
    let words = words.split(" at line ").next().unwrap_or(words);
    /// Some of them quote the text.
    const WORDS_MAX: usize = 160;
    words.chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(yaml: &str) -> Vec<String> {
        fn walk(node: &Node, found: &mut Vec<String>) {
            match &node.shape {
                Shape::Null => found.push("<null>".to_owned()),
                Shape::Text(text) => found.push(text.clone()),
                Shape::List(items) => items.iter().for_each(|item| walk(item, found)),
                Shape::Map(entries) => entries.iter().for_each(|(_, value)| walk(value, found)),
            }
        }
        let mut found = Vec::new();
        walk(&read(yaml.as_bytes()).unwrap(), &mut found);
        found
    }

    #[test]
    fn nothing_is_guessed() {
        let yaml = "a: [no, 1.10, 0x1F, 08:30, 1e3, .inf, true, ~, null, '~', \"1.10\", 007]";
        let expected = [
            "no", "1.10", "0x1F", "08:30", "1e3", ".inf", "true", "<null>", "<null>", "~", "1.10",
            "007",
        ];
        assert_eq!(texts(yaml), expected);
    }

    #[test]
    fn an_alias_gives_the_characters_of_its_anchor() {
        assert_eq!(texts("a: &v 1.10\nb: *v\nc: {<<: {d: 2.50}}"), ["1.10", "1.10", "2.50"]);
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_no_problem() {
        assert_eq!(texts("\u{feff}a: 1.0\r\nb: x\r\n"), ["1.0", "x"]);
    }
}
