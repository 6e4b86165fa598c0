//! What each kind of probe is told, as types.
//!
//! An address that still holds `${secret:...}` is taken as it is; it is checked once it is filled
//! in. Invariant: the `Debug` of a kind shows no credential.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use http::{HeaderName, Uri};

/// What to ask.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A connection to `host:port`.
    Tcp(String),
    /// A `GET`.
    Http(Http),
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A login to PostgreSQL and a query.
    Postgres(Postgres),
    /// A `PING` to Redis.
    Redis(Redis),
    /// Metadata of Kafka topics, and the lag of a consumer group.
    Kafka(Kafka),
    /// Signs of life of a worker.
    Heartbeat(Heartbeat),
}

impl Kind {
    /// The value of the label `kind`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Tcp(_) => "tcp",
            Kind::Http(_) => "http",
            Kind::Exec(_) => "exec",
            Kind::Postgres(_) => "postgres",
            Kind::Redis(_) => "redis",
            Kind::Kafka(_) => "kafka",
            Kind::Heartbeat(_) => "heartbeat",
        }
    }
}

/// A text that may hold a credential: shown without it.
#[derive(Clone, PartialEq, Eq)]
pub struct Confidential(pub String);

impl Confidential {
    /// Whether a secret is still to be filled in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.contains("${")
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A request and what its answer must be like.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// The address; open while a secret is to be filled in.
    pub url: HttpUrl,
    /// The statuses that pass; from 200 to 399 when empty.
    pub expect: Vec<Statuses>,
    /// A text that the body must hold.
    pub contains: Option<String>,
    /// Header fields to send.
    pub headers: Vec<(HeaderName, Confidential)>,
}

/// An `http` or `https` address.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpUrl {
    /// As it will be asked.
    Ready(Uri),
    /// With a secret to be filled in.
    Open(Confidential),
}

/// One status or a hundred of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The first that passes.
    pub first: u16,
    /// The last that passes.
    pub last: u16,
}

/// A database and a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database?parameters`.
    pub url: Confidential,
    /// The query; its answer does not matter.
    pub sql: String,
    /// What the version of the schema must be.
    pub schema_version: Option<SchemaVersion>,
}

/// A query for the version of a schema, and the version that the service needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// A query whose first row and column is the version.
    pub sql: String,
    /// The version that passes.
    pub equals: String,
}

/// A Redis server.
#[derive(Clone, Debug, PartialEq)]
pub struct Redis {
    /// `redis://user:password@host:port/db`, or `rediss://`.
    pub url: Confidential,
    /// A list whose length is measured.
    pub llen: Option<String>,
    /// Longer than this is a warning.
    pub warn: Option<u64>,
}

/// Kafka brokers.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Topics that must exist and have leaders.
    pub topics: Vec<String>,
    /// A consumer group whose lag is measured.
    pub lag: Option<Lag>,
    /// More settings of librdkafka, for TLS and SASL.
    pub properties: BTreeMap<String, Confidential>,
}

/// A consumer group and the lag that is a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The group.
    pub group: String,
    /// More messages behind than this is a warning.
    pub warn: Option<u64>,
}

/// Where a worker's signs of life come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The way.
    pub via: Via,
    /// How old the last one may be.
    pub max_age: Duration,
}

/// How a worker shows that it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// It posts to `/v1/heartbeat`.
    Http,
    /// It sends `WATCHDOG=1` to `NOTIFY_SOCKET`.
    Notify,
    /// It touches a file.
    File(PathBuf),
    /// It writes a line that matches this pattern.
    Log(String),
}
