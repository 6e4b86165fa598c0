//! Lines as a person reads them: `backend  | 12:03:01 INFO  message key=value`.
//!
//! Pure: the time zone and the choice of colour are arguments. It deliberately shows less than
//! there is (identity, trace and stream are in `--json`), and its form may change at any time.
//! Invariant: what it returns ends with a line break and holds no control sequence but colours,
//! and no colours at all when plain.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use contract::log_fields::{self, Field};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::escape::push_safe;

/// Longest value of a `key=value` that is shown, in characters.
const VALUE_CHARS_MAX: usize = 300;
/// How many `key=value` pairs are shown.
const PAIRS_MAX: usize = 24;
/// Widest column of names.
const NAME_CHARS_MAX: usize = 24;

/// Told apart on dark and light backgrounds, and not the colours of levels.
const NAME_COLOURS: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Green,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightGreen,
];

/// Fields that say who and where, the same in each line of an item.
const SILENT: [&Field; 8] = [
    &log_fields::SERVICE,
    &log_fields::ENV,
    &log_fields::VERSION,
    &log_fields::INSTANCE,
    &log_fields::STREAM,
    &log_fields::TRACE_ID,
    &log_fields::SPAN_ID,
    &log_fields::REQUEST_ID,
];

/// Fields of an access line that the compact form leaves out.
const ACCESS_SILENT: [&Field; 3] =
    [&log_fields::BYTES_IN, &log_fields::BYTES_OUT, &log_fields::CLIENT];

/// Makes text of lines.
#[derive(Debug, Clone)]
pub struct Renderer {
    zone: TimeZone,
    is_coloured: bool,
    width: usize,
    styles: BTreeMap<String, Style>,
}

impl Renderer {
    /// For these items, in the order that gives each its colour.
    pub fn new<'a>(
        items: impl IntoIterator<Item = &'a str>,
        zone: TimeZone,
        is_coloured: bool,
    ) -> Self {
        let mut renderer = Self { zone, is_coloured, width: 0, styles: BTreeMap::new() };
        for item in items {
            renderer.style_of(item);
        }
        renderer
    }

    /// One line of an item; several when its message has line breaks.
    pub fn render(&mut self, item: &str, line: &[u8]) -> String {
        let style = self.style_of(item);
        let parsed: Option<Map<String, Value>> = serde_json::from_slice(line).ok();
        let body = match &parsed {
            Some(fields) => self.head(fields) + &body(fields, self.is_coloured),
            None => {
                let mut text = String::new();
                push_safe(&mut text, &String::from_utf8_lossy(line), self.is_coloured);
                text
            }
        };
        let mut out = String::with_capacity(body.len() + 32);
        for part in body.split('\n') {
            let name = shortened(item, NAME_CHARS_MAX);
            let padding = self.width.saturating_sub(name.chars().count());
            self.paint(&mut out, style, &format!("{name}{:padding$} |", ""));
            out.push(' ');
            out.push_str(part);
            out.push('\n');
        }
        out
    }

    /// Words of our own about an item, without time and level.
    pub fn render_words(&mut self, item: &str, words: &str) -> String {
        let style = self.style_of(item);
        let mut out = String::new();
        for line in words.lines() {
            self.paint(&mut out, style, &format!("{item:width$} |", width = self.width));
            out.push(' ');
            push_safe(&mut out, line, self.is_coloured);
            out.push('\n');
        }
        out
    }

    /// Says that lines are not shown.
    pub fn render_missed(&mut self, item: &str, n_lines: u64) -> String {
        let style = self.style_of(item);
        let mut out = String::new();
        self.paint(&mut out, style, &format!("{item:width$} |", width = self.width));
        let lines = if n_lines == 1 { "line" } else { "lines" };
        let _ = writeln!(out, " ({n_lines} {lines} not shown: written faster than read)");
        out
    }

    fn style_of(&mut self, item: &str) -> Style {
        if let Some(style) = self.styles.get(item) {
            return *style;
        }
        let colour = NAME_COLOURS[self.styles.len() % NAME_COLOURS.len()];
        let style = colour.on_default();
        self.styles.insert(item.to_owned(), style);
        self.width = self.width.max(item.chars().count().min(NAME_CHARS_MAX));
        style
    }

    /// `12:03:01 INFO  `
    fn head(&self, fields: &Map<String, Value>) -> String {
        let mut out = String::new();
        if let Some(time) = look_up(fields, &log_fields::TS).and_then(timestamp) {
            let time = time.to_zoned(self.zone.clone());
            self.paint(&mut out, Style::new().dimmed(), &time.strftime("%H:%M:%S").to_string());
            out.push(' ');
        }
        let (level, style) = look_up(fields, &log_fields::LEVEL).map(level).unwrap_or_default();
        if !level.is_empty() {
            let mut safe = String::new();
            push_safe(&mut safe, &level, false);
            self.paint(&mut out, style, &format!("{safe:<5}"));
            out.push(' ');
        }
        out
    }

    fn paint(&self, out: &mut String, style: Style, text: &str) {
        // Writing to a `String` cannot fail.
        let _ = match self.is_coloured && style != Style::new() {
            true => write!(out, "{style}{text}{style:#}"),
            false => write!(out, "{text}"),
        };
    }
}

