//! One span, from its begin to its end.
//!
//! It ends when it is dropped or [`Span::end`]ed, and then goes to the queue. It deliberately has
//! no children of its own: what comes after it takes its [`Span::traceparent`].
//!
//! Invariant: a span that is not recorded holds no name, no attribute and no time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use proxy::TraceContext;

use super::queue::Queue;
use super::settings::Limits;

/// Attribute that says what kind of error ended a span.
const ERROR_TYPE: &str = "error.type";

/// A span that goes on.
#[derive(Debug)]
pub struct Span {
    ids: Ids,
    record: Option<Box<Record>>,
}

/// What the next hop is told.
#[derive(Debug)]
enum Ids {
    /// This span.
    Own(TraceContext),
    /// Nothing is recorded here: whatever we were told.
    Passed(Option<String>),
}

#[derive(Debug)]
struct Record {
    data: SpanData,
    limits: Limits,
    queue: Arc<Queue>,
}

impl Span {
    /// No span: the caller's `traceparent` goes on as it is.
    pub(super) fn passing(parent: Option<&str>) -> Self {
        Self { ids: Ids::Passed(parent.map(str::to_owned)), record: None }
    }

    /// A span of a trace that nobody records.
    pub(super) fn unsampled(context: TraceContext) -> Self {
        Self { ids: Ids::Own(context), record: None }
    }

    /// A span that begins now.
    pub(super) fn recording(
        name: Cow<'static, str>,
        kind: SpanKind,
        context: TraceContext,
        limits: Limits,
        queue: Arc<Queue>,
    ) -> Self {
        let data = SpanData {
            span_context: span_context(&context),
            parent_span_id: span_id(context.parent_id().unwrap_or_default()),
            parent_span_is_remote: context.parent_id().is_some(),
            span_kind: kind,
            name,
            start_time: SystemTime::now(),
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope(),
        };
        Self { ids: Ids::Own(context), record: Some(Box::new(Record { data, limits, queue })) }
    }

    /// What to tell the next hop.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        match &self.ids {
            Ids::Own(context) => Some(context.traceparent()),
            Ids::Passed(parent) => parent.as_deref(),
        }
    }

    /// The id of its trace, when there is one of ours.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        match &self.ids {
            Ids::Own(context) => Some(context.trace_id()),
            Ids::Passed(_) => None,
        }
    }

    /// Its own id, when there is one of ours.
    #[must_use]
    pub fn span_id(&self) -> Option<&str> {
        match &self.ids {
            Ids::Own(context) => Some(context.span_id()),
            Ids::Passed(_) => None,
        }
    }

    /// Whether anything said of it is kept.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Moves its begin.
    pub fn begun(&mut self, at: SystemTime) {
        if let Some(record) = &mut self.record {
            record.data.start_time = at;
        }
    }

    /// Gives it another name, when a better one is known.
    pub fn name(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.data.name = name.into();
        }
    }

    /// Adds an attribute.
    pub fn set<'a>(&mut self, key: &'static str, value: impl Into<Attribute<'a>>) {
        if let Some(record) = &mut self.record {
            let value = value.into().cut(record.limits.value_bytes);
            record.add(KeyValue::new(key, value));
        }
    }

    /// Says that something happened now.
    pub fn event<'a>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        attributes: impl IntoIterator<Item = (&'static str, Attribute<'a>)>,
    ) {
        let Some(record) = &mut self.record else { return };
        let limits = record.limits;
        let events = &mut record.data.events;
        if events.events.len() >= limits.events {
            events.dropped_count += 1;
            return;
        }
        let attributes = attributes.into_iter().take(limits.attributes);
        let attributes =
            attributes.map(|(key, value)| KeyValue::new(key, value.cut(limits.value_bytes)));
        events.events.push(Event::new(name, SystemTime::now(), attributes.collect(), 0));
    }

    /// It failed: `kind` is one word out of few, the value of `error.type`.
    pub fn fail(&mut self, kind: &str) {
        self.set(ERROR_TYPE, kind);
        if let Some(record) = &mut self.record {
            record.data.status = Status::error("");
        }
    }

    /// Ends it now.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            let Record { mut data, queue, .. } = *record;
            data.end_time = SystemTime::now().max(data.start_time);
            queue.push(data);
        }
    }
}

impl Record {
    fn add(&mut self, attribute: KeyValue) {
        let known = self.data.attributes.iter_mut().find(|known| known.key == attribute.key);
        if let Some(known) = known {
            known.value = attribute.value;
        } else if self.data.attributes.len() < self.limits.attributes {
            self.data.attributes.push(attribute);
        } else {
            self.data.dropped_attributes_count += 1;
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(i64),
    /// A measure.
    Measure(f64),
}

impl Attribute<'_> {
    /// As the SDK has it, with at most so many bytes of text.
    fn cut(self, bytes_max: usize) -> Value {
        match self {
            Self::Number(number) => Value::I64(number),
            Self::Measure(measure) => Value::F64(measure),
            Self::Text(text) => {
                let mut text = text.into_owned();
                text.truncate(text.floor_char_boundary(bytes_max));
                Value::String(text.into())
            }
        }
    }
}

impl<'a> From<&'a str> for Attribute<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Attribute<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for Attribute<'_> {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Attribute<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Attribute<'_> {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Attribute<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<f64> for Attribute<'_> {
    fn from(measure: f64) -> Self {
        Self::Measure(measure)
    }
}

/// Runs over every text that a span would take out of the process.
pub(super) fn each_text(data: &mut SpanData, change: &dyn Fn(&str) -> Option<String>) {
    if let Some(name) = change(&data.name) {
        data.name = name.into();
    }
    let events = data.events.events.iter_mut().flat_map(|event| event.attributes.iter_mut());
    for attribute in data.attributes.iter_mut().chain(events) {
        if let Value::String(text) = &attribute.value
            && let Some(changed) = change(text.as_str())
        {
            attribute.value = Value::String(changed.into());
        }
    }
}

fn span_context(context: &TraceContext) -> SpanContext {
    let trace = TraceId::from_hex(context.trace_id()).unwrap_or(TraceId::INVALID);
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(trace, span_id(context.span_id()), flags, false, TraceState::NONE)
}

fn span_id(hex: &str) -> SpanId {
    SpanId::from_hex(hex).unwrap_or(SpanId::INVALID)
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("plimsoll").with_version(env!("CARGO_PKG_VERSION")).build()
}
