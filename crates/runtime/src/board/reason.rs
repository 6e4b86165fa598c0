//! What `/live`, `/ready` and `/started` say of a snapshot, and why. Pure.
//!
//! Invariant: ready implies live and started, and no dependency decides over life.

use contract::bodies::{Severity, Status};

use super::{Moment, OWN_KIND, Phase, Snapshot};

/// Why an answer is no. Displayed as the words in `reasons`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The process is not there yet, or on its way out: the phase's word.
    Phase(Phase),
    /// The app is not running.
    AppExited,
    /// A drain was asked for.
    Draining,
    /// The app said that it stops.
    AppStopping,
    /// `POST /v1/unready` was asked for.
    Held,
    /// A secret is waited for.
    Secret(String),
    /// A probe does not pass.
    Dependency(String),
    /// A heartbeat is missing.
    HeartbeatStale(String),
    /// The app's own path says no: `app.live` or `app.ready`.
    Own(String),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Phase(phase) => f.write_str(phase.word()),
            Reason::AppExited => f.write_str("app_exited"),
            Reason::Draining => f.write_str("draining"),
            Reason::AppStopping => f.write_str("app_stopping"),
            Reason::Held => f.write_str("held"),
            Reason::Secret(name) => write!(f, "secret:{name}"),
            Reason::Dependency(name) => write!(f, "dependency:{name}"),
            Reason::Own(name) => f.write_str(name),
            Reason::HeartbeatStale(name) => write!(f, "heartbeat_stale:{name}"),
        }
    }
}

/// Whether the process should go on living: no reason is a yes. Never asks a dependency.
///
/// Before the app's first spawn and while it waits to be started again it is alive, or an
/// orchestrator would kill what is only waiting; during a stop, until the app is gone.
#[must_use]
pub fn live(snapshot: &Snapshot, now: Moment) -> Option<Reason> {
    let app_is_owed = snapshot.phase >= Phase::Started;
    if app_is_owed && snapshot.app.pid.is_none() {
        return Some(Reason::AppExited);
    }
    // An app that is ending need not beat any more, and nobody asks it.
    let is_judged = app_is_owed && snapshot.phase < Phase::Stopping;
    snapshot
        .verdicts
        .iter()
        .find(|(_, verdict)| {
            let status = verdict.status_at(now);
            verdict.gates.live && is_judged && status == Status::Fail
        })
        .map(|(name, verdict)| match verdict.kind {
            OWN_KIND => Reason::Own(name.clone()),
            _ => Reason::HeartbeatStale(name.clone()),
        })
}

/// Whether the app has come up once, and if not, what is waited for: what a startup probe asks.
#[must_use]
pub fn started(snapshot: &Snapshot, now: Moment) -> Vec<Reason> {
    if snapshot.has_started {
        return Vec::new();
    }
    let mut reasons = vec![Reason::Phase(snapshot.phase)];
    reasons.extend(awaited_secret(snapshot));
    if snapshot.phase == Phase::Gating {
        reasons.extend(start_gates(snapshot, now));
    }
    reasons
}

fn awaited_secret(snapshot: &Snapshot) -> Option<Reason> {
    let secrets = snapshot.secrets.as_ref().filter(|_| snapshot.phase == Phase::Resolving)?;
    secrets.awaited.clone().map(Reason::Secret)
}

/// Whether to send requests here: no reasons is a yes.
#[must_use]
pub fn ready(snapshot: &Snapshot, now: Moment) -> Vec<Reason> {
    let mut reasons = Vec::new();
    match snapshot.phase {
        Phase::Started if snapshot.app.pid.is_none() => reasons.push(Reason::AppExited),
        Phase::Started | Phase::Draining => {}
        phase => reasons.push(Reason::Phase(phase)),
    }
    reasons.extend(awaited_secret(snapshot));
    if snapshot.draining {
        reasons.push(Reason::Draining);
    }
    if snapshot.notified.is_stopping {
        reasons.push(Reason::AppStopping);
    }
    if snapshot.is_held {
        reasons.push(Reason::Held);
    }
    let failing = snapshot.verdicts.iter().filter(|(_, verdict)| {
        let is_asked = verdict.gates.ready && verdict.severity == Severity::Hard;
        is_asked && verdict.status_at(now) == Status::Fail
    });
    reasons.extend(failing.map(|(name, verdict)| match verdict.kind {
        OWN_KIND => Reason::Own(name.clone()),
        _ => Reason::Dependency(name.clone()),
    }));
    let publish = snapshot.publish.as_ref().filter(|publish| publish.is_unready());
    reasons.extend(publish.map(|_| Reason::Dependency("publish".into())));
    reasons
}

/// The probes that still keep the app from being spawned.
#[must_use]
pub fn start_gates(snapshot: &Snapshot, now: Moment) -> Vec<Reason> {
    let closed = snapshot
        .verdicts
        .iter()
        .filter(|(_, verdict)| verdict.gates.start && verdict.status_at(now) == Status::Fail);
    closed.map(|(name, _)| Reason::Dependency(name.clone())).collect()
}
