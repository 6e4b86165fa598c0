//! Makes one JSON object of one line.
//!
//! A line that is an object keeps its bytes and its key order; only fields that it misses are added
//! before its closing brace, and its values are never changed, so a level stays in the app's own
//! words. A line of logfmt is read as the object that it means (`logfmt`). Anything else, and an
//! object that a strict reader would refuse (invalid, a key twice, half of a surrogate pair, too
//! deep), becomes the text of `msg`.
//!
//! Invariant: the output is exactly one valid JSON object without a line end.

use std::borrow::Cow;
use std::fmt;

use contract::log_fields::{self, Field, Presence};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::alias::{self, Alias, Scalar, Told};
use super::escape::{push_escaped, push_string};
use super::logfmt::{self, Role};
use super::{Level, Stream, object};
use crate::board::Identity;

/// Longest key of a field or alias, bytes; a longer key is none of ours.
const KEY_BYTES_MAX: usize = 32;

/// The fields that every line gets, in the order in which they are added.
const ADDED: [Added; 8] = [
    Added { field: &log_fields::TS, source: Source::Time },
    Added { field: &log_fields::LEVEL, source: Source::Level },
    Added { field: &log_fields::MSG, source: Source::Empty },
    Added { field: &log_fields::SERVICE, source: Source::Fixed },
    Added { field: &log_fields::ENV, source: Source::Fixed },
    Added { field: &log_fields::VERSION, source: Source::Fixed },
    Added { field: &log_fields::INSTANCE, source: Source::Fixed },
    Added { field: &log_fields::STREAM, source: Source::Fixed },
];

struct Added {
    field: &'static Field,
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Time,
    Level,
    Empty,
    Fixed,
}

/// What a key of a line means to us.
#[derive(Clone, Copy, Debug)]
enum Key {
    /// The field of [`ADDED`] or [`TOLD`] with this bit.
    Field(usize),
    /// It tells something that is added in our form.
    Alias(Alias),
}

/// Fields that are added when an alias tells their value; their bits follow those of [`ADDED`].
const TOLD: [&str; 3] =
    [log_fields::TRACE_ID.name, log_fields::SPAN_ID.name, log_fields::TRACE_FLAGS.name];

/// What does not change from line to line of one stream.
#[derive(Clone, Debug)]
pub struct Context {
    /// `,"service":"x"` and so on, by index in [`ADDED`]; empty for the others and for the unknown.
    fixed: [Vec<u8>; 8],
    /// All of `fixed` in a row and the closing brace.
    tail: Vec<u8>,
    /// Keys by length, with what they mean.
    keys: Vec<Vec<(&'static str, Key)>>,
}

impl Context {
    /// The fields of a stream.
    #[must_use]
    pub fn new(identity: &Identity, stream: Stream) -> Self {
        let mut fixed: [Vec<u8>; 8] = Default::default();
        let mut keys = vec![Vec::new(); KEY_BYTES_MAX + 1];
        for (index, added) in ADDED.iter().enumerate() {
            let name = added.field.name;
            for key in std::iter::once(name).chain(added.field.aliases.iter().copied()) {
                let alias = alias::ALL.iter().find(|(known, _)| *known == key);
                let meaning = alias.map_or(Key::Field(index), |(_, alias)| Key::Alias(*alias));
                keys[key.len()].push((key, meaning));
            }
            let value = match name {
                "service" => &identity.service,
                "env" => &identity.env,
                "version" => &identity.version,
                "instance" => &identity.instance,
                "stream" => stream.word(),
                _ => continue,
            };
            if added.field.presence == Presence::WhenKnown && value.is_empty() {
                continue;
            }
            let fragment = &mut fixed[index];
            fragment.push(b',');
            push_string(fragment, name);
            fragment.push(b':');
            push_string(fragment, value);
        }
        for (index, name) in TOLD.iter().enumerate() {
            keys[name.len()].push((name, Key::Field(ADDED.len() + index)));
        }
        for (key, alias) in alias::ALL.iter().filter(|(_, alias)| *alias != Alias::Level) {
            keys[key.len()].push((key, Key::Alias(*alias)));
        }
        let mut tail = fixed.concat();
        tail.push(b'}');
        Self { fixed, tail, keys }
    }

