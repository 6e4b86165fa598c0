//! What `PLIMSOLL_PROBES` says, as types.
//!
//! Strict: an unknown key, two kinds in one probe or a limit that makes no sense is an error that
//! names the probe. All problems are reported at once. Invariant: a `ProbeSettings` can be probed
//! as it is.

mod error;
mod kind;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use contract::bodies::Severity;
use contract::metrics::DEPENDENCIES_MAX;
use serde::Deserialize;
use serde_json::Value;

pub use error::ProbeError;
pub use kind::{
    Confidential, Heartbeat, Http, HttpUrl, Kafka, Kind, Lag, Postgres, Redis, SchemaVersion,
    Statuses, Via,
};

use crate::board::Gates;
use read::{Raw, RawGate};

/// The time between two probes.
pub(super) const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
/// The shortest and the longest interval.
const INTERVAL_LIMITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];
/// How long one probe may take.
pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// Failures in a row that count as down; one is enough for a heartbeat, whose age says it all.
pub(super) const FALL_DEFAULT: u32 = 3;
/// Most failures or passes in a row that can be asked for.
const ROW_MAX: u32 = 100;
/// Names of probes that `plimsoll run` makes itself begin with this.
const RESERVED: &str = "app.";

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

impl ProbeSettings {
    /// Whether it asks the application itself whether it lives, in place of a dependency.
    pub(super) fn asks_app(&self) -> bool {
        self.gates.live && matches!(self.kind, Kind::Exec(_))
    }
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

/// Every text of every probe, with its placeholders filled in by `fill`.
///
/// # Errors
/// What `fill` says of the first text that it cannot fill.
pub fn fill<E>(
    values: &BTreeMap<String, Value>,
    mut fill: impl FnMut(&str) -> Result<String, E>,
) -> Result<BTreeMap<String, Value>, E> {
    let filled = values.iter().map(|(name, value)| Ok((name.clone(), filled(value, &mut fill)?)));
    filled.collect()
}

fn filled<E>(value: &Value, fill: &mut impl FnMut(&str) -> Result<String, E>) -> Result<Value, E> {
    Ok(match value {
        Value::String(text) => Value::String(fill(text)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| filled(item, fill)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| Ok((key.clone(), filled(value, fill)?)));
            Value::Object(fields.collect::<Result<_, E>>()?)
        }
        other => other.clone(),
    })
}

fn probe(name: &str, value: &Value) -> Result<ProbeSettings, ProbeError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
        return Err(ProbeError::Name(name.to_owned()));
    }
    if name.starts_with(RESERVED) {
        return Err(ProbeError::Reserved(name.to_owned()));
    }
    let mut raw = Raw::deserialize(value)
        .map_err(|error| ProbeError::Form { name: name.to_owned(), reason: error.to_string() })?;
    let kind = read::kind(name, &mut raw)?;
    let is_heartbeat = matches!(kind, Kind::Heartbeat(_));
    let gates = gates(name, raw.gate.as_deref(), &kind)?;
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

fn gates(name: &str, given: Option<&[RawGate]>, kind: &Kind) -> Result<Gates, ProbeError> {
    let is_heartbeat = matches!(kind, Kind::Heartbeat(_));
    let Some(given) = given else {
        return Ok(Gates { start: false, ready: !is_heartbeat, live: is_heartbeat });
    };
    // A command that asks the application itself has nothing to ask before it runs.
    let asks_app = matches!(kind, Kind::Exec(_)) && !given.contains(&RawGate::Start);
    let mut gates = Gates::default();
    for gate in given {
        match gate {
            RawGate::Start => gates.start = true,
            RawGate::Ready => gates.ready = true,
            RawGate::Live if is_heartbeat || asks_app => gates.live = true,
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
    limits: RangeInclusive<Duration>,
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
