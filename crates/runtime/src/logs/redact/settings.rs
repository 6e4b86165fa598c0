//! What is to be redacted: `--redact`, a JSON object or `off`.
//!
//! Invariant: a value that parses can be built: every pattern compiles, every list is bounded.

use contract::redactions as ids;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::error::Error;

/// Most patterns that a user may add.
const EXTRA_MAX: usize = 32;
/// Most keys that a user may name.
const KEYS_MAX: usize = 128;
/// Most words before a pattern.
const KEYWORDS_MAX: usize = 16;
/// Fewest bytes of a word before a pattern: a shorter one stands everywhere.
const KEYWORD_BYTES_MIN: usize = 3;

const HELP: &str = r#"for example `{"keys": ["password", "pin"], "extra": [{"name": "acme", "keywords": ["acme_"], "regex": "acme_[a-z0-9]{32}"}]}`, or `off`"#;

/// What is to be redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub enum RedactSettings {
    /// Exact values of secrets always; patterns and keys as said.
    On {
        /// Which of the built-in patterns.
        patterns: Patterns,
        /// Behind which keys.
        keys: Keys,
        /// What else.
        extra: Vec<Extra>,
    },
    /// Nothing, not even the values of secrets.
    Off,
}

/// Which of the built-in patterns are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Choice", into = "Choice")]
pub enum Patterns {
    /// All.
    #[default]
    Default,
    /// None.
    Off,
    /// Those with these ids.
    Only(Vec<String>),
}

/// The values of which keys are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Choice", into = "Choice")]
pub enum Keys {
    /// Those of `contract`'s list.
    #[default]
    Default,
    /// None.
    Off,
    /// These, in any spelling.
    Only(Vec<String>),
}

/// A pattern of the user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// What the marker names it, such as `acme-key`.
    pub name: String,
    /// Words with which a match begins, in any case.
    pub keywords: Vec<String>,
    /// Tried at each such word; its first group, or else all of it, is taken.
    pub regex: String,
}

impl Default for RedactSettings {
    fn default() -> Self {
        Self::On { patterns: Patterns::Default, keys: Keys::Default, extra: Vec::new() }
    }
}

impl RedactSettings {
    /// Understands the value of `--redact`.
    ///
    /// # Errors
    /// When it is neither `off` nor an object that can be built.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.trim() == "off" {
            return Ok(Self::Off);
        }
        let form: Object = serde_json::from_str(text)
            .map_err(|error| wrong(format!("not a JSON object of what to redact: {error}")))?;
        form.check()?;
        Ok(Form::Object(form).into())
    }
}

impl Patterns {
    pub(super) fn has(&self, id: &str) -> bool {
        match self {
            Self::Default => true,
            Self::Off => false,
            Self::Only(ids) => ids.iter().any(|known| known == id),
        }
    }
}

impl Keys {
    /// The keys, in lower case with `_` between their words.
    pub(super) fn list(&self) -> Vec<String> {
        let normal = |key: &String| key.to_ascii_lowercase().replace(['-', '.', ' '], "_");
        match self {
            Self::Default => super::keys::DEFAULT.iter().map(|key| (*key).to_owned()).collect(),
            Self::Off => Vec::new(),
            Self::Only(keys) => keys.iter().map(normal).collect(),
        }
    }
}

