//! Reads what other loggers call our fields: levels in words and numbers, ids of traces.
//!
//! It deliberately changes no line: what is read here is added in our form beside the app's own.
//!
//! Invariant: what is no level and no id is nothing, never an error.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};

use super::Level;
use super::enrich::Strict;

/// What an alias may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alias {
    /// How bad it is.
    Level,
    /// A trace, in hexadecimal.
    TraceId,
    /// A span, in hexadecimal.
    SpanId,
    /// A trace, in decimal.
    DecimalTraceId,
    /// A span, in decimal.
    DecimalSpanId,
    /// Version, trace, span and flags.
    TraceParent,
}

/// The aliases that are read.
pub(super) const ALL: &[(&str, Alias)] = &[
    ("severity", Alias::Level),
    ("levelname", Alias::Level),
    ("lvl", Alias::Level),
    ("log.level", Alias::Level),
    ("traceId", Alias::TraceId),
    ("trace.id", Alias::TraceId),
    ("otelTraceID", Alias::TraceId),
    ("X-Trace-Id", Alias::TraceId),
    ("dd.trace_id", Alias::DecimalTraceId),
    ("traceparent", Alias::TraceParent),
    ("spanId", Alias::SpanId),
    ("span.id", Alias::SpanId),
    ("otelSpanID", Alias::SpanId),
    ("dd.span_id", Alias::DecimalSpanId),
];

/// What aliases told of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) level: Option<Level>,
    pub(super) trace_id: Option<u128>,
    pub(super) span_id: Option<u64>,
    pub(super) flags: Option<u8>,
}

impl Told {
    /// Takes the value of an alias.
    pub(super) fn read(&mut self, alias: Alias, value: &Scalar<'_>) {
        match (alias, value) {
            (Alias::Level, Scalar::Text(text)) => self.level = Level::named(text.as_bytes()),
            (Alias::Level, Scalar::Number(number)) => self.level = level_of(*number),
            (Alias::TraceId, Scalar::Text(text)) => self.trace_id = hex(text, 32),
            (Alias::SpanId, Scalar::Text(text)) => self.span_id = span(text),
            (Alias::DecimalTraceId, Scalar::Text(text)) => {
                self.trace_id = hex(text, 32).or_else(|| text.parse().ok().filter(|id| *id != 0));
            }
            (Alias::DecimalSpanId, Scalar::Text(text)) => {
                self.span_id = text.parse().ok().filter(|id| *id != 0);
            }
            (Alias::DecimalTraceId, Scalar::Number(id)) => self.trace_id = Some((*id).into()),
            (Alias::DecimalSpanId, Scalar::Number(id)) => self.span_id = Some(*id),
            (Alias::TraceParent, Scalar::Text(text)) => self.read_parent(text),
            _ => {}
        }
    }

    fn read_parent(&mut self, text: &str) {
        let mut parts = text.split('-').skip(1);
        let (trace, span_id, flags) = (parts.next(), parts.next(), parts.next());
        self.trace_id = trace.and_then(|trace| hex(trace, 32));
        self.span_id = span_id.and_then(span);
        self.flags = flags.and_then(|flags| u8::from_str_radix(flags, 16).ok());
    }
}

/// An id of so many hexadecimal digits; one of zeros is none.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u128::from_str_radix(text, 16).ok().filter(|id| *id != 0);
    if is_hex { id } else { None }
}

fn span(text: &str) -> Option<u64> {
    hex(text, 16).and_then(|id| u64::try_from(id).ok())
}

/// The numbers of pino and bunyan.
fn level_of(number: u64) -> Option<Level> {
    Some(match number {
        10 => Level::Trace,
        20 => Level::Debug,
        30 => Level::Info,
        40 => Level::Warn,
        50 => Level::Error,
        60 => Level::Fatal,
        _ => return None,
    })
}

/// A value, if it is a text or a count.
#[derive(Debug)]
pub(super) enum Scalar<'de> {
    Text(Cow<'de, str>),
    Number(u64),
    Other,
}

impl<'de> serde::Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<Strict, Strict>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(alias: Alias, text: &str) -> Told {
        let mut told = Told::default();
        told.read(alias, &Scalar::Text(text.into()));
        told
    }

    #[test]
    fn a_traceparent_is_taken_apart() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let told = told(Alias::TraceParent, text);
        assert_eq!(told.trace_id, Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
        assert_eq!((told.span_id, told.flags), (Some(0x00f0_67aa_0ba9_02b7), Some(1)));
    }

    #[test]
    fn ids_are_read_in_both_bases_and_nothing_else_is_one() {
        assert_eq!(told(Alias::DecimalTraceId, "10").trace_id, Some(10));
        for text in ["", "x", "0", "00000000000000000000000000000000", "4bf92f"] {
            assert_eq!(told(Alias::TraceId, text), Told::default());
            assert_eq!(told(Alias::TraceParent, text), Told::default());
        }
    }

    #[test]
    fn levels_are_read_in_words_and_numbers() {
        assert_eq!(told(Alias::Level, "WARNING").level, Some(Level::Warn));
        assert_eq!(told(Alias::Level, "loud").level, None);
        assert_eq!(
            [10, 30, 60, 7].map(level_of),
            [Some(Level::Trace), Some(Level::Info), Some(Level::Fatal), None]
        );
    }
}
