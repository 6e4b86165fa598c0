//! Spreads what replicas do at the same interval, so that they do not do it in step.
//!
//! Pure: the randomness is an argument.

use std::time::Duration;

/// The duration, up to `part` of itself shorter or longer; `random` is from 0 to 1.
pub(crate) fn jittered(duration: Duration, part: f64, random: f64) -> Duration {
    duration.mul_f64(1.0 + part * (2.0 * random - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_varies_by_its_part_both_ways() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0.1, 0.0), Duration::from_millis(900));
        assert_eq!(jittered(second, 0.1, 0.5), second);
        assert_eq!(jittered(second, 0.2, 1.0), Duration::from_millis(1200));
    }
}
