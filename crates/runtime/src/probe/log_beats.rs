//! Signs of life in log lines: which probe waits for which pattern, and when it last matched.
//!
//! The log pipeline calls the hook with each whole line of the application; whoever probes reads
//! the time. It deliberately keeps no line. Invariant: without such a probe there is no hook, and a
//! line costs nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::{Kind, ProbeSettings, Via};
use crate::board::Moment;

/// Called with each line of the application, without its end.
pub type LineHook = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// When a line last matched.
#[derive(Clone, Debug, Default)]
pub(super) struct LastMatch(Arc<Mutex<Option<Moment>>>);

impl LastMatch {
    pub(super) fn get(&self) -> Option<Moment> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, now: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

/// The heartbeats that come as log lines, by the name of their probe.
#[derive(Clone, Debug, Default)]
pub struct LogBeats {
    patterns: RegexSet,
    beats: Vec<(String, LastMatch)>,
}

impl LogBeats {
    /// Those of these probes.
    #[must_use]
    pub fn new(probes: &BTreeMap<String, ProbeSettings>) -> Self {
        let watched = probes.iter().filter_map(|(name, settings)| match &settings.kind {
            Kind::Heartbeat(heartbeat) => match &heartbeat.via {
                Via::Log(pattern) => Some((name.clone(), pattern.clone())),
                _ => None,
            },
            _ => None,
        });
        let (names, patterns): (Vec<_>, Vec<_>) = watched.unzip();
        // Each was understood when it was read; together they may be too large, and then none
        // matches.
        let patterns = builder(&patterns).build().unwrap_or_default();
        let beats = names.into_iter().map(|name| (name, LastMatch::default())).collect();
        Self { patterns, beats }
    }

    /// What the log pipeline is to call; none when no probe waits for a line.
    #[must_use]
    pub fn hook(&self) -> Option<LineHook> {
        if self.beats.is_empty() {
            return None;
        }
        let this = self.clone();
        Some(Arc::new(move |line| this.line(line)))
    }

    pub(super) fn of(&self, name: &str) -> LastMatch {
        let found = self.beats.iter().find(|(known, _)| known == name);
        found.map(|(_, beat)| beat.clone()).unwrap_or_default()
    }

    fn line(&self, line: &[u8]) {
        let matches = self.patterns.matches(line);
        if !matches.matched_any() {
            return;
        }
        let now = Moment::now();
        for index in &matches {
            if let Some((_, beat)) = self.beats.get(index) {
                beat.set(now);
            }
        }
    }
}

/// Why a pattern cannot be understood.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let built = builder(&[pattern.to_owned()]).build();
    built.map(drop).map_err(|error| error.to_string())
}

/// Lines are bytes, and may be no text.
fn builder(patterns: &[String]) -> RegexSetBuilder {
    let mut builder = RegexSetBuilder::new(patterns);
    builder.unicode(false);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parse;

    #[test]
    fn a_line_that_matches_is_a_beat_of_its_probe_alone() {
        let probes =
            r#"{"a": {"heartbeat": {"log": "^tick \\d+$"}}, "b": {"heartbeat": {"log": "done"}}}"#;
        let beats = LogBeats::new(&parse(probes).expect("valid"));
        let hook = beats.hook().expect("somebody waits");
        hook(b"tick one");
        assert!(beats.of("a").get().is_none());
        hook(b"tick 12");
        assert!(beats.of("a").get().is_some() && beats.of("b").get().is_none());
        hook(b"\xff done \xfe");
        assert!(beats.of("b").get().is_some());
    }

    #[test]
    fn without_such_a_probe_there_is_no_hook() {
        let probes = parse(r#"{"a": {"tcp": "db:1"}}"#).expect("valid");
        assert!(LogBeats::new(&probes).hook().is_none());
    }
}
