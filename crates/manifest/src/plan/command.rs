//! Commands of a plan: what is executed, never how.
//!
//! Deliberately no shell unless the manifest asks for one with `{shell: …}`.

use serde::Serialize;

use crate::{template::Template, units::Millis};

/// A program with arguments, or a script for a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// Executed directly. Never empty. The first word is the program.
    Exec(Vec<Template>),
    /// Given to `sh -c` unchanged, without placeholders: `$` is the shell's.
    Shell {
        /// The script.
        shell: String,
    },
}

impl Command {
    /// One line for people: the words as they would be typed.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Command::Shell { shell } => shell.clone(),
            Command::Exec(words) => {
                let quoted = words.iter().map(|word| quote(&word.to_string()));
                quoted.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,${}".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Schema changes: run once per release, before traffic moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migrate {
    /// Brings the schema forward, so that the old release still works.
    pub run: Command,
    /// Removes what only the old release needed; a later step of its own.
    pub contract: Option<Command>,
    /// Undoes `run`. Never executed without being asked for.
    pub down: Option<Command>,
    /// Says by its exit code whether the schema is the wanted one.
    pub check: Option<Command>,
    /// How long `run` may take before the deploy stops.
    pub timeout: Millis,
    /// How long a statement waits for a lock before it is retried.
    pub lock_timeout: Millis,
}

/// One of the app's own verbs, a target of its Makefile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verb {
    /// What it executes in the service's directory.
    pub run: Command,
    /// One line for `make help`.
    pub help: Option<String>,
    /// Whether a pull request must pass it.
    pub gate: bool,
}
