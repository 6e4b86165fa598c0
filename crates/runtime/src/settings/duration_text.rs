//! Durations in settings: `5s` as people write it, in the form that [`parse_duration`] reads.
//!
//! For `#[serde(with = "crate::settings::duration_text")]`. Invariant: what is written is read as
//! the same duration, to the millisecond.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

use super::parse_duration;

/// Writes milliseconds with their unit.
pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{}ms", value.as_millis()))
}

/// Reads a number with a unit.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(de::Error::custom)
}