/// The settings as JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Object(Object),
    Off(Word),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    #[serde(default)]
    patterns: Patterns,
    #[serde(default)]
    keys: Keys,
    #[serde(default)]
    extra: Vec<Extra>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Choice {
    Word(Word),
    List(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Default,
    Off,
}

impl From<Form> for RedactSettings {
    fn from(form: Form) -> Self {
        match form {
            Form::Object(Object { patterns, keys, extra }) => Self::On { patterns, keys, extra },
            Form::Off(Word::Off) => Self::Off,
            Form::Off(Word::Default) => Self::default(),
        }
    }
}

impl From<RedactSettings> for Form {
    fn from(settings: RedactSettings) -> Self {
        match settings {
            RedactSettings::On { patterns, keys, extra } => {
                Self::Object(Object { patterns, keys, extra })
            }
            RedactSettings::Off => Self::Off(Word::Off),
        }
    }
}

macro_rules! choice {
    ($name:ident) => {
        impl From<Choice> for $name {
            fn from(choice: Choice) -> Self {
                match choice {
                    Choice::Word(Word::Default) => Self::Default,
                    Choice::Word(Word::Off) => Self::Off,
                    Choice::List(list) => Self::Only(list),
                }
            }
        }

        impl From<$name> for Choice {
            fn from(choice: $name) -> Self {
                match choice {
                    $name::Default => Self::Word(Word::Default),
                    $name::Off => Self::Word(Word::Off),
                    $name::Only(list) => Self::List(list),
                }
            }
        }
    };
}

choice!(Patterns);
choice!(Keys);

impl Object {
    fn check(&self) -> Result<(), Error> {
        if let Patterns::Only(named) = &self.patterns
            && let Some(unknown) =
                named.iter().find(|name| !rules::RULES.iter().any(|rule| rule.id == **name))
        {
            let ids: Vec<_> = rules::RULES.iter().map(|rule| rule.id).collect();
            return Err(wrong(format!(
                "no pattern is called `{unknown}`; there are {}",
                ids.join(", ")
            )));
        }
        if let Keys::Only(keys) = &self.keys
            && (keys.len() > KEYS_MAX || keys.iter().any(|key| key.len() < KEYWORD_BYTES_MIN))
        {
            return Err(wrong(format!(
                "`keys` are {KEYS_MAX} at most, of {KEYWORD_BYTES_MIN} letters at least"
            )));
        }
        if self.extra.len() > EXTRA_MAX {
            return Err(wrong(format!("`extra` has more than {EXTRA_MAX} patterns")));
        }
        self.extra.iter().try_for_each(Extra::check)
    }
}

impl Extra {
    fn check(&self) -> Result<(), Error> {
        let name = &self.name;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(is_plain) || ids::ALL.contains(&name.as_str()) {
            return Err(wrong(format!(
                "`extra` has the name `{name}`, not lower-case letters, digits and dashes of its own"
            )));
        }
        let is_short = |word: &String| word.len() < KEYWORD_BYTES_MIN;
        if self.keywords.is_empty()
            || self.keywords.len() > KEYWORDS_MAX
            || self.keywords.iter().any(is_short)
        {
            return Err(wrong(format!(
                "`extra` pattern `{name}` needs 1 to {KEYWORDS_MAX} `keywords` of {KEYWORD_BYTES_MIN} letters at least"
            )));
        }
        rules::build(&self.regex)
            .map(drop)
            .map_err(|error| wrong(format!("`extra` pattern `{name}`: {error}")))
    }
}

fn wrong(problem: String) -> Error {
    Error::Settings { problem, help: HELP }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_it_is_read() {
        for text in [
            r#"{"patterns":"default","keys":"default","extra":[]}"#,
            r#"{"patterns":["jwt"],"keys":"off","extra":[{"name":"acme","keywords":["acme_"],"regex":"acme_(.*)"}]}"#,
            "\"off\"",
        ] {
            let settings: RedactSettings = serde_json::from_str(text).expect("settings");
            assert_eq!(serde_json::to_string(&settings).expect("JSON"), text);
        }
        assert_eq!(RedactSettings::parse("{}").expect("settings"), RedactSettings::default());
        assert_eq!(RedactSettings::parse("off").expect("settings"), RedactSettings::Off);
    }

    #[test]
    fn what_cannot_be_built_is_refused_and_named() {
        for (text, named) in [
            ("no", "JSON"),
            (r#"{"pattern":"off"}"#, "pattern"),
            (r#"{"patterns":["jtw"]}"#, "jtw"),
            (r#"{"keys":["x"]}"#, "keys"),
            (r#"{"extra":[{"name":"jwt","keywords":["abc"],"regex":"a"}]}"#, "jwt"),
            (r#"{"extra":[{"name":"a","keywords":[],"regex":"a"}]}"#, "keywords"),
            (r#"{"extra":[{"name":"a","keywords":["abc"],"regex":"("}]}"#, "unclosed"),
        ] {
            let error = RedactSettings::parse(text).expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