    /// What ends a line that has none of our fields yet: the fixed ones and the brace.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    fn meaning(&self, key: &str) -> Option<Key> {
        let same_length = self.keys.get(key.len())?;
        same_length.iter().find(|(known, _)| *known == key).map(|(_, meaning)| *meaning)
    }
}

/// A line without its end.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its bytes; several lines if they were joined.
    pub bytes: &'a [u8],
    /// It is a part of an over-long line, and therefore always text.
    pub is_cut: bool,
    /// It is a trace, and therefore an error unless it says something else.
    pub is_trace: bool,
}

impl<'a> Line<'a> {
    /// A whole line by itself.
    #[must_use]
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, is_cut: false, is_trace: false }
    }
}

/// Appends `line` as one JSON object; `ts` is when it was read. Returns true if bytes that are not
/// UTF-8 had to be replaced.
pub fn enrich(line: Line<'_>, ts: &str, context: &Context, out: &mut Vec<u8>) -> bool {
    // Nearly every line is text; to check a whole one is faster than to look for its bad bytes.
    let text = std::str::from_utf8(line.bytes)
        .map_or_else(|_| String::from_utf8_lossy(line.bytes), Cow::Borrowed);
    let is_alone = !line.is_cut && !line.is_trace;
    if let Some((object, present)) = is_alone.then(|| as_object(&text, context)).flatten() {
        splice(object, present, ts, context, out);
    } else if let Some(pairs) = is_alone.then(|| as_pairs(&text, context)).flatten()
        && let Some((object, present)) = as_object(&pairs, context)
    {
        splice(object, present, ts, context, out);
    } else {
        wrap(&text, line, ts, context, out);
    }
    matches!(text, Cow::Owned(_))
}

fn wrap(text: &str, line: Line<'_>, ts: &str, context: &Context, out: &mut Vec<u8>) {
    let otherwise = if line.is_trace { Level::Error } else { Level::Info };
    let level = Level::find(text.as_bytes()).unwrap_or(otherwise);
    open(out, ts, level);
    push_escaped(out, text);
    out.push(b'"');
    if line.is_cut {
        out.extend_from_slice(b",\"truncated\":true");
    }
    out.extend_from_slice(&context.tail);
}

/// Appends everything up to and including the quote that opens the value of `msg`.
pub(super) fn open(out: &mut Vec<u8>, ts: &str, level: Level) {
    out.extend_from_slice(b"{\"ts\":\"");
    out.extend_from_slice(ts.as_bytes());
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(level.word().as_bytes());
    out.extend_from_slice(b"\",\"msg\":\"");
}

fn splice(object: &str, present: Present, ts: &str, context: &Context, out: &mut Vec<u8>) {
    let body = object.strip_suffix('}').unwrap_or(object);
    out.extend_from_slice(body.as_bytes());
    let start = out.len();
    for (index, added) in ADDED.iter().enumerate() {
        if present.fields & (1 << index) != 0 {
            continue;
        }
        match added.source {
            Source::Time => {
                out.extend_from_slice(b",\"ts\":\"");
                out.extend_from_slice(ts.as_bytes());
                out.push(b'"');
            }
            Source::Level => {
                out.extend_from_slice(b",\"level\":\"");
                out.extend_from_slice(present.told.level.unwrap_or_default().word().as_bytes());
                out.push(b'"');
            }
            Source::Empty => out.extend_from_slice(b",\"msg\":\"\""),
            Source::Fixed => out.extend_from_slice(&context.fixed[index]),
        }
    }
    push_told(present, out);
    if present.is_empty && out.len() > start {
        out.remove(start);
    }
    out.push(b'}');
}

