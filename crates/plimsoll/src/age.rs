//! Durations and moments as a person reads them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago a moment was: `850 ms`, `12 s`, `3 m 4 s`, `2 h 5 m`, `4 d 1 h`.
pub(crate) fn since(moment_ms: u64, now_ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let ms = now_ms.saturating_sub(moment_ms);
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    let mut rest = ms / 1_000;
    let mut parts = Vec::new();
    for (seconds, unit) in UNITS {
        let count = rest / seconds;
        rest %= seconds;
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count} {unit}"));
        } else if !parts.is_empty() {
            break;
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        for (ms, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_999, "1 s"),
            (60_000, "1 m"),
            (184_000, "3 m 4 s"),
            (3_600_000, "1 h"),
            (3_604_000, "1 h"),
            (349_200_000, "4 d 1 h"),
        ] {
            assert_eq!(since(0, ms), expected);
        }
        assert_eq!(since(5, 0), "0 ms");
    }
}
