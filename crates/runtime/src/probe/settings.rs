//! What `PLIMSOLL_PROBES` says, as types.
//!
//! Strict: an unknown key, two kinds in one probe or a limit that makes no sense is an error that
//! names the probe. All problems are reported at once. Invariant: a `ProbeSettings` can be probed
//! as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use contract::bodies::Severity;
use contract::metrics::DEPENDENCIES_MAX;
use http::Uri;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::board::Gates;

/// The time between two probes.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
/// The shortest and the longest interval.
const INTERVAL_LIMITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];
/// How long one probe may take.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// Failures in a row that count as down; one is enough for a heartbeat, whose age says it all.
const FALL_DEFAULT: u32 = 3;
/// How old a heartbeat may be.
const MAX_AGE_DEFAULT: Duration = Duration::from_secs(60);
/// Most failures or passes in a row that can be asked for.
const ROW_MAX: u32 = 100;

/// One probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSettings {
    /// What to ask.
    pub kind: Kind,
    /// What its failure means.
    pub severity: Severity,
    /// What waits for it.
    pub gates: Gates,
    /// The time between two probes, give or take a tenth.
    pub interval: Duration,
    /// How long one probe may take; at most the interval.
    pub timeout: Duration,
    /// Failures in a row until it counts as down.
    pub fall: u32,
    /// Passes in a row until it counts as up.
    pub rise: u32,
}

/// What to ask.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A connection to `host:port`.
    Tcp(String),
    /// A `GET` of an `http` address.
    Http(Uri),
    /// A program and its arguments.
    Exec(Vec<String>),
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
            Kind::Heartbeat(_) => "heartbeat",
        }
    }
}

