//! What is wrong with a manifest: every problem with its code, place, wording and help.
//!
//! Rendering is here, wording is where the problem is found. Values of secrets are never part of a
//! message, and are replaced by asterisks in the source lines that are shown.
//! Invariant: a list of problems is sorted, worst last, and never says the same thing twice.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level as Title, Renderer, Snippet};
use serde::Serialize;

use crate::span::{LineIndex, Span};

/// Most problems of one input that are kept; the rest are only counted.
pub const PROBLEMS_MAX: usize = 100;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Works, but surely not as meant.
    Warning,
    /// There is no plan.
    Error,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// What kind of problem it is. Codes are stable: tools may match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every code with its meaning, for the reference page.
            pub const ALL: &[(Code, &str)] = &[$((Code::$name, concat!($($doc),*)),)*];

            /// The stable spelling.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The text is not UTF-8.
    NotUtf8 = "not_utf8",
    /// The text is larger than the limit.
    TooLarge = "too_large",
    /// The text holds no manifest.
    Empty = "empty",
    /// The text is not YAML.
    Syntax = "yaml_syntax",
    /// The text nests or repeats more than the limits allow.
    TooComplex = "too_complex",
    /// The text holds more than one document.
    SeveralDocuments = "several_documents",
    /// A key appears twice in one map.
    DuplicateKey = "duplicate_key",
    /// A key that the language does not have.
    UnknownKey = "unknown_key",
    /// A key that must be there is not.
    MissingKey = "missing_key",
    /// A map, list or scalar where another of them belongs.
    WrongShape = "wrong_shape",
    /// A value that its key does not take.
    InvalidValue = "invalid_value",
    /// A `plimsoll:` version that this program does not read.
    WrongVersion = "wrong_version",
    /// A secret's value, or something like one, where its name belongs.
    SecretLiteral = "secret_literal",
    /// A service that does not exist.
    UnknownService = "unknown_service",
    /// A resource that does not exist.
    UnknownResource = "unknown_resource",
    /// An environment that does not exist.
    UnknownEnvironment = "unknown_environment",
    /// A placeholder that names nothing.
    UnknownPlaceholder = "unknown_placeholder",
    /// A placeholder that is not well-formed.
    MalformedPlaceholder = "malformed_placeholder",
    /// A placeholder for something that is not in `uses`.
    UndeclaredUse = "undeclared_use",
    /// A `uses` that leads back to where it began.
    Cycle = "cycle",
    /// A `from` of a service that itself has `from`.
    FromChain = "from_chain",
    /// A port that another service has.
    PortTaken = "port_taken",
    /// A route that another service has.
    RouteTaken = "route_taken",
    /// A name that something else has.
    NameTaken = "name_taken",
    /// A variable that is set from two sides.
    VariableTaken = "variable_taken",
    /// A key that does not go with another.
    Conflict = "conflict",
    /// A key that has no meaning for this type or provider.
    NotApplicable = "not_applicable",
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A place that a problem points at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Label {
    /// Where, in bytes.
    pub span: Span,
    /// The line it begins on, from 1.
    pub line: u32,
    /// What is there; may be empty.
    pub text: String,
}

/// One problem. The first label is where it is; the others are what it has to do with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// How bad.
    pub level: Level,
    /// What kind.
    pub code: Code,
    /// What is wrong: lower case, no full stop, names in backticks.
    pub message: String,
    /// Where.
    pub labels: Vec<Label>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// An error without a place yet.
    pub(crate) fn error(code: Code, message: impl Into<String>) -> Problem {
        let message = message.into();
        Problem { level: Level::Error, code, message, labels: Vec::new(), help: None }
    }

    /// A warning without a place yet.
    pub(crate) fn warning(code: Code, message: impl Into<String>) -> Problem {
        Problem { level: Level::Warning, ..Problem::error(code, message) }
    }

    /// The same with one more place.
    #[must_use]
    pub(crate) fn at(mut self, span: Span, text: impl Into<String>) -> Problem {
        self.labels.push(Label { span, line: 0, text: text.into() });
        self
    }

    /// The same with a way out.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    fn order(&self) -> (Level, u32, &Problem) {
        (self.level, self.labels.first().map_or(0, |label| label.span.start), self)
    }
}

/// All problems of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problems {
    list: Vec<Problem>,
    /// Problems beyond `PROBLEMS_MAX`.
    omitted: usize,
}

impl Problems {
    /// Sorts problems and finds their lines.
    pub(crate) fn new(mut list: Vec<Problem>, lines: &LineIndex) -> Problems {
        for label in list.iter_mut().flat_map(|problem| &mut problem.labels) {
            label.line = lines.line(label.span.start);
        }
        list.sort_by(|a, b| a.order().cmp(&b.order()));
        list.dedup();
        let omitted = list.len().saturating_sub(PROBLEMS_MAX);
        list.drain(..omitted);
        Problems { list, omitted }
    }