/// Appends what aliases told, unless the line says it itself.
fn push_told(present: Present, out: &mut Vec<u8>) {
    let Told { trace_id, span_id, flags, .. } = present.told;
    let values = [
        trace_id.map(|id| format!("{id:032x}")),
        span_id.map(|id| format!("{id:016x}")),
        flags.map(|flags| format!("{flags:02x}")),
    ];
    for (index, (name, value)) in TOLD.iter().zip(values).enumerate() {
        let is_missing = present.fields & (1 << (ADDED.len() + index)) == 0;
        if let Some(value) = value.filter(|_| is_missing) {
            out.push(b',');
            push_string(out, name);
            out.push(b':');
            push_string(out, &value);
        }
    }
}

/// Which of [`ADDED`] and [`TOLD`] an object has, as bits, whether it has no key at all, and what
/// its aliases told.
#[derive(Clone, Copy, Default)]
struct Present {
    fields: u16,
    is_empty: bool,
    told: Told,
}

fn as_object<'a>(text: &'a str, context: &Context) -> Option<(&'a str, Present)> {
    let object = text.trim_matches([' ', '\t', '\r']);
    if !object.starts_with('{') || !object.ends_with('}') {
        return None;
    }
    if let Some(present) = as_plain(object, context) {
        return Some((object, present));
    }
    let mut reader = serde_json::Deserializer::from_str(object);
    let is_strict = needs_strictness(object.as_bytes());
    let present = reader.deserialize_map(Keys { context, is_strict }).ok()?;
    reader.end().ok()?;
    Some((object, present))
}

/// What a plain object has; none when it is not plain, which says nothing else of it.
fn as_plain(object: &str, context: &Context) -> Option<Present> {
    let mut seen = [""; PLAIN_KEYS_MAX];
    let (mut n_keys, mut marks) = (0, 0_u64);
    let mut present = Present { is_empty: true, ..Present::default() };
    let is_plain = object::members(object, |key, value| {
        // Two keys with one mark are seldom the same, and the same keys have one mark.
        let mark = mark(key);
        let is_double = marks & mark != 0 && seen[..n_keys].contains(&key);
        if is_double || n_keys == PLAIN_KEYS_MAX {
            return false;
        }
        seen[n_keys] = key;
        (n_keys, marks, present.is_empty) = (n_keys + 1, marks | mark, false);
        match context.meaning(key) {
            Some(Key::Field(index)) => present.fields |= 1 << index,
            Some(Key::Alias(alias)) => match serde_json::from_str::<Scalar<'_>>(value) {
                Ok(scalar) => present.told.read(alias, &scalar),
                Err(_) => return false,
            },
            None => {}
        }
        true
    });
    is_plain.then_some(present)
}

/// Most keys of a plain object.
const PLAIN_KEYS_MAX: usize = 24;

/// One bit that the length and the ends of a key choose.
fn mark(key: &str) -> u64 {
    let ends = [key.as_bytes().first(), key.as_bytes().last()];
    let sum = ends.into_iter().flatten().fold(key.len(), |sum, byte| sum * 7 + usize::from(*byte));
    1 << (sum % 64)
}

/// The object that a line of logfmt means.
fn as_pairs(text: &str, context: &Context) -> Option<String> {
    logfmt::object(text, |key| match context.meaning(key) {
        Some(Key::Field(index)) => match ADDED.get(index).map(|added| added.source) {
            Some(Source::Empty) => Role::Message,
            Some(Source::Level) => Role::Level,
            _ => Role::Field,
        },
        Some(Key::Alias(Alias::Level)) => Role::Level,
        Some(Key::Alias(_)) => Role::Field,
        None => Role::Other,
    })
}

/// Whether an object may hold half of a surrogate pair, or nest deeper than readers go.
fn needs_strictness(object: &[u8]) -> bool {
    let nested = memchr::memchr2_iter(b'[', b'{', object).take(DEPTH_MAX).count();
    nested == DEPTH_MAX || memchr::memmem::find(object, b"\\u").is_some()
}

/// An object that opens fewer brackets is not too deep for any reader; `serde_json` goes to 128.
const DEPTH_MAX: usize = 100;

