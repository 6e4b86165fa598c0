//! The bodies of `/health`: every check with its verdict, in our words and in those of
//! MicroProfile.
//!
//! It deliberately asks nobody: what it says is on the board. Invariant: it says `fail` exactly
//! when `/ready` or `/live` says no.

use contract::bodies::{
    Check, HEALTH_VERSION, Health, MicroCheck, MicroProfile, Observed, Severity, Status, Up,
};
use contract::endpoints::{self, Endpoint};

use super::Detail;
use super::answer::{known, words};
use crate::board::{self, Depth, Moment, OWN_KIND, Phase, Snapshot, Verdict};
use crate::egress::State;
use crate::publish::report::PublishState;
use crate::secret;

/// The worst that matters: what makes the service unready or dead fails, anything else that is not
/// as it should be warns.
pub(super) fn health(snapshot: &Snapshot, now: Moment, detail: Detail) -> Health {
    let mut reasons = board::ready(snapshot, now);
    reasons.extend(board::live(snapshot, now).filter(|reason| !reasons.contains(reason)));
    let statuses =
        || snapshot.verdicts.iter().map(|(name, verdict)| (name, verdict, verdict.status_at(now)));
    let secrets = snapshot.secrets.as_ref().map(secrets_check);
    let of_secrets = secrets.as_ref().map(|check| check.status);
    let breakers = snapshot.breakers.values().map(|state| breaker_status(*state));
    let worst = statuses().map(|(_, _, status)| status).chain(breakers).chain(of_secrets).max();
    let worst = worst.unwrap_or(Status::Pass);
    let worst = worst.max(snapshot.publish.as_ref().map_or(Status::Pass, |p| p.status));
    let status = if reasons.is_empty() { worst.min(Status::Warn) } else { Status::Fail };
    let mut health = Health {
        status,
        version: HEALTH_VERSION.to_owned(),
        release_id: None,
        service_id: snapshot.identity.service.clone(),
        instance: None,
        notes: Vec::new(),
        checks: std::collections::BTreeMap::new(),
    };
    if detail == Detail::Summary {
        return health;
    }
    health.release_id = known(&snapshot.identity.version);
    health.instance = known(&snapshot.identity.instance);
    health.notes = words(reasons);
    let soft = statuses().filter(|(_, verdict, status)| {
        verdict.severity == Severity::Soft && *status == Status::Fail
    });
    health.notes.extend(soft.map(|(name, ..)| format!("{name} is soft: serving without it")));
    health.checks.insert("app:process".into(), vec![app_check(snapshot)]);
    if let Some(check) = secrets {
        health.checks.insert("secrets:age".into(), vec![check]);
    }
    if let Some(publish) = &snapshot.publish {
        health.checks.insert("publish:lag".into(), vec![publish_check(publish)]);
    }
    for (name, state) in &snapshot.breakers {
        health.checks.insert(format!("{name}:circuitBreaker"), vec![breaker_check(*state)]);
    }
    for (name, verdict, status) in statuses() {
        let key = match verdict.kind {
            "heartbeat" => format!("{name}:heartbeat"),
            OWN_KIND => name.replace('.', ":"),
            _ => format!("{name}:responseTime"),
        };
        health.checks.insert(key, vec![probe_check(verdict, status, now)]);
        if let Some(depth) = verdict.depth {
            health
                .checks
                .insert(format!("{name}:{}", depth.what), vec![depth_check(verdict, depth)]);
        }
    }
    health
}

/// A breaker is soft: the service is ready, and serves without the dependency.
fn breaker_status(state: State) -> Status {
    if state == State::Closed { Status::Pass } else { Status::Warn }
}

fn breaker_check(state: State) -> Check {
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Text(state.word().into())),
        severity: Some(Severity::Soft),
        ..Check::new(breaker_status(state))
    }
}

fn publish_check(publish: &PublishState) -> Check {
    let lag = (publish.lag.as_secs_f64() * 1000.0).round() / 1000.0;
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Number(lag)),
        observed_unit: Some("s".into()),
        output: publish.output.clone(),
        pending: Some(publish.pending),
        ..Check::new(publish.status)
    }
}

/// Old values serve as well as new ones, but somebody should know.
fn secrets_check(state: &secret::State) -> Check {
    let output = state
        .output
        .clone()
        .or_else(|| state.awaited.as_ref().map(|reference| format!("waiting for {reference}")));
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Number(state.oldest_s.round())),
        observed_unit: Some("s".into()),
        output: output.clone(),
        ..Check::new(if output.is_some() { Status::Warn } else { Status::Pass })
    }
}

