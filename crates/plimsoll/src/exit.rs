//! What the exit code of a command says. The table in every `--help` is written here too.
//!
//! Invariant: a command that could not find out never says "no".

use std::process::ExitCode;

/// The exit codes, as shown at the end of every help text.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
  0  yes: done, healthy, nothing wrong
  1  no: not ready, failed, refused
  2  could not tell: bad usage, bad manifest, nothing to talk to";

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
            Exit::Yes => Self::from(0),
            Exit::No => Self::from(1),
            Exit::Unknown => Self::from(2),
            Exit::Child(code) => Self::from(code),
        }
    }
}