/// What a line says, without time, level and identity; plain.
pub fn message(line: &[u8]) -> String {
    match serde_json::from_slice::<Map<String, Value>>(line) {
        Ok(fields) => body(&fields, false),
        Err(_) => {
            let mut text = String::new();
            push_safe(&mut text, &String::from_utf8_lossy(line), false);
            text
        }
    }
}

fn body(fields: &Map<String, Value>, is_coloured: bool) -> String {
    let access = access(fields, is_coloured);
    let is_access = access.is_some();
    let mut out = access.unwrap_or_default();
    if !is_access && let Some(text) = look_up(fields, &log_fields::MSG) {
        push_lines(&mut out, &as_text(text), is_coloured);
    }
    let is_told = |key: &str| {
        let Some(field) = log_fields::find(key) else { return false };
        let is_head = [&log_fields::TS, &log_fields::LEVEL, &log_fields::MSG].contains(&field);
        let is_first = [&log_fields::METHOD, &log_fields::PATH, &log_fields::STATUS];
        let in_access = is_first.contains(&field)
            || field == &log_fields::DURATION_MS
            || ACCESS_SILENT.contains(&field);
        is_head || SILENT.contains(&field) || (is_access && in_access)
    };
    let pairs = fields.iter().filter(|(key, _)| !is_told(key));
    for (pair_index, (key, value)) in pairs.enumerate() {
        if pair_index == PAIRS_MAX {
            out.push_str(" ...");
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        push_safe(&mut out, key, false);
        out.push('=');
        push_value(&mut out, value, is_coloured);
    }
    out
}

/// `GET /v1/documents 200 3.2ms`, if the line has what that takes.
fn access(fields: &Map<String, Value>, is_coloured: bool) -> Option<String> {
    let method = fields.get(log_fields::METHOD.name)?.as_str()?;
    let path = fields.get(log_fields::PATH.name)?.as_str()?;
    let status = fields.get(log_fields::STATUS.name)?.as_u64()?;
    let duration_ms = fields.get(log_fields::DURATION_MS.name)?.as_f64()?;
    let mut out = String::new();
    push_safe(&mut out, method, false);
    out.push(' ');
    push_safe(&mut out, path, false);
    let style = match status {
        500.. => AnsiColor::Red.on_default(),
        400.. => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    };
    let _ = match is_coloured {
        true => write!(out, " {style}{status}{style:#} {duration_ms:.1}ms"),
        false => write!(out, " {status} {duration_ms:.1}ms"),
    };
    Some(out)
}

/// A field under its own name or what another logger calls it.
fn look_up<'a>(fields: &'a Map<String, Value>, field: &Field) -> Option<&'a Value> {
    std::iter::once(&field.name).chain(field.aliases).find_map(|key| fields.get(*key))
}

/// RFC 3339, or a number of seconds or milliseconds since 1970 as some loggers write.
fn timestamp(value: &Value) -> Option<Timestamp> {
    /// Later than any time in seconds that a log can hold, earlier than any in milliseconds.
    const MILLISECONDS_FROM: f64 = 1e11;
    if let Some(text) = value.as_str() {
        return text.parse().ok();
    }
    let number = value.as_f64()?;
    let seconds = if number > MILLISECONDS_FROM { number / 1e3 } else { number };
    Timestamp::from_duration(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

/// The level in capitals and its style; bunyan and pino write numbers.
fn level(value: &Value) -> (Cow<'static, str>, Style) {
    let name: Cow<'static, str> = match value {
        Value::Number(number) => match number.as_u64().unwrap_or_default() {
            0..=10 => "TRACE".into(),
            11..=20 => "DEBUG".into(),
            21..=30 => "INFO".into(),
            31..=40 => "WARN".into(),
            41..=50 => "ERROR".into(),
            _ => "FATAL".into(),
        },
        Value::String(name) => name.to_uppercase().into(),
        _ => return Default::default(),
    };
    let name = if name == "WARNING" { "WARN".into() } else { name };
    let style = match &*name {
        "ERROR" | "FATAL" | "CRITICAL" | "PANIC" => AnsiColor::Red.on_default().bold(),
        "WARN" => AnsiColor::Yellow.on_default(),
        "DEBUG" | "TRACE" => Style::new().dimmed(),
        _ => Style::new(),
    };
    (name, style)
}

fn as_text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}

