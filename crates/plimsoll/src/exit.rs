//! What the exit code of a command says. The table in every `--help` is written here too.
//!
//! Invariant: a command that could not find out never says "no".

use std::fmt::Write;
use std::process::ExitCode;

use contract::exit_codes::{self, COMMANDS};

/// The exit codes of most commands, as shown at the end of the help.
pub(crate) fn exit_codes_help() -> String {
    listed("Exit codes:", COMMANDS)
}

/// A table of exit codes below its title.
pub(crate) fn listed(title: &str, codes: &[exit_codes::ExitCode]) -> String {
    let mut text = title.to_owned();
    for exit in codes {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n  {:<4} {}", exit.code, exit.meaning);
    }
    text
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The answer is yes, or the work is done.
    Yes,
    /// The answer is no: unhealthy, refused, failed.
    No,
    /// There is no answer: bad usage, bad manifest, nothing to talk to.
    Unknown,
    /// `run` passes on the code of its child.
    Child(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Yes => Self::from(exit_codes::OK.code),
            Exit::No => Self::from(exit_codes::NO.code),
            Exit::Unknown => Self::from(exit_codes::UNKNOWN.code),
            Exit::Child(code) => Self::from(code),
        }
    }
}
