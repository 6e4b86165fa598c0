//! Lines of our own: events and access lines, from the engine's thread to the pump's.
//!
//! It deliberately never blocks: HTTP must be answered while nobody reads our logs. What does not
//! fit the queue is dropped and counted. Invariant: a queued line is whole.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::log_fields;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::enrich::{Context, open};
use super::escape::{push_escaped, push_string};
use super::{Format, Level, Redactor, Settings, Stream, StreamCounters};

/// Most bytes of own lines that wait for the pump.
pub(super) const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// How many of the app's last lines are remembered.
const LAST_LINES: usize = 3;
/// How much of each, as it was written.
const LAST_LINE_BYTES_KEPT: usize = 8 * 1024;
/// How much of each is told.
const LAST_LINE_BYTES_MAX: usize = 1024;

/// The value of a field of an own line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Str(&'a str),
    /// A count.
    U64(u64),
    /// A signed number.
    I64(i64),
    /// A measure; not a number becomes `null`.
    F64(f64),
    /// A claim.
    Bool(bool),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Str(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Str(text)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Value::U64(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value::U64(number.into())
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Value::U64(number.into())
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Value::I64(number.into())
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Value::F64(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(claim: bool) -> Self {
        Value::Bool(claim)
    }
}

impl Value<'_> {
    fn push(self, out: &mut Vec<u8>) {
        match self {
            Value::Str(text) => push_string(out, text),
            Value::U64(number) => push_display(out, number),
            Value::I64(number) => push_display(out, number),
            Value::F64(number) if number.is_finite() => push_display(out, number),
            Value::F64(_) => out.extend_from_slice(b"null"),
            Value::Bool(claim) => out.extend_from_slice(if claim { b"true" } else { b"false" }),
        }
    }
}

fn push_display(out: &mut Vec<u8>, value: impl fmt::Display) {
    // Memory takes every write.
    let _ = write!(out, "{value}");
}

/// Formats a time as log lines have it: RFC 3339, UTC, microseconds.
#[must_use]
pub(super) fn rfc3339(time: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    PRINTER.timestamp_to_string(&time)
}

/// Where own lines go in. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct Sink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    is_off: bool,
    context: Context,
    redactor: Redactor,
    counters: StreamCounters,
    queue: Mutex<Waiting>,
    last_lines: Mutex<VecDeque<Vec<u8>>>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    stamp: Stamp,
    is_finishing: bool,
}

/// A time as text. Most lines share their second with the one before, and only the fraction of
/// it is written anew.
#[derive(Debug, Default)]
struct Stamp {
    second: Option<i64>,
    text: String,
}

/// Digits of the fraction, and the `Z` behind them.
const FRACTION_BYTES: usize = 7;

impl Stamp {
    fn at(&mut self, time: Timestamp) -> &str {
        // Before 1970 the fraction counts backwards; such a clock is wrong, and its lines are rare.
        let is_same = self.second == Some(time.as_second()) && time.subsec_nanosecond() >= 0;
        if !is_same {
            self.text = rfc3339(time);
            self.second = Some(time.as_second());
            return &self.text;
        }
        self.text.truncate(self.text.len() - FRACTION_BYTES);
        let micros = time.subsec_nanosecond() / 1000;
        // Writing into a string cannot fail.
        let _ = write!(self.text, "{micros:06}Z");
        &self.text
    }
}

/// The pump's end of the queue.
#[derive(Debug)]
pub(super) struct Queue {
    shared: Arc<Shared>,
}

pub(super) fn pair(settings: &Settings, counters: StreamCounters) -> io::Result<(Sink, Queue)> {
    let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let shared = Arc::new(Shared {
        is_off: settings.format == Format::Off,
        context: Context::new(&settings.identity, Stream::Plimsoll),
        redactor: settings.redactor.clone(),
        counters,
        queue: Mutex::default(),
        last_lines: Mutex::default(),
        wake,
    });
    Ok((Sink { shared: shared.clone() }, Queue { shared }))
}

impl Sink {
    /// Queues one line. Fields follow `contract::log_fields` where they are listed there; a key
    /// must not be one that every line has.
    pub fn event(&self, level: Level, msg: &str, fields: &[(&str, Value<'_>)]) {
        if self.shared.is_off {
            return;
        }
        let now = Timestamp::now();
        let mut waiting = self.shared.lock();
        let Waiting { bytes, stamp, .. } = &mut *waiting;
        let start = bytes.len();
        open(bytes, stamp.at(now), level);
        push_escaped(bytes, msg);
        bytes.push(b'"');
        let tail = self.shared.context.tail();
        bytes.extend_from_slice(&tail[..tail.len() - 1]);
        for (key, value) in fields {
            bytes.push(b',');
            push_string(bytes, key);
            bytes.push(b':');
            value.push(bytes);
        }
        bytes.extend_from_slice(b"}\n");
        if bytes.len() > QUEUE_BYTES_MAX {
            bytes.truncate(start);
            drop(waiting);
            self.shared.counters.dropped.inc();
            return;
        }
        drop(waiting);
        if start == 0 {
            self.shared.wake();
        }
    }

    /// What takes secrets out of these lines, for whatever else leaves this process.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.shared.redactor
    }

    /// The last lines that the app wrote, without secrets and without what we added.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        let lines = self.shared.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| said(line)).collect()
    }

