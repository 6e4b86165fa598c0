//! The words of flags and variables that become types: durations, addresses, forms, scopes.
//!
//! It deliberately knows no flag: the caller's error names it.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use super::{DURATION_LIMIT, LogMode, SignalScope};
use crate::error::Error;

impl FromStr for LogMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "json" => Ok(Self::Json),
            "raw" => Ok(Self::Raw),
            "off" => Ok(Self::Off),
            _ => Err(Error::Word {
                what: "form of logs",
                text: text.into(),
                accepted: "`json`, `raw`, `off`",
            }),
        }
    }
}

impl FromStr for SignalScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "main" => Ok(Self::Main),
            "group" => Ok(Self::Group),
            "tree" => Ok(Self::Tree),
            _ => Err(Error::Word {
                what: "scope of signals",
                text: text.into(),
                accepted: "`main`, `group`, `tree`",
            }),
        }
    }
}

/// Reads `500ms`, `20s`, `2m`, `1h` or `0`.
///
/// # Errors
/// When the text has no number or no unit, or is beyond [`DURATION_LIMIT`].
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let wrong = || Error::Duration { text: text.into() };
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number == 0 => 1,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .filter(|duration| *duration <= DURATION_LIMIT)
        .ok_or_else(|| Error::DurationTooLong {
            text: text.into(),
            limit_s: DURATION_LIMIT.as_secs(),
        })
}

/// Reads `ADDRESS:PORT`; without an address (`:8080`) every interface is meant.
///
/// # Errors
/// When the port is missing or the address is not one. Names are not resolved: a listener on a name
/// that moves would be a surprise; `localhost` alone is understood.
pub fn parse_address(text: &str) -> Result<SocketAddr, Error> {
    let numeric = match text.split_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    numeric.parse().map_err(|_| Error::Address { text: text.into() })
}

/// Reads `ADDRESS:PORT`, or `off` for none.
///
/// # Errors
/// As [`parse_address`].
pub fn parse_listen(text: &str) -> Result<Option<SocketAddr>, Error> {
    if text == "off" { Ok(None) } else { parse_address(text).map(Some) }
}
