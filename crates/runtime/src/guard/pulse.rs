//! Whether an engine that lives also turns: it is asked now and then, and must answer.
//!
//! An engine that speaks by itself is not asked, and one that has never spoken is not judged: it
//! may still be fetching what it needs. An idle machine is woken twice in [`ASK_EVERY`] for it. It
//! deliberately says nothing of the app.
//!
//! Invariant: an engine that has spoken once is silent for at most `ASK_EVERY + SILENCE_MAX`.

use std::time::Duration;

/// How long an engine may say nothing before it is asked.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long it has to answer.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// When an engine was heard and asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    heard_at: Option<Duration>,
    asked_at: Option<Duration>,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Fine,
    /// Ask it.
    Ask,
    /// It does not turn any more.
    Lost,
}

impl Pulse {
    /// It said something.
    pub(super) fn heard(&mut self, now: Duration) {
        *self = Self { heard_at: Some(now), asked_at: None };
    }

    /// Looks at the clock; to be called after everything that it said was heard.
    pub(super) fn at(&mut self, now: Duration) -> Beat {
        match self.next() {
            Some(at) if at <= now && self.asked_at.is_some() => Beat::Lost,
            Some(at) if at <= now => {
                self.asked_at = Some(now);
                Beat::Ask
            }
            _ => Beat::Fine,
        }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Option<Duration> {
        let heard_at = self.heard_at?;
        Some(self.asked_at.map_or(heard_at + ASK_EVERY, |asked_at| asked_at + SILENCE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_has_spoken_and_falls_silent_is_asked_once_and_then_lost() {
        let at = Duration::from_secs;
        let mut pulse = Pulse::default();
        assert_eq!(pulse.at(at(1000)), Beat::Fine, "never spoken");
        pulse.heard(at(1000));
        assert_eq!(pulse.at(at(1004)), Beat::Fine);
        assert_eq!(pulse.at(at(1005)), Beat::Ask);
        assert_eq!(pulse.at(at(1014)), Beat::Fine, "asked already");
        assert_eq!(pulse.at(at(1015)), Beat::Lost);
        pulse.heard(at(1015));
        assert_eq!(pulse.at(at(1016)), Beat::Fine);
    }
}
