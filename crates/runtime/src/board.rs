//! The one state that every part of the engine reads: phase, app, verdicts, heartbeat.
//!
//! Writers call [`Board::update`]; readers take an immutable [`Snapshot`] and ask the pure
//! functions [`live`], [`started`] and [`ready`]. Nothing here does I/O or knows HTTP; bodies and
//! status codes are made in `admin::body`.
//!
//! Invariant: an answer depends on one snapshot and one moment only, so no dependency, however
//! slow, can delay it.

mod reason;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::publish;
use contract::bodies::{Severity, Status};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::secret;

pub use reason::{Reason, live, ready, start_gates, started};

/// A verdict older than this many probe intervals no longer counts as a success.
pub const STALE_AFTER_INTERVALS: u32 = 3;

/// The kind of a probe of the app's own paths: no dependency, and so in no dependency's metrics.
pub const OWN_KIND: &str = "app";

/// One reading of both clocks: the wall for people, the monotonic one for ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What is shown.
    pub wall: Timestamp,
    /// What is subtracted.
    pub mono: Instant,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), mono: Instant::now() }
    }

    /// The time since `earlier`; zero if it lies ahead.
    #[must_use]
    pub fn since(&self, earlier: Moment) -> Duration {
        self.mono.saturating_duration_since(earlier.mono)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, by: Duration) -> Moment {
        Moment { wall: self.wall.checked_add(by).unwrap_or(Timestamp::MAX), mono: self.mono + by }
    }
}

/// Where the process is in its life, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The engine is up and listening; nothing else has happened.
    #[default]
    Init,
    /// Secrets and config are being fetched.
    Resolving,
    /// Waiting for the dependencies that gate the start.
    Gating,
    /// The app was spawned, or waits to be spawned again after a crash; it does not serve yet.
    Starting,
    /// The app is up. Ready or not is the verdict of [`ready`], never a phase.
    Started,
    /// No new work, requests in flight go on.
    Draining,
    /// The app was told to stop.
    Stopping,
    /// Descendants that outlived the app are being ended.
    Sweeping,
    /// Log pipes and telemetry are being emptied.
    Flushing,
    /// Waiting for a last scrape.
    Lingering,
    /// Nothing is left but to exit.
    Exiting,
}

impl Phase {
    /// The word in bodies and log lines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Phase::Init => "init",
            Phase::Resolving => "resolving",
            Phase::Gating => "gating",
            Phase::Starting => "starting",
            Phase::Started => "started",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
            Phase::Sweeping => "sweeping",
            Phase::Flushing => "flushing",
            Phase::Lingering => "lingering",
            Phase::Exiting => "exiting",
        }
    }
}

/// Who this process is, for every body, log line and metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The service's name.
    pub service: String,
    /// The environment, such as `production`; empty when not told.
    pub env: String,
    /// The service's version or release; empty when not told.
    pub version: String,
    /// This copy of the service, unique among its replicas.
    pub instance: String,
}

/// The app under us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct App {
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// When it was spawned.
    pub since: Option<Moment>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it last ended, in words: `exit 1`, `signal KILL`.
    pub last_exit: Option<String>,
}

/// Which decisions wait for a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// The app is not spawned before it passes.
    pub start: bool,
    /// `/ready` says no while it fails (hard ones only).
    pub ready: bool,
    /// `/live` says no while it fails; heartbeats and what asks the app, never a dependency.
    pub live: bool,
}

/// What is measured: a number and its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// The number.
    pub value: f64,
    /// Its unit, `ms` or `s`.
    pub unit: &'static str,
}

/// How much waits at a dependency: messages behind, items in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// `lag` or `length`.
    pub what: &'static str,
    /// How much.
    pub value: u64,
    /// More than this is a warning.
    pub warn: Option<u64>,
}

impl Depth {
    /// What to say when it is more than it should be.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let warn = self.warn.filter(|warn| self.value > *warn)?;
        Some(format!("{} is {}, more than {warn}", self.what, self.value))
    }
}

/// The cached state of one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The kind of the probe in one word, such as `tcp` or `postgres`.
    pub kind: &'static str,
    /// What its failure means for the service.
    pub severity: Severity,
    /// What waits for it.
    pub gates: Gates,
    /// The time between two probes; a verdict is stale after [`STALE_AFTER_INTERVALS`] of them.
    pub interval: Duration,
    /// The status when it was last probed, `Fail` before that; readers ask [`Verdict::status_at`].
    pub status: Status,
    /// The duration of the last probe, or the age of the heartbeat.
    pub observed: Option<Observed>,
    /// How much waits there, if that was measured.
    pub depth: Option<Depth>,
    /// When the last result came in; before the first, when probing began.
    pub checked: Moment,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
    /// Failures since then.
    pub consecutive_failures: u32,
    /// What the last failure said, without credentials.
    pub output: Option<String>,
}