fn app_check(snapshot: &Snapshot) -> Check {
    let app = &snapshot.app;
    let notified = &snapshot.notified;
    let (status, observed) = match (app.pid, snapshot.phase) {
        (Some(_), _) if notified.is_stopping => (Status::Warn, "stopping".to_owned()),
        (Some(_), _) if notified.is_reloading => (Status::Pass, "reloading".to_owned()),
        (Some(_), _) => (Status::Pass, "running".to_owned()),
        (None, phase) if phase < Phase::Started => (Status::Warn, phase.word().to_owned()),
        (None, _) => (Status::Fail, app.last_exit.clone().unwrap_or_else(|| "gone".into())),
    };
    let exited = app.last_exit.as_ref().map(|how| format!("last exit: {how}"));
    let restarted = match app.restarts {
        0 => None,
        1 => Some("restarted once".to_owned()),
        times => Some(format!("restarted {times} times")),
    };
    let said = notified.status.clone();
    let output: Vec<String> = said.into_iter().chain(exited).chain(restarted).collect();
    Check {
        component_type: Some("component".into()),
        observed_value: Some(Observed::Text(observed)),
        time: app.since.map(|since| since.wall.to_string()),
        output: (!output.is_empty()).then(|| output.join("; ")),
        pid: app.pid,
        ..Check::new(status)
    }
}

fn probe_check(verdict: &Verdict, status: Status, now: Moment) -> Check {
    let stale = verdict
        .is_stale(now)
        .then(|| format!("no result for {} s", now.since(verdict.checked).as_secs()));
    Check {
        component_type: Some(component_type(verdict.kind).into()),
        observed_value: verdict.observed.map(|observed| {
            // Microseconds are as much as a probe can tell.
            Observed::Number((observed.value * 1000.0).round() / 1000.0)
        }),
        observed_unit: verdict.observed.map(|observed| observed.unit.to_owned()),
        time: Some(verdict.checked.wall.to_string()),
        output: stale.or_else(|| verdict.output.clone()),
        severity: Some(verdict.severity),
        last_success: verdict.last_success.map(|at| at.to_string()),
        consecutive_failures: Some(verdict.consecutive_failures.into()),
        ..Check::new(status)
    }
}

/// How much waits at a dependency, beside how fast it answers.
fn depth_check(verdict: &Verdict, depth: Depth) -> Check {
    let warning = depth.warning();
    let status = if warning.is_some() { Status::Warn } else { Status::Pass };
    let unit = if depth.what == "lag" { "messages" } else { "items" };
    // A number this large says all that it can say without its last digits.
    let value = depth.value as f64;
    Check {
        component_type: Some(component_type(verdict.kind).into()),
        observed_value: Some(Observed::Number(value)),
        observed_unit: Some(unit.into()),
        time: Some(verdict.checked.wall.to_string()),
        output: warning,
        ..Check::new(status)
    }
}

fn component_type(kind: &str) -> &'static str {
    match kind {
        "postgres" | "redis" | "kafka" => "datastore",
        _ => "component",
    }
}

/// The same in the words of MicroProfile Health; none for an endpoint that it does not know.
pub(super) fn microprofile(
    endpoint: &Endpoint,
    snapshot: &Snapshot,
    now: Moment,
    detail: Detail,
) -> Option<MicroProfile> {
    let is_live = || board::live(snapshot, now).is_none();
    let is_ready = || board::ready(snapshot, now).is_empty();
    let (is_up, concerns): (bool, fn(&Verdict) -> bool) = if *endpoint == endpoints::LIVE {
        (is_live(), |verdict| verdict.gates.live)
    } else if *endpoint == endpoints::READY {
        (is_ready(), |verdict| verdict.gates.ready)
    } else if *endpoint == endpoints::STARTED {
        (board::started(snapshot, now).is_empty(), |verdict| verdict.gates.start)
    } else if *endpoint == endpoints::HEALTH {
        (is_live() && is_ready(), |_| true)
    } else {
        return None;
    };
    let up = |is_up| if is_up { Up::Up } else { Up::Down };
    let concerned = snapshot.verdicts.iter().filter(|(_, verdict)| concerns(verdict));
    let checks = concerned.map(|(name, verdict)| {
        let output = verdict.output.clone().map(|output| ("output".to_owned(), output));
        let kind = ("kind".to_owned(), verdict.kind.to_owned());
        MicroCheck {
            name: name.clone(),
            status: up(verdict.status_at(now) != Status::Fail),
            data: [kind].into_iter().chain(output).collect(),
        }
    });
    let checks = if detail == Detail::Full { checks.collect() } else { Vec::new() };
    Some(MicroProfile { status: up(is_up), checks })
}