/// Reads the keys of an object and checks, but does not keep, the values.
struct Keys<'a> {
    context: &'a Context,
    is_strict: bool,
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Present;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Present, A::Error> {
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(16);
        let (mut fields, mut told) = (0, Told::default());
        while let Some(Name(key)) = map.next_key()? {
            if seen.contains(&key) {
                return Err(serde::de::Error::custom("a key twice"));
            }
            let meaning = self.context.meaning(&key);
            if let Some(Key::Field(index)) = meaning {
                fields |= 1 << index;
            }
            seen.push(key);
            if seen.len() > KEYS_MAX {
                return Err(serde::de::Error::custom("too many keys"));
            }
            if let Some(Key::Alias(alias)) = meaning {
                told.read(alias, &map.next_value::<Scalar<'_>>()?);
            } else if self.is_strict {
                map.next_value::<Strict>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Present { fields, is_empty: seen.is_empty(), told })
    }
}

/// Most keys of a line that is kept as an object; more would make the search for doubles slow.
const KEYS_MAX: usize = 1024;

struct Name<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(key.to_owned())))
    }
}

/// A value whose strings are decoded and whose depth is limited.
pub(super) struct Strict;

impl<'de> serde::Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        while map.next_entry::<Strict, Strict>()?.is_some() {}
        Ok(Strict)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const TS: &str = "2026-11-21T09:14:02.123456Z";

    fn context() -> Context {
        let identity = Identity {
            service: "gate\"way".into(),
            env: "prod".into(),
            version: String::new(),
            instance: "i-1".into(),
        };
        Context::new(&identity, Stream::Stdout)
    }

    fn enriched(line: &[u8]) -> String {
        let mut out = Vec::new();
        enrich(Line::whole(line), TS, &context(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn value(line: &[u8]) -> Value {
        serde_json::from_str(&enriched(line)).expect("one JSON value")
    }

    #[test]
    fn text_is_wrapped() {
        assert_eq!(
            enriched(b"WARN disk \"full\""),
            r#"{"ts":"2026-11-21T09:14:02.123456Z","level":"warn","msg":"WARN disk \"full\"","service":"gate\"way","env":"prod","instance":"i-1","stream":"stdout"}"#
        );
    }

    #[test]
    fn an_object_keeps_its_bytes_and_gets_what_it_misses() {
        let line = br#"{ "level":"ERROR", "b":1.0e2,"msg" : "x","a":[{"ts":1}] }"#;
        assert_eq!(
            enriched(line),
            r#"{ "level":"ERROR", "b":1.0e2,"msg" : "x","a":[{"ts":1}] ,"ts":"2026-11-21T09:14:02.123456Z","service":"gate\"way","env":"prod","instance":"i-1","stream":"stdout"}"#
        );
    }

    #[test]
    fn an_alias_is_not_missing() {
        let value = value(br#"{"severity":"ERROR","message":"x","time":1,"trace_id":"t"}"#);
        for absent in ["msg", "ts"] {
            assert_eq!(value.get(absent), None, "{absent}");
        }
        assert_eq!(value["level"], "error");
        assert_eq!(value["trace_id"], "t");
    }

    #[test]
    fn the_ids_of_other_loggers_are_added_in_our_form() {
        let line = br#"{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#;
        let with_parent = value(line);
        assert_eq!(with_parent["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(with_parent["span_id"], "00f067aa0ba902b7");
        assert_eq!(with_parent["trace_flags"], "01");
        let datadog = value(br#"{"dd.trace_id":"255","dd.span_id":16,"severity":50}"#);
        assert_eq!(datadog["trace_id"], "000000000000000000000000000000ff");
        assert_eq!(datadog["span_id"], "0000000000000010");
        assert_eq!(datadog["level"], "error");
        let both = value(br#"{"trace_id":"mine","traceId":"4bf92f3577b34da6a3ce929d0e0e4736"}"#);
        assert_eq!(both["trace_id"], "mine");
    }

    #[test]
    fn a_key_written_with_escapes_is_the_same_key() {
        let value = value(br#"{"\u006c\u0065vel":"debug"}"#);
        assert_eq!(value["level"], "debug");
    }

    #[test]
    fn an_empty_object_stays_one_object() {
        assert_eq!(value(b"{}")["msg"], "");
        assert_eq!(value(b" {  }\t")["level"], "info");
    }

    #[test]
    fn what_a_strict_reader_refuses_becomes_text() {
        let cases: [&[u8]; 9] = [
            br#"{"a":1,"a":2}"#,
            br#"{"a":1,"\u0061":2}"#,
            br#"{"a":1"#,
            br#"{"a":1} {"b":2}"#,
            br#"{"a":"\udc00"}"#,
            br#"{"a":01}"#,
            b"{\"a\":\"\x01\"}",
            br#"[{"a":1}]"#,
            b"{not json}",
        ];
        for line in cases {
            let text = String::from_utf8(line.to_vec()).expect("UTF-8");
            assert_eq!(value(line)["msg"], text, "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(value(deep.as_bytes())["msg"], deep);
    }

    #[test]
    fn a_line_of_logfmt_is_the_object_that_it_means() {
        let pairs = value(
            br#"ts=2026-11-21T09:14:02Z lvl=WARNING msg="disk full" used=0.97 dd.trace_id=255"#,
        );
        assert_eq!(
            (&pairs["ts"], &pairs["used"]),
            (&"2026-11-21T09:14:02Z".into(), &"0.97".into())
        );
        assert_eq!((&pairs["level"], &pairs["msg"]), (&"warn".into(), &"disk full".into()));
        assert_eq!(pairs["trace_id"], "000000000000000000000000000000ff");
        assert_eq!(pairs["service"], "gate\"way");
        for text in ["level=warn a=1 a=2", r#"level=warn a="\x41""#] {
            let pairs = value(text.as_bytes());
            assert_eq!((&pairs["msg"], &pairs["level"]), (&text.into(), &"warn".into()));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_reported() {
        let mut out = Vec::new();
        assert!(enrich(Line::whole(b"caf\xe9\0"), TS, &context(), &mut out));
        let value: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["msg"], "caf\u{fffd}\0");
    }

    #[test]
    fn a_part_of_a_line_is_text_and_says_so() {
        let mut out = Vec::new();
        enrich(Line { is_cut: true, ..Line::whole(b"{}") }, TS, &context(), &mut out);
        let value: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((&value["msg"], &value["truncated"]), (&"{}".into(), &true.into()));
    }

    #[test]
    fn every_key_fits_the_table() {
        for field in log_fields::ALL {
            assert!(field.name.len() <= KEY_BYTES_MAX);
            assert!(field.aliases.iter().all(|alias| alias.len() <= KEY_BYTES_MAX));
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,6}",
            prop::sample::select(vec!["ts", "level", "msg", "service", "severity", "message"])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_object(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let is_object = value(&line).is_object();
            prop_assert!(is_object);
            prop_assert!(!enriched(&line).contains('\n'));
        }

        #[test]
        fn almost_json_becomes_one_object(line in r#"\{("a":|"level":|1|"x"|,|\{|\}|\[|\]| |\\|"){0,12}\}"#) {
            let is_object = value(line.as_bytes()).is_object();
            prop_assert!(is_object);
        }

        #[test]
        fn almost_logfmt_becomes_one_object(
            line in r#"(level=|msg=|a=|"x y"|1|\\"|"| |=|\\|é|\t){0,16}"#
        ) {
            let is_object = value(line.as_bytes()).is_object();
            prop_assert!(is_object);
        }

        #[test]
        fn keys_of_the_app_keep_their_values(
            map in prop::collection::btree_map(key(), json(), 0..8)
        ) {
            let line = serde_json::to_vec(&map).expect("JSON");
            let value = value(&line);
            for (key, kept) in &map {
                prop_assert_eq!(&value[key.as_str()], kept);
            }
            let line = String::from_utf8(line).expect("UTF-8");
            prop_assert!(enriched(line.as_bytes()).starts_with(&line[..line.len() - 1]));
        }
    }
}
