//! Takes secrets out of text: out of every log line, and out of whatever else leaves this process.
//!
//! Three steps, in order: the exact values of resolved secrets in every encoding (`values`), what
//! has the shape of a credential (`rules`), and what stands behind a key such as `password`
//! (`keys`). One search finds the words that the last two begin with (`words`), so that a line
//! without any costs one pass. What is taken is replaced by `[REDACTED:rule]`.
//!
//! Values are swapped while lines flow; those that a rotation replaced are searched for
//! [`RETIRED_FOR`] longer. It deliberately keeps no text and knows no entropy.
//!
//! Invariant: no usable value of a secret is in what comes out, and JSON that came in comes out as
//! JSON.

mod counters;
mod decode;
mod finder;
mod keys;
mod rules;
mod settings;
mod values;
mod words;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contract::redactions as ids;
use regex::bytes::Regex;
use zeroize::Zeroizing;

pub use counters::Counters;
use rules::RULES;
pub use settings::{Extra, Keys, Patterns, RedactSettings};
use values::{Room, Values};

/// How long the old value of a rotated secret is still searched for.
pub const RETIRED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Most old values; the oldest go first.
const RETIRED_MAX: usize = 1024;
/// How far a pattern looks, and the room for it where a line has to be cut, bytes.
const PATTERN_REACH: usize = 8 * 1024;
/// Most lines of a private key that is written over several.
const PEM_LINES_MAX: u16 = 512;

/// Takes secrets out of text. Cheap to clone; usable from any thread.
#[derive(Clone)]
pub struct Redactor {
    shared: Arc<Shared>,
}

struct Shared {
    /// None when redaction is off.
    words: Option<Words>,
    known: Mutex<Known>,
    /// Counts the changes of `known.values`.
    version: AtomicU64,
    counters: Counters,
}

/// The words that rules and keys begin with.
struct Words {
    finder: words::Finder,
    /// What each word of the finder means.
    meanings: Vec<Meaning>,
    extra: Vec<ExtraRule>,
}

#[derive(Clone, Copy)]
enum Meaning {
    Rule(usize),
    Key(keys::Kind),
    Extra(usize),
}

struct ExtraRule {
    name: String,
    pattern: Regex,
}

#[derive(Default)]
struct Known {
    values: Arc<Values>,
    current: BTreeMap<String, Zeroizing<String>>,
    retired: Vec<(Instant, Zeroizing<String>)>,
    complained: BTreeSet<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new(&RedactSettings::default(), Counters::default())
    }
}

impl Redactor {
    /// A redactor that knows no secret yet.
    #[must_use]
    pub fn new(settings: &RedactSettings, counters: Counters) -> Self {
        let words = match settings {
            RedactSettings::Off => None,
            RedactSettings::On { patterns, keys, extra } => Some(Words::new(patterns, keys, extra)),
        };
        let known = Mutex::default();
        Self { shared: Arc::new(Shared { words, known, version: AtomicU64::new(0), counters }) }
    }

