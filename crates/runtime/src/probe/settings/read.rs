//! From the keys of one probe to its kind.
//!
//! Invariant: every key that was given is used, or is an error that names it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use contract::bodies::Severity;
use http::{HeaderName, HeaderValue, Uri};
use serde::Deserialize;

use super::{
    Confidential, Heartbeat, Http, HttpUrl, Kafka, Key, Kind, Lag, Postgres, ProbeError, Redis,
    SchemaVersion, Statuses, Via, milliseconds,
};
use crate::probe::{kafka, log_beats, mask, postgres, redis};

/// How old a heartbeat may be.
const MAX_AGE_DEFAULT: Duration = Duration::from_secs(60);
/// Most topics of one probe: each is asked for by itself.
const TOPICS_MAX: usize = 16;
/// The query that only asks whether somebody answers.
const SQL_DEFAULT: &str = "select 1";

/// A probe as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    tcp: Option<String>,
    http: Option<String>,
    exec: Option<Vec<String>>,
    postgres: Option<String>,
    redis: Option<String>,
    kafka: Option<String>,
    heartbeat: Option<RawHeartbeat>,
    expect: Option<Vec<RawStatus>>,
    contains: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    check: Option<RawCheck>,
    llen: Option<String>,
    warn: Option<u64>,
    topics: Option<Vec<String>>,
    lag: Option<RawLag>,
    properties: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) severity: Option<Severity>,
    pub(super) gate: Option<Vec<RawGate>>,
    pub(super) interval_ms: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) fall: Option<u64>,
    pub(super) rise: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeartbeat {
    via: Option<RawVia>,
    file: Option<PathBuf>,
    log: Option<String>,
    max_age_ms: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawVia {
    Http,
    Notify,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    sql: Option<String>,
    schema_version: Option<RawSchemaVersion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSchemaVersion {
    sql: String,
    equals: Scalar,
}

/// What a version may be written as.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLag {
    group: String,
    warn: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawStatus {
    One(u16),
    Class(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawGate {
    Start,
    Ready,
    Live,
}

/// The kind of a probe; takes what it uses.
pub(super) fn kind(name: &str, raw: &mut Raw) -> Result<Kind, ProbeError> {
    let given = [
        raw.tcp.is_some(),
        raw.http.is_some(),
        raw.exec.is_some(),
        raw.postgres.is_some(),
        raw.redis.is_some(),
        raw.kafka.is_some(),
        raw.heartbeat.is_some(),
    ];
    let count = given.into_iter().filter(|is_given| *is_given).count();
    if count != 1 {
        return Err(ProbeError::Kinds { name: name.to_owned(), count });
    }
    let kind = if let Some(target) = raw.tcp.take() {
        tcp(name, &target)?
    } else if let Some(url) = raw.http.take() {
        http(name, url, raw)?
    } else if let Some(command) = raw.exec.take() {
        exec(name, command)?
    } else if let Some(url) = raw.postgres.take() {
        postgres(name, url, raw)?
    } else if let Some(url) = raw.redis.take() {
        redis(name, url, raw)?
    } else if let Some(brokers) = raw.kafka.take() {
        kafka(name, brokers, raw)?
    } else {
        heartbeat(name, raw.heartbeat.take())?
    };
    match foreign(raw) {
        Some((key, owner)) => {
            let (name, kind) = (name.to_owned(), kind.word());
            Err(ProbeError::ForeignKey { name, key, kind, owner })
        }
        None => Ok(kind),
    }
}

/// A key that the probe's kind did not take, and whose it is.
fn foreign(raw: &Raw) -> Option<(&'static str, &'static str)> {
    let left = [
        (raw.expect.is_some(), "expect", "http"),
        (raw.contains.is_some(), "contains", "http"),
        (raw.headers.is_some(), "headers", "http"),
        (raw.check.is_some(), "check", "postgres"),
        (raw.llen.is_some(), "llen", "redis"),
        (raw.warn.is_some(), "warn", "redis"),
        (raw.topics.is_some(), "topics", "kafka"),
        (raw.lag.is_some(), "lag", "kafka"),
        (raw.properties.is_some(), "properties", "kafka"),
    ];
    left.into_iter().find(|(is_left, ..)| *is_left).map(|(_, key, owner)| (key, owner))
}

fn tcp(name: &str, target: &str) -> Result<Kind, ProbeError> {
    if is_host_port(target) || target.contains("${") {
        return Ok(Kind::Tcp(target.to_owned()));
    }
    Err(ProbeError::TcpTarget { name: name.to_owned(), target: mask::mask(target) })
}

fn is_host_port(target: &str) -> bool {
    target.rsplit_once(':').is_some_and(|(host, port)| {
        let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', ',']) && !is_bare_v6;
        is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn exec(name: &str, command: Vec<String>) -> Result<Kind, ProbeError> {
    let is_text = command.iter().all(|word| !word.contains('\0'));
    match command.first() {
        Some(program) if is_text && !program.is_empty() => Ok(Kind::Exec(command)),
        _ => Err(ProbeError::NoProgram { name: name.to_owned() }),
    }
}

fn http(name: &str, url: String, raw: &mut Raw) -> Result<Kind, ProbeError> {
    let expect = raw.expect.take().unwrap_or_default();
    let expect = expect.iter().map(|status| statuses(name, status)).collect::<Result<_, _>>()?;
    let headers = raw.headers.take().unwrap_or_default().into_iter();
    let headers = headers.map(|(field, value)| header(name, &field, value));
    Ok(Kind::Http(Http {
        url: http_url(name, url)?,
        expect,
        contains: raw.contains.take().filter(|text| !text.is_empty()),
        headers: headers.collect::<Result<_, _>>()?,
    }))
}

fn http_url(name: &str, url: String) -> Result<HttpUrl, ProbeError> {
    let url = Confidential(url);
    if url.is_open() {
        return Ok(HttpUrl::Open(url));
    }
    let refused = |reason: String| ProbeError::Address {
        name: name.to_owned(),
        wanted: "`http://host[:port][/path]`",
        reason,
        example: "\"http\": \"https://api.example.com/ready\"",
    };
    let uri: Uri = url.0.parse().map_err(|_| refused("it is not a URL".into()))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(refused("it must begin with `http://` or `https://`".into()));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(refused("it names no host".into()));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(ProbeError::Credentials { name: name.to_owned() });
    }
    Ok(HttpUrl::Ready(uri))
}

fn statuses(name: &str, status: &RawStatus) -> Result<Statuses, ProbeError> {
    let found = match status {
        RawStatus::One(code @ 100..=599) => Some((*code, *code)),
        RawStatus::One(_) => None,
        RawStatus::Class(class) => class
            .strip_suffix("xx")
            .and_then(|hundred| hundred.parse::<u16>().ok())
            .filter(|hundred| (1..=5).contains(hundred))
            .map(|hundred| (hundred * 100, hundred * 100 + 99)),
    };
    found.map(|(first, last)| Statuses { first, last }).ok_or_else(|| ProbeError::Value {
        name: name.to_owned(),
        key: "expect",
        problem: "holds what is not a status".into(),
        help: "give numbers from 100 to 599 or classes, for example `[200, \"3xx\"]`",
    })
}

fn header(
    name: &str,
    field: &str,
    value: String,
) -> Result<(HeaderName, Confidential), ProbeError> {
    let problem = |problem: &str| ProbeError::Value {
        name: name.to_owned(),
        key: "headers",
        problem: format!("has a field `{}` {problem}", field.escape_debug()),
        help: "write `\"headers\": {\"authorization\": \"Bearer ...\"}`",
    };
    let header = field.parse::<HeaderName>().map_err(|_| problem("that is not a header"))?;
    if HeaderValue::from_str(&value).is_err() {
        return Err(problem("whose value cannot be sent"));
    }
    Ok((header, Confidential(value)))
}

fn postgres(name: &str, url: String, raw: &mut Raw) -> Result<Kind, ProbeError> {
    let url = Confidential(url);
    if !url.is_open() {
        postgres::address(&url.0).map_err(|reason| ProbeError::Address {
            name: name.to_owned(),
            wanted: "that of a PostgreSQL database",
            reason,
            example: "\"postgres\": \"postgres://user:password@db:5432/shop\"",
        })?;
    }
    let check = raw.check.take();
    let (sql, schema_version) = check.map_or((None, None), |it| (it.sql, it.schema_version));
    let schema_version = schema_version.map(|version| SchemaVersion {
        sql: version.sql,
        equals: match version.equals {
            Scalar::Text(text) => text,
            Scalar::Number(number) => number.to_string(),
        },
    });
    Ok(Kind::Postgres(Postgres {
        url,
        sql: sql.unwrap_or_else(|| SQL_DEFAULT.to_owned()),
        schema_version,
    }))
}

fn redis(name: &str, url: String, raw: &mut Raw) -> Result<Kind, ProbeError> {
    let url = Confidential(url);
    if !url.is_open() {
        redis::address(&url.0).map_err(|reason| ProbeError::Address {
            name: name.to_owned(),
            wanted: "that of a Redis server",
            reason,
            example: "\"redis\": \"redis://:password@cache:6379/0\"",
        })?;
    }
    let (llen, warn) = (raw.llen.take(), raw.warn.take());
    if warn.is_some() && llen.is_none() {
        return Err(ProbeError::Value {
            name: name.to_owned(),
            key: "warn",
            problem: "says how long a list may be, but no list is named".into(),
            help: "name it, for example `\"llen\": \"celery\"`",
        });
    }
    Ok(Kind::Redis(Redis { url, llen, warn }))
}

fn kafka(name: &str, brokers: String, raw: &mut Raw) -> Result<Kind, ProbeError> {
    let is_open = brokers.contains("${");
    if !is_open && !brokers.split(',').all(|broker| is_host_port(broker.trim())) {
        return Err(ProbeError::Address {
            name: name.to_owned(),
            wanted: "a list of brokers",
            reason: "each is `host:port`".into(),
            example: "\"kafka\": \"kafka-1:9092,kafka-2:9092\"",
        });
    }
    let value = |key, problem: String, help| ProbeError::Value {
        name: name.to_owned(),
        key,
        problem,
        help,
    };
    let topics = raw.topics.take().unwrap_or_default();
    if topics.len() > TOPICS_MAX {
        let problem = format!("names {} topics, {TOPICS_MAX} are possible", topics.len());
        return Err(value("topics", problem, "name those that the service cannot do without"));
    }
    if let Some(topic) = topics.iter().find(|topic| !kafka::is_topic(topic)) {
        let problem = format!("holds `{}`, which is not a topic", topic.escape_debug());
        return Err(value("topics", problem, "use letters, digits, `.`, `_`, `-`; at most 249"));
    }
    let lag = raw.lag.take().map(|lag| Lag { group: lag.group, warn: lag.warn });
    if lag.is_some() && topics.is_empty() {
        let problem = "is asked for, but no topics are named".into();
        return Err(value("lag", problem, "name them, for example `\"topics\": [\"orders\"]`"));
    }
    let properties = raw.properties.take().unwrap_or_default();
    if let Some(key) = properties.keys().find(|key| !kafka::is_property(key)) {
        let problem = format!("holds `{}`, which a probe decides itself", key.escape_debug());
        return Err(value(
            "properties",
            problem,
            "keep to `security.`, `ssl.`, `sasl.` and `socket.`",
        ));
    }
    let properties = properties.into_iter().map(|(key, value)| (key, Confidential(value)));
    Ok(Kind::Kafka(Kafka { brokers, topics, lag, properties: properties.collect() }))
}

fn heartbeat(name: &str, raw: Option<RawHeartbeat>) -> Result<Kind, ProbeError> {
    let raw = raw.unwrap_or(RawHeartbeat { via: None, file: None, log: None, max_age_ms: None });
    let value = |key, problem: String, help| ProbeError::Value {
        name: name.to_owned(),
        key,
        problem,
        help,
    };
    let via = match (raw.via, raw.file, raw.log) {
        (None, Some(file), None) => Via::File(file),
        (None, None, Some(pattern)) => {
            if let Err(error) = log_beats::check(&pattern) {
                let problem = format!("is a pattern that cannot be understood: {error}");
                return Err(value("log", problem, "write a regular expression as Rust has them"));
            }
            Via::Log(pattern)
        }
        (Some(RawVia::Notify), None, None) => Via::Notify,
        (Some(RawVia::Http) | None, None, None) => Via::Http,
        _ => {
            let problem = "has several of `via`, `file` and `log`".into();
            return Err(value(
                "heartbeat",
                problem,
                "keep one: a worker shows its life in one way",
            ));
        }
    };
    let key = Key { name, key: "max_age_ms", help: "allow at least a second" };
    let limits = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);
    let max_age = milliseconds(key, raw.max_age_ms, MAX_AGE_DEFAULT, limits)?;
    Ok(Kind::Heartbeat(Heartbeat { via, max_age }))
}