    /// The problems, worst last.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there can be no plan.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.last().is_some_and(|problem| problem.level == Level::Error)
    }

    /// The problems as text for people: message, source lines with carets, help.
    #[must_use]
    pub fn render(&self, source_name: &str, text: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        // A problem without a place shows no line, so that even a huge text costs nothing.
        let has_labels = self.list.iter().any(|problem| !problem.labels.is_empty());
        let text = if has_labels { masked(text, &self.list) } else { String::new() };
        let mut out = String::new();
        for problem in &self.list {
            out.push_str(&render_one(problem, source_name, &text, &renderer));
            out.push_str("\n\n");
        }
        if self.omitted > 0 {
            out.push_str(&format!("and {} more problems\n", self.omitted));
        }
        out
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Words in a key that make its value one not to show.
const SECRET_WORDS: [&str; 6] = ["password", "passwd", "secret", "token", "api_key", "private_key"];

/// The text with everything that may be a secret replaced by asterisks, byte for byte.
fn masked(text: &str, problems: &[Problem]) -> String {
    let mut hidden: Vec<std::ops::Range<usize>> = problems
        .iter()
        .filter(|problem| problem.code == Code::SecretLiteral)
        .flat_map(|problem| &problem.labels)
        .map(|label| label.span.start as usize..label.span.end as usize)
        .collect();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        // A long line is not shown for itself; should it stand between two that are, then empty.
        if line.len() > LINE_SHOWN_MAX {
            hidden.push(start..start + line.len());
        } else {
            hidden.extend(hidden_in_line(line).map(|range| start + range.start..start + range.end));
        }
        start += line.len();
    }
    hidden.sort_by_key(|range| (range.start, range.end));
    let mut ranges = hidden.into_iter().peekable();
    let mut out = String::with_capacity(text.len());
    for (byte, c) in text.char_indices() {
        while ranges.next_if(|range| range.end <= byte).is_some() {}
        let is_hidden = ranges.peek().is_some_and(|range| range.contains(&byte));
        if is_hidden && !c.is_whitespace() {
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// The parts of a line that look like credentials, or stand behind a key that names one.
fn hidden_in_line(line: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let is_border = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let behind_keys = line.match_indices([':', '=']).filter_map(move |(at, sign)| {
        let key = line[..at].trim_end_matches(['"', '\'']);
        let key = key.rsplit(is_border).next().unwrap_or("").to_lowercase().replace('-', "_");
        let behind = &line[at + 1..];
        let is_key = SECRET_WORDS.iter().any(|word| key.contains(word))
            && (sign == "=" || behind.starts_with([' ', '"', '\'']));
        let length = behind.find([',', '}', ']', '\n', '\r']).unwrap_or(behind.len());
        let value = behind[..length].trim_matches([' ', '"', '\'']);
        let is_name = value.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let is_reference = value.starts_with(['[', '{', '$', '&', '*']);
        (is_key && !is_name && !is_reference).then_some(at + 1..at + 1 + length)
    });
    let words = line.split(is_border).filter(|word| crate::names::is_issued_credential(word));
    let words = words.map(move |word| {
        let start = word.as_ptr() as usize - line.as_ptr() as usize;
        start..start + word.len()
    });
    behind_keys.chain(words)
}

/// Longest source line that is shown; a longer one is no help and may be the attack itself.
const LINE_SHOWN_MAX: usize = 400;

fn render_one(problem: &Problem, source_name: &str, text: &str, renderer: &Renderer) -> String {
    let level = match problem.level {
        Level::Error => Title::ERROR,
        Level::Warning => Title::WARNING,
    };
    let mut group = level
        .primary_title(problem.message.as_str())
        .id(problem.code.as_str())
        .elements(snippet(problem, source_name, text));
    if let Some(help) = &problem.help {
        group = group.element(Title::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

fn snippet<'a>(
    problem: &'a Problem,
    source_name: &'a str,
    text: &'a str,
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let is_shown = |label: &&Label| {
        let range = clipped(label.span, text);
        text.get(range.clone()).is_some() && line_length(text, range.start) <= LINE_SHOWN_MAX
    };
    let labels: Vec<&Label> = problem.labels.iter().filter(is_shown).collect();
    if labels.is_empty() {
        return None;
    }
    let annotations = labels.into_iter().enumerate().map(|(index, label)| {
        let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(clipped(label.span, text));
        if label.text.is_empty() { annotation } else { annotation.label(label.text.as_str()) }
    });
    Some(Snippet::source(text).path(source_name).annotations(annotations))
}

/// The part of a span on its first line: a caret under forty lines points at nothing.
fn clipped(span: Span, text: &str) -> std::ops::Range<usize> {
    let limit = |byte: u32| usize::try_from(byte).unwrap_or(usize::MAX).min(text.len());
    let (start, end) = (limit(span.start), limit(span.end));
    let rest = text.get(start..end).unwrap_or("");
    let first = rest.split(['\n', '\r']).next().unwrap_or("").trim_end();
    start..start + first.len()
}

fn line_length(text: &str, byte: usize) -> usize {
    let before = text[..byte].rfind('\n').map_or(byte, |newline| byte - newline);
    let after = text[byte..].find('\n').unwrap_or(text.len() - byte);
    before + after
}