    /// Whether anything is taken out at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.words.is_some()
    }

    /// Replaces the set of secrets, by name and value. A value that is gone is searched for
    /// [`RETIRED_FOR`] longer, as old lines and old connections still carry it.
    ///
    /// Returns the names whose values are too short or too plain to be searched for; a name is
    /// returned once in the life of the redactor, so that its owner can say so once.
    pub fn set_secrets<'a>(
        &self,
        secrets: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<String> {
        self.set_secrets_at(secrets, Instant::now())
    }

    fn set_secrets_at<'a>(
        &self,
        secrets: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: Instant,
    ) -> Vec<String> {
        let secrets = secrets.into_iter();
        let next: BTreeMap<_, _> = secrets
            .map(|(name, value)| (name.to_owned(), Zeroizing::new(value.to_owned())))
            .collect();
        let mut known = self.shared.lock();
        let unusable = next.iter().filter(|(_, value)| !values::is_usable(value));
        let unusable: Vec<String> = unusable.map(|(name, _)| name.clone()).collect();
        let complaints: Vec<_> =
            unusable.into_iter().filter(|name| known.complained.insert(name.clone())).collect();
        let before = std::mem::replace(&mut known.current, next);
        let Known { current, retired, .. } = &mut *known;
        retired.retain(|(since, _)| now.saturating_duration_since(*since) < RETIRED_FOR);
        let is_gone = |value: &Zeroizing<String>| !current.values().any(|now| now == value);
        retired.extend(before.into_values().filter(is_gone).map(|value| (now, value)));
        let surplus = retired.len().saturating_sub(RETIRED_MAX);
        retired.drain(..surplus);
        let old = known.retired.iter().map(|(_, value)| value.as_str());
        let values = Values::new(known.current.values().map(|value| value.as_str()).chain(old));
        known.values = Arc::new(values);
        self.shared.version.fetch_add(1, Ordering::Release);
        complaints
    }

    /// The text without its secrets.
    #[must_use]
    pub fn redact_str<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Vec::new();
        if self.scanner().redact(text.as_bytes(), &mut out) {
            // What is taken begins and ends between characters.
            Cow::Owned(String::from_utf8_lossy(&out).into_owned())
        } else {
            Cow::Borrowed(text)
        }
    }

    /// How often each rule took something.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counters.counts()
    }

    /// Something to redact line after line with.
    #[must_use]
    pub fn scanner(&self) -> Scanner {
        let version = self.shared.version.load(Ordering::Acquire);
        let values = self.shared.lock().values.clone();
        Scanner {
            redactor: self.clone(),
            version,
            values,
            room: Room::default(),
            words_room: words::Room::default(),
            spans: Vec::new(),
            pem_lines_left: 0,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Words {
    fn new(patterns: &Patterns, keys: &Keys, extra: &[Extra]) -> Self {
        let mut words = Vec::new();
        let mut meanings = Vec::new();
        let mut add = |word: &str, meaning| {
            words.push(word.to_ascii_lowercase());
            meanings.push(meaning);
        };
        for (index, rule) in RULES.iter().enumerate().filter(|(_, rule)| patterns.has(rule.id)) {
            rule.keywords.iter().for_each(|word| add(word, Meaning::Rule(index)));
        }
        for key in keys.list() {
            let kind = keys::kind(&key);
            keys::spellings(&key).iter().for_each(|word| add(word, Meaning::Key(kind)));
        }
        for (index, extra) in extra.iter().enumerate() {
            extra.keywords.iter().for_each(|word| add(word, Meaning::Extra(index)));
        }
        let finder = words::Finder::new(&words);
        let extra = extra.iter().map(ExtraRule::new).collect();
        Self { finder, meanings, extra }
    }
}

impl ExtraRule {
    fn new(extra: &Extra) -> Self {
        let pattern = rules::build(&extra.regex).expect("the settings were checked");
        Self { name: extra.name.clone(), pattern }
    }
}

/// Redacts the lines of one stream, one after the other.
#[derive(Debug)]
pub struct Scanner {
    redactor: Redactor,
    version: u64,
    values: Arc<Values>,
    room: Room,
    words_room: words::Room,
    spans: Vec<Span>,
    /// While the lines of a private key pass.
    pem_lines_left: u16,
}

/// What is taken.
#[derive(Clone, Debug)]
struct Span {
    range: Range<usize>,
    /// Index in `contract::redactions::ALL`.
    rule: usize,
    /// Which extra rule, for its name.
    extra: Option<usize>,
    /// Where the quote stands that is to be put around the marker.
    quote: Option<Range<usize>>,
}

impl Scanner {
    /// Takes up what changed since the last line. Called by [`Scanner::redact`] as well.
    pub fn refresh(&mut self) {
        let version = self.redactor.shared.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.values = self.redactor.shared.lock().values.clone();
        }
    }

    /// What it redacts with.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// What a successor must know to go on with the same private key.
    #[must_use]
    pub fn state(&self) -> u64 {
        self.pem_lines_left.into()
    }

    /// Goes on where another left off with this [`Scanner::state`].
    #[must_use]
    pub fn resumed(mut self, state: u64) -> Self {
        self.pem_lines_left = u16::try_from(state).unwrap_or(PEM_LINES_MAX).min(PEM_LINES_MAX);
        self
    }

    /// Puts `line` without its secrets into `out`, which is emptied; false, and nothing in it, when
    /// there is nothing to take out.
    pub fn redact(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        self.refresh();
        self.spans.clear();
        self.scan(line);
        if self.pem_lines_left > 0 {
            self.scan_pem(line);
        }
        if self.spans.is_empty() {
            return false;
        }
        self.merge();
        let redactor = &self.redactor;
        let Some(words) = &redactor.shared.words else { return false };
        let counters = &redactor.shared.counters.0;
        let mut from = 0;
        for span in &self.spans {
            counters[span.rule].inc();
            let name = span.extra.map_or(ids::ALL[span.rule], |index| &words.extra[index].name);
            let quote = span.quote.clone().map_or(&b""[..], |quote| &line[quote]);
            out.extend_from_slice(&line[from..span.range.start]);
            for part in [quote, b"[REDACTED:", name.as_bytes(), b"]", quote] {
                out.extend_from_slice(part);
            }
            from = span.range.end;
        }
        out.extend_from_slice(&line[from..]);
        true
    }

    /// Where to cut `text` at or before `limit`, so that nothing that is to be taken out is torn.
    #[must_use]
    pub fn seam(&mut self, text: &[u8], limit: usize) -> usize {
        self.refresh();
        self.spans.clear();
        if !self.is_on() {
            return limit;
        }
        let reach = self.reach();
        let from = limit.saturating_sub(reach);
        let to = text.len().min(limit + reach);
        let pem = self.pem_lines_left;
        self.scan(&text[from..to]);
        self.pem_lines_left = pem;
        self.merge();
        let torn = self.spans.iter().map(|span| from + span.range.start..from + span.range.end);
        let torn = torn.into_iter().find(|span| span.start < limit && limit < span.end);
        torn.map_or(limit, |span| if span.start > 0 { span.start } else { span.end })
    }

    /// How far to both sides of a cut [`Scanner::seam`] looks, bytes.
    #[must_use]
    pub fn reach(&self) -> usize {
        match (self.redactor.is_on(), self.values.is_empty()) {
            (false, _) | (true, true) => 0,
            (true, false) => self.values.reach().max(PATTERN_REACH),
        }
    }

    /// Whether anything is taken out at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.redactor.is_on()
    }

    /// Whether a text that waits for its end may end within a secret.
    #[must_use]
    pub fn may_go_on(&self, text: &[u8]) -> bool {
        self.redactor.is_on() && self.values.may_go_on(text)
    }

    /// Finds all that is to be taken, in no order and with overlaps.
    fn scan(&mut self, line: &[u8]) {
        let Self { redactor, values, room, words_room, spans, pem_lines_left, .. } = self;
        let Some(words) = &redactor.shared.words else { return };
        values.find(line, room, |range| {
            spans.push(Span { range, rule: SECRET, extra: None, quote: None });
        });
        let mut strings = keys::Strings::default();
        // What a key has taken is not looked into again; so every byte is looked at a few times.
        let mut taken_to = 0;
        words.finder.find(line, words_room);
        for hit in &words_room.hits {
            match words.meanings[hit.word] {
                Meaning::Rule(index) => {
                    let Some(range) = by_rule(line, hit.start, index) else { continue };
                    let rule = FIRST_RULE + index;
                    if RULES[index].id == ids::PRIVATE_KEY && is_open_key(&line[range.clone()]) {
                        *pem_lines_left = PEM_LINES_MAX;
                    }
                    spans.push(Span { range, rule, extra: None, quote: None });
                }
                Meaning::Key(kind) => {
                    if hit.start < taken_to {
                        continue;
                    }
                    strings.advance(line, hit.start);
                    let found = keys::value(line, &(hit.start..hit.end), kind, &strings);
                    let Some(found) = found else { continue };
                    taken_to = found.span.end;
                    let rule = if found.is_key { KEY } else { ASSIGNMENT };
                    spans.push(Span { range: found.span, rule, extra: None, quote: found.quote });
                }
                Meaning::Extra(index) => {
                    let pattern = &words.extra[index].pattern;
                    let Some(range) = at_word(pattern, line, hit.start) else { continue };
                    spans.push(Span { range, rule: EXTRA, extra: Some(index), quote: None });
                }
            }
        }
    }

    /// Takes a line of a private key that began in an earlier line.
    fn scan_pem(&mut self, line: &[u8]) {
        let end = memchr::memmem::find(line, b"-----END ");
        let is_body = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=:-, \r".contains(byte);
        if end.is_none() && (!line.iter().all(is_body) || line.len() > PEM_LINE_BYTES_MAX) {
            self.pem_lines_left = 0;
            return;
        }
        self.pem_lines_left = if end.is_some() { 0 } else { self.pem_lines_left - 1 };
        let range = 0..end.unwrap_or(line.len());
        if !range.is_empty() {
            self.spans.push(Span { range, rule: FIRST_RULE + PEM_RULE, extra: None, quote: None });
        }
    }

    /// Sorts the spans and makes one of those that overlap; the step that comes first names it.
    fn merge(&mut self) {
        self.spans.sort_by_key(|span| (span.range.start, span.rule));
        self.spans.dedup_by(|next, span| {
            let is_inside = next.range.start < span.range.end;
            if is_inside {
                span.range.end = span.range.end.max(next.range.end);
                let keeps_quote = span.quote.is_none() && next.quote.is_some();
                if keeps_quote && next.range.start == span.range.start {
                    span.quote.clone_from(&next.quote);
                }
                if next.rule < span.rule {
                    (span.rule, span.extra) = (next.rule, next.extra);
                }
            }
            is_inside
        });
    }
}

