//! Why a probe cannot be understood.
//!
//! Invariant: no text shows an address that may hold a credential.

use contract::metrics::DEPENDENCIES_MAX;
use thiserror::Error;

/// Why a probe cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// Not a JSON object of probes.
    #[error(
        "probes are not a JSON object: {0}\n\
         help: write `{{\"db\": {{\"tcp\": \"db:5432\"}}}}`"
    )]
    NotAnObject(String),
    /// More than can be told apart in metrics.
    #[error("{0} probes are declared, {DEPENDENCIES_MAX} are possible\nhelp: remove some")]
    TooMany(usize),
    /// A name that cannot be shown.
    #[error("probe name `{0}` is not usable\nhelp: use letters, digits, `-`, `_`, `.`; at most 63")]
    Name(String),
    /// A name that `plimsoll run` gives to probes of its own.
    #[error("probe name `{0}` is taken by plimsoll\nhelp: leave the prefix `app.` out")]
    Reserved(String),
    /// A key or value that has no meaning.
    #[error("probe `{name}`: {reason}")]
    Form {
        /// The probe.
        name: String,
        /// What the reader of JSON says.
        reason: String,
    },
    /// No kind, or several.
    #[error("probe `{name}` has {count} of the keys {KINDS}\nhelp: give it exactly one")]
    Kinds {
        /// The probe.
        name: String,
        /// How many it has.
        count: usize,
    },
    /// A key of another kind.
    #[error(
        "probe `{name}`: `{key}` has no meaning for `{kind}`\n\
         help: it belongs to `{owner}`; leave it out"
    )]
    ForeignKey {
        /// The probe.
        name: String,
        /// The key.
        key: &'static str,
        /// The kind of the probe.
        kind: &'static str,
        /// The kind that it belongs to.
        owner: &'static str,
    },
    /// Not `host:port`.
    #[error("probe `{name}`: `{target}` is not `host:port`\nhelp: write `\"tcp\": \"db:5432\"`")]
    TcpTarget {
        /// The probe.
        name: String,
        /// What was given.
        target: String,
    },
    /// Not an address of its kind.
    #[error("probe `{name}`: the address is not {wanted}: {reason}\nhelp: write `{example}`")]
    Address {
        /// The probe; the address is not shown, as it may hold a secret.
        name: String,
        /// What it should look like.
        wanted: &'static str,
        /// What is wrong with it.
        reason: String,
        /// One that is right.
        example: &'static str,
    },
    /// Credentials in an address.
    #[error(
        "probe `{name}`: the address holds credentials, which are not sent\n\
         help: give them as a header, `\"headers\": {{\"authorization\": \"${{secret:...}}\"}}`"
    )]
    Credentials {
        /// The probe.
        name: String,
    },
    /// A value that cannot be used.
    #[error("probe `{name}`: `{key}` {problem}\nhelp: {help}")]
    Value {
        /// The probe.
        name: String,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// Nothing to run.
    #[error("probe `{name}`: `exec` names no program\nhelp: write `\"exec\": [\"pg_isready\"]`")]
    NoProgram {
        /// The probe.
        name: String,
    },
    /// A dependency must not decide over life and death.
    #[error(
        "probe `{name}`: only a `heartbeat`, or an `exec` that does not gate `start`, can gate \
         `live`\n\
         help: gate `ready` instead; restarting a service does not mend what it depends on"
    )]
    LiveGate {
        /// The probe.
        name: String,
    },
    /// A number out of its range.
    #[error("probe `{name}`: `{key}` is {value}, not from {min} to {max}\nhelp: {help}")]
    Range {
        /// The probe.
        name: String,
        /// The key.
        key: &'static str,
        /// What was given.
        value: u64,
        /// The least that is possible.
        min: u64,
        /// The most that is possible.
        max: u64,
        /// What to do.
        help: &'static str,
    },
}

/// The keys of which a probe has one, for messages.
const KINDS: &str = "`tcp`, `http`, `exec`, `postgres`, `redis`, `kafka`, `heartbeat`";
