//! Signals as words: names without care for case, or numbers, the real-time ones too.
//!
//! It deliberately sends none. Invariant: a [`StopSignal`] can be caught.

use std::{collections::BTreeMap, fmt, str::FromStr};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The last real-time signal.
const SIGNAL_MAX: i32 = 64;

/// A signal that can be caught, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSignal(i32);

impl Default for StopSignal {
    fn default() -> Self {
        Self(Signal::SIGTERM as i32)
    }
}

impl StopSignal {
    /// The number of the signal.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = signal_number(text)?;
        if [Signal::SIGKILL as i32, Signal::SIGSTOP as i32].contains(&number) {
            return Err(Error::Signal { text: text.into() });
        }
        Ok(Self(number))
    }
}

/// Reads `15:3,1:0`: what the application gets in place of a signal, where 0 is nothing. Names
/// work as well.
///
/// # Errors
/// When a part is not two signals, or the first cannot be caught.
pub fn parse_rewrites(text: &str) -> Result<BTreeMap<i32, i32>, Error> {
    let number = |text: &str| match text {
        "0" => Ok(0),
        _ => signal_number(text),
    };
    let rewrite = |pair: &str| {
        let (from, to) = pair.split_once(':').ok_or_else(|| Error::Signal { text: pair.into() })?;
        Ok((from.parse::<StopSignal>()?.0, number(to)?))
    };
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(rewrite).collect()
}

/// The number of a signal, real-time ones too, given by name or number.
fn signal_number(text: &str) -> Result<i32, Error> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let named = || Signal::from_str(&format!("SIG{name}")).ok().map(|signal| signal as i32);
    let number = text.parse().ok().filter(|number| (1..=SIGNAL_MAX).contains(number));
    number.or_else(named).ok_or_else(|| Error::Signal { text: text.into() })
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_signal_has_a_name_or_a_number() {
        for text in ["TERM", "SIGTERM", "term", "15"] {
            assert_eq!(text.parse::<StopSignal>().unwrap().number(), 15);
        }
        for text in ["KILL", "9", "SIGSTOP", "0", "99", "NO"] {
            assert!(text.parse::<StopSignal>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_signal_may_become_another_or_none() {
        let rewrites = parse_rewrites("15:3, HUP:0,USR1:RTMIN").err();
        assert!(rewrites.is_some(), "real-time signals have numbers only");
        let rewrites = parse_rewrites("15:3, HUP:0,usr1:40").unwrap();
        assert_eq!(rewrites, [(15, 3), (1, 0), (10, 40)].into());
        assert!(
            ["15", "9:3", "15:65", ":", "x:1"].iter().all(|text| parse_rewrites(text).is_err())
        );
    }
}
