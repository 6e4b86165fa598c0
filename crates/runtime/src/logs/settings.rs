//! What the command line says of lines: `--redact`, `--multiline`, `--on-block`, `--max-line`.
//!
//! Invariant: what parses can be used as it is.

use std::fmt;
use std::str::FromStr;

use contract::log_fields::LINE_BYTES_MAX;
use manifest::units::Bytes;
use serde::{Deserialize, Serialize};

use super::redact::RedactSettings;
use crate::error::Error;

/// The shortest line that may be the longest, bytes.
const MAX_LINE_MIN: usize = 1024;
/// The longest line that may be allowed, bytes; more would not stay in the app's pipe.
const MAX_LINE_MAX: usize = 1024 * 1024;

/// What is done with lines, besides their form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineSettings {
    /// What is taken out.
    pub redact: RedactSettings,
    /// Which lines belong together.
    pub multiline: Multiline,
    /// What happens when nobody reads us.
    pub on_block: OnBlock,
    /// The longest line that is kept whole, bytes.
    pub max_line: usize,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            redact: RedactSettings::default(),
            multiline: Multiline::default(),
            on_block: OnBlock::default(),
            max_line: LINE_BYTES_MAX,
        }
    }
}

/// Which lines belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Multiline {
    /// The traces of every language that is known here.
    #[default]
    Auto,
    /// Python's tracebacks.
    Python,
    /// Java's stack traces.
    Java,
    /// Those of Node.
    Node,
    /// Go's panics.
    Go,
    /// Rust's panics.
    Rust,
    /// Every line that begins with a space belongs to the one before.
    Indent,
    /// None.
    Off,
}

/// What happens to lines while nobody reads our output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBlock {
    /// The app waits.
    #[default]
    Block,
    /// Lines are dropped and counted; the app goes on.
    Drop,
}

const MULTILINE: &[(&str, Multiline)] = &[
    ("auto", Multiline::Auto),
    ("python", Multiline::Python),
    ("java", Multiline::Java),
    ("node", Multiline::Node),
    ("go", Multiline::Go),
    ("rust", Multiline::Rust),
    ("indent", Multiline::Indent),
    ("off", Multiline::Off),
];

impl FromStr for Multiline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = MULTILINE.iter().find(|(word, _)| *word == text);
        found.map(|(_, mode)| *mode).ok_or_else(|| Error::Word {
            what: "way to join lines",
            text: text.to_owned(),
            accepted: "`auto`, `python`, `java`, `node`, `go`, `rust`, `indent`, `off`",
        })
    }
}

impl fmt::Display for Multiline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = MULTILINE.iter().find(|(_, mode)| mode == self);
        f.write_str(found.map_or("", |(word, _)| word))
    }
}

impl FromStr for OnBlock {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "block" => Ok(Self::Block),
            "drop" => Ok(Self::Drop),
            _ => Err(Error::Word {
                what: "way to treat a blocked reader",
                text: text.to_owned(),
                accepted: "`block`, `drop`",
            }),
        }
    }
}

/// Understands the value of `--max-line`.
///
/// # Errors
/// When it is no size, or one that no line can have.
pub fn parse_max_line(text: &str) -> Result<usize, Error> {
    let size = Bytes::from_str(text).ok();
    let size = size.and_then(|bytes| usize::try_from(bytes.0).ok());
    size.filter(|bytes| (MAX_LINE_MIN..=MAX_LINE_MAX).contains(bytes)).ok_or_else(|| {
        Error::Settings {
            problem: format!("`{text}` is not a length of a line"),
            help: "give a size from 1KiB to 1MiB, for example `256KiB`",
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_what_it_shows() {
        for (word, mode) in MULTILINE {
            assert_eq!(word.parse::<Multiline>().expect("a word"), *mode);
            assert_eq!(mode.to_string(), *word);
        }
        assert!("perl".parse::<Multiline>().is_err());
        assert_eq!("drop".parse::<OnBlock>().expect("a word"), OnBlock::Drop);
        assert!("wait".parse::<OnBlock>().is_err());
    }

    #[test]
    fn a_length_has_its_limits() {
        assert_eq!(parse_max_line("64KiB").expect("a size"), 64 * 1024);
        for text in ["64", "2MiB", "many", ""] {
            assert!(parse_max_line(text).is_err(), "{text}");
        }
    }
}