    /// Tells the pump to write what there is and to end.
    pub(super) fn finish(&self) {
        self.shared.lock().is_finishing = true;
        self.shared.wake();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The counter can only be full when the pump was told long ago.
        let _ = self.wake.write(1);
    }
}

/// What a written line says: its message, or all of it.
fn said(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let value = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
    let msg = log_fields::MSG;
    let mut keys = std::iter::once(&msg.name).chain(msg.aliases);
    let msg = keys.find_map(|key| value.get(*key)?.as_str()).filter(|msg| !msg.is_empty());
    let said = msg.unwrap_or(&text);
    said[..said.floor_char_boundary(LAST_LINE_BYTES_MAX)].to_owned()
}

impl Queue {
    /// Where own lines go in.
    pub(super) fn sink(&self) -> Sink {
        Sink { shared: self.shared.clone() }
    }

    /// Remembers the last lines of a batch of the app's lines.
    pub(super) fn note_last(&self, batch: &[u8]) {
        let batch = batch.strip_suffix(b"\n").unwrap_or(batch);
        let lines = batch.rsplit(|byte| *byte == b'\n').take(LAST_LINES);
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        let mut last = self.shared.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.into_iter().rev() {
            let room = if last.len() < LAST_LINES { None } else { last.pop_front() };
            let mut room = room.unwrap_or_default();
            room.clear();
            room.extend_from_slice(&line[..line.len().min(LAST_LINE_BYTES_KEPT)]);
            last.push_back(room);
        }
    }

    /// Becomes readable when something was queued or the end was asked for.
    pub(super) fn wake(&self) -> &EventFd {
        &self.shared.wake
    }

    /// Moves what is queued into `out`, which must be empty, and says whether the end was asked
    /// for.
    pub(super) fn take(&self, out: &mut Vec<u8>) -> bool {
        // Nothing to read only means that nobody woke us.
        let _ = self.shared.wake.read();
        let mut waiting = self.shared.lock();
        std::mem::swap(&mut waiting.bytes, out);
        let is_finishing = waiting.is_finishing;
        drop(waiting);
        self.shared.counters.bytes.inc_by(out.len() as u64);
        is_finishing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Identity;

    fn open_pair() -> (Sink, Queue) {
        let identity = Identity { service: "api".into(), ..Identity::default() };
        pair(&Settings::new(Format::Json, identity), StreamCounters::default()).expect("eventfd")
    }

    #[test]
    fn an_event_is_one_json_line() {
        let (sink, queue) = open_pair();
        let fields = [
            ("status", 200u16.into()),
            ("duration_ms", 1.5.into()),
            ("broken", f64::NAN.into()),
            ("path", "/a\"b".into()),
            ("is_new", true.into()),
        ];
        sink.event(Level::Warn, "two\nlines", &fields);
        let mut out = Vec::new();
        assert!(!queue.take(&mut out));
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["stream"], "plimsoll");
        assert_eq!(value["msg"], "two\nlines");
        assert_eq!(value["status"], 200);
        assert_eq!(value["duration_ms"], 1.5);
        assert!(value["broken"].is_null());
        assert_eq!(value["ts"].as_str().expect("text").len(), "2026-11-21T09:14:02.123456Z".len());
    }

    #[test]
    fn a_time_is_written_alike_whether_its_second_is_new_or_not() {
        let mut stamp = Stamp::default();
        for micros in [0, 1, 999_999, 1_000_000, 1_000_001, 7_000_000, 6_999_999, -1, -2] {
            let time = Timestamp::from_microsecond(micros).expect("a time");
            assert_eq!(stamp.at(time), rfc3339(time), "{micros}");
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_whole_and_counted() {
        let (sink, queue) = open_pair();
        let long = "x".repeat(QUEUE_BYTES_MAX / 3);
        for _ in 0..5 {
            sink.event(Level::Info, &long, &[]);
        }
        let mut out = Vec::new();
        queue.take(&mut out);
        let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        assert_eq!(lines.count(), 2);
        assert_eq!(sink.shared.counters.dropped.get(), 3);
    }
}