fn push_lines(out: &mut String, text: &str, is_coloured: bool) {
    for (line_index, line) in text.trim_end().lines().enumerate() {
        if line_index > 0 {
            out.push_str("\n    ");
        }
        push_safe(out, line, is_coloured);
    }
}

/// A value without spaces stands as it is, others in quotes as JSON has them.
fn push_value(out: &mut String, value: &Value, is_coloured: bool) {
    let text = as_text(value);
    let is_bare = !text.is_empty() && !text.contains([' ', '"', '=', '\n']);
    match value {
        Value::String(_) if !is_bare => {
            let quoted = Value::from(shortened(&text, VALUE_CHARS_MAX)).to_string();
            push_safe(out, &quoted, false);
        }
        _ => push_safe(out, &shortened(&text, VALUE_CHARS_MAX), is_coloured),
    }
}

/// At most so many characters, with a sign if some are left out.
fn shortened(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => text.into(),
        Some((end, _)) => format!("{}...", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn plain() -> Renderer {
        Renderer::new(["backend", "db"], TimeZone::UTC, false)
    }

    fn check(line: &str, expected: &Expect) {
        expected.assert_eq(&plain().render("db", line.as_bytes()));
    }

    #[test]
    fn a_line_is_name_time_level_message_and_what_else_it_says() {
        check(
            r#"{"ts":"2026-11-21T12:03:01.123456Z","level":"info","msg":"indexed","service":"db","instance":"h-1","stream":"stdout","pages":3,"file":"a b.pdf","empty":""}"#,
            &expect![[r#"
                db      | 12:03:01 INFO  indexed empty="" file="a b.pdf" pages=3
            "#]],
        );
    }

    #[test]
    fn an_access_line_is_compact() {
        check(
            r#"{"ts":"2026-11-21T12:03:01Z","level":"info","msg":"request","method":"GET","path":"/v1/documents","status":200,"duration_ms":3.21,"bytes_out":17,"client":"127.0.0.1","trace_id":"4bf9"}"#,
            &expect![[r"
                db      | 12:03:01 INFO  GET /v1/documents 200 3.2ms
            "]],
        );
    }

    #[test]
    fn what_other_loggers_write_is_understood() {
        check(
            r#"{"time":1700000000000,"level":40,"message":"disk is nearly full"}"#,
            &expect![[r"
                db      | 22:13:20 WARN  disk is nearly full
            "]],
        );
    }

    #[test]
    fn every_line_of_a_trace_has_the_name() {
        check(
            r#"{"level":"error","msg":"Traceback:\n  File \"a.py\"\nValueError\n"}"#,
            &expect![[r#"
                db      | ERROR Traceback:
                db      |       File "a.py"
                db      |     ValueError
            "#]],
        );
    }

    #[test]
    fn a_line_that_is_not_json_is_shown_as_it_is() {
        check(
            "LOG:  ready\u{1b}[2J",
            &expect![[r"
                db      | LOG:  ready
            "]],
        );
    }

    #[test]
    fn plain_text_has_no_escape_whatever_the_line_says() {
        let line = "{\"level\":\"\\u001b[31mx\",\"msg\":\"\\u001b[31mred\\u001b]0;t\\u0007\",\
             \"k\\u001b[1m\":\"\\u001b[2Jv w\",\"method\":\"G\\u001b[1m\"}";
        let text = plain().render("db", line.as_bytes());
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn colours_are_the_same_for_an_item_each_time() {
        let mut renderer = Renderer::new(["backend", "db"], TimeZone::UTC, true);
        let first = renderer.render("backend", br#"{"msg":"x"}"#);
        assert!(first.starts_with("\u{1b}[36mbackend |\u{1b}[0m"), "{first:?}");
        assert_eq!(renderer.render("backend", br#"{"msg":"x"}"#), first);
    }

    #[test]
    fn a_message_has_no_time_and_no_level() {
        assert_eq!(message(br#"{"ts":"x","level":"error","msg":"no","code":7}"#), "no code=7");
        assert_eq!(message(b"plain"), "plain");
    }
}
