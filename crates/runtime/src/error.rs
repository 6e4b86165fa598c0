//! Everything that can go wrong before, or instead of, running the application.
//!
//! It deliberately holds no error of the application itself: its exit code is passed through.
//!
//! Invariant: every variant names the thing in backticks, and maps to one exit code of `contract`.

use std::{io, path::PathBuf};

use contract::exit_codes::{self, ExitCode};

use crate::{
    audit::AuditError, egress::EgressError, outbox::OutboxError, probe::ProbeError,
    publish::settings::PublishError, secret::SecretError,
};

/// What went wrong, with the data needed to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A duration without a unit that we know.
    #[error(
        "`{text}` is not a duration\nhelp: write a number and its unit, for example `500ms`, `20s` or `2m`"
    )]
    Duration {
        /// What was given.
        text: String,
    },
    /// A duration beyond what any phase may last.
    #[error("`{text}` is longer than a phase may last\nhelp: give at most `{limit_s}s`")]
    DurationTooLong {
        /// What was given.
        text: String,
        /// The longest that is accepted, in seconds.
        limit_s: u64,
    },
    /// An address without host or port.
    #[error(
        "`{text}` is not an address\nhelp: write `ADDRESS:PORT`, for example `127.0.0.1:9460`, `0.0.0.0:8080` or `:8080`"
    )]
    Address {
        /// What was given.
        text: String,
    },
    /// A signal that does not exist, or cannot be caught.
    #[error(
        "`{text}` is not a signal to stop with\nhelp: give a name or a number, for example `TERM`, `QUIT` or `15`"
    )]
    Signal {
        /// What was given.
        text: String,
    },
    /// A word where only some are accepted.
    #[error("`{text}` is not a {what}\nhelp: give one of {accepted}")]
    Word {
        /// What the word chooses.
        what: &'static str,
        /// What was given.
        text: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// Settings that contradict each other, or lack something.
    #[error("{problem}\nhelp: {help}")]
    Settings {
        /// What is wrong.
        problem: String,
        /// What to type.
        help: &'static str,
    },
    /// A probe that cannot be understood.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Calls that cannot be understood.
    #[error("{}", lines(problems))]
    Egress {
        /// Every problem.
        problems: Vec<EgressError>,
    },
    /// An outbox that cannot be understood.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Secrets that cannot be resolved, or settings of theirs that make no sense.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// The path of a Unix socket does not fit into its address.
    #[error("the socket path `{}` is {length} bytes long\nhelp: give one of at most {limit} bytes", path.display())]
    SockTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The most that fits.
        limit: usize,
    },
    /// Somebody listens there already.
    #[error(
        "{what} cannot listen on `{address}`: it is taken\nhelp: stop the process that listens there, or choose another with `{flag}`"
    )]
    Taken {
        /// What wanted to listen.
        what: &'static str,
        /// Where.
        address: String,
        /// The flag that moves it.
        flag: &'static str,
    },
    /// Listening failed for another reason.
    #[error("{what} cannot listen on `{address}`: {source}\nhelp: choose another with `{flag}`")]
    Listen {
        /// What wanted to listen.
        what: &'static str,
        /// Where.
        address: String,
        /// The flag that moves it.
        flag: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A system call of ours failed.
    #[error("plimsoll cannot {intent}: {source}")]
    Setup {
        /// What we were about to do.
        intent: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The application could not be started.
    #[error(
        "`{program}` cannot be started: {source}\nhelp: check its name, its permissions and `PATH`"
    )]
    Spawn {
        /// The program.
        program: String,
        /// 126 or 127, or 125.
        code: u8,
        /// Why not.
        source: io::Error,
    },
    /// Engines died one after the other before the application was started.
    #[error(
        "the engine died {times} times before the application was started\nhelp: its last words are above; please report them"
    )]
    EngineLost {
        /// How often.
        times: u32,
    },
    /// The audit log cannot be kept.
    #[error("{0}")]
    AuditLog(AuditError),
    /// The file for Kubernetes cannot be used.
    #[error("the termination log `{}` cannot be written: {source}\nhelp: create its directory, or give another file with `--termination-log`", path.display())]
    TerminationLog {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error("the state directory `{}` cannot be written: {source}\nhelp: create it, or give another with `--state`", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What can be published cannot be understood.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The spool cannot be used.
    #[error("the spool `{}` cannot be written: {source}\nhelp: create it, or give another `dir` in `--publish`", path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The engine was started by hand, or by another version of this program.
    #[error(
        "the engine cannot talk to its guard: {problem}\nhelp: `engine` is started by `plimsoll run`, not by hand"
    )]
    Wire {
        /// What is wrong with the conversation.
        problem: String,
    },
}

impl Error {
    /// The exit code of `plimsoll run` for this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Secrets(error) => error.exit_code(),
            Self::Duration { .. }
            | Self::DurationTooLong { .. }
            | Self::Address { .. }
            | Self::Signal { .. }
            | Self::Word { .. }
            | Self::Settings { .. }
            | Self::Probe(_)
            | Self::Egress { .. }
            | Self::Publish(_)
            | Self::Outbox(_)
            | Self::SockTooLong { .. } => exit_codes::CONFIG,
            Self::Spawn { code, .. } => match *code {
                code if code == exit_codes::NOT_FOUND.code => exit_codes::NOT_FOUND,
                code if code == exit_codes::NOT_EXECUTABLE.code => exit_codes::NOT_EXECUTABLE,
                _ => exit_codes::GUARD,
            },
            Self::Taken { .. } | Self::Listen { .. } | Self::Setup { .. } => exit_codes::GUARD,
            Self::State { .. }
            | Self::TerminationLog { .. }
            | Self::Spool { .. }
            | Self::AuditLog(_) => exit_codes::STATE,
            Self::EngineLost { .. } | Self::Wire { .. } => exit_codes::INTERNAL,
        }
    }
}

fn lines(problems: &[EgressError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
