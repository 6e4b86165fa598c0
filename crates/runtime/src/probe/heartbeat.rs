//! Probe: a worker gave a sign of life not long ago.
//!
//! The sign is a file that it touches, `POST /v1/heartbeat`, `WATCHDOG=1` on `NOTIFY_SOCKET` or a
//! log line that matches. A worker has as long for its first
//! beat as for any other, counted from its start. Invariant: signs from before the start do not
//! count, so a restarted worker is not taken for dead.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Found;
use super::detached::Detached;
use super::log_beats::LastMatch;
use super::settings::{Heartbeat, Via};
use crate::board::{Board, Moment, Observed};

/// Probes the age of the last beat.
#[derive(Debug)]
pub(super) struct Beat {
    settings: Heartbeat,
    line: LastMatch,
    stat: Detached<Option<SystemTime>>,
}

impl Beat {
    pub(super) fn new(settings: Heartbeat, line: LastMatch) -> Self {
        Self { settings, line, stat: Detached::new() }
    }

    pub(super) async fn check(&mut self, board: &Board) -> Found {
        let snapshot = board.snapshot();
        let beat = match &self.settings.via {
            Via::File(file) => self.touched(file.clone()).await,
            Via::Http => snapshot.heartbeat.map(|beat| beat.wall),
            Via::Notify => snapshot.notified.watchdog.map(|beat| beat.wall),
            Via::Log(_) => self.line.get().map(|beat| beat.wall),
        };
        let now = Moment::now();
        if self.settings.via == Via::Notify && snapshot.notified.extended_until > Some(now.mono) {
            return Found { last_success: beat, ..Ok(()).into() };
        }
        let since = snapshot.app.since.map(|since| since.wall);
        judge(beat, since, now.wall, self.settings.max_age)
    }

    pub(super) fn waited_for(&self) -> String {
        match &self.settings.via {
            Via::File(file) => format!("look at `{}`", file.display()),
            _ => "look at the last heartbeat".into(),
        }
    }

    async fn touched(&mut self, file: PathBuf) -> Option<Timestamp> {
        let look = move || std::fs::metadata(file).and_then(|found| found.modified()).ok();
        let modified = self.stat.run(look).await.flatten()?;
        Timestamp::try_from(modified).ok()
    }
}

/// Whether a beat at that time is enough for an app that started at `since`.
fn judge(
    beat: Option<Timestamp>,
    since: Option<Timestamp>,
    now: Timestamp,
    max_age: Duration,
) -> Found {
    let counted_from = beat.max(since).unwrap_or(now);
    let age = Duration::try_from(now.duration_since(counted_from)).unwrap_or_default();
    let result = if age <= max_age {
        Ok(())
    } else if beat.is_some_and(|beat| Some(beat) >= since) {
        Err(format!(
            "last heartbeat {} s ago, at most {} s allowed",
            age.as_secs(),
            max_age.as_secs()
        ))
    } else {
        Err(format!("no heartbeat within {} s of the start", max_age.as_secs()))
    };
    let observed = Some(Observed { value: age.as_secs_f64(), unit: "s" });
    Found { result, observed, depth: None, last_success: beat }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_fresh_beat_passes_and_an_old_one_fails() {
        assert!(judge(Some(at(940)), Some(at(0)), at(1000), MAX_AGE).result.is_ok());
        let failed = judge(Some(at(939)), Some(at(0)), at(1000), MAX_AGE);
        assert_eq!(failed.result, Err("last heartbeat 61 s ago, at most 60 s allowed".into()));
        assert_eq!(failed.last_success, Some(at(939)));
    }

    #[test]
    fn the_first_beat_has_time_from_the_start() {
        assert!(judge(None, None, at(1000), MAX_AGE).result.is_ok());
        assert!(judge(None, Some(at(950)), at(1000), MAX_AGE).result.is_ok());
        let failed = judge(None, Some(at(900)), at(1000), MAX_AGE);
        assert_eq!(failed.result, Err("no heartbeat within 60 s of the start".into()));
    }

    #[test]
    fn a_beat_of_an_earlier_life_does_not_count() {
        assert!(judge(Some(at(1)), Some(at(990)), at(1000), MAX_AGE).result.is_ok());
        let failed = judge(Some(at(1)), Some(at(900)), at(1000), MAX_AGE);
        assert_eq!(failed.result, Err("no heartbeat within 60 s of the start".into()));
    }

    #[test]
    fn a_beat_from_the_future_is_fresh() {
        assert!(judge(Some(at(2000)), Some(at(0)), at(1000), MAX_AGE).result.is_ok());
    }

    #[tokio::test]
    async fn a_touched_file_is_a_beat() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let settings = Heartbeat { via: Via::File(file.path().to_owned()), max_age: MAX_AGE };
        let mut beat = Beat::new(settings, LastMatch::default());
        let board = Board::new(crate::board::Identity::default(), Moment::now());
        let found = beat.check(&board).await;
        assert!(found.result.is_ok() && found.last_success.is_some());
    }
}