impl Verdict {
    /// The status as of `now`: the cached one, or `Fail` once it is stale.
    #[must_use]
    pub fn status_at(&self, now: Moment) -> Status {
        if self.is_stale(now) { Status::Fail } else { self.status }
    }

    /// Whether no result came for [`STALE_AFTER_INTERVALS`] intervals.
    #[must_use]
    pub fn is_stale(&self, now: Moment) -> bool {
        now.since(self.checked) > self.interval * STALE_AFTER_INTERVALS
    }
}

/// Everything known at one moment. Cloned on write, shared on read.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Who we are.
    pub identity: Identity,
    /// Where in its life the process is.
    pub phase: Phase,
    /// Since when.
    pub phase_since: Moment,
    /// The app.
    pub app: App,
    /// The app has come up once; a crash later does not unset it.
    pub has_started: bool,
    /// A stop has begun or a drain was asked for; stays set until the process ends.
    pub draining: bool,
    /// Since when `/ready` gives the answer that it gives.
    pub ready_since: Moment,
    /// When `/ready` was last known to say yes, if it says no now.
    pub last_ready: Option<Timestamp>,
    /// How often the guard had to start the engine again.
    pub engine_restarts: u32,
    /// When a worker last said over the socket that it is alive.
    pub heartbeat: Option<Moment>,
    /// What the app said over its notify socket.
    pub notified: Notified,
    /// Somebody told us over the socket that the app must not get requests.
    pub is_held: bool,
    /// The state of secrets, when there are references to some.
    pub secrets: Option<secret::State>,
    /// Probes by name.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Breakers of declared calls, by dependency.
    pub breakers: BTreeMap<String, crate::egress::State>,
    /// Durable publish, when something can be published.
    pub publish: Option<publish::report::PublishState>,
}

impl Snapshot {
    /// The last sign of life of a worker, by whatever way it came.
    #[must_use]
    pub fn last_heartbeat(&self) -> Option<Timestamp> {
        let beats = self.verdicts.values().filter(|verdict| verdict.kind == "heartbeat");
        let said = [self.heartbeat, self.notified.watchdog].into_iter().flatten();
        let said = said.map(|beat| beat.wall);
        beats.filter_map(|verdict| verdict.last_success).chain(said).max()
    }
}

/// What the app said over its notify socket, as `sd_notify(3)` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// `READY=1`: it has started, or has reloaded.
    pub is_ready: bool,
    /// `RELOADING=1`, until the next `READY=1`.
    pub is_reloading: bool,
    /// `STOPPING=1`: it ends by itself.
    pub is_stopping: bool,
    /// `STATUS=`: a line for people.
    pub status: Option<String>,
    /// `WATCHDOG=1`: when it last said that it lives.
    pub watchdog: Option<Moment>,
    /// `EXTEND_TIMEOUT_USEC=`: until then it need not.
    pub extended_until: Option<Instant>,
}

/// A change of the answer of `/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyChange {
    /// From no to yes.
    BecameReady,
    /// From yes to no, and why.
    BecameUnready(Vec<Reason>),
}

/// The shared state. Cheap to read from anywhere; see the module's invariant.
#[derive(Debug)]
pub struct Board {
    state: watch::Sender<Arc<Snapshot>>,
}

impl Board {
    /// A board in [`Phase::Init`] without probes.
    #[must_use]
    pub fn new(identity: Identity, now: Moment) -> Arc<Self> {
        let snapshot = Snapshot {
            identity,
            phase: Phase::Init,
            phase_since: now,
            app: App::default(),
            has_started: false,
            draining: false,
            ready_since: now,
            last_ready: None,
            engine_restarts: 0,
            heartbeat: None,
            notified: Notified::default(),
            is_held: false,
            secrets: None,
            verdicts: BTreeMap::new(),
            breakers: BTreeMap::new(),
            publish: None,
        };
        Arc::new(Self { state: watch::Sender::new(Arc::new(snapshot)) })
    }