const SECRET: usize = index_of(ids::SECRET);
const KEY: usize = index_of(ids::KEY);
const ASSIGNMENT: usize = index_of(ids::ASSIGNMENT);
const EXTRA: usize = index_of(ids::EXTRA);
/// The ids of [`RULES`] stand in a row from here on.
const FIRST_RULE: usize = index_of(RULES[0].id);
const PEM_RULE: usize = index_of(ids::PRIVATE_KEY) - FIRST_RULE;
/// A line of a private key has 64 characters, seldom 76.
const PEM_LINE_BYTES_MAX: usize = 80;

/// An id that is not in the table does not compile.
const fn index_of(id: &str) -> usize {
    let mut index = 0;
    while !is_same(ids::ALL[index].as_bytes(), id.as_bytes()) {
        index += 1;
    }
    index
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

fn is_open_key(block: &[u8]) -> bool {
    memchr::memmem::find(block, b"-----END ").is_none()
}

/// What a rule takes at its word.
fn by_rule(line: &[u8], at: usize, index: usize) -> Option<Range<usize>> {
    let rule = &RULES[index];
    let is_missing = |byte| memchr::memchr(byte, &line[at..]).is_none();
    if rule.byte.is_some_and(is_missing) || (!rule.is_inside_words && !is_word_start(line, at)) {
        return None;
    }
    let range = at_word(rules::pattern(index), line, at)?;
    (rule.holds)(&line[range.clone()]).then_some(range)
}

fn at_word(pattern: &Regex, line: &[u8], at: usize) -> Option<Range<usize>> {
    let near = &line[at..line.len().min(at + PATTERN_REACH)];
    let found = pattern.captures(near)?;
    let taken = found.get(1).or_else(|| found.get(0))?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(byte);
    let more = if taken.end() == near.len() { &line[at + near.len()..] } else { &[] };
    let more = more.iter().take_while(|byte| is_token(byte)).count();
    (!taken.is_empty()).then(|| at + taken.start()..at + taken.end() + more)
}

/// Whether no word goes on here. The letter of an escape (`\n`) belongs to none.
fn is_word_start(line: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    let is_escape = before > 0 && line[before - 1] == b'\\' && b"nrtbf".contains(&line[before]);
    is_escape || !(line[before].is_ascii_alphanumeric() || line[before] == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        Redactor::default().redact_str(text).into_owned()
    }

    fn with_secret(value: &str) -> Redactor {
        let redactor = Redactor::default();
        assert_eq!(redactor.set_secrets([("db", value)]), [""; 0]);
        redactor
    }

    #[test]
    fn every_rule_takes_its_example_and_nothing_of_its_counterexample() {
        let ids = &ids::ALL[FIRST_RULE..];
        assert!(ids.starts_with(&RULES.iter().map(|rule| rule.id).collect::<Vec<_>>()));
        for rule in RULES {
            let only = Patterns::Only(vec![rule.id.to_owned()]);
            let settings = RedactSettings::On { patterns: only, keys: Keys::Off, extra: vec![] };
            let redactor = Redactor::new(&settings, Counters::default());
            let marker = contract::redactions::marker(rule.id);
            let example = redactor.redact_str(rule.example);
            assert!(example.contains(&marker), "{}: {example}", rule.id);
            assert_eq!(redactor.redact_str(rule.counterexample), rule.counterexample);
            // In JSON, behind an escape, the same is taken and JSON remains.
            let line = serde_json::to_string(&format!("\n{}\t", rule.example)).expect("JSON");
            let line = redactor.redact_str(&line).into_owned();
            assert!(line.contains(&marker), "{}: {line}", rule.id);
            serde_json::from_str::<String>(&line).expect("JSON");
        }
    }

    #[test]
    fn a_rule_takes_the_secret_and_leaves_the_rest() {
        assert_eq!(
            redacted("postgres://app:hunter2@db/app?x=1"),
            "postgres://app:[REDACTED:url-userinfo]@db/app?x=1"
        );
        assert_eq!(
            redacted("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- ok"),
            "[REDACTED:private-key] ok"
        );
        assert_eq!(
            redacted(r#"{"headers":{"authorization":"Bearer abcdefgh"},"n":1}"#),
            r#"{"headers":{"authorization":"[REDACTED:key]"},"n":1}"#
        );
        assert_eq!(redacted("auth with Bearer abcdefgh."), "auth with Bearer [REDACTED:bearer]");
        assert_eq!(redacted(r#"{"apiKey": 12345678}"#), r#"{"apiKey": "[REDACTED:key]"}"#);
        assert_eq!(redacted("Retry API-KEY=abc"), "Retry API-KEY=[REDACTED:assignment]");
    }

    #[test]
    fn a_redacted_text_stays_as_it_is() {
        for rule in RULES {
            let once = redacted(rule.example);
            assert_eq!(redacted(&once), once);
        }
    }

    #[test]
    fn the_lines_of_a_private_key_are_taken_one_by_one() {
        let redactor = Redactor::default();
        let (mut scanner, mut out) = (redactor.scanner(), Vec::new());
        let lines = [
            "key:",
            "-----BEGIN PRIVATE KEY-----",
            "MIIEvQIBADANBgkq",
            "aGVsbG8=",
            "-----END PRIVATE KEY-----",
            "MIIEvQIBADANBgkq",
        ];
        let shown = lines.map(|line| {
            if scanner.redact(line.as_bytes(), &mut out) {
                String::from_utf8(out.clone()).expect("text")
            } else {
                line.to_owned()
            }
        });
        let marker = "[REDACTED:private-key]";
        let last = format!("{marker}-----END PRIVATE KEY-----");
        assert_eq!(shown, ["key:", marker, marker, marker, &last[marker.len()..], lines[5]]);
    }

    #[test]
    fn a_value_is_taken_before_it_is_taken_for_something_else() {
        let redactor = with_secret("hunter2-hunter3");
        let text = r#"{"password":"hunter2-hunter3","url":"a://b:hunter2-hunter3@c"}"#;
        let expected = r#"{"password":"[REDACTED:secret]","url":"a://b:[REDACTED:secret]@c"}"#;
        assert_eq!(redactor.redact_str(text), expected);
        assert_eq!(redactor.counts(), BTreeMap::from([("secret", 2)]));
    }

    #[test]
    fn overlapping_values_are_taken_together() {
        let redactor = Redactor::default();
        redactor.set_secrets([("one", "abcdefgh12"), ("other", "gh12345678")]);
        assert_eq!(redactor.redact_str("<abcdefgh12345678>"), "<[REDACTED:secret]>");
    }

    #[test]
    fn a_rotated_value_is_taken_for_a_day_longer() {
        let redactor = with_secret("old-value-1");
        let now = Instant::now();
        redactor.set_secrets_at([("db", "new-value-2")], now);
        let both = "old-value-1 new-value-2";
        assert_eq!(redactor.redact_str(both), "[REDACTED:secret] [REDACTED:secret]");
        redactor.set_secrets_at([("db", "new-value-2")], now + RETIRED_FOR);
        assert_eq!(redactor.redact_str(both), "old-value-1 [REDACTED:secret]");
    }

    #[test]
    fn a_scanner_takes_up_new_values_and_a_bad_one_is_complained_of_once() {
        let redactor = Redactor::default();
        let (mut scanner, mut out) = (redactor.scanner(), Vec::new());
        assert!(!scanner.redact(b"hunter2-hunter3", &mut out));
        let secrets = [("db", "hunter2-hunter3"), ("pin", "1234")];
        assert_eq!(redactor.set_secrets(secrets), ["pin"]);
        assert_eq!(redactor.set_secrets(secrets), [""; 0]);
        assert!(scanner.redact(b"hunter2-hunter3", &mut out));
        assert_eq!(redactor.redact_str("pin 1234"), "pin 1234");
    }

    #[test]
    fn settings_choose_what_is_taken() {
        let text = r#"{"extra":[{"name":"acme","keywords":["acme_"],"regex":"acme_([0-9]+)"}],
            "keys":["session"],"patterns":"off"}"#;
        let settings = RedactSettings::parse(text).expect("settings");
        let redactor = Redactor::new(&settings, Counters::default());
        assert_eq!(
            redactor.redact_str("acme_123 password=x session=y AKIAQYLPMN5HHHFPZAM2"),
            "acme_[REDACTED:acme] password=x session=[REDACTED:assignment] AKIAQYLPMN5HHHFPZAM2"
        );
        assert_eq!(redactor.counts(), BTreeMap::from([("assignment", 1), ("extra", 1)]));
        let off = Redactor::new(&RedactSettings::Off, Counters::default());
        off.set_secrets([("db", "hunter2-hunter3")]);
        assert_eq!(off.redact_str("hunter2-hunter3"), "hunter2-hunter3");
    }

    #[test]
    fn a_key_within_a_key_is_no_surprise() {
        let text = r#"{"keys":["secret","client_secret_key"],"patterns":"off"}"#;
        let redactor =
            Redactor::new(&RedactSettings::parse(text).expect("settings"), Counters::default());
        assert_eq!(
            redactor.redact_str(r#"{"client_secret_key":"x","a":1}"#),
            r#"{"client_secret_key":"[REDACTED:key]","a":1}"#
        );
    }

    #[test]
    fn a_seam_tears_nothing() {
        let redactor = with_secret("hunter2-hunter3");
        let mut scanner = redactor.scanner();
        let text = b"xxxxxxxxxx hunter2-hunter3 yyyyyyyyyy";
        for limit in 0..text.len() {
            let seam = scanner.seam(text, limit);
            assert!(!(12..26).contains(&seam), "cut at {seam}");
            assert!(seam <= limit && limit - seam < 15);
        }
        assert_eq!(scanner.seam(b"hunter2-hunter3", 4), 15, "there is no place before it");
    }

    const VALUE: &str = "hunter2-hunter3";

    /// The value in one of the covered encodings.
    fn encoded(how: usize) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let each = |form: &dyn Fn(u8) -> String| VALUE.bytes().map(form).collect::<String>();
        match how {
            0 => VALUE.to_owned(),
            1 => each(&|byte| format!("{byte:02x}")),
            2 => each(&|byte| format!("%{byte:02X}")),
            3 => each(&|byte| format!("\\u{byte:04x}")),
            4 => STANDARD.encode(VALUE),
            _ => URL_SAFE_NO_PAD.encode(format!("ab{VALUE}c"))[3..22].to_owned(),
        }
    }

    /// What leaves when `text` arrives in portions and lines are cut at `max`.
    fn passed(text: &str, portion: usize, max: usize) -> String {
        let mut scanner = with_secret(VALUE).scanner();
        let mut splitter = super::super::Splitter::new(max);
        let (mut window, mut clean, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for bytes in text.as_bytes().chunks(portion) {
            window.extend_from_slice(bytes);
            loop {
                let reach = scanner.reach();
                let seam = |window: &[u8], limit| scanner.seam(window, limit);
                let Some(piece) = splitter.next_with(&window, reach, seam) else { break };
                let is_changed = scanner.redact(piece.bytes, &mut clean);
                out.extend_from_slice(if is_changed { &clean } else { piece.bytes });
                let taken = piece.taken;
                window.drain(..taken);
            }
        }
        let is_changed = scanner.redact(&window, &mut clean);
        out.extend_from_slice(if is_changed { &clean } else { &window });
        String::from_utf8(out).expect("text")
    }

    proptest! {
        #[test]
        fn no_value_leaves_however_bytes_arrive_and_lines_are_cut(
            before in "[a-z \n]{0,150}", after in "[a-z \n]{0,150}", how in 0..6_usize,
            portion in 1..60_usize, max in 24..160_usize,
        ) {
            let value = encoded(how);
            let out = passed(&format!("{before}{value}{after}"), portion, max);
            prop_assert!(!out.contains(&value), "{out}");
            prop_assert!(out.contains("[REDACTED:secret]"), "{out}");
        }

        #[test]
        fn json_stays_json_and_no_value_stays(
            keys in prop::collection::vec("(password|x|to[kK]en|dsn|a_secret)", 1..4),
            texts in prop::collection::vec("([a-z =:]|\"|\\\\|\n|é|hunter2\"hunter3|password=|token|://a:b@|\\{|bearer ){0,12}", 4),
        ) {
            let redactor = with_secret("hunter2\"hunter3");
            let inner: serde_json::Map<_, _> = keys.iter().zip(&texts)
                .map(|(key, text)| (key.clone(), text.clone().into())).collect();
            let nested = serde_json::to_string(&inner).expect("JSON");
            let mut outer = inner.clone();
            outer.insert("inner".into(), nested.into());
            outer.insert("list".into(), serde_json::json!([inner]));
            outer.insert("token".into(), serde_json::json!([inner, 1, "]"]));
            let line = serde_json::to_string(&outer).expect("JSON");
            let shown = redactor.redact_str(&line);
            let value: serde_json::Value = serde_json::from_str(&shown).map_err(|error| {
                TestCaseError::fail(format!("{error}: {line} became {shown}"))
            })?;
            let flat = value.to_string();
            prop_assert!(!flat.contains(r#"hunter2\"hunter3"#), "{}", flat);
            prop_assert!(!flat.contains(r#"hunter2\\\"hunter3"#), "{}", flat);
        }
    }
}
