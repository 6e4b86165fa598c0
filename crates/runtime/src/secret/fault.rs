//! Why a secret has no value, in the kinds that decide what follows.
//!
//! It deliberately holds no bytes of any secret, also not of a malformed one. Invariant: each kind
//! has one exit code, and each message names the reference, what is wrong, and what to do.

use std::fmt;

use contract::exit_codes::{self, ExitCode};

/// Why one reference has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// What the provider or we say of it, without values; may end with a `help:` line.
    pub text: String,
}

/// The kinds of [`Fault`], best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The provider did not answer, or not sensibly; asking again may help.
    Unreachable,
    /// The provider does not have it.
    Missing,
    /// There is something, but it cannot be a value: too long, not text.
    Invalid,
    /// The provider knows us and says no, or does not know us.
    Denied,
    /// The reference or the settings are wrong.
    Config,
}

impl FaultKind {
    /// The word in reports and in the metric's label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Config => "config",
        }
    }

    /// The exit code of `plimsoll run` when this keeps the app from being started.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Unreachable => exit_codes::PROVIDER,
            Self::Missing | Self::Invalid | Self::Denied => exit_codes::SECRET,
            Self::Config => exit_codes::CONFIG,
        }
    }
}

impl Fault {
    /// What somebody else than a provider finds wrong.
    pub fn new_config(text: &str) -> Self {
        Self::config(text)
    }

    /// The provider did not answer.
    pub(crate) fn unreachable(text: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Unreachable, text: text.to_string() }
    }

    /// The provider does not have it.
    pub(crate) fn missing(text: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Missing, text: text.to_string() }
    }

    /// It cannot be a value.
    pub(crate) fn invalid(text: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Invalid, text: text.to_string() }
    }

    /// The provider says no.
    pub(crate) fn denied(text: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Denied, text: text.to_string() }
    }

    /// The settings are wrong.
    pub(crate) fn config(text: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Config, text: text.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything that kept a set of references from being resolved; all of it at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct SecretError {
    /// Which place, and why.
    pub problems: Vec<Problem>,
}

/// One reference without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the reference stands, such as the name of a variable; may be empty.
    pub place: String,
    /// The reference as it is shown; empty when it could not be read.
    pub reference: String,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reference.as_str(), self.place.as_str()) {
            ("", "") => write!(f, "secrets: {}", self.fault),
            ("", place) => write!(f, "`{place}`: {}", self.fault),
            (reference, "") => write!(f, "secret `{reference}`: {}", self.fault),
            (reference, place) => write!(f, "secret `{reference}` of `{place}`: {}", self.fault),
        }
    }
}

impl SecretError {
    /// The exit code of the worst of them.
    pub fn exit_code(&self) -> ExitCode {
        let worst = self.problems.iter().map(|problem| problem.fault.kind).max();
        worst.unwrap_or(FaultKind::Config).exit_code()
    }

    /// Whether asking again may help with all of them.
    pub fn is_passing(&self) -> bool {
        self.problems.iter().all(|problem| problem.fault.kind == FaultKind::Unreachable)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
