//! What `PLIMSOLL_EGRESS` says, as types.
//!
//! `egress::read` makes them from text. It deliberately knows nothing of the network. Invariant: a
//! [`Dependency`] can be called as it is, once the secrets in its header fields are resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outbound::Hidden;

/// Most dependencies: each has series of its own.
pub const DEPENDENCIES_MAX: usize = contract::metrics::EGRESS_MAX;
/// Most bytes of a dependency's name.
pub(super) const NAME_BYTES_MAX: usize = 40;

/// The calls that a service declares, by name.
pub type EgressSettings = BTreeMap<String, Dependency>;

/// One dependency and how it is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    /// Scheme, host, port and the path that every call begins with.
    pub url: String,
    /// How long a call may take, from its head to the last byte of its answer.
    pub timeout: Duration,
    /// How long one try may take until the head of an answer.
    pub try_timeout: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long either side may be silent within a body.
    pub idle_timeout: Duration,
    /// Whether an answer may last: then `timeout` ends with its head.
    pub is_streaming: bool,
    /// What is tried again.
    pub retries: Retries,
    /// When calls are refused at once; none calls always.
    pub breaker: Option<Breaker>,
    /// How many calls go at once.
    pub bulkhead: Bulkhead,
    /// Header fields that every call gets, in place of the application's own.
    pub headers: BTreeMap<String, Hidden>,
    /// A listener of its own, besides `/out/<name>/` on the admin listeners.
    pub listen: Option<SocketAddr>,
}

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// Most retries of one call.
    pub max: u32,
    /// Retries that each call pays for; 0.2 is one retry for five calls.
    pub budget: f64,
    /// Retries a second that are free.
    pub budget_min: f64,
    /// The upper bound of the first wait; doubles with each retry.
    pub backoff: Duration,
    /// The upper bound of every wait, also of what `Retry-After` asks for.
    pub backoff_max: Duration,
}

/// When calls are refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breaker {
    /// The share of failures that opens it.
    pub failure_ratio: f64,
    /// Fewer calls than this in the window never open it.
    pub min_calls: u32,
    /// The calls that count: those of so long.
    pub window: Duration,
    /// How long it stays open.
    pub open: Duration,
    /// How many calls try whether it is over, and how many of them must succeed.
    pub probes: u32,
}

/// How many calls go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulkhead {
    /// Most calls at once.
    pub max: u32,
    /// Most calls that wait for their turn.
    pub queue: u32,
    /// How long they wait.
    pub wait: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max: 2,
            budget: 0.2,
            budget_min: 10.0,
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failure_ratio: 0.5,
            min_calls: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
            probes: 3,
        }
    }
}

impl Default for Bulkhead {
    fn default() -> Self {
        Self { max: 128, queue: 128, wait: Duration::from_secs(1) }
    }
}

impl Dependency {
    /// One that is called at this address, with every default.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            timeout: Duration::from_secs(30),
            try_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            is_streaming: false,
            retries: Retries::default(),
            breaker: Some(Breaker::default()),
            bulkhead: Bulkhead::default(),
            headers: BTreeMap::new(),
            listen: None,
        }
    }
}

/// Why a dependency cannot be understood.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EgressError {
    /// Not a JSON object of dependencies.
    #[error(
        "egress is not a JSON object: {0}\nhelp: write `{{\"api\": {{\"url\": \"https://api.example.com\"}}}}`"
    )]
    NotAnObject(String),
    /// More than can be told apart in metrics.
    #[error("{0} dependencies are declared, {DEPENDENCIES_MAX} are possible\nhelp: remove some")]
    TooMany(usize),
    /// A name that cannot be part of an address and of a variable.
    #[error(
        "`{0}` cannot name a dependency\nhelp: use lower-case letters, digits and `-`, at most {NAME_BYTES_MAX}, a letter first"
    )]
    Name(String),
    /// A key without a meaning.
    #[error("egress `{place}`: there is no key `{key}`\nhelp: {help}")]
    Key {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// What was probably meant.
        help: String,
    },
    /// A value that cannot be followed.
    #[error("egress `{place}`: {problem}\nhelp: {help}")]
    Value {
        /// Where it stands.
        place: String,
        /// What is wrong with it.
        problem: String,
        /// What to write.
        help: &'static str,
    },
    /// Two dependencies listen on one address.
    #[error(
        "egress `{0}.listen`: another dependency listens there too\nhelp: give each a port of its own"
    )]
    ListenTwice(String),
}