/// Where a worker's signs of life come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// A file that it touches; else it posts to `/v1/heartbeat`.
    pub file: Option<PathBuf>,
    /// How old the last one may be.
    pub max_age: Duration,
}

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
    /// A key or value that has no meaning.
    #[error("probe `{name}`: {reason}")]
    Form {
        /// The probe.
        name: String,
        /// What the reader of JSON says.
        reason: String,
    },
    /// No kind, or several.
    #[error(
        "probe `{name}` has {count} of the keys `tcp`, `http`, `exec`, `heartbeat`\n\
         help: give it exactly one"
    )]
    Kinds {
        /// The probe.
        name: String,
        /// How many it has.
        count: usize,
    },
    /// Not `host:port`.
    #[error("probe `{name}`: `{target}` is not `host:port`\nhelp: write `\"tcp\": \"db:5432\"`")]
    TcpTarget {
        /// The probe.
        name: String,
        /// What was given.
        target: String,
    },
    /// Not an `http` address.
    #[error(
        "probe `{name}`: the address is not `http://host[:port][/path]`\n\
         help: write `\"http\": \"http://api:8080/ready\"`"
    )]
    Url {
        /// The probe; the address is not shown, as it may hold a secret.
        name: String,
    },
    /// TLS is not spoken yet.
    #[error(
        "probe `{name}`: https cannot be probed yet\n\
         help: probe the port with `tcp`, or use `exec` with a client of your own"
    )]
    Https {
        /// The probe.
        name: String,
    },
    /// Credentials in an address.
    #[error(
        "probe `{name}`: the address holds credentials, which are not sent\n\
         help: use `exec` with a client that reads them from its environment"
    )]
    Credentials {
        /// The probe.
        name: String,
    },
    /// Nothing to run.
    #[error("probe `{name}`: `exec` names no program\nhelp: write `\"exec\": [\"pg_isready\"]`")]
    NoProgram {
        /// The probe.
        name: String,
    },
    /// A dependency must not decide over life and death.
    #[error(
        "probe `{name}`: only a `heartbeat` can gate `live`\n\
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    tcp: Option<String>,
    http: Option<String>,
    exec: Option<Vec<String>>,
    heartbeat: Option<RawHeartbeat>,
    #[serde(default)]
    severity: Option<Severity>,
    gate: Option<Vec<RawGate>>,
    interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
    fall: Option<u64>,
    rise: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeartbeat {
    file: Option<PathBuf>,
    max_age_ms: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawGate {
    Start,
    Ready,
    Live,
}

/// Reads the text of `PLIMSOLL_PROBES`.
///
/// # Errors
/// Every problem of every probe.
pub fn parse(text: &str) -> Result<BTreeMap<String, ProbeSettings>, Vec<ProbeError>> {
    let values = serde_json::from_str(text)
        .map_err(|error| vec![ProbeError::NotAnObject(error.to_string())])?;
    parse_values(&values)
}

/// Reads probes that were already told apart.
///
/// # Errors
/// Every problem of every probe.
pub fn parse_values(
    values: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, ProbeSettings>, Vec<ProbeError>> {
    let (mut probes, mut errors) = (BTreeMap::new(), Vec::new());
    if values.len() > DEPENDENCIES_MAX {
        errors.push(ProbeError::TooMany(values.len()));
    }
    for (name, value) in values {
        match probe(name, value) {
            Ok(settings) => drop(probes.insert(name.clone(), settings)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(probes) } else { Err(errors) }
}

fn probe(name: &str, value: &Value) -> Result<ProbeSettings, ProbeError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
        return Err(ProbeError::Name(name.to_owned()));
    }
    let raw = Raw::deserialize(value)
        .map_err(|error| ProbeError::Form { name: name.to_owned(), reason: error.to_string() })?;
    let kind = kind(name, &raw)?;
    let is_heartbeat = matches!(kind, Kind::Heartbeat(_));
    let gates = gates(name, raw.gate.as_deref(), is_heartbeat)?;
    let [shortest, longest] = INTERVAL_LIMITS;
    let interval = milliseconds(
        Key { name, key: "interval_ms", help: "probe between ten times a second and once an hour" },
        raw.interval_ms,
        INTERVAL_DEFAULT,
        shortest..=longest,
    )?;
    let timeout = milliseconds(
        Key {
            name,
            key: "timeout_ms",
            help: "raise `interval_ms`, a probe must end before the next",
        },
        raw.timeout_ms,
        TIMEOUT_DEFAULT.min(interval),
        Duration::from_millis(1)..=interval,
    )?;
    let row = |key, value: Option<u64>, default| {
        let help = "this many results in a row change the verdict";
        in_range(Key { name, key, help }, value.unwrap_or(default), 1, ROW_MAX.into())
            .map(|row| u32::try_from(row).unwrap_or(ROW_MAX))
    };
    let fall_default = if is_heartbeat { 1 } else { FALL_DEFAULT };
    Ok(ProbeSettings {
        kind,
        severity: raw.severity.unwrap_or(Severity::Hard),
        gates,
        interval,
        timeout,
        fall: row("fall", raw.fall, fall_default.into())?,
        rise: row("rise", raw.rise, 1)?,
    })
}

fn kind(name: &str, raw: &Raw) -> Result<Kind, ProbeError> {
    let name = name.to_owned();
    match (&raw.tcp, &raw.http, &raw.exec, &raw.heartbeat) {
        (Some(target), None, None, None) => tcp_target(name, target),
        (None, Some(url), None, None) => url_target(name, url),
        (None, None, Some(command), None) if command.iter().all(|word| !word.contains('\0')) => {
            match command.first() {
                Some(program) if !program.is_empty() => Ok(Kind::Exec(command.clone())),
                _ => Err(ProbeError::NoProgram { name }),
            }
        }
        (None, None, Some(_), None) => Err(ProbeError::NoProgram { name }),
        (None, None, None, Some(heartbeat)) => {
            let key = Key { name: &name, key: "max_age_ms", help: "allow at least a second" };
            let limits = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);
            let max_age = milliseconds(key, heartbeat.max_age_ms, MAX_AGE_DEFAULT, limits)?;
            Ok(Kind::Heartbeat(Heartbeat { file: heartbeat.file.clone(), max_age }))
        }
        (tcp, http, exec, heartbeat) => {
            let given = [tcp.is_some(), http.is_some(), exec.is_some(), heartbeat.is_some()];
            Err(ProbeError::Kinds { name, count: given.into_iter().filter(|is| *is).count() })
        }
    }
}

fn tcp_target(name: String, target: &str) -> Result<Kind, ProbeError> {
    let is_target = target.rsplit_once(':').is_some_and(|(host, port)| {
        let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']) && !is_bare_v6;
        is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_target {
        return Ok(Kind::Tcp(target.to_owned()));
    }
    Err(ProbeError::TcpTarget { name, target: super::mask::mask(target) })
}

fn url_target(name: String, url: &str) -> Result<Kind, ProbeError> {
    let Ok(uri) = url.parse::<Uri>() else { return Err(ProbeError::Url { name }) };
    if uri.scheme_str() == Some("https") {
        return Err(ProbeError::Https { name });
    }
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if uri.scheme_str() != Some("http") || !has_host {
        return Err(ProbeError::Url { name });
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(ProbeError::Credentials { name });
    }
    Ok(Kind::Http(uri))
}

fn gates(name: &str, given: Option<&[RawGate]>, is_heartbeat: bool) -> Result<Gates, ProbeError> {
    let Some(given) = given else {
        return Ok(Gates { start: false, ready: !is_heartbeat, live: is_heartbeat });
    };
    let mut gates = Gates::default();
    for gate in given {
        match gate {
            RawGate::Start => gates.start = true,
            RawGate::Ready => gates.ready = true,
            RawGate::Live if is_heartbeat => gates.live = true,
            RawGate::Live => return Err(ProbeError::LiveGate { name: name.to_owned() }),
        }
    }
    Ok(gates)
}

/// A key that holds a number, for messages.
#[derive(Clone, Copy)]
struct Key<'a> {
    name: &'a str,
    key: &'static str,
    help: &'static str,
}

fn milliseconds(
    key: Key<'_>,
    given: Option<u64>,
    default: Duration,
    limits: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, ProbeError> {
    let Some(given) = given else { return Ok(default) };
    let ms = |limit: &Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    in_range(key, given, ms(limits.start()), ms(limits.end())).map(Duration::from_millis)
}

fn in_range(key: Key<'_>, value: u64, min: u64, max: u64) -> Result<u64, ProbeError> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let Key { name, key, help } = key;
    Err(ProbeError::Range { name: name.to_owned(), key, value, min, max, help })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> ProbeSettings {
        parse(&format!("{{\"p\": {text}}}")).expect("valid")["p"].clone()
    }

    fn message(text: &str) -> String {
        let errors = parse(&format!("{{\"p\": {text}}}")).expect_err("invalid");
        assert_eq!(errors.len(), 1);
        errors[0].to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let probe = one(r#"{"tcp": "db:5432"}"#);
        assert_eq!(probe.kind, Kind::Tcp("db:5432".into()));
        assert_eq!(probe.severity, Severity::Hard);
        assert_eq!(probe.gates, Gates { start: false, ready: true, live: false });
        assert_eq!((probe.interval, probe.timeout), (INTERVAL_DEFAULT, TIMEOUT_DEFAULT));
        assert_eq!((probe.fall, probe.rise), (3, 1));
    }

    #[test]
    fn everything_can_be_said() {
        let probe =
            one(r#"{"http": "http://[::1]:80/x?y", "severity": "soft", "gate": ["start", "ready"],
                "interval_ms": 200, "timeout_ms": 100, "fall": 1, "rise": 2}"#);
        assert_eq!(probe.gates, Gates { start: true, ready: true, live: false });
        assert_eq!((probe.fall, probe.rise), (1, 2));
        assert_eq!(one(r#"{"exec": ["true"], "gate": []}"#).gates, Gates::default());
        let beat = one(r#"{"heartbeat": {"file": "/run/beat", "max_age_ms": 2000}}"#);
        assert!(beat.gates.live && !beat.gates.ready);
        assert_eq!(beat.fall, 1);
        assert_eq!(
            one(r#"{"tcp": "a:1", "interval_ms": 500}"#).timeout,
            Duration::from_millis(500)
        );
    }

    #[test]
    fn mistakes_are_named_with_their_probe() {
        assert!(message(r#"{"tcp": "a:1", "colour": 1}"#).contains("unknown field `colour`"));
        assert!(message(r#"{"tcp": 5}"#).starts_with("probe `p`: invalid type"));
        assert!(message(r#"{"tcp": "a:1", "exec": ["x"]}"#).contains("has 2 of the keys"));
        assert!(message("{}").contains("has 0 of the keys"));
        for target in ["db", ":1", "db:0", "db:x", "::1:5", "tcp://db:1", "a b:1"] {
            let text = message(&format!("{{\"tcp\": \"{target}\"}}"));
            assert!(text.contains("is not `host:port`"), "{text}");
        }
        assert!(message(r#"{"http": "https://x/"}"#).contains("https cannot be probed yet"));
        assert!(message(r#"{"http": "/ready"}"#).contains("is not `http://host"));
        assert!(message(r#"{"http": "http://u:hush@x/"}"#).contains("holds credentials"));
        assert!(message(r#"{"exec": []}"#).contains("names no program"));
        assert!(message(r#"{"tcp": "a:1", "gate": ["live"]}"#).contains("only a `heartbeat`"));
        assert!(message(r#"{"tcp": "a:1", "gate": ["stop"]}"#).contains("unknown variant `stop`"));
        assert!(message(r#"{"tcp": "a:1", "fall": 0}"#).contains("`fall` is 0, not from 1 to 100"));
        assert!(message(r#"{"tcp": "a:1", "interval_ms": 5}"#).contains("not from 100 to 3600000"));
        assert!(message(r#"{"tcp": "a:1", "timeout_ms": 9000}"#).contains("not from 1 to 5000"));
    }

    #[test]
    fn no_message_shows_a_credential() {
        for text in [r#"{"http": "http://u:hush@x/"}"#, r#"{"tcp": "tcp://u:hush@x:1/"}"#] {
            assert!(!message(text).contains("hush"));
        }
    }

    #[test]
    fn all_problems_come_at_once() {
        let errors = parse(r#"{"a": {}, "b b": {}, "c": {"tcp": "x"}}"#).expect_err("invalid");
        assert_eq!(errors.len(), 3);
        assert!(matches!(parse("[]").expect_err("a list")[..], [ProbeError::NotAnObject(_)]));
        let many: BTreeMap<_, _> =
            (0..40).map(|index| (format!("p{index}"), serde_json::json!({"tcp": "a:1"}))).collect();
        assert_eq!(parse_values(&many), Err(vec![ProbeError::TooMany(40)]));
    }
}