    /// The state as it is.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state.borrow().clone()
    }

    /// Wakes at each update. Only updates: a verdict that grows stale wakes nobody.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.state.subscribe()
    }

    /// Changes the state, and says whether that turned `/ready` over.
    pub fn update(&self, now: Moment, change: impl FnOnce(&mut Snapshot)) -> Option<ReadyChange> {
        let mut turned = None;
        self.state.send_modify(|shared| {
            let was = ready(shared, now).is_empty();
            let snapshot = Arc::make_mut(shared);
            change(snapshot);
            let reasons = ready(snapshot, now);
            turned = match (was, reasons.is_empty()) {
                (false, true) => Some(ReadyChange::BecameReady),
                (true, false) => Some(ReadyChange::BecameUnready(reasons)),
                _ => None,
            };
            if turned.is_some() {
                snapshot.ready_since = now;
            }
            if was {
                snapshot.last_ready = Some(now.wall);
            }
        });
        turned
    }

    /// Enters a phase. Any phase from [`Phase::Draining`] on is a drain.
    pub fn set_phase(&self, phase: Phase, now: Moment) -> Option<ReadyChange> {
        self.update(now, |snapshot| {
            if snapshot.phase != phase {
                snapshot.phase = phase;
                snapshot.phase_since = now;
                snapshot.has_started |= phase == Phase::Started;
                snapshot.draining |= phase >= Phase::Draining;
            }
        })
    }

    /// The app runs as `pid`. A second spawn counts as a restart.
    pub fn app_spawned(&self, pid: u32, now: Moment) -> Option<ReadyChange> {
        self.update(now, |snapshot| {
            if snapshot.app.since.is_some() {
                snapshot.app.restarts += 1;
            }
            snapshot.app.pid = Some(pid);
            snapshot.app.since = Some(now);
        })
    }

    /// The app is gone; `how` in words, such as `exit 1`.
    pub fn app_exited(&self, how: &str, now: Moment) -> Option<ReadyChange> {
        self.update(now, |snapshot| {
            snapshot.app.pid = None;
            snapshot.app.last_exit = Some(how.to_owned());
        })
    }

    /// Someone asked for a drain: unready from now on.
    pub fn drain(&self, now: Moment) -> Option<ReadyChange> {
        self.update(now, |snapshot| snapshot.draining = true)
    }

    /// Someone says whether the app may get requests.
    pub fn hold(&self, is_held: bool, now: Moment) -> Option<ReadyChange> {
        self.update(now, |snapshot| snapshot.is_held = is_held)
    }

    /// A worker said that it is alive.
    pub fn heartbeat(&self, now: Moment) {
        self.update(now, |snapshot| snapshot.heartbeat = Some(now));
    }

    /// A probe has a new verdict.
    pub fn record(&self, name: &str, verdict: Verdict, now: Moment) -> Option<ReadyChange> {
        self.update(now, |snapshot| match snapshot.verdicts.get_mut(name) {
            Some(known) => *known = verdict,
            None => drop(snapshot.verdicts.insert(name.to_owned(), verdict)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn verdict(status: Status, severity: Severity, gates: Gates, checked: Moment) -> Verdict {
        Verdict {
            kind: "tcp",
            severity,
            gates,
            interval: INTERVAL,
            status,
            observed: None,
            depth: None,
            checked,
            last_success: None,
            consecutive_failures: 0,
            output: None,
        }
    }

    const READY: Gates = Gates { start: false, ready: true, live: false };

    fn serving(now: Moment) -> Arc<Board> {
        let board = Board::new(Identity::default(), now);
        board.set_phase(Phase::Starting, now);
        board.app_spawned(7, now);
        board.set_phase(Phase::Started, now);
        board
    }

    #[test]
    fn until_the_app_has_started_the_phase_is_the_reason() {
        let now = Moment::now();
        let board = Board::new(Identity::default(), now);
        for phase in [Phase::Init, Phase::Gating, Phase::Starting] {
            board.set_phase(phase, now);
            assert_eq!(ready(&board.snapshot(), now), [Reason::Phase(phase)]);
            assert_eq!(started(&board.snapshot(), now), [Reason::Phase(phase)]);
            assert_eq!(live(&board.snapshot(), now), None);
        }
    }

    #[test]
    fn a_started_app_without_probes_is_ready() {
        let now = Moment::now();
        let snapshot = serving(now).snapshot();
        assert_eq!(ready(&snapshot, now), []);
        assert_eq!(started(&snapshot, now), []);
        assert_eq!(live(&snapshot, now), None);
    }

    #[test]
    fn only_a_hard_dependency_that_gates_readiness_makes_unready() {
        let now = Moment::now();
        let board = serving(now);
        let fail = |severity, gates| verdict(Status::Fail, severity, gates, now);
        board.record("soft", fail(Severity::Soft, READY), now);
        board.record("start", fail(Severity::Hard, Gates { start: true, ..Gates::default() }), now);
        assert_eq!(ready(&board.snapshot(), now), []);
        let changed = board.record("db", fail(Severity::Hard, READY), now);
        let reasons = vec![Reason::Dependency("db".into())];
        assert_eq!(changed, Some(ReadyChange::BecameUnready(reasons.clone())));
        assert_eq!(ready(&board.snapshot(), now), reasons);
        assert_eq!(live(&board.snapshot(), now), None, "no dependency decides over life");
    }

    #[test]
    fn a_verdict_that_nobody_renews_is_a_failure() {
        let now = Moment::now();
        let board = serving(now);
        board.record("db", verdict(Status::Pass, Severity::Hard, READY, now), now);
        assert_eq!(ready(&board.snapshot(), now + INTERVAL * 3), []);
        let later = now + INTERVAL * 3 + Duration::from_millis(1);
        assert_eq!(ready(&board.snapshot(), later), [Reason::Dependency("db".into())]);
    }

    #[test]
    fn a_warning_is_still_up() {
        let now = Moment::now();
        let board = serving(now);
        board.record("db", verdict(Status::Warn, Severity::Hard, READY, now), now);
        assert_eq!(ready(&board.snapshot(), now), []);
    }

    #[test]
    fn a_drain_is_unready_at_once_and_live_until_the_app_is_gone() {
        let now = Moment::now();
        let board = serving(now);
        assert!(matches!(
            board.set_phase(Phase::Draining, now),
            Some(ReadyChange::BecameUnready(reasons)) if reasons == [Reason::Draining]
        ));
        board.set_phase(Phase::Stopping, now);
        assert_eq!(live(&board.snapshot(), now), None);
        board.app_exited("exit 0", now);
        assert_eq!(live(&board.snapshot(), now), Some(Reason::AppExited));
        assert_eq!(started(&board.snapshot(), now), [], "once started, always started");
    }

    #[test]
    fn a_stale_heartbeat_is_death_but_only_once_the_app_has_started() {
        let now = Moment::now();
        let gates = Gates { live: true, ..Gates::default() };
        let failed = verdict(Status::Fail, Severity::Hard, gates, now);
        let board = Board::new(Identity::default(), now);
        board.record("worker", failed.clone(), now);
        assert_eq!(live(&board.snapshot(), now), None);
        let board = serving(now);
        board.record("worker", failed, now);
        assert_eq!(live(&board.snapshot(), now), Some(Reason::HeartbeatStale("worker".into())));
        assert_eq!(ready(&board.snapshot(), now), []);
        board.set_phase(Phase::Stopping, now);
        assert_eq!(live(&board.snapshot(), now), None, "what ends need not beat");
    }

    #[test]
    fn since_is_when_the_answer_last_turned() {
        let now = Moment::now();
        let board = serving(now);
        let later = now + Duration::from_secs(60);
        board.record("db", verdict(Status::Pass, Severity::Hard, READY, later), later);
        assert_eq!(board.snapshot().ready_since, now);
        board.record("db", verdict(Status::Fail, Severity::Hard, READY, later), later);
        assert_eq!(board.snapshot().ready_since, later);
        assert_eq!(board.snapshot().last_ready, Some(later.wall));
    }

    #[test]
    fn a_second_spawn_is_a_restart() {
        let now = Moment::now();
        let board = serving(now);
        board.app_exited("signal KILL", now);
        board.app_spawned(8, now);
        let app = &board.snapshot().app;
        assert_eq!((app.pid, app.restarts), (Some(8), 1));
    }

    proptest! {
        #[test]
        fn ready_implies_live_and_started(
            steps in prop::collection::vec((0..6u8, 0..20u64), 0..20), probe in 0..20u64
        ) {
            let mut now = Moment::now();
            let board = Board::new(Identity::default(), now);
            let phases = [Phase::Starting, Phase::Started, Phase::Draining, Phase::Stopping];
            for (step, seconds) in steps {
                now = now + Duration::from_secs(seconds);
                match step {
                    0 => drop(board.app_spawned(1, now)),
                    1 => drop(board.app_exited("exit 1", now)),
                    2 => drop(board.drain(now)),
                    _ => {
                        let phase = phases[usize::try_from(seconds % 4).unwrap_or(0)];
                        board.set_phase(phase, now);
                    }
                }
            }
            let (snapshot, now) = (board.snapshot(), now + Duration::from_secs(probe));
            if ready(&snapshot, now).is_empty() {
                prop_assert!(live(&snapshot, now).is_none());
                prop_assert!(started(&snapshot, now).is_empty());
            }
        }
    }
}
